"""Streams of language models that are mixed with counts, as words and BPE tokens are by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_streams import tokens_before

import tidegate as tg
from tidegate.errors import InputError
from tidegate.runtime.mixture import RECENT, follow, nothing_read

CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}  # the same sums in another order
BOOK = "the cat sat on the mat .\nthe dog sat on the log .\na bird sang , and sang !\n" * 12
WORDS = [*BOOK.split()[:18], "unheard", "\n"]
SMALL: dict[str, Any] = {"hidden_sizes": (8,), "max_steps": 3, "bptt": 8, "verbose": 0}
LEVELS: dict[str, dict[str, Any]] = {
    "words": {"level": "word"},
    "bpe": {"level": "bpe", "vocabulary_size": 280},
    "characters": {"level": "char", "counts": True},
}
pieces = st.lists(st.sampled_from(WORDS), max_size=8).map(lambda w: "".join(f" {x}" for x in w))
long_pieces = st.builds(lambda piece, times: piece * times, pieces, st.sampled_from([1, 1, 1, 90]))
streams = st.integers(0, 2)
acts = st.one_of(
    st.tuples(st.just("feed"), streams, long_pieces),
    st.tuples(st.just("begin anew"), streams, st.none()),
    st.tuples(st.just("copy"), streams, streams),
    st.tuples(st.just("save and load"), streams, st.none()),
    st.tuples(st.just("close and open"), streams, st.none()),
)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    return {
        name: tg.LanguageModel(**SMALL, **options).fit(BOOK) for name, options in LEVELS.items()
    }


def expected(model: Any, text: str) -> np.ndarray:
    """Log-probabilities of what follows a text that is read at once."""
    read, recent = tokens_before(model.encoder_, text), nothing_read(1)
    follow(recent[0], read)
    return model.counts_.log_probabilities(model.runtime_(read[:, None])[-1], recent)[0]


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=12)
@given(st.lists(acts, min_size=1, max_size=12))
def test_whatever_is_done_to_streams_each_answers_as_to_the_text_it_has_read(
    level: str, models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, done: Any
):
    model, texts = models[level], ["", "", ""]
    many, path = model.streams(), tmp_path_factory.mktemp("streams") / "one.safetensors"
    many.open(0, 1, 2)
    for act, k, more in done:
        match act:
            case "feed":
                texts[k] += more
                many.feed({k: more})
            case "begin anew":
                one = many.stream(k)
                one.reset()
                many.put(k, one)
                texts[k] = ""
            case "copy":
                many.put(more, many.stream(k).copy())
                texts[more] = texts[k]
            case "save and load":
                many.stream(k).save(path)
                many.put(k, model.stream().load(path))
            case _:
                many.close(k)
                many.open(k)
                texts[k] = ""
    answers = many.feed(dict.fromkeys(range(3), ""))
    for k in {act[1] for act in done}:
        np.testing.assert_allclose(answers[k].log_probabilities, expected(model, texts[k]), **CLOSE)


def test_a_batch_of_texts_is_its_streams(models: dict[str, Any]):
    model = models["words"]
    texts = ["the cat sat", "", "a bird sang ,\n", "the dog sat on the log . " * 80]
    batch, ones = model.stream(len(texts)), [model.stream() for _ in texts]
    for _ in range(2):
        for answer, one, text in zip(batch.feed(texts), ones, texts, strict=True):
            np.testing.assert_allclose(
                answer.log_probabilities, one.feed(text).log_probabilities, **CLOSE
            )


def test_a_file_holds_the_latest_tokens_and_another_model_s_stream_is_refused(
    models: dict[str, Any], tmp_path: Path
):
    model, path = models["words"], tmp_path / "stream.safetensors"
    stream = model.stream()
    stream.feed("the cat sat on the mat . " * 120)
    assert stream.state["recent"].shape == (1, RECENT)
    assert (stream.state["recent"] >= 0).all()
    stream.save(path)
    for other in ("bpe", "characters"):
        with pytest.raises(InputError, match="model: expected a stream of this model"):
            models[other].stream().load(path)
    loaded = model.stream().load(path)
    np.testing.assert_array_equal(loaded.answer.log_probabilities, stream.answer.log_probabilities)

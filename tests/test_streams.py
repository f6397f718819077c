"""Streams: read piece by piece, a model answers as it does to the sequence so far."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_cell import CELL_KINDS
from hypothesis import given, settings
from hypothesis import strategies as st
from streamed_models import (
    TEXT,
    forecaster,
    language_model,
    music_model,
    network,
    rolls,
    sequence_model,
    text_classifier,
)

import tidegate as tg
from tidegate.errors import InputError
from tidegate.runtime.stream import Stream, Streams

# Of a value of order 1, after some dozen steps in float32; the same sums in another order.  Of a
# cell without bounds (gru_light) logits reach 25; rounding its inputs moves answers by 3e-5.
CLOSE = {"rtol": 5e-5, "atol": 5e-5}
WORDS = ["the", "good", "film", ",", "not", "so", "bad", "so", "bad", "a", "film", "unheard", "of"]
DEFAULTS: dict[str, Any] = {"bidirectional": True, "own_scale": True, "readout": "mean+max"}
READOUTS = ["last", "mean", "max", "max+last+mean"]


class Case:
    """A model, a sequence as steps, and the answer to its first ``n`` steps without a stream."""

    def __init__(self, model: Any, steps: Any, join: Callable[[Any], Any]) -> None:
        self.model, self.steps, self.join = model, steps, join

    def expected(self, n: int) -> np.ndarray:
        model, sequence = self.model, self.join(self.steps[:n])
        if isinstance(model, tg.SequenceRegressor):
            return model.predict([sequence])[0]
        if isinstance(model, tg.LanguageModel):
            return next_token(model, sequence)
        if isinstance(model, tg.MusicModel):  # whatever the next step is
            return model.predict_proba([np.concatenate([sequence, rolls(1, 1)[0]])])[0][n]
        if isinstance(model, tg.Forecaster):
            if n < model.windowing_.context:
                return np.full((3, 2), np.nan)
            series = tg.data.series.series.Series.of(
                np.datetime64("2030-01-01T00", "s") + 3600 * np.arange(n),
                sequence[:, :2],
                names=["x", "y"],
                covariates=sequence[:, 2:],
                covariate_names=list(model.windowing_.covariate_names),
            )
            return model.forecast(series).values
        return model.predict_proba([sequence])[0]


def tokens_before(encoder: Any, text: str) -> np.ndarray:
    """What is read before the token that follows a text, [T]."""
    read = encoder.encode(text)
    if encoder.start_id is not None:  # the last sentence goes on, or one begins
        last = text.rpartition("\n")[2]
        return read[:-1] if encoder.split(last) else np.append(read, encoder.start_id)
    return read if len(read) else encoder.encode("\n")


def next_token(model: Any, text: str) -> np.ndarray:
    """Log-probabilities of what follows, each token scored as `evaluate` would."""
    network, encoder = model.runtime_, model.encoder_
    read = tokens_before(encoder, text)
    logits = network(read[:, None])[-1, 0].astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum())
    if model.counts_ is None:
        return log_p
    before = np.full(len(read), np.nan)
    return np.array(
        [
            -model.counts_.nats(np.append(read, token), np.append(before, -log_p[token]))[-1]
            for token in range(encoder.size)
        ]
    )


def joined(words: Any) -> str:
    return " ".join(words)


def numbers(channels: int, steps: int = 23, missing: bool = False) -> np.ndarray:
    values = np.random.default_rng(5).standard_normal((steps, channels)) * 3 + 1
    if missing:
        values[[0, 1, 7, 8, 20], [0, 0, 0, 0, 0]] = np.nan
        values[[5, 6], [-1, -1]] = np.nan
    return values


def case_of(task: str, **options: Any) -> Case:
    match task:
        case "classifier of words":
            return Case(text_classifier(**options), WORDS, joined)
        case "classifier of words by evidence":
            return Case(text_classifier(evidence=True, **options), WORDS, joined)
        case "classifier of characters":
            return Case(text_classifier("char", **options), list(TEXT), "".join)
        case "language of characters":
            return Case(language_model("char", **options), list(TEXT), "".join)
        case "language of words":
            pieces = [w for line in TEXT.splitlines() for w in (*line.split(), "\n")]
            return Case(language_model("word", **options), pieces, lambda s: " ".join(s))
        case "language of bpe":
            words = [" " + w for w in TEXT.split()]
            return Case(language_model("bpe", **options), words, "".join)
        case "label of numbers":
            return Case(
                sequence_model(tg.SequenceClassifier, **options), numbers(2, missing=True), np.array
            )
        case "label of segments":
            model = sequence_model(tg.SequenceClassifier, segment=4, **options)
            return Case(model, numbers(2, missing=True), np.array)
        case "number of one channel":
            model = sequence_model(tg.SequenceRegressor, channels=1, segment=3, **options)
            return Case(model, numbers(1, missing=True), np.array)
        case "label by evidence":  # as a classifier is by default
            model = sequence_model(
                tg.SequenceClassifier, segment=4, **DEFAULTS | {"evidence": 40} | options
            )
            return Case(model, numbers(2, missing=True), np.array)
        case "number by evidence of short ones":
            model = sequence_model(
                tg.SequenceRegressor, channels=1, **DEFAULTS | {"evidence": 9} | options
            )
            return Case(model, numbers(1, missing=True), np.array)
        case "label by evidence, read forward":
            model = sequence_model(tg.SequenceClassifier, channels=3, evidence=12, **options)
            return Case(model, numbers(3, missing=True), np.array)
        case "label in its own scale":
            model = sequence_model(tg.SequenceClassifier, own_scale=True, **options)
            return Case(model, numbers(2, missing=True), np.array)
        case "forecast":
            return Case(forecaster(**options), numbers(2, 17), np.array)
        case "forecast with covariates":
            return Case(forecaster(covariates=1, **options), numbers(3, 17), np.array)
        case "joint forecast":
            return Case(forecaster(joint=True, covariates=2, **options), numbers(4, 17), np.array)
        case "music without repeats":
            return Case(music_model(repeats=False, **options), rolls(1, 23)[0], np.array)
        case "music":
            return Case(music_model(**options), rolls(1, 23)[0], np.array)
    raise AssertionError(task)


TASKS = [
    "classifier of words", "classifier of words by evidence", "classifier of characters",
    "language of characters", "language of words", "language of bpe", "label of numbers",
    "label of segments", "number of one channel", "label by evidence",
    "number by evidence of short ones", "label by evidence, read forward",
    "label in its own scale", "forecast", "forecast with covariates", "joint forecast",
    "music", "music without repeats",
]  # fmt: skip
POOLED = [t for t in TASKS if not re.search("language|forecast|music", t)]


def values_of(answer: Any) -> np.ndarray:
    return answer.log_probabilities if hasattr(answer, "log_probabilities") else answer


def assert_answers(case: Case, answer: Any, n: int) -> None:
    if n == 0 and isinstance(case.model, tg.SequenceClassifier | tg.SequenceRegressor):
        return  # predict refuses a sequence of no steps
    np.testing.assert_allclose(values_of(answer), case.expected(n), **CLOSE)


def fed(stream: Stream, case: Case, cuts: list[int]) -> Any:
    answer = None
    for begin, end in zip(cuts, cuts[1:], strict=False):
        answer = stream.feed(cut(case, begin, end))
    return answer


def cut(case: Case, begin: int, end: int) -> Any:
    steps = case.steps[begin:end]
    if isinstance(steps, np.ndarray):
        return steps[:, 0] if steps.shape[1] == 1 else steps
    return case.join(steps)


@pytest.mark.parametrize("task", TASKS)
def test_step_by_step_a_stream_answers_as_to_the_sequence_so_far(task: str) -> None:
    case = case_of(task)
    stream = case.model.stream()
    assert_answers(case, stream.answer, 0)
    for n in range(len(case.steps)):
        answer = stream.feed(cut(case, n, n + 1))
        assert_answers(case, answer, n + 1)
        np.testing.assert_array_equal(values_of(stream.answer), values_of(answer))


@pytest.mark.parametrize("cell", CELL_KINDS)
@pytest.mark.parametrize("task", TASKS)
def test_every_cell_streams(cell: str, task: str) -> None:
    case = case_of(task, cell=cell, batch_norm=True)
    stream, end = case.model.stream(), len(case.steps)
    assert_answers(case, fed(stream, case, [0, 1, 2, 2, 9, end]), end)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("task", POOLED)
def test_every_pooling_streams(readout: str, task: str) -> None:
    case = case_of(task, readout=readout)
    stream, at = case.model.stream(), 0
    for end in (1, 2, 6, 7, 12, len(case.steps)):
        answer = stream.feed(cut(case, at, end))
        assert_answers(case, answer, end)
        at = end


@pytest.mark.parametrize("task", TASKS)
@settings(max_examples=8)
@given(data=st.data())
def test_where_it_is_cut_changes_nothing(task: str, data: st.DataObject) -> None:
    case = case_of(task, **({"readout": "mean+max+last"} if task in POOLED else {}))
    size = len(case.steps)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    assert_answers(case, fed(case.model.stream(), case, [0, *cuts, size]), size)


@pytest.mark.parametrize("task", TASKS)
def test_a_copy_goes_on_by_itself(task: str) -> None:
    case, end = case_of(task), 12
    stream = case.model.stream()
    stream.feed(cut(case, 0, 9))
    before, copy = stream.state, stream.copy()
    copy.feed(cut(case, 0, 3))
    for name, array in stream.state.items():
        np.testing.assert_array_equal(array, before[name])
    assert_answers(case, stream.feed(cut(case, 9, end)), end)
    copy.state = before
    np.testing.assert_array_equal(values_of(copy.feed(cut(case, 9, end))), values_of(stream.answer))


@pytest.mark.parametrize("task", TASKS)
def test_a_stream_is_saved_and_loaded_halfway(task: str, tmp_path: Path) -> None:
    case, path = case_of(task), tmp_path / "stream.safetensors"
    stream = case.model.stream()
    stream.feed(cut(case, 0, 10))
    stream.save(path)
    stream.save(path)  # onto an older one
    expected = stream.feed(cut(case, 10, 12))
    loaded = case.model.stream().load(path)
    np.testing.assert_array_equal(values_of(loaded.feed(cut(case, 10, 12))), values_of(expected))


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_is_its_streams_in_any_order_with_pieces_of_any_length(task: str) -> None:
    case = case_of(task, **({"readout": "mean+max+last"} if task in POOLED else {}))
    ends = [(3, 4), (0, 11), (1, 2), (9, 9), (5, 12)]
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        batch = case.model.stream(len(ends))
        for k in (0, 1):
            spans = [(0, ends[row][0]) if k == 0 else ends[row] for row in order]
            answers = batch.feed([cut(case, *span) for span in spans])
            for answer, (_, end) in zip(answers, spans, strict=True):
                assert_answers(case, answer, end)


@pytest.mark.parametrize("task", TASKS)
def test_streams_come_and_go_and_do_not_touch_each_other(task: str) -> None:
    case = case_of(task)
    streams: Streams = case.model.streams()
    assert streams.open("a", "b") == ["a", "b"]
    assert streams.open() == [0]
    streams.feed({"b": cut(case, 0, 3), "a": cut(case, 0, 1)})
    streams.close("a")
    assert streams.ids == ["b", 0]
    assert "a" not in streams
    streams.open("c")
    answers = streams.feed({"c": cut(case, 0, 9), "b": cut(case, 3, 10)})
    assert list(answers) == ["c", "b"]
    assert_answers(case, answers["c"], 9)
    assert_answers(case, answers["b"], 10)
    everyone = streams.feed({"b": cut(case, 10, 11), 0: cut(case, 0, 8), "c": cut(case, 9, 10)})
    for id, n in (("b", 11), (0, 8), ("c", 10)):
        assert_answers(case, everyone[id], n)
    one = streams.stream("b")
    streams.put("c", one)
    assert_answers(case, one.feed(cut(case, 11, 12)), 12)
    assert_answers(case, streams.feed({"c": cut(case, 11, 12)})["c"], 12)
    streams.close("b", 0, "c")
    assert len(streams) == 0
    assert streams.feed({}) == {}


def test_what_numpy_would_lose_of_numbers_is_refused_and_a_masked_one_is_missing() -> None:
    model = sequence_model(tg.SequenceClassifier)
    for lossy in (np.ones((1, 2), complex), np.ones((1, 2), "M8[s]")):
        with pytest.raises(InputError, match="expected numbers"):
            model.stream().feed(lossy)
        with pytest.raises(InputError, match="expected numbers"):
            model.stream(batch_size=1).feed(lossy)
    rows = np.arange(6.0).reshape(3, 2)
    masked, missing = np.ma.masked_equal(rows, 3), np.where(rows == 3, np.nan, rows)
    for batch_size in (None, 3):
        streams = [model.stream(batch_size=batch_size) for _ in range(2)]
        answers = [s.feed(piece) for s, piece in zip(streams, (masked, missing), strict=True)]
        np.testing.assert_array_equal(*answers)


def test_a_stream_of_other_weights_is_not_put_among_streams() -> None:
    many = sequence_model(tg.SequenceClassifier).streams()
    many.open("a")
    before = many.stream("a").state
    other = sequence_model(tg.SequenceClassifier)
    other.runtime_ = network(seed=1, input_size=other.inputs_.input_size)
    one = other.stream()
    one.feed(np.ones((3, 2)))
    with pytest.raises(InputError, match="one of this model's"):
        many.put("a", one)
    assert all((many.stream("a").state[name] == array).all() for name, array in before.items())


def test_ids_are_new_and_keys_of_a_dict() -> None:
    many = sequence_model(tg.SequenceClassifier).streams()
    for ids, expected in ((("a", "a"), "a new one"), ((["a"],), "the key of a dict")):
        with pytest.raises(InputError, match=expected):
            many.open(*ids)
    assert len(many) == 0


def test_rows_begin_anew_and_their_neighbours_go_on() -> None:
    case = case_of("label of segments", readout="mean+max")
    batch = case.model.stream(3)
    batch.feed([cut(case, 0, 10)] * 3)
    batch.reset([1])
    answers = batch.feed([cut(case, 10, 12), cut(case, 0, 5), cut(case, 10, 11)])
    for answer, n in zip(answers, (12, 5, 11), strict=True):
        assert_answers(case, answer, n)
    batch.reset(np.array([True, False, True]))
    batch.reset()
    np.testing.assert_array_equal(batch.answer, case.model.stream(3).answer)
    with pytest.raises(InputError, match="rows: expected numbers below 3"):
        batch.reset(3)


def test_arrays_of_many_rows_are_read_at_once() -> None:
    case = case_of("label of numbers")
    x = np.random.default_rng(0).standard_normal((7, 5, 2))  # [B, T, C]
    batch, lists = case.model.stream(7), case.model.stream(7)
    np.testing.assert_array_equal(batch.feed(x), lists.feed(list(x)))
    np.testing.assert_array_equal(batch.feed(x[:, 0]), lists.feed([one[0] for one in x]))
    one = case_of("number of one channel")
    batch, lists = one.model.stream(7), one.model.stream(7)
    np.testing.assert_array_equal(batch.feed(x[..., 0]), lists.feed(list(x[..., 0])))
    np.testing.assert_array_equal(batch.feed(x[:, 0, 0]), lists.feed(x[:, 0, 0].tolist()))


def test_a_language_model_tells_likely_tokens_and_takes_tokens() -> None:
    model = language_model("word")
    stream = model.stream()
    answer = stream.feed("the good")
    assert answer.probabilities.sum() == pytest.approx(1)
    top = answer.top(3)
    assert [p for _, p in top] == sorted((p for _, p in top), reverse=True)
    likeliest = int(answer.log_probabilities.argmax())
    assert top[0] == (model.encoder_.decode([likeliest]), answer.probabilities[likeliest])
    assert (answer.top(0), len(answer.top(10**6))) == ([], model.encoder_.size)
    for k in (-1, 2.5, True, "3"):
        with pytest.raises(InputError, match="k: expected a whole number from 0, got"):
            answer.top(k)  # pyright: ignore[reportArgumentType]
    tokens = model.stream()
    tokens.feed(model.encoder_.encode_prompt("the good"))
    np.testing.assert_array_equal(tokens.answer.log_probabilities, answer.log_probabilities)
    tokens.feed([model.encoder_.end_id])
    stream.feed("\n")
    np.testing.assert_array_equal(tokens.answer.log_probabilities, stream.answer.log_probabilities)

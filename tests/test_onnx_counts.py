"""ONNX graphs of networks that are mixed with counts answer as the runtime's mixture does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamed_models import language_model

import tidegate as tg
from tidegate.cli import main
from tidegate.data.text.ngrams import KneserNey
from tidegate.errors import InputError
from tidegate.runtime.mixture import RECENT, Mixture, follow, nothing_read

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from tidegate.onnx import counts  # noqa: E402
from tidegate.onnx.checking import check_step, check_whole, session_of  # noqa: E402
from tidegate.onnx.counts import Counts  # noqa: E402
from tidegate.onnx.graph import Graph, tensor  # noqa: E402
from tidegate.onnx.network import step_model, whole_model  # noqa: E402
from tidegate.tasks.model_file import new_test_vector  # noqa: E402

KINDS = 6
CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-5}  # sums of some hundred parts in float32
TEXT = "the cat sat on the mat .\nthe dog sat on the log .\na bird sang !\n" * 12
SMALL: dict[str, Any] = {"hidden_sizes": (8,), "max_steps": 3, "bptt": 8, "verbose": 0}


def mixture_of(text: list[int], length: int, never: int | None, seed: int, most: int) -> Mixture:
    tokens = np.array(text)
    counted = KneserNey.count(tokens, KINDS, never, length).pruned(most)
    shares = 2 * np.random.default_rng(seed).standard_normal((3, counted.width + 1))
    return Mixture(counted, shares.astype(np.float32))


def expected(mixture: Mixture, tokens: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Log p [T, B, V] after tokens [T, B], of which a network gives outputs [T, B, V]."""
    recent, found = nothing_read(tokens.shape[1]), []
    for latest, of_step in zip(tokens, outputs, strict=True):
        for row, token in zip(recent, latest, strict=True):
            follow(row, np.array([token]))
        found.append(mixture.log_probabilities(of_step, recent))
    return np.stack(found)


def of_all_steps(mixture: Mixture, opset: int = 17) -> Any:
    graph = Graph(opset)
    graph.named(Counts(graph, mixture).over_time(graph, "tokens", "logits"), "log_p")
    size = mixture.ngrams.size
    given = [
        tensor("tokens", np.int32, ["T", "B"]),
        tensor("logits", np.float32, ["T", "B", size]),
    ]
    made = [tensor("log_p", np.float32, ["T", "B", size])]
    return session_of(graph.model(given, made, "counts", "0").SerializeToString())


def random_outputs(seed: int, *shape: int) -> np.ndarray:
    return 3 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("opset", [17, 22])
@settings(max_examples=25)
@given(
    train=st.lists(st.integers(0, KINDS - 1), min_size=1, max_size=80),
    read=st.lists(st.lists(st.integers(0, KINDS - 1), min_size=9, max_size=9), min_size=1),
    length=st.integers(1, 5),
    never=st.sampled_from([None, 2]),
    seed=st.integers(0, 99),
    most=st.sampled_from([10, 30, 10**6]),
)
def test_any_n_grams_and_any_text_give_the_runtime_s_probabilities(
    opset, train, read, length, never, seed, most
):
    mixture = mixture_of([*train, 0], length, never, seed, most)
    tokens = np.array(read, np.int32).T  # [9, B]
    outputs = random_outputs(seed, *tokens.shape, KINDS)
    (found,) = of_all_steps(mixture, opset).run(None, {"tokens": tokens, "logits": outputs})
    np.testing.assert_allclose(found, expected(mixture, tokens, outputs), **CLOSE)


def test_only_the_latest_tokens_count_as_recent():
    mixture = mixture_of([*range(KINDS)] * 9, 3, 2, 0, 10**6)
    tokens = np.random.default_rng(0).integers(0, KINDS, (RECENT + 60, 1)).astype(np.int32)
    tokens[:40] = 5  # all of them are forgotten
    outputs = random_outputs(1, *tokens.shape, KINDS)
    (found,) = of_all_steps(mixture).run(None, {"tokens": tokens, "logits": outputs})
    np.testing.assert_allclose(found, expected(mixture, tokens, outputs), **CLOSE)


def test_what_the_network_holds_for_all_but_impossible_keeps_its_probability():
    """Of a token that is never predicted, the n-grams and the cache know nothing."""
    mixture = mixture_of([*range(KINDS)] * 9, 3, 2, 0, 10**6)
    tokens = np.array([[1], [2], [3]], np.int32)
    outputs = random_outputs(1, 3, 1, KINDS)
    outputs[:, :, 2] = -300
    (found,) = of_all_steps(mixture).run(None, {"tokens": tokens, "logits": outputs})
    assert (found[:, :, 2] < -290).all()
    np.testing.assert_allclose(found, expected(mixture, tokens, outputs), **CLOSE)


@pytest.mark.parametrize("followers", [1, 2, 3, 4, 15, 16, 17, 99])
def test_each_follower_of_a_context_is_found_and_no_other_token(followers: int):
    """However many there are: contexts are searched in rounds of about as many as there are."""
    size = 2 * followers + 3
    tokens = [t for k in range(followers) for t in (0, 2 * k + 1)]
    counted = KneserNey.count(np.array(tokens), size, None, 3).pruned(10**6)
    assert len(counted.orders[1].keys) == 2 * followers - 1
    shares = np.random.default_rng(0).standard_normal((3, counted.width + 1)).astype(np.float32)
    read = np.arange(size, dtype=np.int32)
    read = np.stack([np.zeros_like(read), read])
    outputs = random_outputs(2, 2, size, size)
    mixture = Mixture(counted, shares)
    (found,) = of_all_steps(mixture).run(None, {"tokens": read, "logits": outputs})
    np.testing.assert_allclose(found, expected(mixture, read, outputs), **CLOSE)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """Trained with the defaults of words and of BPE tokens, and characters with counts."""
    options: dict[str, dict[str, Any]] = {
        "word": {"level": "word"},
        "bpe": {"level": "bpe", "vocabulary_size": 280},
        "char": {"level": "char", "counts": True},
        "backwards": {"level": "word", "reverse": True},
    }
    return {name: tg.LanguageModel(**SMALL, **more).fit(TEXT) for name, more in options.items()}


@pytest.mark.parametrize("name", ["word", "bpe", "char", "backwards"])
def test_files_of_whole_texts_and_of_steps_answer_as_the_stream_does(
    name: str, models: dict[str, Any], tmp_path: Path
):
    model = models[name]
    paths = [tmp_path / f"{part}.onnx" for part in ("whole", "step")]
    model.export_onnx(paths[0], step=paths[1])
    whole, step = (onnxruntime.InferenceSession(path) for path in paths)
    tokens = model._tokens(TEXT[:90]).astype(np.int32)[None, :-1]
    lengths = np.array([tokens.shape[1]], np.int32)
    (output,) = whole.run(None, {"tokens": tokens, "sequence_lens": lengths})
    outputs = model.runtime_(tokens.T)
    found = expected(model.counts_, tokens.T, outputs)[:, 0]
    np.testing.assert_allclose(output[0], found, rtol=0, atol=1e-4)
    inputs, outputs = step.get_inputs(), [one.name for one in step.get_outputs()]
    assert {"ngrams", "recent"} < {one.name for one in inputs}
    feed = {one.name: np.zeros((1, one.shape[1]), np.float32) for one in inputs[1:]}
    for t, token in enumerate(tokens[0]):
        answer = dict(zip(outputs, step.run(None, feed | {"tokens": token[None]}), strict=True))
        feed = {name: answer[f"{name}_out"] for name in feed}
        np.testing.assert_allclose(answer["output"][0], found[t], rtol=0, atol=1e-4)
    if name != "backwards":
        streamed = model.stream().feed(tokens[0]).log_probabilities
        np.testing.assert_allclose(output[0, -1], streamed, rtol=0, atol=1e-4)
    assert model.counts_.ngrams.length > (5 if name == "char" else 1)


def test_without_counts_the_network_answers_alone_and_what_that_costs_is_told(
    models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    model = models["word"]
    model.save("m.safetensors")
    model.export_onnx("mixed.onnx")
    assert main(["export", "onnx", "m.safetensors", "--no-counts", "--step", "s.onnx"]) == 0
    figures = model.metrics_
    said = f"{figures['network_perplexity']:.4g} of the network alone, "
    assert f"{said}{figures['perplexity']:.4g} with counts" in capsys.readouterr().out
    tokens = np.array([[3, 4, 5]], np.int32)
    feed = {"tokens": tokens, "sequence_lens": np.array([3], np.int32)}
    (output,) = onnxruntime.InferenceSession("m.onnx").run(None, feed)
    np.testing.assert_allclose(output[0], model.runtime_(tokens.T)[:, 0], rtol=0, atol=1e-5)
    inputs = [one.name for one in onnxruntime.InferenceSession("s.onnx").get_inputs()]
    assert inputs == ["tokens", "layer_0_h"]
    sizes = [Path(name).stat().st_size for name in ("m.onnx", "mixed.onnx")]
    assert sizes[0] < sizes[1]


def test_a_model_without_counts_has_none_to_leave_out(tmp_path: Path):
    model = tg.LanguageModel(**SMALL, counts=False).fit(TEXT)
    with pytest.raises(InputError, match="mixed with counts, got .* leave counts=False out"):
        model.export_onnx(tmp_path / "m.onnx", counts=False)
    model.export_onnx(tmp_path / "m.onnx")


def test_more_n_grams_than_states_can_number_are_refused_and_the_remedy_helps(
    models: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(counts, "_MOST", 20)
    with pytest.raises(InputError, match=r"at most 20 n-grams.*leave them out with counts=False"):
        models["word"].export_onnx(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
    models["word"].export_onnx(tmp_path / "m.onnx", counts=False)


DAMAGE: dict[str, Any] = {
    "another discount": lambda c: {f"{k}.counted": c[f"{k}.counted"] * 0.9 for k in (1, 2, 3)},
    "a longer context": lambda c: {"3.total": c["3.total"] + 1},
    "other shares": lambda c: {"shares": c["shares"][::-1].copy()},
    "no trigrams": lambda c: {"3.keys": c["3.keys"][:0], "3.counted": c["3.counted"][:0]},
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_graph_of_other_counts_is_refused(what: str):
    model = language_model("word")
    network, arrays, ngrams = model.runtime_, model.counts_.arrays(), model.counts_.ngrams
    wrong = arrays | DAMAGE[what](arrays)
    mixture = Mixture.from_arrays(wrong, ngrams.size, ngrams.never_target)
    data = whole_model(network, 17, "0", mixture=mixture).SerializeToString()
    with pytest.raises(InputError, match="expected ONNX Runtime to answer as tidegate does"):
        check_whole(data, network, new_test_vector(network), model.counts_)
    step, pairs = step_model(network, 17, "0", mixture)
    with pytest.raises(InputError, match="expected ONNX Runtime to answer as tidegate does"):
        check_step(step.SerializeToString(), network, pairs, model.counts_)
    check_whole(data, network, new_test_vector(network), mixture)
    check_step(step.SerializeToString(), network, pairs, mixture)

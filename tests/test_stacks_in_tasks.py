"""Layers of different cells, shortcuts and layer norms in every task, and wherever a network is."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from command_line import LEARN, TINY, Tidegate
from sklearn.base import clone
from streamed_models import TEXT, language_model, network
from test_cells_in_tasks import USE
from test_connectivity import gradient_lengths

import tidegate as tg
from tidegate.errors import InputError
from tidegate.model.architecture import Architecture
from tidegate.nn.arrays import torch_network
from tidegate.runtime.connectivity import connectivity
from tidegate.runtime.inspection import inspected
from tidegate.runtime.network import Network
from tidegate.runtime.stepping import Stepping
from tidegate.tuning.space import space_of

RNG = np.random.default_rng(1)
# a linear map goes past the second layer, whose width is another, and nothing past the third
MIXED: dict[str, Any] = {"cell": ("lstm", "gru", "rnn_tanh"), "hidden_sizes": (6, 4, 4)}
AROUND: list[dict[str, Any]] = [
    {},
    {"residual": True},
    {"layer_norm": True},
    {"residual": True, "layer_norm": True},
    {"residual": True, "batch_norm": True},
]
READOUTS = ("every", "last", "last+mean+max")
STACK = "--cell lstm,gru --hidden-sizes 6,5 --residual --layer-norm"


def of_values(**more: Any) -> Network:
    return network(input_size=3, **MIXED | more)


@pytest.mark.parametrize("task", TINY)
def test_a_task_learns_keeps_and_uses_a_stack(tidegate: Tidegate, task: str) -> None:
    options = TINY[task].replace("--hidden-sizes 4", STACK).replace("steps 4", "steps 1")
    options += " --output m.safetensors"
    learned = tidegate(f"train {task} {LEARN[task]} {options}")
    assert learned.code == 0, learned.err
    about = tidegate("info m.safetensors --json").json["architecture"]
    described = about.get("source", about)
    assert described["cell"] == ["lstm", "gru"]
    assert described["residual"]
    assert described["layer_norm"]
    used = tidegate(USE[task])
    assert used.code == 0, used.err
    assert used.out


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_the_runtime_answers_as_the_torch_network(around: dict[str, Any]) -> None:
    x, lengths = RNG.standard_normal((7, 4, 3)).astype(np.float32), np.array([7, 0, 3, 5])
    for readout, both in itertools.product(READOUTS, (False, True)):
        ours = of_values(readout=readout, bidirectional=both, **around)
        theirs = torch_network(ours.architecture, ours.tensors)
        with torch.no_grad():
            expected = theirs(torch.from_numpy(x), torch.from_numpy(lengths))[0].numpy()
        inside = np.arange(7)[:, None] < lengths if readout == "every" else ...
        found = ours(x, lengths)
        np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_a_stream_answers_as_the_whole_sequence_wherever_it_is_cut(around: dict[str, Any]) -> None:
    x = RNG.standard_normal((7, 4, 3)).astype(np.float32)
    for readout in READOUTS:
        ours = of_values(readout=readout, **around)
        expected = ours(x)[-1] if readout == "every" else ours(x)
        by_step, in_pieces = Stepping(ours, 4), Stepping(ours, 4)
        for row in x:
            by_step.step(row)
        in_pieces.read(x[:4], np.array([4, 0, 1, 4]))
        in_pieces.read(x[4:], np.array([0, 0, 0, 3]))
        np.testing.assert_allclose(by_step.outputs(), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(in_pieces.outputs()[3], expected[3], rtol=1e-4, atol=1e-5)
        for row, steps in ((0, 4), (2, 1)):
            alone = ours(x[:steps, row : row + 1])
            end = alone[-1] if readout == "every" else alone
            np.testing.assert_allclose(in_pieces.outputs()[row], end[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_onnx_files_answer_as_the_network(around: dict[str, Any]) -> None:
    pytest.importorskip("onnxruntime")
    from tidegate.onnx.checking import session_of
    from tidegate.onnx.network import step_model, whole_model

    x, lengths = RNG.standard_normal((7, 4, 3)).astype(np.float32), np.array([7, 0, 3, 5])
    for readout, both in itertools.product(READOUTS, (False, True)):
        ours = of_values(readout=readout, bidirectional=both, **around)
        session = session_of(whole_model(ours, 17, "0").SerializeToString())
        feed = {"values": x.swapaxes(0, 1), "sequence_lens": lengths.astype(np.int32)}
        (found,) = session.run(None, feed)
        found = found.swapaxes(0, 1) if readout == "every" else found
        np.testing.assert_allclose(found, ours(x, lengths), rtol=1e-4, atol=1e-5)
        if both:
            continue
        model, pairs = step_model(ours, 17, "0")
        step = session_of(model.SerializeToString())
        state = {pair.input: np.zeros((4, pair.width), np.float32) for pair in pairs}
        for row in x:
            output, *after = step.run(
                ["output", *(pair.output for pair in pairs)], {"values": row} | state
            )
            state = {pair.input: a for pair, a in zip(pairs, after, strict=True)}
        expected = ours(x)[-1] if readout == "every" else ours(x)
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_connectivity_is_the_length_of_the_gradient(around: dict[str, Any]) -> None:
    model = language_model(**MIXED, **around)
    tokens = model.encoder_.encode(TEXT[:20])
    found = connectivity(model.runtime_, tokens)
    np.testing.assert_allclose(found, gradient_lengths(model, tokens), rtol=1e-3, atol=1e-6)


def test_gates_are_those_of_each_layers_cell() -> None:
    ours = of_values(readout="every", residual=True, layer_norm=True)
    x = RNG.standard_normal((5, 3)).astype(np.float32)
    found = inspected(ours, {"": x}, list("abcde")).gates
    names = {"layer_0.i", "layer_0.f", "layer_0.g", "layer_0.o"}
    assert set(found) == names | {"layer_1.r", "layer_1.z", "layer_1.n"}
    seen: dict[str, torch.Tensor] = {}
    layer = torch_network(ours.architecture, ours.tensors).recurrent[1]
    stack = torch_network(ours.architecture, ours.tensors).recurrent
    with torch.no_grad():
        first, _ = stack.run(0, torch.from_numpy(x)[:, None])
        _, _, seen = layer(stack.norms[1](first), return_gates=True)
    np.testing.assert_allclose(found["layer_1.z"], seen["layer_0.z"][:, 0], rtol=1e-4, atol=1e-5)


def test_a_plain_network_is_described_as_ever() -> None:
    a = of_values(cell="gru").architecture
    assert a.to_json()["cell"] == "gru"
    assert not {"residual", "layer_norm"} & set(a.to_json())
    assert Architecture.from_json(a.to_json()) == a
    mixed = of_values(residual=True, layer_norm=True).architecture
    assert Architecture.from_json(mixed.to_json()) == mixed


X, Y = RNG.normal(size=(8, 6, 1)), np.arange(8.0)
QUIET: dict[str, Any] = {"max_steps": 1, "verbose": 0, "baseline": False}


def test_cells_are_given_as_a_list_or_in_one_text() -> None:
    sizes = (5, 4)
    listed = tg.SequenceRegressor(cell=["lstm", "gru"], hidden_sizes=sizes, **QUIET)
    spelled = tg.SequenceRegressor(cell="lstm, gru", hidden_sizes=list(sizes), **QUIET)
    assert listed.cell == spelled.cell == clone(listed).cell == ("lstm", "gru")
    one = tg.SequenceRegressor(cell=["gru", "gru"], hidden_sizes=sizes, **QUIET).fit(X, Y)
    assert one.runtime_.architecture.cell == "gru"
    np.testing.assert_array_equal(listed.fit(X, Y).predict(X), spelled.fit(X, Y).predict(X))


def test_layers_and_what_goes_past_them_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"cell": "lstm,gru,gru", "hidden_sizes": (5, 4, 4)}
    options |= {"residual": True, "layer_norm": True, "bidirectional": False}
    model = tg.SequenceRegressor(**options, **QUIET).fit(X, Y)
    model.summary()
    told = capsys.readouterr().out
    for name, kind, count in (
        ("recurrent.0", "LSTM", ""),
        ("recurrent.norms.1", "LayerNorm", "10"),
        ("recurrent.1", "GRU", ""),
        ("recurrent.shortcuts.1", "Linear past the layer, added", "20"),
        ("recurrent.shortcuts.2", "Past the layer, added", "0"),
    ):
        (line,) = [line for line in told.splitlines() if line.split("  ")[0] == name]
        assert kind in line
        assert line.endswith(count)


WRONG = {
    "one size": (
        {"cell": "lstm,gru", "hidden_sizes": (5,)},
        r"option cell: expected one cell for all layers, or one for each of 1 layer, .*, got 2",
    ),
    "three cells": (
        {"cell": ["lstm", "gru", "gru"], "hidden_sizes": (5, 4)},
        r"option cell: .* one for each of 2 layers, as hidden_sizes has, got 3; give as many cells",
    ),
    "unknown": ({"cell": "lstm,gruu", "hidden_sizes": (5, 4)}, "option cell: .*got 'gruu'"),
    "none": ({"cell": []}, "option cell: expected one cell for all layers"),
    "two norms": (
        {"batch_norm": True, "layer_norm": True},
        "option layer_norm: expected it without batch_norm, got both",
    ),
    "projection": (
        {"cell": "gru,lstm_projected", "hidden_sizes": (2, 3), "projection_size": 3},
        "option hidden_sizes: expected 4 units .* projection of lstm_projected is smaller, got 3",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_stack_that_cannot_be_is_refused(case: str) -> None:
    options, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        tg.SequenceRegressor(**options, **QUIET).fit(X, Y)


def test_a_run_of_a_stack_goes_on_and_one_of_other_cells_is_refused(tidegate: Tidegate) -> None:
    line = f"train series-regressor {LEARN['series-regressor']} {STACK} -o m.safetensors "
    whole = tidegate(line + "--max-steps 6 --run-folder whole --json")
    assert whole.code == 0, whole.err
    again = tidegate(line + "--max-steps 6 --run-folder whole --resume --json")
    assert again.code == 0, again.err
    assert again.json["validation"] == whole.json["validation"]
    other = tidegate(
        line.replace("lstm,gru", "gru,lstm") + "--max-steps 6 --run-folder whole --resume"
    )
    assert other.code == 2
    assert "--cell" in other.err


def test_a_classifier_starts_from_a_language_model_of_a_stack() -> None:
    texts = "the good film\nso bad a film\n" * 30
    usual = {"hidden_sizes": (5, 4), "embedding_size": 4, "max_steps": 2, "verbose": 0}
    source = tg.LanguageModel(
        cell="lstm,gru",
        residual=True,
        level="word",
        tie_embeddings=False,
        bptt=4,
        counts=False,
        **usual,
    ).fit(texts)
    model = tg.TextClassifier(
        init_from=source,
        max_steps=1,
        learning_rate=1e-12,
        verbose=0,
        evidence=False,
        baseline=False,
    )
    model.fit(["the good film", "so bad"] * 10, ["a", "b"] * 10)
    assert model.runtime_.architecture.residual
    tokens = np.array(source.encoder_.encode("the good film"))[:, None]
    theirs, _ = source.runtime_.features(tokens)
    (ours, *_), _ = model.runtime_.run(tokens)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    source.runtime_ = language_model("word", **MIXED, layer_norm=True).runtime_
    with pytest.raises(InputError, match="option init_from: .*layer_norm.*bidirectional=False"):
        tg.TextClassifier(init_from=source, **QUIET).fit(["a", "b"] * 10, ["a", "b"] * 10)


def test_a_comparison_and_a_search_know_stacks_for_what_they_are(tidegate: Tidegate) -> None:
    around = "--hidden-sizes 6,5 --residual --layer-norm --max-steps 1 --seeds 1 --json"
    data = "reviews.csv --text review --label sentiment --embedding-size 4"
    compared = tidegate(f"compare {data} --task classifier --cells gru,lstm {around}")
    assert compared.code == 0, compared.err
    shown = tidegate(f"tune classifier --show-space {STACK}")
    assert shown.code == 0, shown.err
    assert not {"cell", "units", "layers"} & {line.split()[0] for line in shown.out.splitlines()}
    model = tg.TextClassifier(cell="lstm,gru", hidden_sizes=(6, 5))
    with pytest.raises(InputError, match="option cell: expected one for all layers, of which"):
        space_of(model, narrowed={"layers": (1, 3)})

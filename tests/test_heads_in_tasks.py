"""``num_heads`` in tasks: of the cells that have heads, in every form that a network has."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from command_line import LEARN, TINY, Tidegate
from streamed_models import TEXT, language_model, network
from test_cells_in_tasks import USE
from test_connectivity import gradient_lengths

import tidegate as tg
from tidegate.cells import HEADED
from tidegate.errors import InputError
from tidegate.nn.arrays import torch_network
from tidegate.runtime.connectivity import connectivity
from tidegate.runtime.stepping import Stepping
from tidegate.tuning.space import space_of

RNG = np.random.default_rng(2)
# the second layer's cell has none
OF_HEADS: dict[str, Any] = {"cell": ("slstm", "gru"), "hidden_sizes": (6, 4), "num_heads": 3}
X, Y = RNG.normal(size=(8, 6, 1)), np.arange(8.0)
QUIET: dict[str, Any] = {"max_steps": 1, "verbose": 0, "baseline": False}


@pytest.mark.parametrize("task", ["tagger", "music", "seq2seq", "series-regressor"])
def test_a_task_learns_keeps_and_uses_heads(tidegate: Tidegate, task: str) -> None:
    options = f"{TINY[task]} --cell slstm --num-heads 2 --output m.safetensors"
    learned = tidegate(f"train {task} {LEARN[task]} {options}")
    assert learned.code == 0, learned.err
    about = tidegate("info m.safetensors --json").json["architecture"]
    assert about.get("source", about)["num_heads"] == 2
    used = tidegate(USE[task])
    assert used.code == 0, used.err


def test_weights_are_blocks_of_heads_and_all_answers_are_the_torch_networks() -> None:
    ours = network(input_size=3, readout="last+mean", **OF_HEADS)
    assert ours.tensors["recurrent.0.weight_hh_l0"].shape == (24, 2)
    theirs = torch_network(ours.architecture, ours.tensors)
    assert [layer.num_heads for layer in theirs.recurrent] == [3, 1]
    x = RNG.standard_normal((7, 4, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(ours(x), expected, rtol=1e-4, atol=1e-5)
    stream = Stepping(ours, 4)
    for row in x:
        stream.step(row)
    np.testing.assert_allclose(stream.outputs(), expected, rtol=1e-4, atol=1e-5)


def test_onnx_files_answer_as_the_network() -> None:
    pytest.importorskip("onnxruntime")
    from tidegate.onnx.checking import session_of
    from tidegate.onnx.network import step_model, whole_model

    ours = network(input_size=3, **OF_HEADS)
    x, lengths = RNG.standard_normal((7, 4, 3)).astype(np.float32), np.array([7, 0, 3, 5])
    session = session_of(whole_model(ours, 17, "0").SerializeToString())
    feed = {"values": x.swapaxes(0, 1), "sequence_lens": lengths.astype(np.int32)}
    np.testing.assert_allclose(session.run(None, feed)[0], ours(x, lengths), rtol=1e-4, atol=1e-5)
    model, pairs = step_model(ours, 17, "0")
    state = {pair.input: np.zeros((4, pair.width), np.float32) for pair in pairs}
    (output,) = session_of(model.SerializeToString()).run(["output"], {"values": x[0]} | state)
    np.testing.assert_allclose(output, ours(x[:1]), rtol=1e-4, atol=1e-5)


def test_connectivity_is_the_length_of_the_gradient() -> None:
    model = language_model(**OF_HEADS)
    tokens = model.encoder_.encode(TEXT[:20])
    found = connectivity(model.runtime_, tokens)
    np.testing.assert_allclose(found, gradient_lengths(model, tokens), rtol=1e-3, atol=1e-6)


WRONG = {
    "none": (
        {"num_heads": 2},
        f"option num_heads: expected 1 for gru, which has no heads, got 2; .*them: {HEADED}",
    ),
    "no divisor": (
        {"cell": "gru,slstm", "hidden_sizes": (5, 8), "num_heads": 3},
        "option num_heads: expected a divisor of 8, .*got 3; take num_heads = 2 or hidden",
    ),
    "nothing": ({"cell": "slstm", "num_heads": 0}, "num_heads: expected a whole number at least 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_heads_that_cannot_be_are_refused(case: str) -> None:
    options, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        tg.SequenceRegressor(**options, **QUIET).fit(X, Y)


def test_a_search_of_widths_is_refused_beside_heads_and_one_of_the_rest_is_not() -> None:
    model = tg.SequenceRegressor(cell="slstm", num_heads=2)
    with pytest.raises(InputError, match=re.escape("option num_heads: expected 1 beside hidden")):
        space_of(model)
    assert "units" not in space_of(model, fixed=["hidden_sizes"]).dimensions


def test_heads_are_for_the_cells_of_a_comparison_that_have_them(tidegate: Tidegate) -> None:
    outcome = tidegate(
        "compare book.txt --task language-model --embedding-size 4 --bptt 8 --hidden-sizes 6 "
        "--max-steps 1 --seeds 1 --cells gru,slstm --num-heads 3 --equal-parameters --json"
    )
    assert outcome.code == 0, outcome.err
    of_gru, of_slstm = (run["hidden_sizes"] for run in outcome.json["runs"])
    assert of_gru == [6]
    assert of_slstm[0] % 3 == 0

"""What gates do while a model reads one input, by the equations and names of the cell itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from any_cell import CELL_KINDS
from streamed_models import forecaster, language_model, network, sequence_model, text_classifier

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.runtime.inspection import inspected
from tidegate.runtime.network import Network


def states_of(cell: str, gates: dict[str, np.ndarray]) -> np.ndarray:
    """The outputs that gates lead to, written from the papers' equations."""
    h = c = np.zeros(next(iter(gates.values())).shape[1])
    found = []
    for g in (
        dict(zip(gates, values, strict=True)) for values in zip(*gates.values(), strict=True)
    ):
        if cell == "gru":
            h = (1 - g["z"]) * g["n"] + g["z"] * h
        else:
            c = g["f"] * c + g["i"] * g["g"]
            h = g["o"] * np.tanh(c)
        found.append(h)
    return np.array(found)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_outputs_that_the_gates_lead_to_are_the_network_s(cell: str, norm: bool) -> None:
    """In both directions of the last layer, over more steps than are run at a time."""
    net = network(cell=cell, input_size=3, bidirectional=True, batch_norm=norm)
    x = np.random.default_rng(0).standard_normal((150, 3)).astype(np.float32)
    found = inspected(net, {"": x}, ["" for _ in x]).gates
    y, _ = net.run(x[:, None])
    for outputs, end, turn in zip(y, ("", "_reverse"), (1, -1), strict=True):
        gates = {gate: found[f"layer_1.{gate}{end}"][::turn] for gate in CELLS[cell].gates}
        np.testing.assert_allclose(states_of(cell, gates)[::turn], outputs[:, 0], atol=1e-5)


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_gates_of_any_cell_have_its_names_and_keep_within_their_bounds(cell: str) -> None:
    net = network(cell=cell, input_size=3)
    x = 3 * np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    found = inspected(net, {"": x}, ["" for _ in x])
    watched = list(CELLS[cell].trace.gates)
    assert list(found.gates) == [f"layer_{k}.{gate}" for k in (0, 1) for gate in watched]
    for one in found.watched:
        low, high = one.bounds
        assert one.values.shape == (9, (6, 4)[one.layer])
        assert one.values.min() >= low
        assert one.values.max() <= high
        assert one.meaning == CELLS[cell].gates[one.gate].meaning


def test_shares_near_the_bounds_are_those_of_closed_and_open_gates() -> None:
    """A bias that closes a third of the units' update gates and opens another third."""
    net = network(cell="gru", input_size=2, hidden_sizes=(6,))
    tensors = {name: 0 * tensor for name, tensor in net.tensors.items()}
    z = list(CELLS["gru"].gates).index("z")
    tensors["recurrent.0.bias_ih_l0"][6 * z : 6 * z + 6] = [-9, -9, 0, 0, 9, 9]
    found = inspected(Network(net.architecture, tensors), {"": np.ones((4, 2), np.float32)}, "abcd")
    (of_z,) = [one for one in found.watched if one.gate == "z"]
    assert of_z.saturated == pytest.approx((1 / 3, 1 / 3))
    assert of_z.mean == pytest.approx(0.5)
    assert "layer_0.z (update gate): mean 0.500, 33% near 0, 33% near 1" in repr(found)


SERIES = np.random.default_rng(1).standard_normal((10, 2))
CASES: dict[str, tuple[Any, Any, list[str]]] = {
    "words": (lambda: text_classifier(), "the film, unheard", ["the", "film", ",", "<unk>"]),
    "evidence": (lambda: text_classifier(evidence=True), "so bad", ["so", "bad"]),
    "characters": (lambda: language_model(), "the g", list("the g")),
    "sentences": (lambda: language_model("word"), "the film\n", ["", "the", "film", "\n"]),
    "sequences": (
        lambda: sequence_model(tg.SequenceClassifier, segment=3, own_scale=True),
        SERIES, ["0", "3", "6", "9"],
    ),
    "numbers": (lambda: sequence_model(tg.SequenceRegressor), SERIES[:2], ["0", "1"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_each_task_shows_its_gates_at_the_steps_it_reads(name: str) -> None:
    make, x, steps = CASES[name]
    found = make().inspect(x)
    assert list(found.steps) == steps
    assert all(values.shape[0] == len(steps) for values in found.gates.values())
    assert list(found.gates)[0] == "layer_0.r"


@pytest.mark.parametrize("joint", [True, False])
def test_a_forecaster_shows_the_last_rows_of_each_series_that_it_reads_by_itself(
    joint: bool,
) -> None:
    model = forecaster(joint=joint)
    times = np.datetime64("2030-01-01T00", "s") + 3600 * np.arange(10)
    found = model.inspect(Series.of(times, SERIES, names=["x", "y"]))
    assert list(found.steps) == [f"2030-01-01T{h:02}:00:00" for h in (2, 4, 6, 8)]
    before = ("",) if joint else ("x.", "y.")
    watched = [f"{s}layer_{k}.{gate}" for s in before for k in (0, 1) for gate in "rzn"]
    assert list(found.gates) == watched
    with pytest.raises(InputError, match="expected at least 8 rows"):
        model.inspect(Series.of(times[:7], SERIES[:7], names=["x", "y"]))


def test_a_text_without_tokens_has_no_steps_and_no_shares() -> None:
    found = text_classifier().inspect("")
    assert found.steps == ()
    assert all(values.shape[0] == 0 for values in found.gates.values())
    assert found.watched[0].saturated is None
    assert np.isnan(found.watched[0].mean)


def test_more_steps_than_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.runtime.inspection._LARGEST", 100)
    with pytest.raises(InputError, match="expected at most 3 steps, .* got 4; give a part of it"):
        text_classifier().inspect("the bad film so")


def test_what_is_no_input_of_the_model_is_refused_as_by_predict() -> None:
    with pytest.raises(InputError, match="texts: expected str, got list"):
        text_classifier().inspect(["a", "b"])
    with pytest.raises(InputError, match="expected 2 channels"):
        sequence_model(tg.SequenceClassifier).inspect(np.ones((3, 5)))
    with pytest.raises(InputError, match="not fitted|fit"):
        tg.TextClassifier().inspect("a text")

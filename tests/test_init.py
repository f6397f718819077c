"""How gates start: what chrono initialisation promises of memories and of everything else."""

import math

import pytest
import torch

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.errors import InputError
from tidegate.nn.init import initialise_chrono
from tidegate.nn.recurrent_layer import Recurrent

LONGEST = 200
# The gate that keeps the old state.
KEEPS = {"lstm": "forget gate", "gru": "update gate", "gru_reset_before": "update gate"}
TIMED = {"forget gate", "input gate", "update gate"}


def chrono_layer(cell, **options):
    torch.manual_seed(0)
    layer = Recurrent(cell, 3, 500, **options)
    initialise_chrono(layer, LONGEST)
    return layer


def biases(layer, suffix):
    """The sum of a layer's two biases by gate, each [H]."""
    total = getattr(layer, f"bias_ih_{suffix}") + getattr(layer, f"bias_hh_{suffix}")
    meanings = layer.cell.gates.values()
    return dict(zip(meanings, total.detach().split(layer.hidden_size), strict=True))


@pytest.mark.parametrize("cell", KEEPS)
def test_memories_are_uniform_from_two_steps_to_the_longest(cell):
    layer = chrono_layer(cell, bidirectional=True, num_layers=2)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        gates = biases(layer, suffix)
        steps = gates[KEEPS[cell]].exp() + 1
        assert steps.min() >= 2
        assert steps.max() <= LONGEST
        # the mean of 500 draws of deviation 57: within four standard errors
        assert abs(float(steps.mean()) - (LONGEST + 2) / 2) < 4 * 57 / math.sqrt(500)
        if cell == "lstm":
            assert torch.equal(gates["input gate"], -gates["forget gate"])


@pytest.mark.parametrize("cell", KEEPS)
def test_a_state_fades_over_as_many_steps_as_its_unit_was_given(cell):
    layer = chrono_layer(cell)
    gate = biases(layer, "l0")[KEEPS[cell]]
    with torch.no_grad():
        for weight in (layer.weight_ih_l0, layer.weight_hh_l0):
            weight.zero_()  # what a unit does with no input
        for name in ("g", "n"):  # a candidate of 0 adds nothing
            if name in layer.cell.gates:
                row = list(layer.cell.gates).index(name)
                for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
                    bias.view(-1, layer.hidden_size)[row] = 0
        ones = torch.ones(1, 1, layer.hidden_size)
        _, after = layer(torch.zeros(1, 1, 3), (ones, ones) if cell == "lstm" else ones)
    kept = after[1] if cell == "lstm" else after
    steps = gate.exp() + 1
    torch.testing.assert_close(kept[0, 0], 1 - 1 / steps, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_and_the_other_gates_stay_as_they_were(cell):
    torch.manual_seed(0)
    before = Recurrent(cell, 3, 5)
    after = Recurrent(cell, 3, 5)
    after.load_state_dict(before.state_dict())
    initialise_chrono(after, LONGEST)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        meanings = before.cell.gates.values()
        for meaning, a, b in zip(meanings, old.split(5), new.split(5), strict=True):
            timed = name.startswith("bias") and meaning in TIMED
            assert torch.equal(a, b) != timed, (name, meaning)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_task_starts_with_the_memories_it_is_given(cell, monkeypatch):
    from tidegate.training.objective import TrainingResult

    untrained = TrainingResult([], {}, best_step=0, steps=0, epochs=0.0, seconds=0.0, stopped="")
    monkeypatch.setattr("tidegate.training.loop.fit", lambda *_: untrained)
    x, y = torch.rand(8, 20, 1).numpy(), torch.rand(8).numpy()
    options = {"cell": cell, "hidden_sizes": (16, 16), "verbose": 0}
    model = tg.SequenceRegressor(chrono=LONGEST, **options).fit(x, y)
    for layer in model.network_.recurrent:
        steps = biases(layer, "l0_reverse")[KEEPS[cell]].exp() + 1
        assert steps.min() >= 2
        assert steps.max() <= LONGEST
        assert len(steps.unique()) == 16


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="longest: expected 3"):
        initialise_chrono(tg.GRU(2, 3), 2)
    with pytest.raises(ValueError, match="bias=False"):
        initialise_chrono(tg.LSTM(2, 3, bias=False), 10)
    with pytest.raises(InputError, match="option chrono: expected .*at least 3"):
        tg.SequenceRegressor(chrono=2).fit([[0.0, 1.0]] * 4, [1.0, 2.0, 3.0, 4.0])

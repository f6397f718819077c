"""How gates start: what chrono initialisation promises of memories and of everything else."""

import math

import pytest
import torch
from any_cell import flat, layer_of

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.errors import InputError
from tidegate.nn.init import initialise_chrono, initialise_recurrent

LONGEST = 200
SIGNS = {"keeps": 1, "writes": -1}
# cells whose state is scaled by more than its gates, that forget nothing, or whose gates have other
# biases beside
SCALED = {"lstm_nfg", "lstm_norm", "gru_norm", "slstm", "slstm_exp", "lstm_fgr"}
GATED = [n for n, c in CELLS.items() if any(g.role in SIGNS for g in c.gates.values())]


def chrono_layer(cell, **options):
    torch.manual_seed(0)
    layer = layer_of(cell, 3, 500, **options)
    initialise_chrono(layer, LONGEST)
    return layer


def biases(layer, suffix):
    """The sum of a layer's two biases by gate, each [H]."""
    found: dict[str, torch.Tensor] = {}
    for name, parameter in layer.cell.parameters.items():
        if parameter.is_bias or parameter.stands_for == "bias":
            stacked = getattr(layer, f"{name}_{suffix}").detach()
            for gate, block in zip(
                parameter.blocks, stacked.chunk(len(parameter.blocks)), strict=True
            ):
                found[gate] = found.get(gate, 0) + block
    return found


def logarithms(layer, suffix):
    """Of the steps that units are to remember, as each gate with a role says, [gates, H]."""
    gates = biases(layer, suffix)
    roles = {name: gate.role for name, gate in layer.cell.gates.items()}
    return torch.stack([SIGNS[role] * gates[g] for g, role in roles.items() if role in SIGNS])


@pytest.mark.parametrize("cell", GATED)
def test_memories_are_uniform_from_two_steps_to_the_longest(cell):
    layer = chrono_layer(cell, bidirectional=True, num_layers=2)
    for suffix in ("l0", "l0_reverse", "l1", "l1_reverse"):
        told = logarithms(layer, suffix)
        assert all(torch.equal(one, told[0]) for one in told)
        steps = told[0].exp() + 1
        assert steps.min() >= 2
        assert steps.max() <= LONGEST
        # the mean of 500 draws of deviation 57: within four standard errors
        assert abs(float(steps.mean()) - (LONGEST + 2) / 2) < 4 * 57 / math.sqrt(500)


@pytest.mark.parametrize("cell", [name for name in GATED if name not in SCALED])
def test_a_state_fades_over_as_many_steps_as_its_unit_was_given(cell):
    layer = chrono_layer(cell)
    told = logarithms(layer, "l0")[0]
    with torch.no_grad():
        for (name, weight), parameter in zip(
            layer.named_parameters(), layer.cell.parameters.values(), strict=True
        ):
            if not name.startswith("bias"):
                weight.zero_()  # what a unit does with no input
                continue
            for gate, block in zip(
                parameter.blocks, weight.chunk(len(parameter.blocks)), strict=True
            ):
                if not layer.cell.gates[gate].role:  # a candidate of 0 adds nothing
                    block.zero_()
        ones = tuple(torch.ones(1, 1, size) for size in layer.state_sizes)
        _, after = layer(torch.zeros(1, 1, 3), ones if len(ones) > 1 else ones[0])
    kept = flat(after)[-1]
    steps = told.exp() + 1
    torch.testing.assert_close(kept[0, 0], 1 - 1 / steps, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_and_the_other_gates_stay_as_they_were(cell):
    torch.manual_seed(0)
    before = layer_of(cell, 3, 5)
    after = layer_of(cell, 3, 5)
    after.load_state_dict(before.state_dict())
    initialise_chrono(after, LONGEST)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        declared = before.cell.parameters[name.removesuffix("_l0")]
        count = len(declared.blocks)
        for gate, a, b in zip(declared.blocks, old.chunk(count), new.chunk(count), strict=True):
            is_bias = declared.is_bias or declared.stands_for == "bias"
            timed = is_bias and gate in before.cell.gates and before.cell.gates[gate].role in SIGNS
            assert torch.equal(a, b) != timed, (name, gate)


@pytest.mark.parametrize("cell", CELLS)
def test_a_tasks_layers_start_by_the_roles_of_their_parameters(cell):
    torch.manual_seed(0)
    layer = layer_of(cell, 6, 8, num_layers=2, bidirectional=True)
    initialise_recurrent(layer, forget_bias=1.5)
    for name, tensor in layer.named_parameters():
        declared = layer.cell.parameters[name.partition("_l")[0]]
        for gate, block in zip(declared.blocks, tensor.chunk(len(declared.blocks)), strict=True):
            if declared.role == "recurrent":
                least = min(block.shape)
                product = block.T @ block if block.shape[1] == least else block @ block.T
                torch.testing.assert_close(product, torch.eye(least), rtol=0, atol=1e-5)
            elif declared.columns is not None:
                bound = (6 / sum(block.shape)) ** 0.5
                assert 0.7 * bound < block.abs().max() <= bound
            elif declared.stands_for == "recurrent":
                assert 0 <= block.min() < 0.5 < block.max() <= 1
            else:
                is_its_bias = name.partition("_l")[0] == layer.cell.bias_of.get(gate)
                forgets = is_its_bias and gate in layer.cell.forget_gates
                assert (block == (1.5 if forgets else 0)).all()


def test_forget_gates_are_those_beside_a_gate_that_writes():
    found = {name: cell.forget_gates for name, cell in CELLS.items() if cell.forget_gates}
    variants = ["fgr", "niaf", "noaf", "nog", "norm", "peephole", "projected"]
    expected = ["lstm", "minlstm", "slstm", "slstm_exp", *(f"lstm_{name}" for name in variants)]
    assert found == dict.fromkeys(expected, ("f",))


@pytest.mark.parametrize("cell", ["gru", "lstm", "lstm_projected", "mgu"])
def test_a_task_starts_with_the_memories_it_is_given(cell, monkeypatch):
    from tidegate.training.objective import TrainingResult

    untrained = TrainingResult(
        [], {}, best_step=0, steps=0, epochs=0.0, seconds=0.0, stopped="", judged={}
    )
    monkeypatch.setattr("tidegate.training.loop.fit", lambda *_, **__: untrained)
    x, y = torch.rand(8, 20, 1).numpy(), torch.rand(8).numpy()
    options = {"cell": cell, "hidden_sizes": (16, 16), "verbose": 0, "baseline": False}
    model = tg.SequenceRegressor(chrono=LONGEST, **options).fit(x, y)
    for layer in model.network_.recurrent:
        steps = logarithms(layer, "l0_reverse")[0].exp() + 1
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

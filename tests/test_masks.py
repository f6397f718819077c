"""Masks on what the weights of a layer see, one for all gates or one for each, on every path."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from any_cell import CELL_KINDS, flat, layer_of, random_case, sizes_of, slack
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tidegate as tg
from tidegate.cells import CELLS, Cell
from tidegate.nn import functional, products, reference
from tidegate.nn.reference import Operations

# relative to the largest value: float32 over up to 7 steps, and float64
TOLERANCE = {torch.float32: 5e-5, torch.float64: 1e-11}
KINDS = ("recurrent_mask", "input_mask")
MASKED = [name for name in CELL_KINDS if CELLS[name].seen_width is not None]


def masks(
    cell: Cell, rows: int, sizes: dict[str, int], per_gate: tuple[bool, bool]
) -> dict[str, Tensor]:
    """One mask of each kind, of numbers that show which one was taken."""
    found = {}
    for name, argument, apart in zip(("weight_hh", "weight_ih"), KINDS, per_gate, strict=True):
        parameter = cell.parameters[name]
        shape = (rows, sizes[str(parameter.columns).partition("/")[0]])
        shape = (len(parameter.blocks), *shape) if apart else shape
        found[argument] = (
            torch.rand(shape, dtype=torch.float64).mul(2).where(torch.rand(shape) > 0.3, 0.0)
        )
    return found


def spelled_out(cell: Cell, x: Any, state: Any, weights: Any, recurrent: Any, inputs: Any) -> Any:
    """The cell with masks by hand: each gate's products see what its own mask leaves."""
    parts = {
        name: dict(
            zip(
                cell.parameters[name].blocks,
                w.chunk(len(cell.parameters[name].blocks)),
                strict=True,
            )
        )
        for name, w in weights.items()
    }
    bias = {g: parts["bias_ih"][g] for g in parts["bias_ih"]}
    outputs = []
    for x_t in x:
        w, u = Gates(), Gates()
        for k, (g, block) in enumerate(parts["weight_ih"].items()):
            mask = inputs[k] if inputs.dim() == 3 else inputs
            setattr(w, g, (x_t * mask) @ block.T + bias[g])
        for k, (g, block) in enumerate(parts["weight_hh"].items()):
            mask = recurrent[k] if recurrent.dim() == 3 else recurrent
            b = parts["bias_hh"][g]
            setattr(u, g, lambda v, m=mask, w=block, b=b: (v * m) @ w.T + b)
        further = []
        for name in cell.vectors:
            gates = Gates()
            vars(gates).update(parts[name])
            further.append(gates)
        further += [lambda v, w=weights[name]: v @ w.T for name in cell.projections]
        state, _ = cell.step(Operations, w, u, *further, *state)
        outputs.append(state[0])
    return torch.stack(outputs), state


class Gates:
    """A value for each gate."""


@pytest.mark.parametrize("per_gate", [False, True], ids=["one mask", "one for each gate"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", MASKED)
def test_masks_scale_what_each_product_sees(name: str, dtype: torch.dtype, per_gate: bool) -> None:
    cell = CELLS[name]
    arrays = random_case(cell, steps=5, rows=3, inputs=4, hidden=6)
    given = masks(cell, 3, sizes_of(cell, 4, 6), (per_gate, per_gate))

    def results(run: Any, dtype: torch.dtype) -> list[Tensor]:
        x, state, weights = arrays
        inputs = [torch.tensor(a, dtype=dtype, requires_grad=True) for a in (x, *state)]
        named = {n: torch.tensor(w, dtype=dtype, requires_grad=True) for n, w in weights.items()}
        own = {argument: mask.to(dtype) for argument, mask in given.items()}
        y, final = run(inputs[0], tuple(inputs[1:]), named, own)
        loss = torch.stack([o.square().sum() for o in (y, *final)]).sum()
        return [y, *final, *torch.autograd.grad(loss, [*inputs, *named.values()])]

    ours = results(
        lambda x, state, w, own: functional.recurrence(cell, x, state, [*w.values()], **own), dtype
    )
    exact = results(
        lambda x, state, w, own: spelled_out(
            cell, x, state, w, own["recurrent_mask"], own["input_mask"]
        ),
        torch.float64,
    )
    for mine, other in zip(ours, exact, strict=True):
        scale = max(1.0, float(other.detach().abs().max()))
        tolerance = TOLERANCE[dtype] * scale * slack(cell)
        torch.testing.assert_close(mine.double(), other, rtol=0, atol=tolerance)


def tensors_of(case: Any, dtype: torch.dtype) -> tuple[Tensor, tuple[Tensor, ...], list[Tensor]]:
    x, state, weights = case

    def learned(a: Any) -> Tensor:
        return torch.tensor(a, dtype=dtype, requires_grad=True)

    return learned(x), tuple(map(learned, state)), [*map(learned, weights.values())]


def outputs_and_gradients(
    run: Any, cell: Cell, case: Any, given: dict[str, Tensor], dtype: torch.dtype, **options: Any
) -> list[Tensor]:
    """Outputs and the gradients of all that is not frozen, of a loss that weighs them all."""
    frozen = options.pop("frozen", ())
    x, state, weights = tensors_of(case, dtype)
    for k in frozen:
        (x, *weights)[k].requires_grad_(False)
    named = dict(zip(case[2], weights, strict=True))
    masks = {argument: mask.to(dtype) for argument, mask in given.items()}
    every = [named.get(name) for name in cell.parameters]
    y, final = run(cell, x, state, every, **masks, **options)
    outputs = [y, *final]
    losses = [(o * torch.linspace(-1, 2, o.numel()).to(dtype).view_as(o)).sum() for o in outputs]
    wanted = [t for t in (x, *state, *weights) if t.requires_grad]
    return outputs + list(torch.autograd.grad(torch.stack(losses).sum(), wanted))


def assert_same(ours: list[Tensor], exact: list[Tensor], tolerance: float) -> None:
    for mine, other in zip(ours, exact, strict=True):
        scale = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
        torch.testing.assert_close(mine.double(), other, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", MASKED)
@settings(max_examples=10)
@given(data=st.data())
def test_masks_go_with_lengths_directions_and_frozen_weights(name: str, data: Any) -> None:
    cell = CELLS[name]
    steps, rows = data.draw(st.integers(1, 7)), data.draw(st.sampled_from((1, 2, 5)))
    inputs, hidden = data.draw(st.sampled_from((1, 3, 17))), data.draw(st.sampled_from((2, 6, 33)))
    case = random_case(cell, steps, rows, inputs, hidden, seed=data.draw(st.integers(0, 99)))
    if not data.draw(st.booleans(), label="biases"):
        kept = {n: w for n, w in case[2].items() if not cell.parameters[n].is_bias}
        case = (*case[:2], kept)
    torch.manual_seed(data.draw(st.integers(0, 99)))
    per_gate = data.draw(st.tuples(st.booleans(), st.booleans()))
    wanted = data.draw(st.sampled_from((KINDS, KINDS[:1], KINDS[1:])))
    given_masks = masks(cell, rows, sizes_of(cell, inputs, hidden), per_gate)
    given_masks = {kind: mask for kind, mask in given_masks.items() if kind in wanted}
    ragged = st.lists(st.integers(0, steps), min_size=rows, max_size=rows)
    lengths = data.draw(st.none() | ragged)
    options = {
        "lengths": None if lengths is None else torch.tensor(lengths),
        "reverse": data.draw(st.booleans(), label="reverse"),
        "frozen": data.draw(st.sets(st.sampled_from((0, 1, 2)))),  # x, weight_ih, weight_hh
    }
    double = torch.float64
    exact = outputs_and_gradients(reference.unroll, cell, case, given_masks, double, **options)
    for dtype, tolerance in TOLERANCE.items():
        ours = outputs_and_gradients(
            functional.recurrence, cell, case, given_masks, dtype, **options
        )
        assert_same(ours, exact, tolerance * slack(cell))


@pytest.mark.parametrize("lengths", [None, [7, 0, 2, 5]], ids=["full", "ragged"])
@pytest.mark.parametrize("by_engine", [False, True], ids=["torch's products", "the engine's"])
@pytest.mark.parametrize("name", ["gru", "lstm_projected"])
def test_products_of_masked_inputs_are_torchs_or_the_engines(
    name: str, by_engine: bool, lengths: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "_LEFT_BEHIND", by_engine)
    cell, case = CELLS[name], random_case(CELLS[name], 7, 4, 37, 33)
    given_masks = masks(cell, 4, sizes_of(cell, 37, 33), (True, True))
    options = {"lengths": None if lengths is None else torch.tensor(lengths)}
    exact = outputs_and_gradients(
        reference.unroll, cell, case, given_masks, torch.float64, **options
    )
    ours = outputs_and_gradients(
        functional.recurrence, cell, case, given_masks, torch.float32, strict=True, **options
    )
    assert_same(ours, exact, TOLERANCE[torch.float32])


@pytest.mark.parametrize("lengths", [None, [4, 0, 2]], ids=["full", "ragged"])
@pytest.mark.parametrize("name", ["gru", "lstm_projected"])
def test_without_gradients_masks_give_the_same_outputs(name: str, lengths: Any) -> None:
    cell, case = CELLS[name], random_case(CELLS[name], 4)
    given_masks = {
        k: m.float() for k, m in masks(cell, 3, sizes_of(cell, 4, 6), (True, True)).items()
    }
    x, state, weights = tensors_of(case, torch.float32)
    options = {"lengths": None if lengths is None else torch.tensor(lengths)} | given_masks
    y, final = functional.recurrence(cell, x, state, weights, **options)
    with torch.no_grad():
        again, ended = functional.recurrence(cell, x, state, weights, **options)
        torch.testing.assert_close((again, *ended), (y, *final), rtol=0, atol=1e-6)
        none = functional.recurrence(
            cell, x[:0], state, weights, input_mask=given_masks["input_mask"]
        )
    assert none[0].shape == (0, *y.shape[1:])


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_masked_outputs_may_be_changed_in_place_and_differentiated_twice(name: str) -> None:
    cell, case = CELLS[name], random_case(CELLS[name], 4)
    given_masks = masks(cell, 3, sizes_of(cell, 4, 6), (True, True))

    def penalty(run: Any, dtype: torch.dtype) -> list[Tensor]:
        x, state, weights = tensors_of(case, dtype)
        own = {k: m.to(dtype) for k, m in given_masks.items()}
        y, _ = run(cell, x, state, weights, **own)
        y.mul_(2)
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return [slope, *torch.autograd.grad(slope.square().sum(), [x, *weights[:2]])]

    exact = penalty(reference.unroll, torch.float64)
    assert_same(penalty(functional.recurrence, torch.float32), exact, 5e-5)
    x, state, weights = tensors_of(case, torch.float32)
    y, _ = functional.recurrence(
        cell, x, state, weights, **{k: m.float() for k, m in given_masks.items()}
    )
    y.mul_(2)
    (once,) = torch.autograd.grad(y.square().sum(), x)
    assert_same([once], exact[:1], 5e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_that_is_learned_has_its_gradient(kind: str) -> None:
    cell, case = CELLS["gru"], random_case(CELLS["gru"])
    found = []
    for run, dtype in ((functional.recurrence, torch.float32), (reference.unroll, torch.float64)):
        x, state, weights = tensors_of(case, dtype)
        torch.manual_seed(1)
        mask = masks(cell, 3, sizes_of(cell, 4, 6), (True, True))[kind].to(dtype).requires_grad_()
        y, _ = run(cell, x, state, weights, **{kind: mask})
        found.append(torch.autograd.grad(y.square().sum(), mask)[0].double())
    assert_same(found[:1], found[1:], 5e-5)
    with pytest.raises(RuntimeError, match="strict: .*a mask or noise is to be learned"):
        functional.recurrence(cell, x.float(), state, weights, strict=True, **{kind: mask})


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_of_another_shape_is_refused_with_both_that_fit(kind: str) -> None:
    cell = CELLS["lstm"]
    x, state, weights = tensors_of(random_case(cell), torch.float32)
    width = 6 if kind == "recurrent_mask" else 4
    for shape in ((4, 3), (3, 3, width), (4, 1, width), (width,), (4, 3, width + 1)):
        expected = rf"{kind}: expected \[3, {width}\], or \[4, 3, {width}\] with one for each of i"
        with pytest.raises(ValueError, match=expected):
            functional.recurrence(cell, x, state, weights, **{kind: torch.ones(shape)})


# layers draw them


@pytest.mark.parametrize("name", MASKED)
def test_a_layer_draws_a_mask_for_each_gate_and_none_in_evaluation(name: str) -> None:
    cell = CELLS[name]
    layer = layer_of(name, 64, 64, dropout_per_gate=True, input_dropout=0.5, recurrent_dropout=0.5)
    x = torch.randn(2, 1, 64)
    layer(x)[0].square().sum().backward()
    for weight in ("weight_ih", "weight_hh"):
        blocks = getattr(layer, f"{weight}_l0").grad.chunk(len(cell.parameters[weight].blocks))
        hidden = [(block == 0).all(0) for block in blocks]
        # half of them by the mask, and half of the states of a rectified cell are 0 as well
        assert all(0.2 < h.float().mean() < 0.95 for h in hidden)
        assert all(not torch.equal(hidden[0], other) for other in hidden[1:])
    layer.eval()
    plain = layer_of(name, 64, 64)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x)[0], plain(x)[0])


@pytest.mark.parametrize("per_gate", [False, True])
def test_masks_of_a_layer_keep_the_mean_of_what_is_seen(per_gate: bool) -> None:
    torch.manual_seed(0)
    options = {"input_dropout": 0.3, "dropout_per_gate": per_gate, "bidirectional": True}
    layer = tg.RNN(400, 1, nonlinearity="relu", **options)
    torch.nn.init.constant_(layer.weight_ih_l0, 1 / 400)
    torch.nn.init.zeros_(layer.bias_ih_l0)
    torch.nn.init.zeros_(layer.bias_hh_l0)
    seen = layer(torch.ones(1, 50, 400))[0][..., 0].detach()
    assert abs(float(seen.mean()) - 1) < 0.02  # 50 * 400 values, four deviations
    assert seen.std() > 0.01  # each sequence has its own


def results_of(call: Any, layer: tg.Recurrent, x: Tensor, lengths: Any) -> list[Tensor]:
    torch.manual_seed(4)
    y, final = call(x, lengths=lengths)
    loss = y.square().sum() + flat(final)[-1].sum()
    return [y, *flat(final), *torch.autograd.grad(loss, list(layer.parameters()))]


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's, where a graph breaks
@pytest.mark.parametrize("lengths", [None, [4, 1]], ids=["full", "ragged"])
@pytest.mark.parametrize("name", MASKED)
def test_a_compiled_layer_with_masks_for_each_gate_equals_the_eager_one(
    name: str, lengths: Any
) -> None:
    torch._dynamo.reset()
    layer = layer_of(
        name, 3, 6, dropout_per_gate=True, input_dropout=0.4, recurrent_dropout=0.4, strict=True
    )
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=lengths is None)
    x = torch.randn(4, 2, 3)
    torch.testing.assert_close(
        results_of(compiled, layer, x, lengths), results_of(layer, layer, x, lengths)
    )


def test_masks_that_are_inputs_are_exported() -> None:
    class Masked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = tg.GRU(4, 6)

        def forward(self, x: Tensor, recurrent: Tensor, inputs: Tensor) -> Tensor:
            state, weights = (x.new_zeros(3, 6),), self.layer.layer_weights(0)
            return functional.recurrence(
                CELLS["gru"], x, state, weights, recurrent_mask=recurrent, input_mask=inputs
            )[0]

    network = Masked()
    given_masks = masks(CELLS["gru"], 3, {"I": 4, "H": 6, "P": 0}, (True, True))
    arguments = (torch.randn(5, 3, 4), *(m.float() for m in given_masks.values()))
    exported = torch.export.export(network, arguments)
    assert "recurrence" in str(exported.graph)
    torch.testing.assert_close(exported.module()(*arguments), network(*arguments))


def test_masks_for_each_gate_are_drawn_under_autocast() -> None:
    layer = tg.LSTM(4, 6, num_layers=2, dropout_per_gate=True, input_dropout=0.4)
    x = torch.randn(5, 3, 4)
    torch.manual_seed(1)
    exact, _ = layer(x)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = layer(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact, rtol=0, atol=2e-2)

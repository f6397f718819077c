"""Cells with heads: recurrent weights that are block-diagonal, on every path that runs them."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import ENGINE_CELLS, flat
from cell_with_heads import GATES, headed, layer_of, plain
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tidegate as tg
from tidegate.cells import CELLS, Cell
from tidegate.engine import EngineLayer
from tidegate.equations import bptt
from tidegate.nn import functional
from tidegate.runtime.layers import NumpyLayer

Arrays = dict[str, np.ndarray]
CASES = st.tuples(
    st.integers(1, 5),  # T
    st.sampled_from((1, 3)),  # B
    st.sampled_from((1, 2, 3, 5)),  # K
    st.sampled_from((1, 3, 4)),  # units of a head
    st.integers(0, 99),  # seed
)


def random_case(T: int, B: int, K: int, units: int, seed: int) -> tuple[Any, Any, Arrays]:  # noqa: N803
    """x, the states and the weights of `headed`, float64."""
    rng = np.random.default_rng(seed)
    shapes = headed.shapes({"I": 3, "H": K * units, "K": K})
    weights = {name: rng.standard_normal(shape) / 2 for name, shape in shapes.items()}
    before = tuple(rng.standard_normal((B, K * units)) for _ in headed.states)
    return rng.standard_normal((T, B, 3)), before, weights


def of_head(k: int, heads: int, weights: Arrays) -> Arrays:
    """What head k has of the weights: those of a cell without heads, of H/K units."""
    found = {}
    for name, array in weights.items():
        blocks = len(headed.parameters[name].blocks)
        found[name] = np.concatenate(
            [np.split(block, heads)[k] for block in np.split(array, blocks)]
        )
    return found


def dense(heads: int, weights: Arrays) -> Arrays:
    """The same weights with zeros between the heads, for the cell without heads."""
    parts = np.split(weights["weight_hh"], len(GATES) * heads)
    rows = [np.kron(np.eye(heads)[k % heads], part) for k, part in enumerate(parts)]
    return weights | {"weight_hh": np.concatenate(rows)}


def by_a_layer(
    declared: Cell, x: np.ndarray, before: Any, weights: Arrays, **options: Any
) -> list[np.ndarray]:
    """Outputs, final states and the gradients of a loss that weighs all of them differently."""
    inputs = [torch.tensor(a, requires_grad=True) for a in (x, *before, *weights.values())]
    count = 1 + len(before)
    y, final = functional.recurrence(
        declared, inputs[0], tuple(inputs[1:count]), inputs[count:], **options
    )
    outputs = [y, *final]
    losses = [(o * torch.sin(7 * o.detach())).sum() for o in outputs]
    found = torch.autograd.grad(torch.stack(losses).sum(), inputs)
    return [t.detach().numpy() for t in (*outputs, *found)]


def by_the_book(declared: Cell, x: np.ndarray, before: Any, weights: Arrays) -> list[np.ndarray]:
    run = bptt.forward(declared, x, before, weights)
    d_y, *d_final = (np.sin(7 * o) for o in (run.y, *run.state))
    d_x, d_before, d_weights = bptt.backward(declared, run, weights, d_y, tuple(d_final))
    return [run.y, *run.state, d_x, *d_before, *d_weights.values()]


def assert_same(found: list[np.ndarray], exact: list[np.ndarray]) -> None:
    """In float64, where sums in another order differ by a few units in the last place."""
    for mine, other in zip(found, exact, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12 * max(1, np.abs(other).max()))


@settings(max_examples=25)
@given(CASES)
def test_heads_are_layers_side_by_side_that_read_one_input(case: Any) -> None:
    x, before, weights = random_case(*case)
    K = case[2]  # noqa: N806
    mask = np.random.default_rng(1).integers(0, 2, before[0].shape) * 2.0
    y, h, c, d_x, d_h, d_c, *d_weights = by_a_layer(
        headed, x, before, weights, recurrent_mask=torch.tensor(mask)
    )
    gradients = dict(zip(weights, d_weights, strict=True))
    total = np.zeros_like(d_x)
    for k in range(K):
        own_before = tuple(np.split(s, K, 1)[k] for s in before)
        own_mask = torch.tensor(np.split(mask, K, 1)[k])
        mine = [np.split(a, K, a.ndim - 1)[k] for a in (y, h, c)]
        mine += [np.split(a, K, 1)[k] for a in (d_h, d_c)]
        mine += of_head(k, K, gradients).values()
        own = of_head(k, K, weights)
        exact = by_a_layer(plain, x, own_before, own, recurrent_mask=own_mask)
        total += exact.pop(3)  # all heads read x
        assert_same(mine, exact)
    assert_same([d_x], [total])


@settings(max_examples=25)
@given(CASES)
def test_layer_and_text_book_pass_are_those_of_weights_with_zeros_between_heads(case: Any) -> None:
    x, before, weights = random_case(*case)
    K = case[2]  # noqa: N806
    whole = dense(K, weights)
    exact = by_the_book(plain, x, before, whole)
    of_zeros = exact[6 + list(whole).index("weight_hh")]
    kept = dense(K, weights | {"weight_hh": np.ones_like(weights["weight_hh"])})["weight_hh"] == 1
    exact[6 + list(whole).index("weight_hh")] = of_zeros[kept].reshape(weights["weight_hh"].shape)
    assert_same(by_the_book(headed, x, before, weights), exact)
    assert_same(by_a_layer(headed, x, before, weights), exact)


def test_one_head_is_the_cell_without_heads_to_the_last_bit() -> None:
    x, before, weights = random_case(4, 3, 1, 6, 0)
    for run in (by_a_layer, by_the_book):
        pairs = zip(run(headed, x, before, weights), run(plain, x, before, weights), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_masks_may_be_of_each_gate() -> None:
    x, before, weights = random_case(4, 3, 2, 3, 0)
    one = np.random.default_rng(1).integers(0, 2, before[0].shape) * 2.0
    each = torch.tensor(np.random.default_rng(2).permuted(np.stack([one] * len(GATES)), axis=2))
    exact = by_a_layer(plain, x, before, dense(2, weights), recurrent_mask=each)
    found = by_a_layer(headed, x, before, weights, recurrent_mask=each)
    assert_same(found[:6], exact[:6])
    with pytest.raises(ValueError, match=r"recurrent_mask: expected \[3, 6\], or \[4, 3, 6\] .*"):
        by_a_layer(headed, x, before, weights, recurrent_mask=each[..., :3])


def test_weights_that_go_with_no_number_of_heads_are_refused() -> None:
    x, before, weights = random_case(2, 1, 2, 3, 0)
    for rows, columns in [(24, 4), (23, 3), (24, 12), (24, 0)]:
        with pytest.raises(ValueError, match=r"weight_hh: expected \[4 \* H, H/K\] for K heads of"):
            by_a_layer(headed, x, before, weights | {"weight_hh": np.zeros((rows, columns))})


def test_gradients_equal_finite_differences_twice() -> None:
    layer = layer_of()
    x = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], (x,))


def test_padding_and_order_of_rows_change_nothing() -> None:
    layer = layer_of(num_layers=2, bidirectional=True)
    x, lengths = torch.randn(5, 4, 3, dtype=torch.float64), torch.tensor([3, 0, 5, 1])
    y, final = layer(x, lengths=lengths)
    order = torch.tensor([2, 3, 1, 0])
    y_sorted, final_sorted = layer(x[:, order], lengths=lengths[order])
    torch.testing.assert_close(y_sorted, y[:, order], rtol=0, atol=1e-14)
    for b, n in enumerate(lengths.tolist()):
        y_alone, alone = layer(x[:n, b : b + 1])
        torch.testing.assert_close(y[:n, b], y_alone[:, 0], rtol=0, atol=1e-14)
        assert not y[n:, b].any()
        for s, s_sorted, own in zip(final, final_sorted, alone, strict=True):
            torch.testing.assert_close(s[:, b], own[:, 0], rtol=0, atol=1e-14)
            torch.testing.assert_close(s_sorted, s[:, order], rtol=0, atol=1e-14)
    assert layer(x[:, :0])[0].shape == (5, 0, 12)


@pytest.mark.parametrize("cut_at", [0, 1, 3])
def test_a_stream_may_be_cut_anywhere(cut_at: int) -> None:
    layer = layer_of(num_layers=2)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    whole, end = layer(x)
    first, state = layer(x[:cut_at])
    steps = []
    for x_t in x[cut_at:]:
        y_t, state = layer.step(x_t, state)
        steps.append(y_t)
    torch.testing.assert_close(torch.cat([first, torch.stack(steps)]), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-14)


def test_the_layer_on_numpy_is_the_layer() -> None:
    layer = layer_of().float()
    weights = {n.removesuffix("_l0"): p.detach().numpy() for n, p in layer.named_parameters()}
    ours = NumpyLayer(headed, weights, {"I": 3, "H": 6, "K": 2})
    x, lengths = torch.randn(4, 3, 3), torch.tensor([4, 1, 0])
    y, final = ours.forward(x.numpy(), lengths=lengths.numpy())
    exact, end = layer(x, lengths=lengths)
    # float32 over four steps
    np.testing.assert_allclose(y, exact.detach(), rtol=0, atol=1e-6)
    for mine, other in zip(final, flat(end), strict=True):
        np.testing.assert_allclose(mine, other[0].detach(), rtol=0, atol=1e-6)
    state = ours.initial_state(3)
    np.testing.assert_allclose(ours.step(x[0].numpy(), state)[0], y[0, 0], rtol=0, atol=1e-6)


def test_training_hides_values_of_all_heads() -> None:
    layer = layer_of(recurrent_dropout=0.5, dropout_per_gate=True)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


# with kernels of the engine

ON_ENGINE = [n for n in ENGINE_CELLS if CELLS[n].seen_width == "H"]


@pytest.fixture(params=ON_ENGINE)
def compiled(request: Any, monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A cell that the engine has kernels for, as if it were declared with heads."""
    declared = dataclasses.replace(CELLS[request.param], heads=True, torch=None)
    monkeypatch.setitem(CELLS, declared.name, declared)
    return declared


@pytest.mark.parametrize("masks", [0, 2, 3], ids=["no masks", "masks", "masks of each gate"])
def test_the_engine_runs_heads_as_the_reference_does(compiled: Cell, masks: int) -> None:
    torch.manual_seed(0)
    T, B, K, units = 5, 3, 3, 7  # noqa: N806
    shapes = compiled.shapes({"I": 4, "H": K * units, "K": K})
    x, *weights = (torch.randn(s) / 2 for s in ((T, B, 4), *shapes.values()))
    before = tuple(torch.randn(B, width) for width in compiled.state_sizes({"H": K * units}))
    lengths = torch.tensor([5, 0, 2])
    shape = (len(compiled.parameters["weight_hh"].blocks), B, K * units)[3 - masks :]
    mask = torch.bernoulli(torch.full(shape, 0.5)) * 2 if masks else None
    results = []
    for dtype, strict in ((torch.float32, True), (torch.float64, False)):
        inputs = [t.to(dtype).requires_grad_() for t in (x, *before, *weights)]
        count = 1 + len(before)
        y, final = functional.recurrence(
            compiled, inputs[0], tuple(inputs[1:count]), inputs[count:], lengths, reverse=True,
            recurrent_mask=None if mask is None else mask.to(dtype), strict=strict,
        )  # fmt: skip
        losses = [
            (o * torch.linspace(-1, 2, o.numel(), dtype=dtype).view_as(o)).sum()
            for o in (y, *final)
        ]
        results.append([y, *final, *torch.autograd.grad(losses, inputs)])
    assert results[0][-1].shape == results[1][-1].shape
    for mine, exact in zip(*results, strict=True):
        # float32 over five steps, relative to the largest value
        scale = max(1.0, float(exact.detach().abs().max()))
        torch.testing.assert_close(mine.double(), exact, rtol=0, atol=5e-6 * scale)


def test_layers_of_the_engine_with_heads_train_stream_and_answer_without_torch(
    compiled: Cell,
) -> None:
    torch.manual_seed(0)
    layer = tg.Recurrent(compiled, 4, 6, num_heads=3, strict=True)
    assert re.fullmatch(r"engine: .*, on whole matrices with zeros between heads", layer.explain())
    x = torch.randn(5, 2, 4)
    y, end = layer(x)
    y.sum().backward()
    assert layer.weight_hh_l0.grad is not None
    assert layer.weight_hh_l0.grad.shape == layer.weight_hh_l0.shape
    state = None
    for t in range(5):
        y_t, state = layer.step(x[t], state)
        torch.testing.assert_close(y_t, y[t], rtol=0, atol=1e-6)
    weights = {n.removesuffix("_l0"): p.detach().numpy() for n, p in layer.named_parameters()}
    on_arrays = EngineLayer(compiled.name, weights)
    found, final = on_arrays.forward(x.numpy())
    np.testing.assert_allclose(found, y.detach(), rtol=0, atol=1e-6)
    for mine, other in zip(final, flat(end), strict=True):
        np.testing.assert_allclose(mine, other[0].detach(), rtol=0, atol=1e-6)
    wrong = weights | {"weight_hh": np.tile(weights["weight_hh"], 2)}  # [.., 4] of 6 units
    with pytest.raises(
        ValueError, match=r"weight_hh: expected \[.*H = \d+, H/K\], each at least 1"
    ):
        EngineLayer(compiled.name, wrong)

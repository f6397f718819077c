"""Every declared cell, in every way a layer runs it, against the text-book pass in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from any_cell import flat, layer_of, random_case, slack, state_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tidegate.cells import CELLS, Cell
from tidegate.equations import bptt
from tidegate.nn import functional

Arrays = dict[str, np.ndarray]
SIZES = st.sampled_from((2, 3, 17, 33))
# relative to the largest value: float32 over up to 9 steps, and float64
TOLERANCE = {torch.float32: 5e-6, torch.float64: 1e-12}


def by_the_book(
    cell: Cell, x: np.ndarray, state: Any, weights: Arrays, lengths: list[int], reverse: bool
) -> list[np.ndarray]:
    """Outputs, final states and all gradients of `weighed`, each row by itself for its length."""
    y = np.zeros((*x.shape[:2], state[0].shape[1]))
    final = [s.copy() for s in state]
    d_x, d_state = np.zeros_like(x), [np.zeros_like(s) for s in state]
    d_weights = {name: np.zeros_like(w) for name, w in weights.items()}
    d_y, *d_final = (weighed(a) for a in (y, *final))
    for b, n in enumerate(lengths):
        order = np.arange(n)[::-1] if reverse else np.arange(n)
        row = slice(b, b + 1)
        run = bptt.forward(cell, x[order, row], tuple(s[row] for s in state), weights)
        y[order, row] = run.y
        for all_rows, own in zip(final, run.state, strict=True):
            all_rows[row] = own
        grad_x, grad_state, grads = bptt.backward(
            cell, run, weights, d_y[order, row], tuple(g[row] for g in d_final)
        )
        d_x[order, row] = grad_x
        for all_rows, own in zip(d_state, grad_state, strict=True):
            all_rows[row] = own
        for name, gradient in grads.items():
            d_weights[name] += gradient
    return [y, *final, d_x, *d_state, *d_weights.values()]


def weighed(outputs: np.ndarray) -> np.ndarray:
    """What a loss weighs outputs by, all of them differently."""
    return np.linspace(-1, 2, outputs.size).reshape(outputs.shape)


def by_a_layer(
    cell: Cell, x: np.ndarray, state: Any, weights: Arrays, dtype: torch.dtype, **options: Any
) -> list[Tensor]:
    inputs = [torch.tensor(a, dtype=dtype).requires_grad_() for a in (x, *state, *weights.values())]
    tensors = dict(zip(weights, inputs[1 + len(state) :], strict=True))
    given = [tensors.get(name) for name in cell.parameters]
    y, final = functional.recurrence(
        cell, inputs[0], tuple(inputs[1 : 1 + len(state)]), given, **options
    )
    outputs = [y, *final]
    losses = [(o * torch.tensor(weighed(o.detach().numpy()))).sum().double() for o in outputs]
    return outputs + list(torch.autograd.grad(torch.stack(losses).sum(), inputs))


@pytest.mark.parametrize("name", CELLS)
@settings(max_examples=12)
@given(data=st.data())
def test_outputs_and_all_gradients_are_those_of_the_text_book(name: str, data: Any) -> None:
    cell = CELLS[name]
    steps, rows = data.draw(st.integers(1, 9)), data.draw(st.sampled_from((1, 2, 5)))
    x, state, weights = random_case(
        cell, steps, rows, data.draw(SIZES), data.draw(SIZES), seed=data.draw(st.integers(0, 99))
    )
    if not data.draw(st.booleans(), label="biases"):
        weights = {n: w for n, w in weights.items() if not cell.parameters[n].is_bias}
    full, reverse = [steps] * rows, data.draw(st.booleans(), label="reverse")
    ragged = st.lists(st.integers(0, steps), min_size=rows, max_size=rows)
    lengths = data.draw(st.just(full) | ragged)
    given_lengths = None if lengths == full else torch.tensor(lengths)
    exact = by_the_book(cell, x, state, weights, lengths, reverse)
    for dtype, tolerance in TOLERANCE.items():
        ours = by_a_layer(cell, x, state, weights, dtype, lengths=given_lengths, reverse=reverse)
        for mine, other in zip(ours, exact, strict=True):
            scale = max((steps * rows) ** 0.5, np.abs(other).max(initial=0))
            allowed = tolerance * scale * slack(cell)
            np.testing.assert_allclose(mine.detach(), other, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", CELLS)
def test_gradients_pass_the_numerical_check(name: str) -> None:
    torch.manual_seed(3)
    layer = layer_of(name, 2, 4, bidirectional=True, dtype=torch.float64)
    x = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    state = [s.requires_grad_() for s in flat(state_of(layer, 3))]
    weights = dict(layer.named_parameters())

    def call(x: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        before, given = others[: len(state)], dict(zip(weights, others[len(state) :], strict=True))
        hx = tuple(before) if len(before) > 1 else before[0]
        y, after = torch.func.functional_call(layer, given, (x, hx, [4, 0, 3]))
        return y, *flat(after)

    # in random directions: of all numbers one by one the test above sees each
    assert torch.autograd.gradcheck(call, (x, *state, *weights.values()), fast_mode=True)


@pytest.mark.parametrize("name", CELLS)
@settings(max_examples=6)
@given(data=st.data())
def test_a_row_depends_on_no_padding_neighbour_or_order(name: str, data: Any) -> None:
    torch.manual_seed(1)
    layer = layer_of(name, 3, 6, num_layers=2, bidirectional=True)
    lengths = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    extra = data.draw(st.integers(0, 3))
    x, state = torch.randn(max(lengths) + extra, len(lengths), 3), state_of(layer, len(lengths))
    y, final = layer(x, state, lengths)
    order = data.draw(st.permutations(range(len(lengths))))
    for b in order:
        n = lengths[b]
        own = tuple(s[:, b : b + 1] for s in flat(state))
        alone, end = layer(x[:n, b : b + 1], own if len(own) > 1 else own[0])
        torch.testing.assert_close(y[:n, b], alone[:, 0], rtol=1e-5, atol=1e-6)
        assert not y[n:, b].any()
        for all_rows, one in zip(flat(final), flat(end), strict=True):
            torch.testing.assert_close(all_rows[:, b], one[:, 0], rtol=1e-5, atol=1e-6)
    mixed = tuple(s[:, order] for s in flat(state))
    again, _ = layer(
        x[:, order], mixed if len(mixed) > 1 else mixed[0], [lengths[b] for b in order]
    )
    torch.testing.assert_close(again, y[:, order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CELLS)
@settings(max_examples=6)
@given(cuts=st.lists(st.integers(1, 8), max_size=4), ends_in_steps=st.booleans())
def test_a_stream_may_be_cut_anywhere(name: str, cuts: list[int], ends_in_steps: bool) -> None:
    torch.manual_seed(2)
    layer = layer_of(name, 3, 6, num_layers=2)
    x = torch.randn(9, 2, 3)
    y, final = layer(x)
    pieces, state, parts = sorted({0, *cuts, 9}), None, []
    for first, last in zip(pieces, pieces[1:], strict=False):
        if ends_in_steps and first > 0:
            for x_t in x[first:last]:
                y_t, state = layer.step(x_t, state)
                parts.append(y_t.unsqueeze(0))
        else:
            part, state = layer(x[first:last], state)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts), y, rtol=1e-5, atol=1e-6)
    for mine, other in zip(flat(state), flat(final), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)

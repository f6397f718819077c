"""Forward and back-propagation through time on numpy, straight from a cell's equations.

The text-book form, any float type, no torch: what the fast paths are held against, and where a
reader can step through a network.  Source: Werbos 1990, Backpropagation through time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate import expr
from tidegate.cells import Cell


class _Operations:
    """What a cell's equations call, on arrays of any float type."""

    tanh = staticmethod(np.tanh)

    @staticmethod
    def sigmoid(a: np.ndarray) -> np.ndarray:
        # tanh saturates where exp(-a) would overflow
        return 0.5 * np.tanh(0.5 * a) + 0.5

    @staticmethod
    def relu(a: np.ndarray) -> np.ndarray:
        return np.maximum(a, 0)

    @staticmethod
    def positive(a: np.ndarray) -> np.ndarray:
        return (a > 0).astype(a.dtype)


@dataclass(frozen=True)
class Weights:
    """One layer in one direction: weight_ih [G*H, I], weight_hh [G*H, H], biases [G*H]."""

    weight_ih: np.ndarray
    weight_hh: np.ndarray
    bias_ih: np.ndarray
    bias_hh: np.ndarray


@dataclass(frozen=True)
class Unrolled:
    """A forward pass: y [T, B, H], the final ``state``, and each step's node values."""

    y: np.ndarray
    state: tuple[np.ndarray, ...]
    x: np.ndarray
    steps: list[dict[expr.Expr, np.ndarray]]

    def gates(self, cell: Cell) -> dict[str, np.ndarray]:
        """Every watched gate over time, [T, B, H] each."""
        return {name: np.stack([v[e] for v in self.steps]) for name, e in cell.trace.gates.items()}


def forward(cell: Cell, x: np.ndarray, state: tuple[np.ndarray, ...], weights: Weights) -> Unrolled:
    """Run ``cell`` over x [T, B, I] from ``state`` ([B, H] each), keeping every value."""
    rows = _rows(cell, weights)
    steps, outputs = [], []
    names = list(cell.state)
    for x_t in x:
        values: dict[expr.Expr, np.ndarray] = {}
        before = dict(zip(names, state, strict=True))

        def leaf(node: expr.Expr, x_t: np.ndarray = x_t, before: dict = before) -> np.ndarray:
            if isinstance(node, expr.Input):
                block = rows[node.gate]
                return x_t @ weights.weight_ih[block].T + weights.bias_ih[block]
            assert isinstance(node, expr.State)
            return before[node.name]

        product = _product(rows, weights)
        new = expr.evaluate(cell.trace.states, leaf, _Operations, product, values)
        state = tuple(new.values())
        steps.append(values)
        outputs.append(state[0])
    y = np.stack(outputs) if outputs else np.zeros((0, *state[0].shape), state[0].dtype)
    return Unrolled(y, state, x, steps)


def backward(
    cell: Cell,
    unrolled: Unrolled,
    weights: Weights,
    grad_y: np.ndarray,
    grad_state: tuple[np.ndarray, ...],
) -> tuple[np.ndarray, tuple[np.ndarray, ...], Weights]:
    """dL/dx [T, B, I], dL/d(initial state) and dL/d(weights).

    ``grad_y`` [T, B, H] is dL/dy, ``grad_state`` dL/d(final state), [B, H] each.
    """
    rows = _rows(cell, weights)
    adjoint, trace = cell.adjoint, cell.trace
    grads = Weights(*(np.zeros_like(w) for w in vars(weights).values()))
    grad_x = np.zeros_like(unrolled.x)
    back = dict(zip(cell.state, grad_state, strict=True))
    roots: dict[Any, expr.Expr] = {
        **{("input", g): e for g, e in adjoint.inputs.items()},
        **{("product", g): e for g, e in adjoint.products.items()},
        **{("state", s): e for s, e in adjoint.states.items()},
    }
    output = next(iter(cell.state))
    for t in reversed(range(len(unrolled.steps))):
        values = dict(unrolled.steps[t])
        back[output] = back[output] + grad_y[t]

        def leaf(node: expr.Expr, back: dict = back) -> np.ndarray:
            assert isinstance(node, expr.StateGradient)
            return back[node.name]

        found = expr.evaluate(roots, leaf, _Operations, _product(rows, weights), values)
        for gate, block in rows.items():
            d_input, d_product = found["input", gate], found["product", gate]
            grad_x[t] += d_input @ weights.weight_ih[block]
            grads.weight_ih[block] += d_input.T @ unrolled.x[t]
            grads.bias_ih[block] += d_input.sum(0)
            grads.weight_hh[block] += d_product.T @ values[trace.products[gate].a]
            grads.bias_hh[block] += d_product.sum(0)
        back = {s: found["state", s] for s in cell.state}
    return grad_x, tuple(back.values()), grads


def _rows(cell: Cell, weights: Weights) -> dict[str, slice]:
    hidden = weights.weight_hh.shape[1]
    return {g: slice(k * hidden, (k + 1) * hidden) for k, g in enumerate(cell.gates)}


def _product(rows: dict[str, slice], weights: Weights):
    def product(gate: str, v: np.ndarray, transposed: bool) -> np.ndarray:
        block = rows[gate]
        if transposed:
            return v @ weights.weight_hh[block]
        return v @ weights.weight_hh[block].T + weights.bias_hh[block]

    return product

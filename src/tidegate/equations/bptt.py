"""Forward and back-propagation through time on numpy, straight from a cell's equations.

The text-book form, any float type, no torch: what the fast paths are held against, and where a
reader can step through a network.  Source: Werbos 1990, Backpropagation through time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import erf
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.equations import expr
from tidegate.equations.activations import with_activations

if TYPE_CHECKING:
    from tidegate.cells import Cell

Weights = Mapping[str, np.ndarray]  # a layer's parameters in one direction, by name


@with_activations
class Operations:
    """What a cell's equations call, on arrays of any float type."""

    tanh = staticmethod(np.tanh)
    exp = staticmethod(np.exp)
    log = staticmethod(np.log)
    maximum = staticmethod(np.maximum)
    minimum = staticmethod(np.minimum)

    @staticmethod
    def sigmoid(a: np.ndarray) -> np.ndarray:
        # tanh saturates where exp(-a) would overflow
        return 0.5 * np.tanh(0.5 * a) + 0.5

    @staticmethod
    def relu(a: np.ndarray) -> np.ndarray:
        return np.maximum(a, 0)

    @staticmethod
    def rsqrt(a: np.ndarray) -> np.ndarray:
        return 1 / np.sqrt(a)

    @staticmethod
    def erf(a: np.ndarray) -> np.ndarray:
        return np.vectorize(erf, otypes=[np.float64])(a).astype(np.asarray(a).dtype)

    @staticmethod
    def positive(a: np.ndarray) -> np.ndarray:
        return (a > 0).astype(a.dtype)

    @staticmethod
    def mean(a: np.ndarray) -> np.ndarray:
        return a.mean(-1, keepdims=True)


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


def forward(
    cell: Cell,
    x: np.ndarray,
    state: tuple[np.ndarray, ...],
    weights: Weights,
    noise: np.ndarray | None = None,
) -> Unrolled:
    """Run ``cell`` over x [T, B, I] from ``state`` ([B, its width] each), keeping every value.

    ``weights``: the cell's parameters by name; biases may be missing, and are then zero.
    ``noise``: [T, B, H of each noise, side by side]; None for zeros.
    """
    noises = cell.trace.noises
    blocks, gates = _Blocks(cell, weights), cell.parameters["weight_ih"].blocks
    steps, outputs = [], []
    for t, x_t in enumerate(x):
        values: dict[expr.Expr, np.ndarray] = {}
        before = dict(zip(cell.states, state, strict=True))

        def leaf(
            node: expr.Expr, t: int = t, x_t: np.ndarray = x_t, before: dict = before
        ) -> np.ndarray:
            if isinstance(node, expr.Noise):
                if noise is None:
                    return np.zeros((len(x_t), len(blocks.of("weight_ih", gates[0]))), x.dtype)
                return np.split(noise[t], len(noises), axis=-1)[noises.index(node.gate)]
            if isinstance(node, expr.Input):
                return x_t @ blocks.of("weight_ih", node.gate).T + blocks.bias("bias_ih", node.gate)
            if isinstance(node, expr.Vector):
                return blocks.of(node.parameter, node.gate)
            assert isinstance(node, expr.State)
            return before[node.name]

        new = expr.evaluate(cell.trace.states, leaf, Operations, blocks.product, values)
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
) -> tuple[np.ndarray, tuple[np.ndarray, ...], dict[str, np.ndarray]]:
    """dL/dx [T, B, I], dL/d(initial state) and dL/d(weights) by name.

    ``grad_y`` [T, B, H] is dL/dy, ``grad_state`` dL/d(final state), [B, its width] each.
    """
    adjoint, trace = cell.adjoint, cell.trace
    grads = {name: np.zeros_like(w) for name, w in weights.items()}
    blocks, into = _Blocks(cell, weights), _Blocks(cell, grads)
    grad_x = np.zeros_like(unrolled.x)
    back = dict(zip(cell.states, grad_state, strict=True))
    roots: dict[Any, expr.Expr] = {
        **{("input", g): e for g, e in adjoint.inputs.items()},
        **{("product", block): e for block, e in adjoint.products.items()},
        **{("vector", block): e for block, e in adjoint.vectors.items()},
        **{("state", s): e for s, e in adjoint.states.items()},
    }
    for t in reversed(range(len(unrolled.steps))):
        values = dict(unrolled.steps[t])
        back[cell.output] = back[cell.output] + grad_y[t]
        width = {s: back[s].shape for s in back}

        def leaf(node: expr.Expr, back: dict = back) -> np.ndarray:
            if isinstance(node, expr.Vector):
                return blocks.of(node.parameter, node.gate)
            assert isinstance(node, expr.StateGradient)
            return back[node.name]

        found = expr.evaluate(roots, leaf, Operations, blocks.product, values)
        for gate in cell.parameters["weight_ih"].blocks:
            d_input = found["input", gate]
            grad_x[t] += d_input @ blocks.of("weight_ih", gate)
            into.of("weight_ih", gate)[...] += d_input.T @ unrolled.x[t]
            into.add_bias("bias_ih", gate, d_input)
        for block, product in trace.products.items():
            d_product = found["product", block]
            into.add_product(block, d_product, values[product.a])
            if product.gate:
                into.add_bias("bias_hh", product.gate, d_product)
        for block in adjoint.vectors:
            into.of(*block)[...] += found["vector", block].sum(0)
        back = {s: np.broadcast_to(found["state", s], width[s]) for s in cell.states}
    return grad_x, tuple(back.values()), grads


class _Blocks:
    """The rows of each gate in parameters stacked as the cell declares them."""

    def __init__(self, cell: Cell, weights: Mapping[str, np.ndarray]) -> None:
        self.cell, self.weights = cell, weights
        self._heads = cell.head_count(weights)

    def of(self, parameter: str, gate: str) -> np.ndarray:
        blocks, whole = self.cell.parameters[parameter].blocks, self.weights[parameter]
        if not gate:
            return whole
        height, k = len(whole) // len(blocks), blocks.index(gate)
        return whole[k * height : (k + 1) * height]

    def bias(self, parameter: str, gate: str) -> np.ndarray | float:
        return self.of(parameter, gate) if parameter in self.weights else 0.0

    def add_bias(self, parameter: str, gate: str, gradient: np.ndarray) -> None:
        if parameter in self.weights:
            self.of(parameter, gate)[...] += gradient.sum(0)

    def add_product(self, block: tuple[str, str], gradient: np.ndarray, v: np.ndarray) -> None:
        into = self.of(*block)
        if block[0] != expr.RECURRENT or self._heads == 1:
            into[...] += gradient.T @ v
            return
        by_head = self._by_head(gradient).swapaxes(1, 2) @ self._by_head(v)
        into[...] += by_head.reshape(into.shape)

    def product(self, node: expr.Product, v: np.ndarray) -> np.ndarray:
        block = self.of(*node.block)
        if node.parameter == expr.RECURRENT and self._heads > 1:
            of_head = block.reshape(self._heads, -1, block.shape[1])
            factor = of_head if node.transposed else of_head.swapaxes(1, 2)
            made = (self._by_head(v) @ factor).swapaxes(0, 1).reshape(len(v), -1)
        else:
            made = v @ (block if node.transposed else block.T)
        has_bias = node.gate and not node.transposed
        return made + (self.bias("bias_hh", node.gate) if has_bias else 0.0)

    def _by_head(self, v: np.ndarray) -> np.ndarray:
        """[K, B, H/K] of [B, H]."""
        return v.reshape(len(v), self._heads, -1).swapaxes(0, 1)

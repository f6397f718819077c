"""One recurrent layer in one direction: the engine's, or numpy's where the engine has no kernel."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from tidegate import bptt
from tidegate.cells import CELLS
from tidegate.engine import EngineLayer, compiled
from tidegate.runtime.products import Array


class Layer(Protocol):
    """What `EngineLayer` documents; states are tuples of arrays, as many as the cell has."""

    def initial_state(self, batch_size: int) -> tuple[Array, ...]: ...

    def forward(
        self,
        x: Array,
        state: Sequence[Array] | None = None,
        lengths: np.ndarray | None = None,
        reverse: bool = False,
    ) -> tuple[Array, tuple[Array, ...]]: ...

    def step(self, x: Array, state: tuple[Array, ...]) -> Array: ...


def layer_of(cell: str, parameters: Mapping[str, Array]) -> Layer:
    """The layer of these ``parameters``, by the names that the cell gives them.

    Warns where the engine has no kernel for the cell.
    """
    if cell in compiled.cells():
        return EngineLayer(cell, **parameters)
    warnings.warn(
        f"the engine has no kernel for the cell {cell}, so numpy runs it step by step, which is "
        "slow; build the engine again",
        RuntimeWarning,
        stacklevel=2,
    )
    return NumpyLayer(cell, parameters)


class NumpyLayer:
    """The cell's own equations, row by row: the same as the engine's, and slow."""

    def __init__(self, cell: str, parameters: Mapping[str, Array]) -> None:
        self._cell, self._weights = CELLS[cell], bptt.Weights(**parameters)

    def initial_state(self, batch_size: int) -> tuple[Array, ...]:
        width = self._weights.weight_hh.shape[1]
        return tuple(np.zeros((batch_size, width), np.float32) for _ in self._cell.state)

    def forward(
        self,
        x: Array,
        state: Sequence[Array] | None = None,
        lengths: np.ndarray | None = None,
        reverse: bool = False,
    ) -> tuple[Array, tuple[Array, ...]]:
        steps, rows, _ = x.shape
        final = self.initial_state(rows)
        for own, given in zip(final, final if state is None else state, strict=True):
            own[:] = given
        y = np.zeros((steps, rows, final[0].shape[1]), np.float32)
        for b in range(rows):
            true = slice(steps if lengths is None else lengths[b])
            turn = slice(None, None, -1 if reverse else 1)
            row = slice(b, b + 1)
            before = tuple(s[row] for s in final)
            run = bptt.forward(self._cell, x[true, row][turn], before, self._weights)
            y[true, row] = run.y[turn]
            for own, after in zip(final, run.state, strict=True):
                own[row] = after
        return y, final

    def step(self, x: Array, state: tuple[Array, ...]) -> Array:
        _, after = self.forward(x[None], state)
        for own, new in zip(state, after, strict=True):
            own[:] = new
        return state[0]

"""One recurrent layer in one direction: the engine's, or numpy's where the engine has no kernel."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from tidegate.cells import Cell, get_cell
from tidegate.compiling.kernels import reason_against_kernels
from tidegate.engine import EngineLayer
from tidegate.equations import bptt
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


def layer_of(
    cell: str,
    parameters: Mapping[str, Array],
    sizes: Mapping[str, int],
    factors: str = "float32",
) -> Layer:
    """The layer of these ``parameters``, by the names that the cell gives them.

    ``sizes``: I, H and P, as `Architecture.layer_sizes` has them.  ``factors``: how the engine
    rounds the factors of products, as `EngineLayer` has it.

    Warns where the engine has no kernel for the cell.
    """
    declared = get_cell(cell)
    against = reason_against_kernels(declared)
    if against is None:
        return EngineLayer(cell, parameters, factors)
    if declared.key == declared.name:  # of a reader's own cell it was said already
        warnings.warn(
            f"{against}, so numpy runs it step by step, which is slow; build the engine again",
            RuntimeWarning,
            stacklevel=2,
        )
    return NumpyLayer(declared, parameters, sizes)


class NumpyLayer:
    """The equations of any cell, step by step: the same as the engine's, and slow."""

    def __init__(
        self, cell: Cell, parameters: Mapping[str, Array], sizes: Mapping[str, int]
    ) -> None:
        self._cell, self._parameters = cell, parameters
        self._widths = self._cell.state_sizes(sizes)

    def initial_state(self, batch_size: int) -> tuple[Array, ...]:
        return tuple(np.zeros((batch_size, width), np.float32) for width in self._widths)

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
        for t in range(steps)[:: -1 if reverse else 1]:
            # beyond a row's length nothing is computed, as who knows what stands there
            alive = np.arange(rows) if lengths is None else np.flatnonzero(np.asarray(lengths) > t)
            before = tuple(s[alive] for s in final)
            run = bptt.forward(self._cell, x[t : t + 1, alive], before, self._parameters)
            y[t, alive] = run.y[0]
            for own, after in zip(final, run.state, strict=True):
                own[alive] = after
        return y, final

    def step(self, x: Array, state: tuple[Array, ...]) -> Array:
        _, after = self.forward(x[None], state)
        for own, new in zip(state, after, strict=True):
            own[:] = new
        return state[0]

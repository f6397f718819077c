"""Layers, states and weights of any cell, with sizes that suit it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import tidegate as tg
from tidegate import _engine
from tidegate.cells import CELLS, Cell
from tidegate.equations.expr import Mean
from tidegate.equations.phases import cut

ENGINE_CELLS = tuple(_engine.cells())


def _kind(cell: Cell) -> tuple[Any, ...]:
    """What the machinery around a step sees of a cell, whatever its equations are."""
    plan = cut(cell)
    phases = len(plan.forward.phases), len(plan.backward.phases), plan.is_fused
    return *phases, bool(plan.products), len(cell.states) > 1, cell.is_projected, cell.heads


def _shape(cell: Cell) -> tuple[Any, ...]:
    """What a network sees of a cell: its states, and the sizes of its weights."""
    recurrent = "weight_hh" in cell.parameters
    return len(cell.states), recurrent, cell.is_projected, cell.heads


def _one_of_each(kind: Callable[[Cell], tuple[Any, ...]]) -> tuple[str, ...]:
    found: dict[tuple[Any, ...], str] = {}
    for cell in sorted(CELLS.values(), key=lambda cell: cell.torch is None):  # torch's first
        found.setdefault(kind(cell), cell.name)
    return tuple(found.values())


# For tests of what is around a step, and of what is around a network.  Those of the steps
# themselves run over all cells.
CELL_KINDS = _one_of_each(_kind)
CELL_SHAPES = _one_of_each(_shape)


def slack(cell: Cell) -> int:
    """By how much a tolerance is to be multiplied: a norm over 2 units may divide by little."""
    return 20 if any(isinstance(node, Mean) for node in cell.trace.nodes) else 1


def layer_of(cell: str | Cell, input_size: int, hidden_size: int, **options: Any) -> tg.Recurrent:
    """The layer of this cell; a projection has half the size of the state."""
    declared = CELLS[cell] if isinstance(cell, str) else cell
    options = {"proj_size": hidden_size // 2 if declared.is_projected else 0} | options
    return tg.Recurrent(cell, input_size, hidden_size, **options)


def state_of(layer: tg.Recurrent, rows: int, **options: Any) -> Any:
    """A random state of all layers, as ``forward`` takes it."""
    count = layer.num_layers * layer.directions
    options = {"dtype": layer.weight_ih_l0.dtype} | options
    parts = tuple(torch.randn(count, rows, size, **options) for size in layer.state_sizes)
    return parts if len(parts) > 1 else parts[0]


def flat(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def sizes_of(cell: Cell, inputs: int, hidden: int) -> dict[str, int]:
    return {"I": inputs, "H": hidden, "P": max(1, hidden // 2) if cell.is_projected else 0}


def random_case(
    cell: Cell, steps: int = 5, rows: int = 3, inputs: int = 4, hidden: int = 6, seed: int = 0
) -> tuple[np.ndarray, tuple[np.ndarray, ...], dict[str, np.ndarray]]:
    """x [T, B, I], the states and the weights by name, float64."""
    rng = np.random.default_rng(seed)
    sizes = sizes_of(cell, inputs, hidden)
    shapes = cell.shapes(sizes)  # weights of which no state grows without bound
    weights = {n: rng.standard_normal(s) / max(4, s[-1]) ** 0.5 for n, s in shapes.items()}
    x = rng.standard_normal((steps, rows, inputs))
    return x, tuple(rng.standard_normal((rows, w)) for w in cell.state_sizes(sizes)), weights

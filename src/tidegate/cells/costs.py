"""What a step of a cell costs: its weights, in letters and for given sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod

from tidegate.cells.definition import Cell
from tidegate.cells.parts import Parameter


def formula(cell: Cell, *, matrices: bool = True, vectors: bool = True) -> str:
    """How many weights a layer has in one direction, as ``3 H I + 3 H H + 6 H``.

    I input, H hidden, P projection, K heads.  ``matrices`` and ``vectors``: which of them, biases
    counting as vectors.
    """
    counts: Counter[str] = Counter()
    for parameter in _of(cell, matrices, vectors):
        letters = [parameter.rows, parameter.columns]
        counts[" ".join(filter(None, letters))] += len(parameter.blocks)
    return " + ".join(f"{n} {letters}" if n > 1 else letters for letters, n in counts.items())


def multiplications(cell: Cell, sizes: Mapping[str, int]) -> int:
    """By how many weights a step multiplies a row; biases are only added."""
    shapes = (p.shape(sizes) for p in cell.parameters.values() if not p.is_bias)
    return sum(map(prod, shapes))


def _of(cell: Cell, matrices: bool, vectors: bool) -> Iterable[Parameter]:
    for parameter in cell.parameters.values():
        if vectors if parameter.columns is None else matrices:
            yield parameter

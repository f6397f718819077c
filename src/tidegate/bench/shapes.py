"""Shapes of layers, and how much work there is in one."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np

from tidegate.cells import get_cell
from tidegate.errors import InputError

MODES = ("inference", "training")
_BYTES = 4  # float32
_MOST = 2**30  # numbers of an array: 4 GB, of which a few are held at once


class Shape(NamedTuple):
    """One layer over one batch: B rows of T steps, I inputs, H hidden units."""

    batch: int
    steps: int
    inputs: int
    hidden: int

    def __str__(self) -> str:
        return "x".join(map(str, self))


def parse_shape(text: str) -> Shape:
    """``64x200x128x128`` as B, T, I, H.  Raises InputError."""
    parts = text.strip().split("x")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(
            f"expected BxTxIxH such as 64x200x128x128, got {text.strip()!r}; write it like that",
            option="shapes",
        )
    shape = Shape(*(int(part) if len(part) < 20 else _MOST for part in parts))
    batch, steps, inputs, hidden = shape
    if batch * steps * max(inputs, hidden) > _MOST or hidden * max(inputs, hidden) > _MOST:
        raise InputError(
            f"expected arrays of at most {_MOST:,} numbers, got {text.strip()[:60]!r}; "
            "lower a size",
            option="shapes",
        )
    return shape


# From a stream's batch of one to what fills the machine; odd sizes, narrow inputs, long sequences.
SHAPES = tuple(
    Shape(*sizes)
    for sizes in (
        (1, 100, 128, 128),
        (7, 33, 5, 19),
        (32, 100, 1, 50),
        (3, 1000, 40, 96),
        (128, 28, 28, 100),
        (32, 80, 128, 128),
        (64, 200, 128, 128),
        (32, 100, 128, 256),
        (16, 500, 64, 256),
        (256, 50, 256, 256),
        (50, 100, 512, 512),
    )
)

# Batch, steps, inputs and hidden units of drawn shapes: least and most.
_DRAWN = (1, 256), (5, 500), (1, 512), (8, 512)
_MOST_DRAWN_OPERATIONS = 2e11  # of an LSTM's training: a call of seconds, not of half a minute


def drawn_shapes(seed: int) -> Iterator[Shape]:
    """Shapes without end, each size uniform in its logarithm: so small ones come as often as large.

    A shape that would take too long to time is drawn again.
    """
    random = np.random.default_rng(seed)
    least, most = np.log(_DRAWN).T
    while True:
        shape = Shape(*np.exp(random.uniform(least, most)).round().astype(int).tolist())
        if operations("lstm", shape, "training") <= _MOST_DRAWN_OPERATIONS:
            yield shape


def sizes_of(cell: str, inputs: int, hidden: int) -> dict[str, int]:
    """A layer's sizes by letter; a projection has half the size of the state."""
    return {"I": inputs, "H": hidden, "P": hidden // 2 if get_cell(cell).is_projected else 0}


def operations(cell: str, shape: Shape, mode: str) -> int:
    """Multiplications and additions of the products: 2 for each number of a matrix and each token.

    Thrice that in training.
    """
    sizes = sizes_of(cell, shape.inputs, shape.hidden)
    matrices = [p.shape(sizes) for p in get_cell(cell).parameters.values() if p.columns is not None]
    multiplications = shape.batch * shape.steps * sum(map(prod, matrices))
    return (3 if mode == "training" else 1) * 2 * multiplications


def least_bytes(cell: str, shape: Shape, mode: str) -> int:
    """Bytes of inputs and outputs, each moved once: x, weights, y; in training their gradients too.

    What a backward pass keeps of the forward one is left out, being each library's own choice.
    """
    B, T, inputs, H = shape  # noqa: N806
    declared, sizes = get_cell(cell), sizes_of(cell, inputs, H)
    moved = B * T * (inputs + declared.state_sizes(sizes)[0]) + declared.parameter_count(sizes)
    return (2 if mode == "training" else 1) * moved * _BYTES

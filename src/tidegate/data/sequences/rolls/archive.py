"""Rolls in numpy's ``.npz``, read and written."""

from __future__ import annotations

import io
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from tidegate.data.sequences.npz import arrays_in, sequences_in
from tidegate.data.sequences.rolls.rolls import RollSet, as_rolls
from tidegate.errors import InputError

__all__ = ["npz_bytes", "read_npz_rolls"]

_KNOWN = ("X", "values", "lengths", "outputs")


def read_npz_rolls(path: str | PathLike[str], conditions: tuple[str, ...] = ()) -> RollSet:
    """The pieces of a ``.npz`` file: ``X`` [N, T, O], perhaps with ``lengths`` [N], or ``values``
    [sum of lengths, O] and ``lengths``; and ``outputs`` [O], their names, if there are some.

    ``conditions``: arrays [N] of text or numbers that say what each piece is to be.  Raises
    InputError for anything else, object arrays among it.
    """
    try:
        arrays = arrays_in(path, (*conditions, *_KNOWN))
        found = as_rolls(sequences_in(arrays), "X" if "X" in arrays else "values")
        found = replace(
            found, conditions={name: _condition(arrays, name, len(found)) for name in conditions}
        )
        outputs = arrays.get("outputs")
        if outputs is None:
            return found
        names = tuple(outputs.tolist()) if outputs.dtype.kind == "U" else ()
        good = len(set(names)) == found.width and all(n.strip() and n.isprintable() for n in names)
        if outputs.shape != (found.width,) or not good:
            got = f"got {outputs.dtype} {list(outputs.shape)}"
            problem = f"outputs: expected {found.width} different names, {got}"
            raise ValueError(f"{problem}; name each output, or leave them out")
        return replace(found, outputs=names)
    except InputError as error:
        if error.file is not None:
            raise
        raise InputError(str(error), file=path) from None
    except ValueError as e:
        raise InputError(str(e), file=path) from None


def _condition(arrays: dict[str, np.ndarray], name: str, count: int) -> list[Any]:
    """What an array says of each piece.  Raises ValueError."""
    if name not in arrays:
        there = ", ".join(sorted(arrays))
        raise ValueError(f"expected an array {name}, a condition, got {there}; add it")
    cells = arrays[name]
    if name in _KNOWN or cells.shape != (count,) or cells.dtype.kind not in "iufbU":
        problem = f"{name}: expected text or a number for each of {count} pieces"
        got = f"got {cells.dtype} {list(cells.shape)}"
        raise ValueError(f"{problem}, {got}; give an array of that shape under a name of its own")
    return cells.tolist()


def npz_bytes(roll: np.ndarray, outputs: tuple[str, ...]) -> bytes:
    """A file of one piece [T, O], as `read_npz_rolls` reads it."""
    held = io.BytesIO()
    np.savez_compressed(held, X=roll[None], outputs=np.array(outputs, str))
    return held.getvalue()

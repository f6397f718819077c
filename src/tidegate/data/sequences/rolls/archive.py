"""Rolls in numpy's ``.npz``, read and written."""

from __future__ import annotations

import io
from os import PathLike

import numpy as np

from tidegate.data.sequences.npz import arrays_in, sequences_in
from tidegate.data.sequences.rolls.rolls import RollSet, as_rolls
from tidegate.errors import InputError

__all__ = ["npz_bytes", "read_npz_rolls"]

_KNOWN = ("X", "values", "lengths", "outputs")


def read_npz_rolls(path: str | PathLike[str]) -> RollSet:
    """The pieces of a ``.npz`` file: ``X`` [N, T, O], perhaps with ``lengths`` [N], or ``values``
    [sum of lengths, O] and ``lengths``; and ``outputs`` [O], their names, if there are some.

    Raises InputError for anything else, object arrays among it.
    """
    try:
        arrays = arrays_in(path, _KNOWN)
        found = as_rolls(sequences_in(arrays), "X" if "X" in arrays else "values")
        outputs = arrays.get("outputs")
        if outputs is None:
            return found
        names = tuple(outputs.tolist()) if outputs.dtype.kind == "U" else ()
        good = len(set(names)) == found.width and all(n.strip() and n.isprintable() for n in names)
        if outputs.shape != (found.width,) or not good:
            got = f"got {outputs.dtype} {list(outputs.shape)}"
            problem = f"outputs: expected {found.width} different names, {got}"
            raise ValueError(f"{problem}; name each output, or leave them out")
        return RollSet(found.rolls, names, found.names)
    except InputError as error:
        if error.file is not None:
            raise
        raise InputError(str(error), file=path) from None
    except ValueError as e:
        raise InputError(str(e), file=path) from None


def npz_bytes(roll: np.ndarray, outputs: tuple[str, ...]) -> bytes:
    """A file of one piece [T, O], as `read_npz_rolls` reads it."""
    held = io.BytesIO()
    np.savez_compressed(held, X=roll[None], outputs=np.array(outputs, str))
    return held.getvalue()

"""Sequences in numpy's ``.npz``: rectangular, padded, or one after the other."""

from __future__ import annotations

import io
import zipfile
from os import PathLike

import numpy as np

from tidegate.data.files.items import label_text
from tidegate.data.files.npy import array_of_npy
from tidegate.data.files.reading import check_unpacked, read_bytes
from tidegate.data.sequences.sequences import Answers, SequenceSet
from tidegate.errors import InputError

__all__ = ["arrays_in", "read_npz", "sequences_in"]

_KNOWN = ("X", "values", "lengths", "y")
_LONGEST = 2**40  # steps; more are no length but a number gone wrong


def read_npz(path: str | PathLike[str], answers: Answers) -> SequenceSet:
    """The sequences of a ``.npz`` file, named by their number from 1.

    It holds either ``X`` [N, T, I] or [N, T], perhaps with ``lengths`` [N] of those that are padded
    at their end, or ``values`` [sum of lengths, I] or [sum] and ``lengths``; and ``y`` [N], of
    which labels become str.  Labels of steps are ``y`` [N, T] beside ``X``, and [sum] beside
    ``values``.  Raises InputError for anything else, object arrays among it.
    """
    try:
        arrays = arrays_in(path, _KNOWN)
        values = sequences_in(arrays)
        names = [str(i) for i in range(1, len(values) + 1)]
        if answers == "labels":
            return SequenceSet(values, names, _step_labels(arrays, values))
        return SequenceSet(values, names, _answers(arrays, len(values), answers))
    except InputError:
        raise
    except ValueError as problem:
        raise InputError(str(problem), file=path) from None


def arrays_in(path: str | PathLike[str], known: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file by name, ``X`` or ``values`` among the ``known`` ones.

    Raises ValueError, or InputError for a file that cannot be opened.
    """
    data = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            check_unpacked(unpacked, len(data), path, "write it with numpy.savez, uncompressed")
            arrays = {
                member.filename.removesuffix(".npy"): _array(archive, member) for member in members
            }
    except InputError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise whatever a damaged file leads to
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise ValueError(
            f"expected a .npz file of numbers and text, got one that cannot be read ({reason}); "
            "write it with numpy.savez, without object arrays"
        ) from None
    unknown = sorted(set(arrays) - set(known))
    if unknown or ("X" in arrays) == ("values" in arrays):
        raise ValueError(
            f"expected the arrays X (or values and lengths) and {known[-1]}, got "
            f"{', '.join(arrays) or 'none'}; rename them"
        )
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array.  Raises ValueError where it claims another size than it has, or holds objects."""
    with archive.open(member) as file:
        content = file.read(member.file_size + 1)
    try:
        return array_of_npy(content)
    except ValueError as problem:
        raise ValueError(f"{member.filename}: {problem}") from None


def sequences_in(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The sequences in ``X`` or ``values``, float64 [T, I] each.  Raises ValueError."""
    name = "X" if "X" in arrays else "values"
    array, most = arrays[name], 3 if name == "X" else 2
    if array.dtype.kind not in "iufb" or array.ndim not in (most - 1, most) or 0 in array.shape:
        shape = "[N, T, I] or [N, T]" if name == "X" else "[sum of lengths, I]"
        got = f"got {array.dtype} {list(array.shape)}; reshape it, or use lengths"
        raise ValueError(f"{name}: expected numbers {shape}, {got}")
    with np.errstate(over="ignore"):  # of longer floats, which then are infinite
        array = array.astype(np.float64)
    array = array if array.ndim == most else array[..., None]
    if np.isinf(array).any():
        raise ValueError(f"{name}: expected finite numbers, got infinity; correct it, or put NaN")
    if name == "X":
        lengths = _lengths(arrays, len(array)) if "lengths" in arrays else None
        if lengths is None:
            return list(array)
        if lengths.max() > array.shape[1]:
            raise ValueError(
                f"lengths: expected up to {array.shape[1]}, the steps of X, got {lengths.max()}; "
                "correct them"
            )
        return [row[:length] for row, length in zip(array, lengths, strict=True)]
    if "lengths" not in arrays:
        raise ValueError("expected lengths beside values, got none; add how long each one is")
    lengths = _lengths(arrays, None)
    total = sum(lengths.tolist())  # of Python's integers: others may wrap around to the right sum
    if total != len(array):
        problem = f"lengths: expected a sum of {len(array)} values, got {total}"
        raise ValueError(f"{problem}; count the rows of each sequence")
    return np.split(array, np.cumsum(lengths)[:-1])


def _lengths(arrays: dict[str, np.ndarray], count: int | None) -> np.ndarray:
    lengths = arrays["lengths"]
    good = lengths.dtype.kind in "iu" and lengths.ndim == 1 and len(lengths) > 0
    if not good or lengths.min() < 1 or (count is not None and len(lengths) != count):
        raise ValueError(
            f"lengths: expected {'N' if count is None else count} whole numbers from 1, got "
            f"{lengths.dtype} {list(lengths.shape)}"
            + (f" with {lengths.min()}" if good and lengths.min() < 1 else "")
            + "; count the steps of each sequence"
        )
    if lengths.max() > _LONGEST:
        problem = f"lengths: expected up to {_LONGEST}, got {lengths.max()}"
        raise ValueError(f"{problem}; count the steps of each sequence")
    return lengths.astype(np.int64)


def _answers(arrays: dict[str, np.ndarray], count: int, answers: Answers) -> np.ndarray | None:
    if answers is None:
        return None
    if "y" not in arrays:
        raise ValueError(f"expected an array y, the {answers} of each sequence, got none; add it")
    y, kinds = arrays["y"], {"label": "iufbU", "number": "iufb"}[answers]
    if y.shape != (count,) or y.dtype.kind not in kinds:
        raise ValueError(
            f"y: expected a {answers} for each sequence, [{count}], got {y.dtype} {list(y.shape)}; "
            "give as many of that kind"
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        got = f"got {y[~np.isfinite(y)][0]}; leave its sequence out"
        raise ValueError(f"y: expected finite numbers, {got}")
    if answers == "number":
        return y.astype(np.float64)
    return _texts(y, "sequence")


def _step_labels(arrays: dict[str, np.ndarray], values: list[np.ndarray]) -> list[np.ndarray]:
    """A label of each step of each sequence, str [T]."""
    if "y" not in arrays:
        raise ValueError("expected an array y, the label of each step, got none; add it")
    y, rows = arrays["y"], arrays["X" if "X" in arrays else "values"]
    wanted = rows.shape[:2] if "X" in arrays else rows.shape[:1]
    if y.shape != wanted or y.dtype.kind not in "iufbU":
        raise ValueError(
            f"y: expected a label for each step, {list(wanted)}, got {y.dtype} {list(y.shape)}; "
            "give as many of that kind"
        )
    lengths = [len(sequence) for sequence in values]
    if "X" in arrays:
        flat = np.concatenate([row[:length] for row, length in zip(y, lengths, strict=True)])
    else:
        flat = y
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        got = f"got {flat[~np.isfinite(flat)][0]}; leave its step out"
        raise ValueError(f"y: expected finite numbers, {got}")
    return np.split(_texts(flat, "step"), np.cumsum(lengths)[:-1])


def _texts(y: np.ndarray, each: str) -> np.ndarray:
    """Labels as text, [N], none of which is empty."""
    labels = y.astype(str).tolist()
    for number, label in enumerate(labels, 1):
        if not label.strip() or not label.isprintable():
            problem = f"y: expected a label for each {each}, got {label!r} for {number}"
            raise ValueError(f"{problem}; write one, or leave its {each} out")
    return np.array([label_text(label) for label in labels])

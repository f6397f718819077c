"""The polyphonic sets as MATLAB files: pieces of music that are parted already."""

from __future__ import annotations

import io
import struct
import zlib
from os import PathLike
from typing import Any

from tidegate.data.files.reading import check_unpacked, name_of, read_bytes
from tidegate.data.sequences.rolls.rolls import RollSet, as_rolls
from tidegate.errors import InputError, shown

__all__ = ["MAGIC", "read_mat"]

MAGIC = b"MATLAB 5.0"
# Boulanger-Lewandowski et al. 2012, as Bai et al. 2018 wrote them
_PARTS = ("traindata", "validdata", "testdata")
_HEADER = 128  # bytes before the first element
_COMPRESSED = 15  # the type of an element that zlib packed
_PIECE = 2**24


def read_mat(path: str | PathLike[str]) -> RollSet:
    """The three parts of a MATLAB file, version 5: ``traindata``, ``validdata``, ``testdata``.

    Each is a cell array of pieces, matrices [T, O] of zeros and ones.  Raises InputError for any
    other file.  Nothing in the file is run.
    """
    data = read_bytes(path)
    if not data.startswith(MAGIC):
        problem = "expected a MATLAB file of version 5, got another file"
        raise InputError(f"{problem}; save it in MATLAB with -v7", file=name_of(path))
    try:
        _check_size(data, path)
        found = _loaded(data)
    except InputError:
        raise
    except Exception as error:  # scipy and zlib raise whatever a damaged file leads to
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        problem = f"expected a MATLAB file, got one that cannot be read ({reason})"
        raise InputError(f"{problem}; fetch it again", file=name_of(path)) from None
    try:
        parts = [_part(found, name) for name in _PARTS]
    except InputError as error:
        raise InputError(str(error), file=name_of(path)) from None
    if len({part.width for part in parts}) > 1:
        got = ", ".join(str(part.width) for part in parts)
        problem = f"expected as many outputs in every part, got {got}"
        raise InputError(f"{problem}; fill them up", file=name_of(path))
    train, validation, test = parts
    names = [f"{_PARTS[0]} {k}" for k in range(1, len(train) + 1)]
    return RollSet(train.rolls, None, names, validation.rolls, test.rolls)


def _check_size(data: bytes, path: str | PathLike[str]) -> None:
    """Raise InputError where packed elements would unpack to far more than they are."""
    order = {b"IM": "<", b"MI": ">"}[data[126:128]]
    at, unpacked = _HEADER, 0
    while at + 8 <= len(data):
        kind, size = struct.unpack(f"{order}II", data[at : at + 8])
        if kind == _COMPRESSED:
            unpacker, left = zlib.decompressobj(), data[at + 8 : at + 8 + size]
            while left:
                unpacked += len(unpacker.decompress(left, _PIECE))
                check_unpacked(unpacked, len(data), path, "save it with -v6, uncompressed")
                left = unpacker.unconsumed_tail
        at += 8 + size


def _loaded(data: bytes) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError:
        problem = "expected scipy, which reads MATLAB files, got none"
        raise InputError(f"{problem}; install it with: pip install 'tidegate[music]'") from None
    try:
        return loadmat(io.BytesIO(data), variable_names=list(_PARTS))
    except MemoryError:
        raise ValueError("it claims more cells than there is memory for") from None


def _part(found: dict[str, Any], name: str) -> RollSet:
    cells = found.get(name)
    if cells is None or cells.dtype != object or not cells.size:
        got = "none" if cells is None else f"{cells.dtype} {shown(list(cells.shape))}"
        problem = f"{name}: expected a cell array of pieces, got {got}"
        raise InputError(f"{problem}; write {', '.join(_PARTS)}")
    return as_rolls(list(cells.ravel()), name)

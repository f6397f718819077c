"""What an HDF5 file holds, read in a process of its own.

The HDF5 library is written in C and does not promise to survive a file that was made to harm it:
some bytes send it into an endless loop.  So it runs in a process with bounds on memory and time,
and what that process says is read as bytes.  ``python -P -m tidegate.interchange.hdf5`` is
that process: the file on its standard input, on its output a header in JSON and the arrays.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tidegate.errors import shown

MOST_OBJECTS = 20_000
MOST_DEPTH = 32
MOST_TEXT = 2**26  # bytes of all attributes together
_SECONDS = 60  # for any file, and one more for each of the next
_BYTES_PER_SECOND = 2**24
_MEMORY = 2**31  # beside eight times the file
_MOST_UNPACKED = 100  # times the file; more is a trap
_SMALL = 2**26
_UNWANTED = {"optimizer_weights", "optimizer"}  # of a training that is over


@dataclass(frozen=True, eq=False)
class Tree:
    """``arrays``: float32 or whole numbers by path, without the first slash.  ``attributes`` of
    groups and arrays by path, "" for the root: texts, numbers, and lists of them.
    """

    arrays: dict[str, np.ndarray]
    attributes: dict[str, dict[str, Any]]


def read_tree(data: bytes) -> Tree:
    """All groups, arrays and attributes of an HDF5 file.  Raises ValueError."""
    # -P: else a file json.py in the folder where a user stands would be run
    command = [sys.executable, "-P", "-m", "tidegate.interchange.hdf5"]
    seconds = _SECONDS + len(data) // _BYTES_PER_SECOND
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, input=data, capture_output=True, timeout=seconds, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"expected a file read in {seconds} s, got a damaged one") from None
    if done.returncode == 3:
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")
    if done.returncode == 2:
        raise ValueError(done.stdout.decode("utf-8", "replace"))
    if done.returncode != 0:
        raise ValueError(
            f"expected an HDF5 file, got one that ends its reader (code {done.returncode})"
        )
    return _unpacked(done.stdout)


def _unpacked(data: bytes) -> Tree:
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    arrays, at = {}, 8 + length
    for path, dtype, shape in header["arrays"]:
        count = prod(shape)
        arrays[path] = np.frombuffer(data, dtype, count, at).reshape(shape)
        at += count * np.dtype(dtype).itemsize
    return Tree(arrays, header["attributes"])


def packed(tree: Tree) -> bytes:
    """The tree in bytes, as the process says it."""
    listed = [(path, a.dtype.str, a.shape) for path, a in tree.arrays.items()]
    header = json.dumps({"arrays": listed, "attributes": tree.attributes}).encode()
    rest = [np.ascontiguousarray(a).tobytes() for a in tree.arrays.values()]
    return b"".join([struct.pack("<Q", len(header)), header, *rest])


def parsed(data: bytes) -> Tree:
    """All that is wanted of an HDF5 file, within bounds.

    Raises ValueError for links, for values outside the file, and for more than the bounds allow;
    whatever h5py raises for a damaged file becomes one, too.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            walk = _Walk(len(data))
            walk.group(file, "", 0)
            return Tree(walk.arrays, walk.attributes)
    except (MemoryError, RecursionError) as error:
        raise ValueError(f"expected an HDF5 file, got {type(error).__name__}") from None
    except _Refused:
        raise
    except Exception as error:  # h5py raises whatever a damaged file leads to
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"expected an HDF5 file, got a damaged one ({reason})") from None


class _Refused(ValueError):
    pass


def _text(value: bytes | str) -> str:
    """h5py gives what is no UTF-8 as bytes, or with half characters."""
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    return data.decode("utf-8", "replace")


class _Walk:
    """Through all groups, counting."""

    def __init__(self, size: int) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.attributes: dict[str, dict[str, Any]] = {}
        self._objects = self._text = self._bytes = 0
        self._most_bytes = max(_SMALL, _MOST_UNPACKED * size)

    def group(self, group: Any, path: str, depth: int) -> None:
        """Everything in a group, and in the groups in it."""
        import h5py

        if depth > MOST_DEPTH:
            raise _Refused(f"expected groups {MOST_DEPTH} deep at most, got deeper ones")
        self._note(group, path)
        for name in group:
            self._objects += 1
            if self._objects > MOST_OBJECTS:
                raise _Refused(f"expected {MOST_OBJECTS} objects at most, got more")
            if depth == 0 and name in _UNWANTED:
                continue
            below = f"{path}/{_text(name)}".lstrip("/")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _Refused(f"{shown(below)}: expected a group or an array, got a link")
            found = group[name]
            if isinstance(found, h5py.Group):
                self.group(found, below, depth + 1)
            elif isinstance(found, h5py.Dataset):
                self._array(found, below)

    def _array(self, dataset: Any, path: str) -> None:
        if dataset.is_virtual or dataset.external:
            raise _Refused(f"{shown(path)}: expected values in the file, got a link to others")
        if dataset.compression not in (None, "gzip") or dataset.shape is None:
            raise _Refused(f"{shown(path)}: expected plain values or gzip, got others")
        dtype = dataset.dtype
        halves = dtype.kind == "V" and dtype.itemsize == 2  # bfloat16, which HDF5 has not
        if dtype.kind not in "fiub" and not halves:
            return  # texts and the like are no weights
        size = prod(dataset.shape) * max(dtype.itemsize, 4)
        self._bytes += size
        if self._bytes > self._most_bytes:
            raise _Refused(
                f"{shown(path)}: expected arrays of {self._most_bytes} bytes at most, got more"
            )
        self._note(dataset, path)
        values = dataset[()]
        if halves:
            values = (np.asarray(values).view("<u2").astype("<u4") << 16).view("<f4")
        if dtype.kind == "f" or halves:
            with np.errstate(over="ignore"):
                values = np.asarray(values, "<f4")
        self.arrays[path] = np.asarray(values)

    def _note(self, found: Any, path: str) -> None:
        """Its attributes."""
        held = {}
        for name in found.attrs:
            self._objects += 1
            if self._objects > MOST_OBJECTS:
                raise _Refused(f"expected {MOST_OBJECTS} objects at most, got more")
            shape = found.attrs.get_id(name).shape
            if prod(shape or ()) > MOST_OBJECTS:
                raise _Refused(f"{shown(path)}: expected small attributes, got {list(shape)}")
            held[_text(name)] = self._plain(found.attrs[name])
        if held:
            self.attributes[path] = held

    def _plain(self, value: Any) -> Any:
        """A text, a number, or a list of them; None for anything else."""
        if isinstance(value, np.ndarray):
            return [self._plain(v) for v in value.ravel().tolist()]
        if isinstance(value, bytes | str):
            value = _text(value)
            self._text += len(value)
            if self._text > MOST_TEXT:
                raise _Refused(f"expected texts of {MOST_TEXT} bytes at most, got more")
            return value
        if isinstance(value, np.generic):
            value = value.item()
        return value if isinstance(value, bool | int | float) else None


def _bound_memory(size: int) -> None:
    """Where the system can; elsewhere the bounds on sizes hold alone."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = _MEMORY + 8 * size
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> int:
    """The process: 0 and the tree, 2 and a problem, or 3 where h5py is missing."""
    try:
        import h5py  # noqa: F401
    except ModuleNotFoundError:
        return 3
    data = sys.stdin.buffer.read()
    _bound_memory(len(data))
    try:
        sys.stdout.buffer.write(packed(parsed(data)))
    except (ValueError, MemoryError) as error:
        text = str(error) or "expected an HDF5 file, got one that takes too much memory"
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

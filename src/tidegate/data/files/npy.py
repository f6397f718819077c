"""Arrays in numpy's own files, read without trust."""

from __future__ import annotations

import io
import math

import numpy as np

from tidegate.errors import shown

__all__ = ["array_of_npy"]


def array_of_npy(content: bytes) -> np.ndarray:
    """The array in the bytes of a ``.npy`` file, which it shares.

    Raises ValueError for another version of the format, for objects and records, and where there
    are other than as many bytes as the shape says.  Nothing is unpickled.
    """
    head = io.BytesIO(content)
    version = np.lib.format.read_magic(head)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = read_header(head)
    if dtype.hasobject or dtype.names is not None or dtype.itemsize == 0:
        raise ValueError(f"it holds {str(dtype)[:40]}, not numbers or text")
    values = content[head.tell() :]
    # sizes in Python's integers, which cannot wrap around
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"{len(values)} bytes of values for {shown(list(shape))}")
    array = np.frombuffer(values, dtype=dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)

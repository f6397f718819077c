"""A digest of the data that a study is on, as they are parted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import numpy as np


def fingerprint(data: Any) -> str:
    """16 hexadecimal digits that are the same for the same data, in every process and machine.

    ``data``: numbers, texts, arrays and None, in sequences, mappings and objects of any depth.
    """
    digest = sha256()
    for piece in _pieces(data):
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()[:16]


def _pieces(data: Any) -> Iterator[bytes]:
    if isinstance(data, np.ndarray) and data.dtype != object:
        yield f"{data.dtype.str}{data.shape}".encode()
        yield np.ascontiguousarray(data).tobytes()
    elif isinstance(data, str):
        yield data.encode("utf-8", "surrogatepass")
    elif isinstance(data, bytes):
        yield data
    elif data is None or isinstance(data, bool | int | float | complex | np.generic):
        yield repr(data).encode()
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from _pieces(key)
            yield from _pieces(value)
    elif isinstance(data, list | tuple | np.ndarray):
        yield str(len(data)).encode()
        for value in data:
            yield from _pieces(value)
    elif hasattr(data, "__dict__") or hasattr(data, "__slots__"):
        yield type(data).__name__.encode()
        names = vars(data) if hasattr(data, "__dict__") else data.__slots__
        for name in names:
            yield name.encode()
            yield from _pieces(getattr(data, name))
    else:
        yield repr(data).encode()

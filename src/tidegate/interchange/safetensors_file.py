"""Arrays of a safetensors file that is not tidegate's own."""

from __future__ import annotations

import json
from os import PathLike
from typing import NamedTuple

import numpy as np

from tidegate.data.files.reading import read_bytes
from tidegate.errors import InputError, shown

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_WHOLE = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}
MOST_TENSORS = 100_000
MOST_DIMENSIONS = 32


class Tensors(NamedTuple):
    """Every tensor by name, numbers with a fraction as float32; notes on what was rounded; and
    the texts that the file holds beside them.
    """

    arrays: dict[str, np.ndarray]
    notes: tuple[str, ...]
    texts: dict[str, str]


def read_safetensors(path: str | PathLike[str]) -> Tensors:
    """What is in a file.  Raises InputError for one that is damaged, or another."""
    from safetensors import SafetensorError, deserialize

    data = read_bytes(path)
    try:
        entries = deserialize(data)
    except (SafetensorError, ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"expected a safetensors file, got one that cannot be read ({reason}); write it with "
            "safetensors.torch.save_file(module.state_dict(), path)",
            file=path,
        ) from None
    if len(entries) > MOST_TENSORS:
        raise InputError(
            f"expected at most {MOST_TENSORS} tensors, got {len(entries)}; leave some out",
            file=path,
        )
    arrays, rounded = {}, []
    for name, entry in entries:
        dtype, shape = entry["dtype"], entry["shape"]
        kind = _TYPES.get(dtype) or _WHOLE.get(dtype)
        if kind is None or len(shape) > MOST_DIMENSIONS:
            known = ", ".join((*_TYPES, *_WHOLE))
            raise InputError(
                f"tensor {shown(name)}: expected numbers, one of {known}, got {shown(dtype)}; "
                "convert it to float32",
                file=path,
            )
        array = np.frombuffer(entry["data"], kind).reshape(shape)
        if dtype == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        elif dtype == "F64":
            rounded.append(name)
        if dtype in _TYPES:
            with np.errstate(over="ignore"):
                array = array.astype(np.float32, copy=False)
        arrays[name] = array
    note = f"{len(rounded)} tensors of float64 were rounded to float32"
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # read once above
    return Tensors(arrays, (note,) if rounded else (), header.get("__metadata__") or {})

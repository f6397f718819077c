"""Attributes and arrays of an ONNX model, checked before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from tidegate.errors import shown

MOST_DIMENSIONS = 32
# by TensorProto's numbers: numpy's type, and the field of a tensor without raw_data
_TYPES: Mapping[int, tuple[str, str]] = {
    1: ("<f4", "float_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    16: ("<u2", "int32_data"),  # bfloat16
}
_FLOATS = (1, 10, 11, 16)


def array_of(tensor: Any) -> np.ndarray:
    """A tensor of the file: float32, int32 or int64.  Raises ValueError; no other file is read."""
    if not hasattr(tensor, "dims"):
        raise ValueError(f"expected a tensor, got {shown(tensor, 40)}")
    name = shown(tensor.name, 60)
    if tensor.data_location == 1 or tensor.external_data:
        raise ValueError(
            f"tensor {name}: expected its values in the file, got them in another; save the model "
            "in one file, as torch.onnx.export does with external_data=False"
        )
    known = _TYPES.get(tensor.data_type)
    if known is None:
        raise ValueError(f"tensor {name}: expected numbers, got data type {tensor.data_type}")
    dtype, field = known
    shape = tuple(tensor.dims)
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0:
        raise ValueError(f"tensor {name}: expected sizes from 0, got {shown(list(shape))}")
    values = tensor.raw_data or getattr(tensor, field)
    item = np.dtype(dtype).itemsize if tensor.raw_data else 1
    if len(values) != prod(shape) * item:
        raise ValueError(
            f"tensor {name}: expected {prod(shape)} values for {shown(list(shape))}, got another "
            "number"
        )
    if tensor.raw_data:
        array = np.frombuffer(values, dtype)
    else:
        wide = np.array(values, np.int64 if field.startswith("int") else np.float64)
        array = wide.astype("<u2").view(dtype) if tensor.data_type in (10, 16) else wide
        array = array.astype(dtype, copy=False)
    if tensor.data_type == 16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    array = array.reshape(shape)
    if tensor.data_type not in _FLOATS:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def title_of(node: Any) -> str:
    """What a node is called: its name, or that of what it makes."""
    return _text(node.name or (node.output[0] if node.output else node.op_type))


def attributes_of(node: Any) -> dict[str, Any]:
    """The attributes of a node by name: numbers, texts, lists of them, or a tensor.

    Raises ValueError for other kinds.
    """
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        name = _text(attribute.name)
        match attribute.type:
            case 1:
                found[name] = float(attribute.f)
            case 2:
                found[name] = int(attribute.i)
            case 3:
                found[name] = _text(attribute.s)
            case 4:
                found[name] = attribute.t
            case 6:
                found[name] = [float(v) for v in attribute.floats]
            case 7:
                found[name] = [int(v) for v in attribute.ints]
            case 8:
                found[name] = [_text(s) for s in attribute.strings]
            case other:
                raise ValueError(f"{node.op_type}: {shown(name)}: an attribute of kind {other}")
    return found


def _text(data: bytes | str) -> str:
    """Protobuf gives names that are no UTF-8 as bytes."""
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else data


def whole(attributes: Mapping[str, Any], name: str, default: int) -> int:
    """An attribute that is a whole number.  Raises ValueError."""
    value = attributes.get(name, default)
    if type(value) is not int:
        raise ValueError(f"{name}: expected a whole number, got {shown(value)}")
    return value


def listed(attributes: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    """An attribute that is a list of a kind; empty where it is not there.  Raises ValueError."""
    value = attributes.get(name, [])
    if not isinstance(value, list) or any(type(v) is not kind for v in value):
        raise ValueError(f"{name}: expected a list of {kind.__name__}, got {shown(value)}")
    return value

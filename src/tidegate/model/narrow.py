"""Weights in fewer bits than float32's 32, as a model file may hold them.

A weight that is a matrix may stand in a file as

- bfloat16: the upper 16 of its 32 bits, rounded to nearest, ties to even;
- int8: whole numbers from -127 to 127, and a float32 scale for each row, which is its largest value
  divided by 127, rounded up to 17 significant bits.  Products of the two are then exact, and a file
  that is read and written again is the same.

All others, biases, vectors and batch norms, stay float32: they are few.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tidegate.errors import InputError, shown

Array = NDArray[Any]
Weights = Literal["float32", "bfloat16", "int8"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
DTYPES = {"float32": "F32", "bfloat16": "U16", "int8": "I8"}  # of a matrix, as safetensors has them
_LARGEST = np.float32(127)
_SMALLEST = np.finfo(np.float32).tiny  # rows of less are zeros


def checked_weights(value: str) -> Weights:
    """The kind of weights of this name.  Raises InputError for another."""
    for known in WEIGHTS:
        if known == value:
            return known
    problem = f"expected {', '.join(WEIGHTS)}, got {shown(value)}; choose one of these"
    raise InputError(problem, option="weights")


def narrowed(tensors: Mapping[str, Array], weights: Weights) -> tuple[dict[str, Array], ...]:
    """Tensors as a file holds them, and the scales of those that have some."""
    kept, scales = dict(tensors), {}
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or weights == "float32":
            continue
        if weights == "bfloat16":
            kept[name] = _upper_bits(tensor)
        else:
            kept[name], scales[name] = _eight_bits(tensor)
    return kept, scales


def widened(tensors: Mapping[str, Array], scales: Mapping[str, Array]) -> dict[str, Array]:
    """float32 tensors of what ``narrowed`` gave."""
    wide = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.dtype == np.uint16:
            wide[name] = (tensor.astype(np.uint32) << 16).view(np.float32)
        elif tensor.dtype == np.int8:
            wide[name] = tensor * scales[name][:, None]
    return wide


def _upper_bits(tensor: Array) -> Array:
    bits = np.ascontiguousarray(tensor, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _eight_bits(tensor: Array) -> tuple[Array, Array]:
    largest = np.abs(tensor).max(axis=1, initial=0)
    exact = np.asarray(largest / _LARGEST, np.float32).view(np.uint32)
    scale = ((exact + 0x7F) & ~np.uint32(0x7F)).view(np.float32)
    scale = np.where(scale >= _SMALLEST, scale, np.float32(1))
    return np.rint(tensor / scale[:, None]).clip(-127, 127).astype(np.int8), scale

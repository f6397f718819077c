"""One layer of a Keras model as its file describes it: configuration and arrays, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidegate.errors import InputError, shown, spelled
from tidegate.interchange.conventions.activations import SOFTMAX, Activation, from_keras
from tidegate.interchange.settled import Answers

Weights = dict[str, list[np.ndarray]]  # by part of the layer, or all of them under "all"
Values = dict[str, Any]
_MOST_RANK = 3
# what takes a model of any layers to ONNX, with the number of steps left open
EXPORT = (
    "build the model of these, or write ONNX from Keras on torch: tidegate.accelerate(model), then "
    "model.export('name.onnx', format='onnx')"
)


def name_of_class(kind: str, k: int) -> str:
    """How Keras writes, in paths, the class of its ``k``-th layer of one class, from 0 on."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return f"{name}_{k}" if k else name


def inner_object(said: Any) -> tuple[str, Values]:
    """Class and configuration of a layer or a cell within another; "" and none where it is none.

    tidegate.keras' layers are registered as "tidegate>GRU".
    """
    kind = said.get("class_name") if isinstance(said, dict) else None
    values = said.get("config") if isinstance(said, dict) else None
    if not isinstance(kind, str) or not isinstance(values, dict):
        return "", {}
    return kind.rpartition(">")[2], values


@dataclass(frozen=True)
class LayerConfig:
    """``kind``: its class.  ``values``: its arguments.  ``version``: 1, 2 or 3 of Keras; None where
    the file does not say.  ``notes`` are added to while it is read.
    """

    name: str
    kind: str
    values: Values
    weights: Weights
    version: int | None
    answers: Answers
    notes: list[str] = field(default_factory=list)

    def bad(self, problem: str) -> ValueError:
        """The problem, of this layer."""
        return ValueError(f"layer {shown(self.name)}: {problem}")

    def flag(self, key: str, default: bool) -> bool:
        """An argument that is true or false.  Raises ValueError."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.bad(f"{key}: expected true or false, got {shown(value)}")
        return value

    def number(self, key: str, default: float) -> float:
        """An argument that is a number.  Raises ValueError."""
        value = self.values.get(key, default)
        if type(value) not in (int, float) or not abs(value) < 1e30:
            raise self.bad(f"{key}: expected a number, got {shown(value)}")
        return float(value)

    def arrays(self, part: str, ranks: list[int] | None) -> list[np.ndarray]:
        """The arrays of a part of the layer, each of its rank in ``ranks`` if given."""
        arrays = self.weights.get("all", self.weights.get(part, []))
        for k, array in enumerate(arrays):
            good = array.dtype == np.float32 and 1 <= array.ndim <= _MOST_RANK and array.size
            if not good or not np.isfinite(array).all():
                raise self.bad(
                    f"weight {k}: expected finite numbers, got {array.dtype} {list(array.shape)}"
                )
        if ranks is not None and [a.ndim for a in arrays] != ranks:
            shapes = [list(a.shape) for a in arrays]
            raise self.bad(f"expected weights of {ranks} axes, got {shown(shapes)}")
        return arrays

    def activation(self, key: str, said: Any, *, softmax: bool = False) -> Activation:
        """The function of that name.  Raises ValueError, InputError where the version matters."""
        said = "linear" if said is None else said
        if not isinstance(said, str):
            raise self.bad(f"{key}: expected the name of a function, got {shown(said)}")
        if said == "softmax" and softmax:
            return SOFTMAX
        if said == "hard_sigmoid" and self.version is None:
            raise InputError(
                f"layer {shown(self.name)}: {key}: hard_sigmoid is 0.2 x + 0.5 in Keras 1 and 2 "
                "and x / 6 + 0.5 in Keras 3, and the file does not say which it was; say it with "
                f"{spelled('keras_version', 2)} or {spelled('keras_version', 3)}"
            )
        try:
            return from_keras(said, old=self.version in (1, 2))
        except ValueError as e:
            raise self.bad(str(e)) from None

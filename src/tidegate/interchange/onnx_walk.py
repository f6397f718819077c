"""From an ONNX graph's input to its output, along layers that follow one another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.errors import shown
from tidegate.interchange.conventions.activations import IDENTITY, SOFTMAX, of_onnx_node
from tidegate.interchange.layers import (
    Activate,
    Dense,
    Embedding,
    Layer,
    Normalisation,
    Pool,
    Recurrent,
)
from tidegate.interchange.onnx_nodes import OPERATORS
from tidegate.interchange.onnx_values import attributes_of, title_of, whole

if TYPE_CHECKING:
    from tidegate.interchange.onnx_reader import Graph

# What an axis is: B batch, T time, F features, D two directions, "1" of size one.
STARTS = ("BTF", "TBF", "BT", "TB")
_PASSED = ("Identity", "Dropout")
# TensorProto's numbers of types that hold all that is cast to them here: float32 and float64 of
# numbers, int32 and int64 of tokens
_WIDE = {True: (1, 11), False: (6, 7)}


class Unread(ValueError):
    """The graph is another than the walk can follow."""


class Walk:
    """``layers``: those that were met; ``length``: how many nodes."""

    def __init__(self, graph: Graph, start: str, labels: str) -> None:
        self._graph, self._at, self._labels, self._start = graph, start, labels, labels
        self.layers: list[Layer] = []
        self.length = 0
        self._notes: list[str] = []

    def notes(self) -> tuple[str, ...]:
        """What a user of the file should know of its axes."""
        order = {"B": "batch", "T": "time", "F": "features", "D": "directions", "1": "one"}
        axes = [", ".join(order[a] for a in labels) for labels in (self._start, self._labels)]
        said = f"the file's input is [{axes[0]}], its output [{axes[1]}]"
        return (*self._notes, f"{said}; predict takes and gives the batch first")

    def to_the_end(self) -> None:
        """Follow the only reader of each value.  Raises Unread."""
        while node := self._next():
            self.length += 1
            if self.length > len(self._graph.nodes):
                raise Unread("its nodes follow one another in a circle")
            attributes = attributes_of(node)
            if node.op_type in OPERATORS:
                self._recurrent(node)
                continue
            if node.domain not in ("", "ai.onnx") or not node.output:
                raise self._unread(node)
            self._take(node, attributes)
            self._at = node.output[0]
        if self._at not in self._graph.outputs or not any(
            isinstance(layer, Recurrent) for layer in self.layers
        ):
            raise Unread(f"its value {shown(self._at)} leads nowhere")

    def _unread(self, node: Any) -> Unread:
        return Unread(
            f"the node {shown(title_of(node), 60)}, "
            f"{shown(node.op_type, 40)}, of a value [{', '.join(self._labels)}]"
        )

    def _next(self) -> Any:
        """The node that reads the value; None where it is the end."""
        readers = [n for n in self._graph.readers.get(self._at, []) if n.op_type != "Shape"]
        if len(readers) > 1:
            raise Unread(f"its value {shown(self._at)} is read by {len(readers)} nodes")
        return readers[0] if readers else None

    def _take(self, node: Any, attributes: dict[str, Any]) -> None:
        kind = node.op_type
        if kind in _PASSED:
            self._reads_first(node)
        elif kind == "Cast":
            if attributes.get("to") not in _WIDE["F" in self._labels]:
                raise self._unread(node)
        elif kind == "Transpose":
            self._transpose(node, attributes)
        elif kind in ("Squeeze", "Unsqueeze", "Reshape"):
            self._reshape(node, attributes)
        elif kind == "Gather":
            self._gather(node, attributes)
        elif kind in ("MatMul", "Gemm", "Add"):
            self._dense(node, attributes)
        elif kind == "BatchNormalization":
            self._normalisation(node, attributes)
        elif kind in ("ReduceMean", "ReduceMax"):
            self._pool(node, attributes)
        else:
            self._activation(node, attributes)

    def _reads_first(self, node: Any) -> None:
        if node.input[0] != self._at:
            raise self._unread(node)

    def _axes(self, node: Any, attributes: dict[str, Any]) -> list[int]:
        """The axes that a node names by an attribute or, later, by an input."""
        given = attributes.get("axes")
        if given is None and len(node.input) > 1:
            array = self._graph.array(node.input[1])
            given = None if array is None else array.ravel().tolist()
        rank = len(self._labels) + (node.op_type == "Unsqueeze") * len(given or [])
        good = isinstance(given, list) and all(type(a) is int and -rank <= a < rank for a in given)
        if not good or given is None:
            raise self._unread(node)
        return [a % rank for a in given]

    def _transpose(self, node: Any, attributes: dict[str, Any]) -> None:
        order = attributes.get("perm", list(range(len(self._labels)))[::-1])
        if not isinstance(order, list) or sorted(order) != list(range(len(self._labels))):
            raise self._unread(node)
        self._labels = "".join(self._labels[k] for k in order)

    def _reshape(self, node: Any, attributes: dict[str, Any]) -> None:
        self._reads_first(node)
        labels = self._labels
        if node.op_type == "Squeeze":
            axes = self._axes(node, attributes)
            if any(labels[a] != "1" for a in axes):
                raise self._unread(node)
            self._labels = "".join(a for k, a in enumerate(labels) if k not in axes)
            return
        if node.op_type == "Unsqueeze":
            for axis in sorted(self._axes(node, attributes)):
                labels = f"{labels[:axis]}1{labels[axis:]}"
            self._labels = labels
            return
        shape = self._graph.array(node.input[1]) if len(node.input) > 1 else None
        joined = labels.replace("DF", "F").replace("1", "")
        if shape is None or shape.ndim != 1 or len(shape) != len(joined) or "D" in joined:
            raise self._unread(node)
        # 0 copies the size of the same axis, -1 takes what is left; numbers could be of any axis
        *front, _ = shape.tolist()
        if any(v != -1 and (v != 0 or labels[k] != joined[k]) for k, v in enumerate(front)):
            raise self._unread(node)
        self._labels = joined

    def _gather(self, node: Any, attributes: dict[str, Any]) -> None:
        if len(node.input) != 2:
            raise self._unread(node)
        axis = whole(attributes, "axis", 0)
        weight = self._graph.array(node.input[0])
        if weight is not None and "F" not in self._labels and "D" not in self._labels:
            if weight.ndim != 2 or 0 in weight.shape or axis != 0 or self.layers:
                raise self._unread(node)
            self.layers.append(Embedding(title_of(node), _finite(weight)))
            self._labels += "F"
            return
        index, last = self._graph.array(node.input[1]), self.layers[-1] if self.layers else None
        if (
            index is None or index.shape != () or int(index) != -1
            or not -len(self._labels) <= axis < len(self._labels)
            or self._labels[axis] != "T" or not isinstance(last, Recurrent)
            or [d.reverse for d in last.directions] != [False]
        ):  # fmt: skip
            raise self._unread(node)
        self._labels = self._labels.replace("T", "")
        self.layers[-1] = replace(last, every=False)

    def _dense(self, node: Any, attributes: dict[str, Any]) -> None:
        arrays = [self._graph.array(name) for name in node.input]
        if node.op_type == "Add":
            bias = next((a for a in arrays if a is not None), None)
            last = self.layers[-1] if self.layers else None
            if (
                not isinstance(last, Dense) or last.bias is not None or bias is None
                or last.activation != IDENTITY or bias.shape != (len(last.weight),)
            ):  # fmt: skip
                raise self._unread(node)
            self.layers[-1] = replace(last, bias=_finite(bias))
            return
        self._reads_first(node)
        weight = arrays[1] if len(arrays) > 1 else None
        plain = [attributes.get("alpha", 1.0), attributes.get("beta", 1.0)] == [1.0, 1.0]
        if (
            weight is None or weight.ndim != 2 or 0 in weight.shape or self._labels[-1] != "F"
            or "D" in self._labels or not plain or whole(attributes, "transA", 0)
        ):  # fmt: skip
            raise self._unread(node)
        weight = weight if whole(attributes, "transB", 0) else weight.T
        bias = arrays[2] if len(arrays) > 2 else None
        if len(arrays) > 2 and (bias is None or bias.shape != (len(weight),)):
            raise self._unread(node)
        own = _finite(np.ascontiguousarray(weight))
        name = title_of(node)
        self.layers.append(Dense(name, own, None if bias is None else _finite(bias)))

    def _normalisation(self, node: Any, attributes: dict[str, Any]) -> None:
        arrays = [self._graph.array(name) for name in node.input[1:]]
        found = [a for a in arrays if a is not None and a.ndim == 1 and a.size]
        rank = self._labels[1:2] == "F" and "D" not in self._labels
        if not rank or len(found) != 4 or len({len(a) for a in found}) != 1:
            raise self._unread(node)
        if (found[3] < 0).any() or whole(attributes, "training_mode", 0):
            raise self._unread(node)
        epsilon = attributes.get("epsilon", 1e-5)
        if not isinstance(epsilon, float) or not 0 <= epsilon < 1e30:
            raise self._unread(node)
        scale, shift, mean, variance = (_finite(a) for a in found)
        name = title_of(node)
        self.layers.append(Normalisation(name, scale, shift, mean, variance, epsilon))

    def _pool(self, node: Any, attributes: dict[str, Any]) -> None:
        axes = self._axes(node, attributes)
        if len(axes) != 1 or self._labels[axes[0]] != "T" or "D" in self._labels:
            raise self._unread(node)
        if whole(attributes, "keepdims", 1):
            raise self._unread(node)
        kind = "mean" if node.op_type == "ReduceMean" else "max"
        self.layers.append(Pool(title_of(node), kind))
        self._labels = self._labels.replace("T", "")

    def _activation(self, node: Any, attributes: dict[str, Any]) -> None:
        if node.op_type == "Softmax":
            # before opset 13 it is over all axes from this one on, by default from the second
            axis = whole(attributes, "axis", -1 if self._graph.opset >= 13 else 1)
            if axis not in (-1, len(self._labels) - 1) or self._labels[-1] != "F":
                raise self._unread(node)
            found = SOFTMAX
        elif (found := of_onnx_node(node.op_type, attributes)) is None:
            raise self._unread(node)
        last = self.layers[-1] if self.layers else None
        if isinstance(last, Dense) and last.activation == IDENTITY and "D" not in self._labels:
            self.layers[-1] = replace(last, activation=found)
        else:
            name = title_of(node)
            self.layers.append(Activate(name, found))

    def _recurrent(self, node: Any) -> None:
        self._reads_first(node)
        attributes = attributes_of(node)
        layout = whole(attributes, "layout", 0)
        if self._labels != ("BTF" if layout else "TBF"):
            raise self._unread(node)
        layer, notes = self._graph.recurrent(node)
        outputs = [*node.output, "", "", ""][:3]
        read = [bool(name) and name in self._graph.readers for name in outputs]
        shown_out = [bool(name) and name in self._graph.outputs for name in outputs]
        if sum(read) > 1 or read[2] or not any(read + shown_out[:2]):
            raise self._unread(node)
        at = read.index(True) if any(read) else 0 if shown_out[0] else 1
        others = [outputs[k] for k in range(3) if shown_out[k] and k != at]
        if others:
            notes += (f"{layer.name}: also an output of the file: {', '.join(others)}",)
        self._notes += notes
        direction = "D" if len(layer.directions) > 1 else "1"
        every = ("BT" + direction + "F") if layout else ("T" + direction + "BF")
        last = ("B" + direction + "F") if layout else (direction + "BF")
        self._labels = every if at == 0 else last
        self.layers.append(replace(layer, every=at == 0))
        self._at = outputs[at]


def _finite(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"expected weights of finite numbers, got {array.dtype} with others")
    return array

"""Nodes and weights of an ONNX graph as they are added, with ``onnx.helper`` alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

import numpy as np
from onnx import helper, numpy_helper

from tidegate.errors import InputError
from tidegate.output.places import MARK

LARGEST = 2**31 - 2**20  # bytes of a protobuf message, less what is not weights
Value = Any  # what a builder knows a value by: a name, or an object of another library
Body = Callable[["Builder", list[Value], list[Value]], tuple[list[Value], list[Value]]]


class Builder(Protocol):
    """What writes nodes: `Graph`, or the one of torch's exporter."""

    def constant(self, array: np.ndarray) -> Value:
        """The value of an array that is part of the graph."""
        ...

    def node(self, op: str, *inputs: Value | None, outputs: int = 1, **attributes: Any) -> Any:
        """The output of a new node, or a tuple of its ``outputs``; an input of None is left out."""
        ...

    def scan(
        self, body: Body, states: Sequence[Value], inputs: Sequence[Value], *, reverse: bool
    ) -> tuple[Value, ...]:
        """Run ``body`` once for each step of ``inputs``, [T, ...] each, the last first if reverse.

        It is given a builder, the states and one step's inputs, and returns the new states and the
        step's outputs.  Returns the final states and the outputs of all steps.
        """
        ...


class Graph:
    """A graph that is written down as it is described; values are known by their names.

    ``outer``: the graph that this one is the body of a node in; it sees the outer one's values.
    """

    def __init__(self, opset: int, outer: Graph | None = None) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._numbers: Any = count() if outer is None else outer._numbers
        self._small: dict[tuple[str, Any, bytes], str] = {}
        self._bytes = 0
        self._outer = outer

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        """An array that is part of the graph; small ones are kept once.

        Raises InputError where all of them take more than one file can hold.
        """
        if self._outer is not None:
            return self._outer.constant(array, name)
        key = array.dtype.str, array.shape, array.tobytes() if array.size <= 16 else b""
        if name is None and array.size <= 16 and key in self._small:
            return self._small[key]
        self._bytes += array.nbytes
        if self._bytes > LARGEST:
            raise InputError(
                "expected weights of less than 2 GiB, which one ONNX file can hold, got "
                f"{self._bytes:,} bytes or more; train with a smaller vocabulary or smaller layers"
            )
        found = name or f"constant_{next(self._numbers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), found))
        # ascontiguousarray makes () into (1,)
        del self.initializers[-1].dims[:]
        self.initializers[-1].dims.extend(array.shape)
        if name is None and array.size <= 16:
            self._small[key] = found
        return found

    def node(
        self, op: str, *inputs: str | None, outputs: int = 1, name: str = "", **attributes: Any
    ) -> Any:
        given = ["" if name is None else name for name in inputs]
        while given and not given[-1]:
            given.pop()
        number = next(self._numbers)
        names = [f"{op}_{number}" + (f"_{k}" if outputs > 1 else "") for k in range(outputs)]
        name = name or f"{op}_{number}"
        self.nodes.append(helper.make_node(op, given, names, name=name, **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def named(self, value: str, name: str) -> str:
        """The same value by a name that users are told."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"Identity_{name}"))
        return name

    def scan(
        self, body: Body, states: Sequence[str], inputs: Sequence[str], *, reverse: bool
    ) -> tuple[str, ...]:
        inner = Graph(self.opset, self)
        number = next(self._numbers)
        before = [f"state_{number}_{k}" for k in range(len(states))]
        given = [f"step_{number}_{k}" for k in range(len(inputs))]
        after, made = body(inner, before, given)
        # a graph may not hand out what it was given, nor a value twice
        results = [inner.node("Identity", value) for value in (*after, *made)]
        graph = helper.make_graph(
            inner.nodes,
            f"body_{number}",
            [helper.make_empty_tensor_value_info(name) for name in (*before, *given)],
            [helper.make_empty_tensor_value_info(name) for name in results],
        )
        return self.node(
            "Scan", *states, *inputs, outputs=len(results), body=graph,
            num_scan_inputs=len(inputs), **scan_directions(len(inputs), len(made), reverse),
        )  # fmt: skip

    def model(self, inputs: Sequence[Any], outputs: Sequence[Any], name: str, version: str) -> Any:
        """The graph between ``inputs`` and ``outputs`` as a model, checked by onnx.

        The mark in its text says that tidegate may replace the file.
        """
        import onnx

        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets),
            producer_name="tidegate", producer_version=version, doc_string=MARK,
        )  # fmt: skip
        onnx.checker.check_model(model, full_check=True)
        return model


def tensor(name: str, kind: type[np.generic], shape: Sequence[int | str]) -> Any:
    """An input or output of a model; a size that is a word may be any."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return helper.make_tensor_value_info(name, element, list(shape))


def scan_directions(inputs: int, outputs: int, reverse: bool) -> dict[str, Any]:
    """Attributes of a Scan that begins with the last step, or with the first."""
    if not reverse:
        return {}
    return {"scan_input_directions": [1] * inputs, "scan_output_directions": [1] * outputs}


def axes(graph: Builder, *numbers: int) -> Value:
    """Axes, as operators take them from opset 13 on."""
    return graph.constant(np.array(numbers, np.int64))


def cast(graph: Builder, value: Value, kind: type[np.generic]) -> Value:
    """The value in another type of numbers."""
    return graph.node("Cast", value, to=int(helper.np_dtype_to_tensor_dtype(np.dtype(kind))))


def whole(graph: Graph, number: int) -> str:
    """A whole number, int64."""
    return graph.constant(np.array(number, np.int64))


def size_of(graph: Graph, value: str, axis: int) -> str:
    """The size along an axis, a scalar."""
    size = graph.node("Slice", graph.node("Shape", value), axes(graph, axis), axes(graph, axis + 1))
    return graph.node("Squeeze", size, axes(graph, 0))


def added(graph: Graph, values: Sequence[str]) -> str:
    """The sum of values, in their order."""
    total = values[0]
    for value in values[1:]:
        total = graph.node("Add", total, value)
    return total


def summed(graph: Builder, value: Value, axis: int, *, keep: bool) -> Value:
    """The sum over one axis."""
    return graph.node("ReduceSum", value, axes(graph, axis), keepdims=int(keep))


def highest_of(graph: Graph, value: str, axis: int) -> str:
    """The largest values along one axis, which ReduceMax takes as an input from opset 18 on."""
    if graph.opset < 18:
        return graph.node("ReduceMax", value, axes=[axis], keepdims=0)
    return graph.node("ReduceMax", value, axes(graph, axis), keepdims=0)

"""The engine's operator for torch's exporter: what ``torch.onnx.export`` writes for our layers.

torch's exporter calls the function here for each ``tidegate::recurrence`` of a model, and takes the
nodes that it makes.  Values are those of onnx-ir, which the exporter builds its graphs of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript import evaluator

from tidegate.cells import get_cell
from tidegate.onnx.cells import Step
from tidegate.onnx.graph import Body, Value, axes, cast, scan_directions
from tidegate.onnx.layers import is_standard, operator, scanned, true_steps

_DIRECTIONS = ("forward", "reverse")


def recurrence(
    cell: str,
    x: Value,
    state: Sequence[Value],
    weights: Sequence[Value],
    lengths: Value | None,
    mask: Value | None,
    reverse: bool,
    training: bool,
    input_mask: Value | None = None,
    noise: Value | None = None,
) -> list[Value]:
    """One layer in one direction: what the operator returns, but for what training saves."""
    if training or any(given is not None for given in (mask, input_mask, noise)):
        raise ValueError("expected a model in evaluation mode, got one in training; call eval()")
    declared = get_cell(cell)
    graph = _Nodes()
    names = [
        name
        for name, parameter in declared.parameters.items()
        if len(weights) == len(declared.parameters) or not parameter.is_bias
    ]
    named = dict(zip(names, weights, strict=True))
    sizes = _sizes(cell, named)
    steps = None if lengths is None else cast(graph, lengths, np.int32)
    inside = None if steps is None else true_steps(graph, x, steps)
    algebra = _OnNodes(graph)
    if is_standard(declared):
        first = axes(graph, 0)
        y, final = operator(
            graph, algebra, declared, [named], sizes, x, steps,
            [graph.node("Unsqueeze", s, first) for s in state], _DIRECTIONS[reverse],
        )  # fmt: skip
        y = graph.node("Squeeze", y, axes(graph, 1))
        final = [graph.node("Squeeze", s, first) for s in final]
        if inside is not None:  # what an operator gives beyond the lengths is not specified
            y = graph.node("Where", inside, y, graph.constant(np.zeros((), np.float32)))
    else:
        step = Step(declared, algebra, named, sizes)
        y, final = scanned(graph, step, x, inside, state, reverse=reverse)
    nothing = [
        graph.node("Identity", graph.constant(np.zeros(0, np.float32)))
        for _ in range(1 + len(state))  # gates, extras, the states beyond the output
    ]
    threads = graph.node("Identity", graph.constant(np.zeros((), np.int64)))
    graph.record()
    return [y, *final, *nothing, threads]


def _sizes(cell: str, weights: dict[str, Value]) -> dict[str, int]:
    """I, H and P, from the shapes of the weights."""
    sizes = {"I": 0, "H": 0, "P": 0}
    for name, parameter in get_cell(cell).parameters.items():
        if name in weights:
            rows, *columns = (int(size) for size in weights[name].shape)
            sizes[parameter.rows] = rows // len(parameter.blocks)
            if parameter.columns is not None:
                sizes[parameter.columns] = columns[0]
    return sizes


class _Nodes:
    """Writes nodes of onnx-ir; ``record`` hands them to the exporter that is asking."""

    def __init__(self, outer: _Nodes | None = None) -> None:
        self.nodes: list[ir.Node] = []
        self._outer = outer

    def constant(self, array: np.ndarray) -> ir.Value:
        if self._outer is not None:
            return self._outer.constant(array)
        node = ir.Node("", "Constant", [], [ir.AttrTensor("value", ir.tensor(array))])
        return self._added(node)

    def node(self, op: str, *inputs: ir.Value | None, outputs: int = 1, **attributes: Any) -> Any:
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        converted = ir.convenience.convert_attributes(attributes)
        node = ir.Node("", op, given, converted, num_outputs=outputs)
        self._added(node)
        return node.outputs[0] if outputs == 1 else tuple(node.outputs)

    def scan(
        self, body: Body, states: Sequence[Value], inputs: Sequence[Value], *, reverse: bool
    ) -> tuple[Value, ...]:
        inner = _Nodes(self)
        before = [ir.Value(name=f"state_{k}") for k in range(len(states))]
        given = [ir.Value(name=f"step_{k}") for k in range(len(inputs))]
        after, made = body(inner, before, given)
        results = [inner.node("Identity", value) for value in (*after, *made)]
        graph = ir.Graph([*before, *given], results, nodes=inner.nodes, name="body")
        return self.node(
            "Scan", *states, *inputs, outputs=len(results), body=graph,
            num_scan_inputs=len(inputs), **scan_directions(len(inputs), len(made), reverse),
        )  # fmt: skip

    def record(self) -> None:
        recorder: Any = evaluator.default()
        recorder.nodes.extend(self.nodes)

    def _added(self, node: ir.Node) -> ir.Value:
        self.nodes.append(node)
        return node.outputs[0]


class _OnNodes:
    """Weights are values of the graph, which nodes rearrange."""

    def __init__(self, graph: _Nodes) -> None:
        self._graph = graph

    def rows(self, weight: Value, index: np.ndarray) -> Value:
        if index.min() > 0:
            return self._graph.node("Gather", weight, self._graph.constant(index - 1), axis=0)
        width = self._graph.constant(np.zeros((), np.float32))
        rank = 1 if weight.shape is None else len(weight.shape)
        before = self._graph.constant(np.array([1] + [0] * (2 * rank - 1), np.int64))
        padded = self._graph.node("Pad", weight, before, width)
        return self._graph.node("Gather", padded, self._graph.constant(index), axis=0)

    def transposed(self, weight: Value) -> Value:
        return self._graph.node("Transpose", weight, perm=[1, 0])

    def joined(self, weights: Sequence[Value]) -> Value:
        return self._graph.node("Concat", *weights, axis=0)

    def stacked(self, weights: Sequence[Value]) -> Value:
        apart = [self._graph.node("Unsqueeze", w, axes(self._graph, 0)) for w in weights]
        return apart[0] if len(apart) == 1 else self.joined(apart)

    def value(self, weight: Value) -> Value:
        return weight

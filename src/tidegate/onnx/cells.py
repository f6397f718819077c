"""One step of any cell as ONNX nodes, from the cell's own equations; nothing is listed by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tidegate.cells import Cell
from tidegate.equations import expr
from tidegate.equations.widths import widths
from tidegate.onnx.graph import Builder, Value, summed

# The operators of what equations are made of.
FUNCTIONS = {
    "sigmoid": ("Sigmoid",),
    "tanh": ("Tanh",),
    "relu": ("Relu",),
    "exp": ("Exp",),
    "log": ("Log",),
    "rsqrt": ("Sqrt", "Reciprocal"),
    "erf": ("Erf",),
}
BINARY = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "maximum": "Max",
    "minimum": "Min",
}


class Algebra(Protocol):
    """How weights are rearranged before a graph multiplies by them: on arrays, or by nodes."""

    def rows(self, weight: Any, index: np.ndarray) -> Any:
        """Rows by their numbers from 1 on; 0 is a row of zeros."""
        ...

    def transposed(self, weight: Any) -> Any: ...

    def joined(self, weights: Sequence[Any]) -> Any:
        """One below the other."""
        ...

    def stacked(self, weights: Sequence[Any]) -> Any:
        """Along a new first axis."""
        ...

    def value(self, weight: Any) -> Value:
        """What nodes take."""
        ...


class Step:
    """The step of ``cell`` with these ``weights``, by the names that the cell declares.

    Biases may be missing.  ``sizes``: I, H and P.
    """

    def __init__(
        self, cell: Cell, algebra: Algebra, weights: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> None:
        self.cell, self._algebra, self._weights, self._sizes = cell, algebra, weights, sizes
        self._made: dict[tuple[str, tuple[str, ...]], tuple[Value, Value | None]] = {}
        self._vectors: dict[tuple[str, str], Value] = {}
        self._reads = cell.parameters["weight_ih"].blocks
        # values of the outer graph, which bodies see: made here, once
        self._input = self._product("weight_ih", "bias_ih", self._reads)
        self._groups = {
            node: self._group(node) for node in cell.trace.nodes if isinstance(node, expr.Product)
        }
        for group in self._groups.values():
            self._product_of(group)
        for node in cell.trace.nodes:
            if isinstance(node, expr.Vector):
                rows = self._rows(node.parameter, (node.gate,))
                taken = algebra.rows(weights[node.parameter], rows)
                self._vectors[node.parameter, node.gate] = algebra.value(taken)

    def inputs(self, graph: Builder, x: Value) -> Value:
        """The input products of all gates, [..., G * H], of x [..., I]."""
        return _linear(graph, x, *self._input)

    def states(self, graph: Builder, inputs: Value, before: Sequence[Value]) -> list[Value]:
        """The states after one step, [B, its width] each."""
        trace = self.cell.trace
        of_gate = dict(zip(self._reads, _split(graph, inputs, len(self._reads), self._height),
                           strict=True))  # fmt: skip
        of_state = dict(zip(self.cell.states, before, strict=True))
        values: dict[expr.Expr, Value] = {}
        for node in trace.nodes:
            if node in values:  # one of several products of one operand
                continue
            match node:
                case expr.Constant() | expr.Unary() | expr.Binary():
                    values[node] = elementwise(graph, node, values)
                case expr.Noise():  # in training alone
                    values[node] = graph.constant(np.zeros((1, self._height), np.float32))
                case expr.Input(gate):
                    values[node] = of_gate[gate]
                case expr.State(name):
                    values[node] = of_state[name]
                case expr.Vector(parameter, gate):
                    values[node] = self._vectors[parameter, gate]
                case expr.Mean(a):
                    total = summed(graph, values[a], -1, keep=True)
                    units = graph.constant(np.array(self._width(a), np.float32))
                    values[node] = graph.node("Div", total, units)
                case expr.Product():
                    group = self._groups[node]
                    products = _linear(graph, values[node.a], *self._product_of(group))
                    parts = _split(graph, products, len(group), self._height)
                    values |= zip(group, parts, strict=True)
        return [values[root] for root in trace.states.values()]

    @property
    def _height(self) -> int:
        return self._sizes["H"]

    def _width(self, node: expr.Expr) -> int:
        """Of the mean's operand: the units of a row."""
        of_states = {name: state.width for name, state in self.cell.states.items()}
        return self._sizes.get(widths(self.cell.trace, of_states)[node], 1)

    def _group(self, node: expr.Product) -> tuple[expr.Product, ...]:
        """The products of one matrix and one operand, which are made as one."""
        return tuple(
            other
            for other in self.cell.trace.nodes
            if isinstance(other, expr.Product)
            and (other.parameter, other.a) == (node.parameter, node.a)
        )

    def _product_of(self, group: tuple[expr.Product, ...]) -> tuple[Value, Value | None]:
        gates = tuple(node.gate for node in group)
        return self._product(group[0].parameter, "bias_hh" if gates[0] else "", gates)

    def _product(
        self, parameter: str, bias: str, gates: tuple[str, ...]
    ) -> tuple[Value, Value | None]:
        """The transposed matrix of these gates, and their bias or None."""
        key = parameter, gates
        if key not in self._made:
            algebra, weights = self._algebra, self._weights
            rows = self._rows(parameter, gates)
            matrix = algebra.value(algebra.transposed(algebra.rows(weights[parameter], rows)))
            added = None
            if bias in weights:
                added = algebra.value(algebra.rows(weights[bias], self._rows(bias, gates)))
            self._made[key] = matrix, added
        return self._made[key]

    def _rows(self, parameter: str, gates: tuple[str, ...]) -> np.ndarray:
        """The numbers, from 1 on, of these gates' rows."""
        declared = self.cell.parameters[parameter]
        blocks = np.arange(len(declared.blocks) * self._sizes[declared.rows])
        blocks = blocks.reshape(len(declared.blocks), -1) + 1
        return np.concatenate([blocks[declared.blocks.index(gate)] for gate in gates])


def elementwise(graph: Builder, node: expr.Expr, values: Mapping[expr.Expr, Value]) -> Value:
    """What a number, a function or an operation of two is, given its operands' ``values``."""
    match node:
        case expr.Constant(value):
            return graph.constant(np.array(value, np.float32))
        case expr.Unary("positive", a):
            above = graph.node("Greater", values[a], graph.constant(np.zeros((), np.float32)))
            return graph.node("Cast", above, to=1)  # to float32
        case expr.Unary(op, a):
            found = values[a]
            for name in FUNCTIONS[op]:
                found = graph.node(name, found)
            return found
        case expr.Binary(op, a, b):
            return graph.node(BINARY[op], values[a], values[b])
    raise TypeError(f"no operator for {node}")


def _linear(graph: Builder, x: Value, matrix: Value, bias: Value | None) -> Value:
    product = graph.node("MatMul", x, matrix)
    return product if bias is None else graph.node("Add", product, bias)


def _split(graph: Builder, value: Value, parts: int, width: int) -> tuple[Value, ...]:
    if parts == 1:
        return (value,)
    sizes = graph.constant(np.full(parts, width, np.int64))
    return graph.node("Split", value, sizes, outputs=parts, axis=-1)

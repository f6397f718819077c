"""One recurrent layer as ONNX nodes: a standard operator where the cell is one, else a Scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tidegate.cells import Cell
from tidegate.interchange.conventions.weights import LIBRARIES, into
from tidegate.onnx.cells import Algebra, Step
from tidegate.onnx.graph import Builder, Graph, Value, axes, cast

Weights = Mapping[str, Any]  # of one direction, by the names that the cell declares


class Arrays:
    """Weights are arrays, which are rearranged here and kept in the graph as it uses them."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def rows(self, weight: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros_like(weight[:1]), weight])[index]

    def transposed(self, weight: np.ndarray) -> np.ndarray:
        return weight.T

    def joined(self, weights: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(weights)

    def stacked(self, weights: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(weights)

    def value(self, weight: np.ndarray) -> str:
        return self._graph.constant(np.asarray(weight, np.float32))


def is_standard(cell: Cell) -> bool:
    """Whether ONNX has an operator of the same equations."""
    return cell.name in LIBRARIES["onnx"]


def operator(
    graph: Builder,
    algebra: Algebra,
    cell: Cell,
    weights: Sequence[Weights],
    sizes: Mapping[str, int],
    x: Value,
    lengths: Value | None,
    state: Sequence[Value] | None,
    direction: str = "forward",
) -> tuple[Value, list[Value]]:
    """ONNX's own operator: y [T, D, B, H] of x [T, B, I], and the final states [D, B, H].

    weights: of each of D directions.  lengths: int32 [B], or None for all steps of all rows.
    state: [D, B, H] each, or None for zeros.  A row of length 0 ends in its initial state, for
    which ONNX Runtime gives zeros.
    """
    how = LIBRARIES["onnx"][cell.name]
    numbers, after = {}, 0
    for name, parameter in cell.parameters.items():
        if name not in weights[0]:
            continue
        count = parameter.shape(sizes)[0]
        # the biases are numbered through, since they stand in one array there
        after = after if parameter.role == "recurrent bias" else 0
        numbers[name] = 1 + after + np.arange(count)
        after = count
    placed: dict[str, Value] = {}
    for name, index in into("onnx", cell.name, numbers).items():
        (ours,) = (n for n, theirs in how.arrays.items() if theirs == name)
        of_directions = [
            algebra.rows(
                algebra.joined([w["bias_ih"], w["bias_hh"]]) if ours == "bias" else w[ours], index
            )
            for w in weights
        ]
        placed[name] = algebra.value(algebra.stacked(of_directions))
    attributes = dict(how.options)
    if "activations" in attributes:
        attributes["activations"] = list(attributes["activations"]) * len(weights)
    initial = [None] * len(cell.states) if state is None else list(state)
    y, *final = graph.node(
        how.layer,
        *(x, placed["W"], placed["R"], placed.get("B"), lengths, *initial, placed.get("P")),
        outputs=1 + len(initial),
        hidden_size=sizes["H"],
        direction=direction,
        **attributes,
    )
    if lengths is not None and state is not None:
        none = graph.node("Equal", lengths, graph.constant(np.zeros((), np.int32)))
        none = graph.node("Unsqueeze", none, axes(graph, 0, 2))
        final = [graph.node("Where", none, s, f) for s, f in zip(state, final, strict=True)]
    return y, final


def scanned(
    graph: Builder,
    step: Step,
    x: Value,
    inside: Value | None,
    state: Sequence[Value],
    *,
    reverse: bool,
) -> tuple[Value, list[Value]]:
    """The cell's equations, step by step: y [T, B, W] of x [T, B, I], and the final states [B, W].

    inside: bool [T, B, 1], which steps are true ones, or None for all.  y is 0 beside them.
    """

    def body(
        inner: Builder, before: list[Value], given: list[Value]
    ) -> tuple[list[Value], list[Value]]:
        after = step.states(inner, given[0], before)
        if inside is None:
            return after, [after[0]]
        kept = [inner.node("Where", given[1], a, b) for a, b in zip(after, before, strict=True)]
        zero = inner.constant(np.zeros((), np.float32))
        return kept, [inner.node("Where", given[1], after[0], zero)]

    inputs = [step.inputs(graph, x), *([] if inside is None else [inside])]
    *final, y = graph.scan(body, state, inputs, reverse=reverse)
    return y, final


def zeros(graph: Builder, x: Value, widths: Sequence[int]) -> list[Value]:
    """Initial states [B, width] for x [T, B, ...]."""
    rows = graph.node("Slice", graph.node("Shape", x), axes(graph, 1), axes(graph, 2))
    found = []
    for width in widths:
        shape = graph.node("Concat", rows, axes(graph, width), axis=0)
        zero = graph.constant(np.zeros((1, 1), np.float32))
        found.append(graph.node("Expand", zero, shape))
    return found


def true_steps(graph: Builder, x: Value, lengths: Value) -> Value:
    """Which steps of x [T, B, ...] are before ``lengths``, int32 [B]: bool [T, B, 1]."""
    steps = graph.node("Slice", graph.node("Shape", x), axes(graph, 0), axes(graph, 1))
    steps = cast(graph, graph.node("Squeeze", steps, axes(graph, 0)), np.int32)
    start, by = (graph.constant(np.array(n, np.int32)) for n in (0, 1))
    numbers = graph.node("Unsqueeze", graph.node("Range", start, steps, by), axes(graph, 1))
    return graph.node("Unsqueeze", graph.node("Less", numbers, lengths), axes(graph, 2))

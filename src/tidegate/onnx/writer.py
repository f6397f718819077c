"""The parts of a trained network as nodes of an ONNX graph; time is first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tidegate.cells import Cell
from tidegate.onnx.cells import Step
from tidegate.onnx.graph import Graph, axes, cast, highest_of, summed
from tidegate.onnx.layers import Arrays, Weights, is_standard, operator, scanned, true_steps, zeros
from tidegate.runtime.between import EPSILON
from tidegate.runtime.network import Network

_DIRECTIONS = ("forward", "bidirectional")


class NetworkWriter:
    """Parts of ``network``, as nodes of one ``graph``."""

    def __init__(self, network: Network, opset: int) -> None:
        self.network, self.architecture = network, network.architecture
        self.graph = Graph(opset)
        self._arrays = Arrays(self.graph)
        self._weights: dict[str, str] = {}

    @property
    def zero(self) -> str:
        return self.graph.constant(np.zeros((), np.float32))

    def weight(self, name: str) -> str:
        """A tensor of the model file, kept once under its name."""
        if name not in self._weights:
            self._weights[name] = self.graph.constant(self.network.tensors[name], name)
        return self._weights[name]

    def embedded(self, inputs: dict[str, str]) -> str:
        """What the first layer reads."""
        if "values" in inputs:
            return inputs["values"]
        graph = self.graph
        x = graph.node("Gather", self.weight("embedding.weight"), inputs["tokens"], axis=0)
        if "evidence" in inputs:
            matrix = graph.constant(self.network.tensors["evidence.weight"].T, "evidence.weight")
            x = graph.node("Add", x, graph.node("MatMul", inputs["evidence"], matrix))
        if "condition" in inputs:
            steps = graph.node("Slice", graph.node("Shape", x), axes(graph, 0), axes(graph, 2))
            width = axes(graph, self.architecture.condition_size)
            shape = graph.node("Concat", steps, width, axis=0)
            beside = graph.node("Expand", inputs["condition"], shape)
            x = graph.node("Concat", x, beside, axis=-1)
        if "letters" in inputs:
            x = graph.node("Concat", x, self.spelled(inputs["letters"], x), axis=-1)
        return x

    def spelled(self, letters: str, beside: str) -> str:
        """What words' letters give, [..., S] of letters [..., K], 0 beyond a word's end.

        beside: [..., E], whose shape but the last axis it has.
        """
        a, graph = self.architecture, self.graph
        words = graph.node("Reshape", letters, axes(graph, -1, a.word_length))
        there = cast(graph, graph.node("Greater", words, graph.constant(np.array(0, np.int32))),
                     np.int32)  # fmt: skip
        lengths = summed(graph, there, 1, keep=False)
        words = graph.node("Transpose", words, perm=[1, 0])
        x = graph.node("Gather", self.weight("spelling.embedding.weight"), words, axis=0)
        weights, sizes = self.network.spelling_weights(), a.letter_sizes()
        inside = true_steps(graph, x, lengths)
        cell = self.architecture.layer_cells[0]
        _, last = self.recurrence(cell, weights, sizes, x, lengths, inside)
        spelled = graph.node("Concat", *last[0], axis=-1)
        before = graph.node("Shape", beside)
        before = graph.node("Slice", before, axes(graph, 0), axes(graph, -1))
        shape = graph.node("Concat", before, axes(graph, a.spelling_size), axis=0)
        return graph.node("Reshape", spelled, shape)

    def outputs(
        self,
        x: str,
        lengths: str,
        mix: Callable[[str], str] | None = None,
        condition: str | None = None,
        evidence: str | None = None,
    ) -> tuple[str, list[int | str]]:
        """The network's outputs for what its first layer reads, [T, B, I]; their shape but the
        batch.  ``mix``: what is made of those after each step, [T, B, O].  ``condition``: [B, C],
        with which states begin.  ``evidence``: [T, B, E], of which a line of tokens is.
        """
        a, graph = self.architecture, self.graph
        inside = true_steps(graph, x, lengths)
        last: list[str] = []
        y = x
        for k in range(len(a.hidden_sizes)):
            begun = None if condition is None else self.begun(k, condition)
            y, last = self.layer(k, y, lengths, inside, begun)
        if a.readout != "every":
            read = [self.read_out(part, y, last, lengths, inside) for part in a.readout.split("+")]
            features = read[0] if len(read) == 1 else graph.node("Concat", *read, axis=-1)
            output = self.dense(features)
            if a.linear_steps:
                output = self.with_line(output, self.last_steps(evidence or x, lengths))
            return output, [a.output_size]
        return self.every(y, inside, mix), ["time", a.output_size]

    def every(self, y: str, inside: str, mix: Callable[[str], str] | None = None) -> str:
        """The dense layer's outputs [B, T, O] of the last layer's [T, B, F], mixed by ``mix``."""
        a, graph = self.architecture, self.graph
        features = graph.node("Where", inside, y, self.zero)
        if mix is None:  # before they are as many as there are tokens
            features = graph.node("Transpose", features, perm=[1, 0, 2])
        shape = graph.node("Slice", graph.node("Shape", features), axes(graph, 0), axes(graph, 2))
        flat = graph.node("Reshape", features, axes(graph, -1, a.feature_size))
        shape = graph.node("Concat", shape, axes(graph, a.output_size), axis=0)
        output = graph.node("Reshape", self.dense(flat), shape)
        if mix is not None:
            output = graph.node("Transpose", mix(output), perm=[1, 0, 2])
        return output

    def normalised(self, k: int, x: str) -> str:
        """The outputs of the layer before ``k``, by the batch norm between the two."""
        if k == 0 or not self.architecture.batch_norm:
            return x
        return self._scaled(x, *self.network.between.batch_norms[k - 1])

    def read(self, k: int, x: str) -> str:
        """What layer ``k`` reads of that, by its layer norm: x [..., I]."""
        if (norm := self.network.between.layer_norm(k)) is None:
            return x
        graph, width = self.graph, np.float32(len(norm[0]))
        count = graph.constant(np.asarray(width))
        mean = graph.node("Div", summed(graph, x, -1, keep=True), count)
        centred = graph.node("Sub", x, mean)
        squares = summed(graph, graph.node("Mul", centred, centred), -1, keep=True)
        variance = graph.node("Div", squares, count)
        variance = graph.node("Add", variance, graph.constant(np.asarray(EPSILON)))
        return self._scaled(graph.node("Div", centred, graph.node("Sqrt", variance)), *norm)

    def added(self, k: int, x: str, y: str) -> str:
        """What layer ``k`` puts out, y [..., D * W], with what goes past it, x [..., I]."""
        if not self.network.between.has_shortcut(k):
            return y
        if (matrix := self.network.between.shortcut(k)) is not None:
            name = f"recurrent.shortcuts.{k}.weight"
            x = self.graph.node("MatMul", x, self.graph.constant(matrix.T, name))
        return self.graph.node("Add", y, x)

    def _scaled(self, x: str, scale: np.ndarray, shift: np.ndarray) -> str:
        scaled = self.graph.node("Mul", x, self.graph.constant(scale))
        return self.graph.node("Add", scaled, self.graph.constant(shift))

    def begun(self, k: int, condition: str) -> list[str]:
        """The states [B, W] with which layer ``k`` begins by a condition [B, C]."""
        names = (f"initial.{k}.{name}.weight" for name in self.network.state_names[k])
        transposed = (self.graph.constant(self.network.tensors[name].T, name) for name in names)
        return [self.graph.node("MatMul", condition, weight) for weight in transposed]

    def layer(
        self, k: int, x: str, lengths: str, inside: str, begun: list[str] | None = None
    ) -> tuple[str, list[str]]:
        """Y [T, B, D * W] of layer ``k``, and what its directions put out last, [B, W] each.

        y is undefined beyond the lengths.  ``begun``: the states that it begins with, or zeros.
        """
        y, final = self.whole_layer(k, x, lengths, inside, begun)
        if k + 1 < len(self.architecture.hidden_sizes) or not self.architecture.has_shortcuts:
            return y, final[0]
        return y, self.ends(y, len(final[0]), lengths)

    def whole_layer(
        self, k: int, x: str, lengths: str, inside: str, begun: list[str] | None = None
    ) -> tuple[str, list[list[str]]]:
        """The same with each of the cell's final states: of both directions, if there are two."""
        sizes = self.architecture.layer_sizes()[k]
        weights = self.network.whole_weights(k)
        cell = self.architecture.answering_cells[k]
        x = self.normalised(k, x)
        y, final = self.recurrence(cell, weights, sizes, self.read(k, x), lengths, inside, begun)
        return self.added(k, x, y), final

    def ends(self, y: str, directions: int, lengths: str) -> list[str]:
        """What each direction put out at its own last step, [B, W] of y [T, B, D * W]; 0 for a row
        without one.
        """
        graph = self.graph
        halves = [y]
        if directions == 2:
            width = self.architecture.layer_output_sizes()[-1] // 2
            halves = graph.node("Split", y, axes(graph, width, width), outputs=2, axis=-1)
        one, none = (graph.constant(np.array(n, np.int64)) for n in (1, 0))
        count = cast(graph, lengths, np.int64)
        at = graph.node("Max", graph.node("Sub", count, one), none)
        rows = graph.node("Transpose", halves[0], perm=[1, 0, 2])
        places = graph.node("Unsqueeze", at, axes(graph, 1))
        found = [graph.node("GatherND", rows, places, batch_dims=1)]
        found += [graph.node("Gather", half, none, axis=0) for half in halves[1:]]
        read = graph.node("Unsqueeze", graph.node("Greater", count, none), axes(graph, 1))
        return [graph.node("Where", read, end, self.zero) for end in found]

    def recurrence(
        self,
        cell: Cell,
        weights: Sequence[Weights],
        sizes: Mapping[str, int],
        x: str,
        lengths: str,
        inside: str,
        begun: list[str] | None = None,
    ) -> tuple[str, list[list[str]]]:
        """The same of a layer of ``cell``, by the weights of its directions."""
        graph = self.graph
        if is_standard(cell):
            direction = _DIRECTIONS[len(weights) == 2]
            first = axes(graph, 0)
            state = begun and [graph.node("Unsqueeze", one, first) for one in begun]
            y, final = operator(
                graph, self._arrays, cell, weights, sizes, x, lengths, state, direction
            )
            if len(weights) == 1:
                ends = [[graph.node("Squeeze", state, first)] for state in final]
                return graph.node("Squeeze", y, axes(graph, 1)), ends
            y = graph.node("Reshape", graph.node("Transpose", y, perm=[0, 2, 1, 3]),
                           axes(graph, 0, 0, 2 * cell.state_sizes(sizes)[0]))  # fmt: skip
            both = [
                graph.node("Split", state, axes(graph, 1, 1), outputs=2, axis=0) for state in final
            ]
            return y, [[graph.node("Squeeze", half, first) for half in state] for state in both]
        outputs: list[str] = []
        ends: list[list[str]] = [[] for _ in cell.states]
        for reverse, of_direction in enumerate(weights):
            step = Step(cell, self._arrays, of_direction, sizes)
            before = begun or zeros(graph, x, cell.state_sizes(sizes))
            y, final = scanned(graph, step, x, inside, before, reverse=reverse == 1)
            outputs.append(y)
            for of_state, end in zip(ends, final, strict=True):
                of_state.append(end)
        y = outputs[0] if len(outputs) == 1 else graph.node("Concat", *outputs, axis=-1)
        return y, ends

    def step(self, k: int, x: str, before: list[str]) -> tuple[str, list[str]]:
        """What layer ``k`` puts out [B, W] at one step that reads x [B, I], and its states then."""
        x = self.normalised(k, x)
        after = self._stepped(k, self.read(k, x), before)
        return self.added(k, x, after[0]), after

    def _stepped(self, k: int, x: str, before: list[str]) -> list[str]:
        graph, cell = self.graph, self.architecture.answering_cells[k]
        sizes, weights = self.architecture.layer_sizes()[k], self.network.whole_weights(k)
        if not is_standard(cell):
            step = Step(cell, self._arrays, weights[0], sizes)
            return step.states(graph, step.inputs(graph, x), before)
        first = axes(graph, 0)
        state = [graph.node("Unsqueeze", s, first) for s in before]
        x = graph.node("Unsqueeze", x, first)
        _, final = operator(graph, self._arrays, cell, weights, sizes, x, None, state)
        return [graph.node("Squeeze", s, first) for s in final]

    def read_out(self, part: str, y: str, last: Sequence[str], lengths: str, inside: str) -> str:
        """[B, D * W] of outputs y [T, B, D * W] and the last ones of each direction."""
        graph = self.graph
        if part == "last":
            return last[0] if len(last) == 1 else graph.node("Concat", *last, axis=-1)
        counts = graph.node("Unsqueeze", cast(graph, lengths, np.float32), axes(graph, 1))
        if part == "mean":
            total = summed(graph, graph.node("Where", inside, y, self.zero), 0, keep=False)
            one = graph.constant(np.ones((), np.float32))
            return graph.node("Div", total, graph.node("Max", counts, one))
        lowest = graph.constant(np.array(-np.inf, np.float32))
        shown = graph.node("Where", inside, y, lowest)
        highest = highest_of(graph, shown, 0)
        some = graph.node("Greater", counts, self.zero)
        return graph.node("Where", some, highest, self.zero)

    def last_steps(self, x: str, lengths: str) -> str:
        """The last ``linear_steps`` true steps of each row of x, zeros before its first,
        [B, steps * I].
        """
        graph, a = self.graph, self.architecture
        rows = graph.node("Slice", graph.node("Shape", x), axes(graph, 1), axes(graph, 2))
        size = graph.node("Concat", rows, axes(graph, a.linear_steps, a.linear_width), axis=0)
        nothing = graph.node("Expand", self.zero, size)
        padded = graph.node("Transpose", x, perm=[1, 0, 2])
        padded = graph.node("Concat", nothing, padded, axis=1)  # [B, steps + T, I]
        ends = graph.node("Unsqueeze", cast(graph, lengths, np.int64), axes(graph, 1))
        places = graph.node("Add", ends, graph.constant(np.arange(a.linear_steps)[None]))
        places = graph.node("Unsqueeze", places, axes(graph, 2))
        last = graph.node("GatherND", padded, places, batch_dims=1)
        return graph.node("Reshape", last, axes(graph, -1, a.linear_steps * a.linear_width))

    def with_line(self, output: str, last: str) -> str:
        """The output [B, O] and a linear map of the last steps [B, steps * I]."""
        line = self.graph.node("Gemm", last, self.weight("linear.weight"), transB=1)
        return self.graph.node("Add", output, line)

    def dense(self, features: str) -> str:
        """The outputs [N, O] of features [N, F]."""
        a = self.architecture
        weight = self.weight("embedding.weight" if a.tie_embeddings else "dense.weight")
        return self.graph.node("Gemm", features, weight, self.weight("dense.bias"), transB=1)

"""A trained network as an ONNX graph: over whole sequences, and one step of streams.

Inputs and outputs have the batch first, as users of ONNX have it; inside, time is first, as ONNX's
recurrent operators want it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tidegate.cells import Cell, get_cell
from tidegate.errors import InputError, spelled
from tidegate.onnx.cells import Step
from tidegate.onnx.counts import Counts
from tidegate.onnx.graph import Graph, axes, cast, highest_of, summed, tensor
from tidegate.onnx.layers import Arrays, Weights, is_standard, operator, scanned, true_steps, zeros
from tidegate.onnx.rows import LENGTHS, Reading, Tensor
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network

OUTPUT = "output"
_DIRECTIONS = ("forward", "bidirectional")


@dataclass(frozen=True)
class StatePair:
    """A state of the graph of one step: what goes in, and by which name it comes out.

    It is [batch, ``width``], and zero before the first step.
    """

    input: str
    output: str
    width: int


def whole_model(
    network: Network,
    opset: int,
    version: str,
    reading: Reading | None = None,
    mixture: Mixture | None = None,
) -> Any:
    """From whole sequences to the outputs of the network, [batch, O] or [batch, time, O].

    With ``reading``, from rows as they were measured to answers in their units; with ``mixture``,
    to the logarithms of its probabilities.
    """
    writer = NetworkWriter(network, opset)
    graph = writer.graph
    if reading is None:
        read = inputs_of(network, "batch", "time")
        time_first = {
            name: graph.node("Transpose", name, perm=[1, 0, *range(2, len(shape))])
            for name, _, shape in read
            if name != "condition"
        }
        if network.architecture.condition_size:
            time_first["condition"] = "condition"
        given: list[Tensor] = [*read, (LENGTHS, np.int32, ["batch"])]
        x, lengths = writer.embedded(time_first), graph.node("Identity", LENGTHS)
        tokens = time_first.get("tokens")
    else:
        tokens = None
        given = reading.inputs
        x, lengths = reading.read(graph)
    mix = None
    if mixture is not None and tokens is not None:
        mix = partial(Counts(graph, mixture).over_time, graph, tokens)
    condition = "condition" if network.architecture.condition_size else None
    output, shape = writer.outputs(x, lengths, mix, condition)
    kind: Any = np.float32
    if reading is not None:
        output, kind, answer = reading.answered(graph, output)
        shape = answer or shape
    graph.named(output, OUTPUT)
    inputs = [tensor(*one) for one in given]
    return graph.model(inputs, [tensor(OUTPUT, kind, ["batch", *shape])], "network", version)


def step_model(
    network: Network, opset: int, version: str, mixture: Mixture | None = None
) -> tuple[Any, list[StatePair]]:
    """From one step of streams and their states to the outputs after it and the states.

    Inputs are [batch] or [batch, I], outputs [batch, O]: those of the whole model for a sequence
    that ends here.  Raises InputError for a network that reads in both directions.
    """
    a, writer = network.architecture, NetworkWriter(network, opset)
    if a.bidirectional:
        raise InputError(
            "expected a network that reads forward, got one that also reads backward: its answer "
            "needs the end of the sequence, so it has no single step; leave it out, or train with "
            + spelled("bidirectional", False),
            option="step",
        )
    if a.condition_size:
        raise InputError(
            "expected a network whose states begin at zero, got one whose condition sets them; "
            "leave it out, and give the whole graph all of a text so far",
            option="step",
        )
    graph, pairs = writer.graph, []

    def state(name: str, width: int) -> str:
        pairs.append(StatePair(name, f"{name}_out", width))
        return name

    given = inputs_of(network, "batch")
    x = writer.embedded({name: name for name, _, _ in given})
    for k, sizes in enumerate(a.layer_sizes()):
        cell = get_cell(a.cell)
        widths = zip(cell.states, cell.state_sizes(sizes), strict=True)
        before = [state(f"layer_{k}_{name}", width) for name, width in widths]
        after = writer.step(k, writer.normalised(k, x), before)
        for name, value in zip(before, after, strict=True):
            graph.named(value, f"{name}_out")
        x = after[0]
    width = a.layer_output_sizes()[-1]
    parts = [] if a.readout == "every" else a.readout.split("+")
    read = [x] if not parts else []
    count = ""
    if set(parts) - {"last"}:
        one = graph.constant(np.ones((1, 1), np.float32))
        count = graph.named(graph.node("Add", state("steps", 1), one), "steps_out")
    for part in parts:
        if part == "last":
            read.append(x)
        elif part == "mean":
            total = graph.named(graph.node("Add", state("sum", width), x), "sum_out")
            read.append(graph.node("Div", total, count))
        else:
            begun = graph.node("Greater", "steps", writer.zero)
            before_it = state("max", width)
            highest = graph.node("Where", begun, graph.node("Max", before_it, x), x)
            read.append(graph.named(highest, "max_out"))
    features = read[0] if len(read) == 1 else graph.node("Concat", *read, axis=-1)
    output = writer.dense(features)
    if a.linear_steps:
        assert a.input_size is not None
        width = a.linear_steps * a.input_size
        newer = graph.node("Slice", state("window", width), axes(graph, a.input_size),
                           axes(graph, width), axes(graph, 1))  # fmt: skip
        window = graph.named(graph.node("Concat", newer, "values", axis=1), "window_out")
        output = writer.with_line(output, window)
    if mixture is not None:
        counts = Counts(graph, mixture)
        read_before = {name: state(name, width) for name, width in counts.states.items()}
        output, then = counts.step(graph, "tokens", output, read_before)
        for name, value in then.items():
            graph.named(value, f"{name}_out")
    graph.named(output, OUTPUT)
    inputs = [*given, *((p.input, np.float32, ["batch", p.width]) for p in pairs)]
    outputs = [(OUTPUT, np.float32, ["batch", a.output_size])]
    outputs += [(p.output, np.float32, ["batch", p.width]) for p in pairs]
    model = graph.model(
        [tensor(*one) for one in inputs], [tensor(*one) for one in outputs], "step", version
    )
    return model, pairs


def inputs_of(network: Network, *axes: str) -> list[Tensor]:
    """Name, type and shape of what the network reads."""
    a = network.architecture
    if a.input_size is not None:
        return [("values", np.float32, [*axes, a.input_size])]
    read: list[Any] = [("tokens", np.int32, [*axes])]
    if a.evidence_size:
        read.append(("evidence", np.float32, [*axes, a.evidence_size]))
    if a.condition_size:  # the same for all of a sequence
        read.append(("condition", np.float32, [axes[0], a.condition_size]))
    if a.letters:
        read.append(("letters", np.int32, [*axes, a.word_length]))
    return read


class NetworkWriter:
    """Parts of a network, as nodes of one graph; time is first."""

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
        cell = get_cell(self.architecture.cell)
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
    ) -> tuple[str, list[int | str]]:
        """The network's outputs for what its first layer reads, [T, B, I]; their shape but the
        batch.  ``mix``: what is made of those after each step, [T, B, O].  ``condition``: [B, C],
        with which states begin.
        """
        a, graph = self.architecture, self.graph
        inside = true_steps(graph, x, lengths)
        last: list[str] = []
        y = x
        for k in range(len(a.hidden_sizes)):
            begun = None if condition is None else self.begun(k, condition)
            y, last = self.layer(k, self.normalised(k, y), lengths, inside, begun)
        if a.readout != "every":
            read = [self.read_out(part, y, last, lengths, inside) for part in a.readout.split("+")]
            features = read[0] if len(read) == 1 else graph.node("Concat", *read, axis=-1)
            output = self.dense(features)
            if a.linear_steps:
                output = self.with_line(output, self.last_steps(x, lengths))
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
        """What layer ``k`` reads of the outputs of the one before it."""
        if k == 0 or not self.architecture.batch_norm:
            return x
        scale, shift = (self.graph.constant(array) for array in self.network.norm(k - 1))
        return self.graph.node("Add", self.graph.node("Mul", x, scale), shift)

    def begun(self, k: int, condition: str) -> list[str]:
        """The states [B, W] with which layer ``k`` begins by a condition [B, C]."""
        names = (f"initial.{k}.{name}.weight" for name in self.network.state_names)
        transposed = (self.graph.constant(self.network.tensors[name].T, name) for name in names)
        return [self.graph.node("MatMul", condition, weight) for weight in transposed]

    def layer(
        self, k: int, x: str, lengths: str, inside: str, begun: list[str] | None = None
    ) -> tuple[str, list[str]]:
        """Y [T, B, D * W] of layer ``k``, and the final output states [B, W] of its directions.

        y is undefined beyond the lengths.  ``begun``: the states that it begins with, or zeros.
        """
        y, final = self.whole_layer(k, x, lengths, inside, begun)
        return y, final[0]

    def whole_layer(
        self, k: int, x: str, lengths: str, inside: str, begun: list[str] | None = None
    ) -> tuple[str, list[list[str]]]:
        """The same with each of the cell's states: of both directions, if there are two."""
        sizes = self.architecture.layer_sizes()[k]
        weights = self.network.layer_weights(k)
        cell = get_cell(self.architecture.cell_that_answers)
        return self.recurrence(cell, weights, sizes, x, lengths, inside, begun)

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

    def step(self, k: int, x: str, before: list[str]) -> list[str]:
        """The states [B, W] of layer ``k`` after one step that reads x [B, I]."""
        graph, cell = self.graph, get_cell(self.architecture.cell_that_answers)
        sizes, weights = self.architecture.layer_sizes()[k], self.network.layer_weights(k)
        if not is_standard(cell):
            step = Step(cell, self._arrays, weights[0], sizes)
            return step.states(graph, step.inputs(graph, x), before)
        first = axes(graph, 0)
        state = [graph.node("Unsqueeze", s, first) for s in before]
        x = graph.node("Unsqueeze", x, first)
        _, final = operator(graph, self._arrays, cell, weights, sizes, x, None, state)
        return [graph.node("Squeeze", s, first) for s in final]

    def read_out(self, part: str, y: str, last: Sequence[str], lengths: str, inside: str) -> str:
        """[B, D * W] of outputs y [T, B, D * W] and final output states."""
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
        assert a.input_size is not None
        rows = graph.node("Slice", graph.node("Shape", x), axes(graph, 1), axes(graph, 2))
        size = graph.node(
            "Concat", rows, axes(graph, a.linear_steps, a.input_size), axis=0
        )  # fmt: skip
        nothing = graph.node("Expand", self.zero, size)
        padded = graph.node("Transpose", x, perm=[1, 0, 2])
        padded = graph.node("Concat", nothing, padded, axis=1)  # [B, steps + T, I]
        ends = graph.node("Unsqueeze", cast(graph, lengths, np.int64), axes(graph, 1))
        places = graph.node("Add", ends, graph.constant(np.arange(a.linear_steps)[None]))
        places = graph.node("Unsqueeze", places, axes(graph, 2))
        last = graph.node("GatherND", padded, places, batch_dims=1)
        return graph.node("Reshape", last, axes(graph, -1, a.linear_steps * a.input_size))

    def with_line(self, output: str, last: str) -> str:
        """The output [B, O] and a linear map of the last steps [B, steps * I]."""
        line = self.graph.node("Gemm", last, self.weight("linear.weight"), transB=1)
        return self.graph.node("Add", output, line)

    def dense(self, features: str) -> str:
        """The outputs [N, O] of features [N, F]."""
        a = self.architecture
        weight = self.weight("embedding.weight" if a.tie_embeddings else "dense.weight")
        return self.graph.node("Gemm", features, weight, self.weight("dense.bias"), transB=1)

"""A trained network as an ONNX graph: over whole sequences, and one step of streams.

Inputs and outputs have the batch first, as users of ONNX have it; inside, time is first, as ONNX's
recurrent operators want it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tidegate.errors import InputError, spelled
from tidegate.onnx.counts import Counts
from tidegate.onnx.graph import axes, tensor
from tidegate.onnx.rows import LENGTHS, Reading, Tensor
from tidegate.onnx.writer import NetworkWriter
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network

OUTPUT = "output"


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
        tokens, evidence = time_first.get("tokens"), time_first.get("evidence")
    else:
        tokens = evidence = None
        given = reading.inputs
        x, lengths = reading.read(graph)
    mix = None
    if mixture is not None and tokens is not None:
        mix = partial(Counts(graph, mixture).over_time, graph, tokens)
    condition = "condition" if network.architecture.condition_size else None
    output, shape = writer.outputs(x, lengths, mix, condition, evidence)
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
    for k, (cell, sizes) in enumerate(zip(a.layer_cells, a.layer_sizes(), strict=True)):
        widths = zip(cell.states, cell.state_sizes(sizes), strict=True)
        before = [state(f"layer_{k}_{name}", width) for name, width in widths]
        x, after = writer.step(k, x, before)
        for name, value in zip(before, after, strict=True):
            graph.named(value, f"{name}_out")
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
        window = "evidence"
        if a.input_size is not None:
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

"""An encoder and a decoder as two ONNX graphs: what reads a source, and one step that answers it.

The first gives the memory and the states that the second begins with; the second is run once for
each token of the answer, its states handed on, as `runtime/beam_search.py` does it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.model.architecture import Architecture
from tidegate.onnx.checking import need_same, session_of
from tidegate.onnx.graph import Graph, axes, cast, tensor
from tidegate.onnx.layers import true_steps
from tidegate.onnx.network import OUTPUT
from tidegate.onnx.rows import LENGTHS
from tidegate.onnx.writer import NetworkWriter
from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime

TOKENS, VALUES, MEMORY, ATTENTION = "tokens", "values", "memory", "attention"
_FRESH = ([1], [9, 2, 1, 5])  # true steps of the sources that are tried, and of the targets 6
_STEPS = 6


def two_files(
    runtime: EncoderDecoderRuntime,
    opset: int,
    version: str,
    told: Mapping[str, Any],
    key: str,
) -> tuple[bytes, bytes]:
    """The encoder's file and that of the decoder's step, with what is ``told`` in the metadata.

    Raises InputError unless both together answer as the runtime in ONNX Runtime.
    """
    from onnx import helper

    files = []
    for graph, model in (
        ("encoder", encoder_model(runtime, opset, version)),
        ("decoder step", decoder_model(runtime, opset, version)),
    ):
        states = [
            {"input": _state(k, name), "output": f"{_state(k, name)}_out", "width": width}
            for k, name, width, _ in runtime.architecture.starts()
        ]
        about = {**told, "graph": graph, "states": states}
        text = json.dumps(about, ensure_ascii=False, allow_nan=False, sort_keys=True)
        helper.set_model_props(model, {key: text})
        files.append(model.SerializeToString(deterministic=True))
    check_both(files[0], files[1], runtime)
    return files[0], files[1]


def encoder_model(runtime: EncoderDecoderRuntime, opset: int, version: str) -> Any:
    """Tokens [batch, time], or values [batch, time, I], and lengths [batch] to the memory [batch,
    time, F] and the states.
    """
    a, writer = runtime.architecture, NetworkWriter(runtime.source, opset)
    graph, (given, kind, sizes) = writer.graph, _read_by(a.source)
    y = writer.embedded({given: graph.node("Transpose", given, perm=[1, 0, 2][: 2 + len(sizes)])})
    lengths = graph.node("Identity", LENGTHS)
    inside = true_steps(graph, y, lengths)
    outputs = []
    for k, names in enumerate(runtime.source.state_names):
        y, ends = writer.whole_layer(k, y, lengths, inside)
        for name, directions in zip(names, ends, strict=True):
            read = directions[0]
            if len(directions) > 1:
                read = graph.node("Concat", *directions, axis=-1)
            prefix = f"start.{k}.{name}"
            weight, bias = (
                graph.constant(runtime.tensors[f"{prefix}.{part}"], f"{prefix}.{part}")
                for part in ("weight", "bias")
            )
            graph.named(graph.node("Gemm", read, weight, bias, transB=1), _state(k, name))
            width = len(runtime.tensors[f"{prefix}.bias"])
            outputs.append(tensor(_state(k, name), np.float32, ["batch", width]))
    graph.named(writer.every(y, inside), MEMORY)
    memory = tensor(MEMORY, np.float32, ["batch", "time", a.source.output_size])
    inputs = [
        tensor(given, kind, ["batch", "time", *sizes]),
        tensor(LENGTHS, np.int32, ["batch"]),
    ]
    return graph.model(inputs, [memory, *outputs], "encoder", version)


def _read_by(network: Architecture) -> tuple[str, Any, list[int | str]]:
    """What a network reads of a step: its name, its type, and the sizes beside batch and time."""
    if network.input_size is None:
        return TOKENS, np.int32, []
    return VALUES, np.float32, [network.input_size]


def decoder_model(runtime: EncoderDecoderRuntime, opset: int, version: str) -> Any:
    """A token [batch] or values [batch, I], the states, the memory and the sources' lengths to
    outputs [batch, V].

    Beside them the new states, each by its name with ``_out``, and the weights of the memory,
    ``attention`` [batch, time].
    """
    a, writer = runtime.architecture, NetworkWriter(runtime.target, opset)
    graph, (given, kind, sizes) = writer.graph, _read_by(a.target)
    inputs = [tensor(given, kind, ["batch", *sizes])]
    outputs = []
    x = writer.embedded({given: given})
    for k, names in enumerate(runtime.target.state_names):
        before = [_state(k, name) for name in names]
        x, after = writer.step(k, x, before)
        for name, value in zip(before, after, strict=True):
            graph.named(value, f"{name}_out")
    for k, name, width, _ in a.starts():
        inputs.append(tensor(_state(k, name), np.float32, ["batch", width]))
        outputs.append(tensor(f"{_state(k, name)}_out", np.float32, ["batch", width]))
    features, weights = _attended(graph, runtime, x)
    graph.named(writer.dense(features), OUTPUT)
    graph.named(weights, ATTENTION)
    inputs += [
        tensor(MEMORY, np.float32, ["batch", "time", a.source.output_size]),
        tensor(LENGTHS, np.int32, ["batch"]),
    ]
    outputs = [
        tensor(OUTPUT, np.float32, ["batch", a.output_size]),
        *outputs,
        tensor(ATTENTION, np.float32, ["batch", "time"]),
    ]
    return graph.model(inputs, outputs, "decoder_step", version)


def _attended(graph: Graph, runtime: EncoderDecoderRuntime, x: str) -> tuple[str, str]:
    """Features [B, F] of the decoder's states x [B, F], and the memory's weights [B, S]."""

    def times(value: str, name: str) -> str:
        matrix = graph.constant(runtime.attention[f"{name}.weight"].T, f"attention.{name}")
        return graph.node("MatMul", value, matrix)

    own, middle = runtime.attention, axes(graph, 1)
    query = asked = graph.node("Unsqueeze", x, middle)  # [B, 1, F]
    if "query.weight" in own:
        asked = times(query, "query")
    if "energy.weight" in own:
        pairs = graph.node("Tanh", graph.node("Add", asked, times(MEMORY, "key")))
        scores = graph.node("Transpose", times(pairs, "energy"), perm=[0, 2, 1])
    else:
        scores = graph.node("MatMul", asked, graph.node("Transpose", MEMORY, perm=[0, 2, 1]))
    shape = graph.node("Shape", MEMORY)
    steps = graph.node("Slice", shape, middle, axes(graph, 2))
    steps = graph.node("Squeeze", steps, axes(graph, 0))
    start, by = (graph.constant(np.array(n, np.int32)) for n in (0, 1))
    places = graph.node("Range", start, cast(graph, steps, np.int32), by)
    inside = graph.node("Less", places, graph.node("Unsqueeze", LENGTHS, axes(graph, 1, 2)))
    lowest = graph.constant(np.array(-np.inf, np.float32))
    weights = graph.node("Softmax", graph.node("Where", inside, scores, lowest), axis=-1)
    seen = graph.node("Concat", graph.node("MatMul", weights, MEMORY), query, axis=-1)
    seen = graph.node("Squeeze", seen, middle)
    combine, bias = (
        graph.constant(own[f"combine.{part}"], f"attention.combine.{part}")
        for part in ("weight", "bias")
    )
    features = graph.node("Tanh", graph.node("Gemm", seen, combine, bias, transB=1))
    return features, graph.node("Squeeze", weights, middle)


def check_both(encoder: bytes, decoder: bytes, runtime: EncoderDecoderRuntime) -> None:
    """Run both on fresh random pairs.  Raises InputError where logits are others than ours."""
    a, rng = runtime.architecture, np.random.default_rng()
    first, second = session_of(encoder), session_of(decoder)
    names = [_state(k, name) for k, name, _, _ in a.starts()]
    for rows in _FRESH:
        lengths = np.array(rows)
        sources, targets = (
            _drawn(part, (steps, len(rows)), rng)
            for part, steps in ((a.source, max(rows)), (a.target, _STEPS))
        )
        expected = runtime(sources, lengths, targets)
        true, given = lengths.astype(np.int32), _read_by(a.source)[0]
        memory, *states = first.run(
            [MEMORY, *names], {given: sources.swapaxes(0, 1), LENGTHS: true}
        )
        for t in range(_STEPS):
            feed = {given: targets[t], MEMORY: memory, LENGTHS: true}
            feed |= dict(zip(names, states, strict=True))
            output, *states = second.run([OUTPUT, *(f"{name}_out" for name in names)], feed)
            need_same(output, expected[t], max(rows) + t + 1, "fresh pairs, step by step")


def _drawn(network: Architecture, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random tokens or values of a network, [T, B, ...]."""
    if network.vocabulary_size is not None:
        return rng.integers(0, network.vocabulary_size, shape).astype(np.int32)
    return rng.standard_normal((*shape, network.input_size or 0)).astype(np.float32)


def _state(layer: int, name: str) -> str:
    return f"layer_{layer}_{name}"

"""One step of a stream: a classifier of two layers of 128 GRU units reads a row and answers anew.

    python benchmarks/reproduce/streaming.py

Each contestant takes a row of 16 numbers and the state before, and gives the probabilities of 5
labels and the state after; all have the same weights, and one thread.  tidegate:
``SequenceClassifier.stream().feed``, which also checks and scales the row.  ONNX Runtime: one graph
of two GRU nodes, a dense layer and softmax, of which the states are inputs and outputs.  torch:
``nn.GRU``, ``nn.Linear`` and softmax in inference mode.  Their answers must agree first.  They take
turns, and each turn is short, so that a busy neighbour spoils some turns and not all: the figure
is the median, with the least and the greatest beside it.

Then 1,000 streams as one batch, by the same contestants: microseconds for each stream's step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingImports]
import torch
from onnx import TensorProto, helper, numpy_helper  # pyright: ignore[reportMissingImports]
from record import Record, markdown

import tidegate as tg
from tidegate.bench.timing import in_turns, seconds_per_call
from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.series.scaling import Scaler
from tidegate.interchange.conventions.weights import into
from tidegate.model.architecture import Architecture
from tidegate.runtime.network import Network

CHANNELS, HIDDEN, LAYERS, LABELS, STREAMS = 16, 128, 2, 5, 1000
AGREE = 1e-5  # of a probability, after some steps
TURNS, SHORTEST = 200, 0.002  # seconds

Feed = Callable[[np.ndarray], np.ndarray]  # float64 [B, CHANNELS] to probabilities [B, LABELS]


def classifier() -> Any:
    """Random weights, since a step takes as long whatever was learned.  Its scale changes nothing,
    so that the others need none.
    """
    model = tg.SequenceClassifier(bidirectional=False, readout="last", own_scale=False)
    scaler = Scaler(np.zeros(CHANNELS), np.ones(CHANNELS))
    model.inputs_ = SequenceInputs(scaler=scaler, segment=1, own_scale=False)
    model.evidence_ = None
    model.classes_ = np.arange(LABELS)
    architecture = Architecture(
        cell="gru", vocabulary_size=None, input_size=CHANNELS, embedding_size=None,
        hidden_sizes=(HIDDEN,) * LAYERS, bidirectional=False, readout="last", output_size=LABELS,
        batch_norm=False, embedding_dropout=0.0, dropout=0.0, recurrent_dropout=0.0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    shapes = architecture.tensor_shapes().items()
    tensors = {n: (rng.standard_normal(s) / HIDDEN**0.5).astype(np.float32) for n, s in shapes}
    model.runtime_ = Network(architecture, tensors)
    return model


def ours(model: Any, streams: int) -> Feed:
    """One stream, or a batch of them."""
    if streams > 1:
        return model.stream(streams).feed
    feed = model.stream().feed
    return lambda x: feed(x[0])


def torchs(model: Any, streams: int) -> Feed:
    """Tensors that share the arrays' memory."""
    tensors = model.runtime_.tensors
    gru = torch.nn.GRU(CHANNELS, HIDDEN, LAYERS)
    dense = torch.nn.Linear(HIDDEN, LABELS)
    with torch.no_grad():
        for name, value in gru.named_parameters():
            k = name[-1]
            value.copy_(torch.from_numpy(tensors[f"recurrent.{k}.{name[:-1]}0"]))
        dense.weight.copy_(torch.from_numpy(tensors["dense.weight"]))
        dense.bias.copy_(torch.from_numpy(tensors["dense.bias"]))
    state = torch.zeros(LAYERS, streams, HIDDEN)

    @torch.inference_mode()
    def feed(x: np.ndarray) -> np.ndarray:
        nonlocal state
        y, state = gru(torch.from_numpy(x[None]), state)
        return torch.softmax(dense(y[0]), 1).numpy()

    return feed


def onnx_runtimes(model: Any, streams: int) -> Feed:
    """A session of one thread, arrays in and out."""
    tensors = model.runtime_.tensors
    arrays = {"W": tensors["dense.weight"], "b": tensors["dense.bias"]}
    arrays["axis"] = np.array([0])
    wide, nodes, before = [1, "B", HIDDEN], [], "X"
    for k in range(LAYERS):
        prefix = f"recurrent.{k}."
        own = {n[len(prefix) : -3]: t for n, t in tensors.items() if n.startswith(prefix)}
        named = {f"{n}{k}": array[None] for n, array in into("onnx", "gru", own).items()}
        arrays |= named
        nodes.append(
            helper.make_node(
                "GRU", [before, *named, "", f"h{k}"], ["", f"after{k}"],
                hidden_size=HIDDEN, linear_before_reset=1,
            )
        )  # fmt: skip
        before = f"after{k}"
    nodes += [
        helper.make_node("Squeeze", [before, "axis"], ["last"]),
        helper.make_node("Gemm", ["last", "W", "b"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
    ]

    def value(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "step",
        [value("X", [1, "B", CHANNELS]), *(value(f"h{k}", wide) for k in range(LAYERS))],
        [value("p", ["B", LABELS]), *(value(f"after{k}", wide) for k in range(LAYERS))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    state = [np.zeros((1, streams, HIDDEN), np.float32)] * LAYERS

    def feed(x: np.ndarray) -> np.ndarray:
        nonlocal state
        given = {f"h{k}": one for k, one in enumerate(state)}
        p, *state = session.run(None, {"X": x[None], **given})
        return np.asarray(p)

    return feed


CONTESTANTS = {"tidegate": ours, "ONNX Runtime": onnx_runtimes, "torch": torchs}


def timed(streams: int, turns: int) -> dict[str, list[float]]:
    """Median, least and greatest microseconds of a stream's step, by contestant."""
    model = classifier()
    rows = np.random.default_rng(1).standard_normal((20, streams, CHANNELS))
    calls: dict[str, Any] = {}
    answers: dict[str, np.ndarray] = {}
    for name, make in CONTESTANTS.items():
        feed = make(model, streams)
        # each is given numbers of the type that it takes
        given = rows if name == "tidegate" else rows.astype(np.float32)
        for x in given:
            p = feed(x)
        answers[name] = np.array(p, np.float64).reshape(streams, LABELS)
        calls[name] = partial(seconds_per_call, partial(feed, given[0]))
    for name, p in answers.items():
        error = float(np.abs(p - answers["tidegate"]).max())
        if not error <= AGREE:
            raise SystemExit(f"{name}: expected the same answers, got a difference of {error:.2g}")
    spreads, _ = in_turns(calls, turns=turns, shortest=SHORTEST)
    return {n: [round(s / streams * 1e6, 2) for s in spread] for n, spread in spreads.items()}


COLUMNS: dict[str, Any] = {
    "streams": lambda r: r["streams"],
    **{n: lambda r, n=n: r["microseconds"][n][0] for n in CONTESTANTS},
    "of ONNX Runtime's": lambda r: r["of_onnx_runtime"],
    "of torch's": lambda r: r["of_torch"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=TURNS)
    turns = parser.parse_args().turns
    torch.set_num_threads(1)
    record = Record("streaming", ("streams",))
    for streams in (1, STREAMS):
        spreads = timed(streams, turns if streams == 1 else max(1, turns // 10))
        median = {name: spread[0] for name, spread in spreads.items()}
        record.add(
            {
                "streams": streams,
                "microseconds": spreads,
                "of_onnx_runtime": round(median["tidegate"] / median["ONNX Runtime"], 3),
                "of_torch": round(median["tidegate"] / median["torch"], 3),
                "onnxruntime": onnxruntime.__version__,
            }
        )
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

"""ONNX Runtime: GRU and LSTM inference, one node as the model, numpy in and out."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.bench.work import LayerWork, Prepared, StepWork, Work, stream
from tidegate.cells import get_cell

_OPSET = 17  # read by every ONNX Runtime of the last years
_LENGTHS = "sequence_lens"


def prepare(work: Work) -> Prepared:
    """A session on the threads torch has."""
    match work:
        case LayerWork(grad=None):
            session = _session(work, final_state=False)
            feed = {"X": work.x}
            if work.lengths is not None:
                feed[_LENGTHS] = work.lengths.astype(np.int32)

            def infer() -> Any:
                return session.run(None, feed)[0]

            return Prepared(infer, lambda: {"y": infer().squeeze(1)})  # [T, directions, B, H]
        case StepWork():
            session = _session(work, final_state=True)
            x = work.x[None]
            names = [given.name for given in session.get_inputs()[1:]]
            hidden = work.weights["weight_hh"].shape[1]
            zeros = np.zeros((1, len(work.x), hidden), np.float32)

            def step(state: Any) -> tuple[Any, Any]:
                after = session.run(None, {"X": x, **dict(zip(names, state, strict=True))})
                return after[0], after

            return stream(lambda: [zeros] * len(names), step)
    raise TypeError(f"ONNX Runtime only infers, got {type(work).__name__}")


def _session(work: LayerWork | StepWork, final_state: bool) -> Any:
    import onnxruntime  # pyright: ignore[reportMissingImports]
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Its threads spin between calls, as it comes; timing.py waits for them after each turn.
    return onnxruntime.InferenceSession(
        _model(work, final_state), options, providers=["CPUExecutionProvider"]
    )


def _model(work: LayerWork | StepWork, final_state: bool) -> bytes:
    """X [T, B, I] to y; or, from the state before, to the state after, [1, B, H] each."""
    from tidegate.onnx.graph import Graph, tensor
    from tidegate.onnx.layers import Arrays, operator

    cell, graph = get_cell(work.cell), Graph(_OPSET)
    inputs, hidden = work.weights["weight_ih"].shape[1], work.weights["weight_hh"].shape[1]
    states = [f"initial_{state}" for state in cell.states] if final_state else []
    ragged = isinstance(work, LayerWork) and work.lengths is not None
    sizes, lengths = {"I": inputs, "H": hidden, "P": 0}, _LENGTHS if ragged else None
    y, final = operator(
        graph, Arrays(graph), cell, [work.weights], sizes, "X", lengths, states or None
    )
    state: list[int | str] = [1, "B", hidden]
    given = [tensor("X", np.float32, ["T", "B", inputs])]
    given += [tensor(_LENGTHS, np.int32, ["B"])] if ragged else []
    given += [tensor(name, np.float32, state) for name in states]
    returned = [tensor(y, np.float32, ["T", *state])]
    if final_state:
        returned = [tensor(name, np.float32, state) for name in final]
    return graph.model(given, returned, "layer", "").SerializeToString()

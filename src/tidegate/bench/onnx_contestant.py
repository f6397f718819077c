"""ONNX Runtime: GRU and LSTM inference, one node as the model, numpy in and out."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.bench.work import LayerWork, Prepared, StepWork, Work, stream
from tidegate.cells import get_cell
from tidegate.interchange import conventions

_OPSET, _IR_VERSION = 14, 8  # read by every ONNX Runtime of the last years


def prepare(work: Work) -> Prepared:
    """A session on the threads torch has."""
    match work:
        case LayerWork(grad=None):
            session = _session(work, final_state=False)
            feed = {"X": work.x}
            if work.lengths is not None:
                feed["sequence_lens"] = work.lengths.astype(np.int32)

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
    """X [T, B, I] to Y; or, from the state before, to the state after, [1, B, H] each."""
    from onnx import TensorProto, helper, numpy_helper  # pyright: ignore[reportMissingImports]

    def tensor(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs, hidden = work.weights["weight_ih"].shape[1], work.weights["weight_hh"].shape[1]
    # W [1, G*H, I], R [1, G*H, H], B [1, 2*G*H]
    arrays = {n: a[None] for n, a in conventions.into("onnx", work.cell, work.weights).items()}
    given, returned = [tensor("X", ["T", "B", inputs])], [tensor("Y", ["T", 1, "B", hidden])]
    names, outputs = ["X", *arrays], ["Y"]
    if isinstance(work, LayerWork) and work.lengths is not None:
        given.append(helper.make_tensor_value_info("sequence_lens", TensorProto.INT32, ["B"]))
        names.append("sequence_lens")
    if final_state:
        states = list(get_cell(work.cell).states)
        given += [tensor(f"initial_{s}", [1, "B", hidden]) for s in states]
        returned = [tensor(f"Y_{s}", [1, "B", hidden]) for s in states]
        names += ["", *(f"initial_{s}" for s in states)]  # "": no sequence_lens
        outputs = ["", *(f"Y_{s}" for s in states)]
    how = conventions.LIBRARIES["onnx"][work.cell]
    node = helper.make_node(how.layer, names, outputs, hidden_size=hidden, **how.options)
    held = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([node], "layer", given, returned, held)
    opset = helper.make_opsetid("", _OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
    return model.SerializeToString()

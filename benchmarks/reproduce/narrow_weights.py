"""Weights in 16 and 8 bits: size, speed and accuracy beside float32, and ONNX Runtime's own.

    python benchmarks/reproduce/narrow_weights.py                     # layers
    python benchmarks/reproduce/narrow_weights.py --model MODEL DATA  # a trained model

Layers: an LSTM of H units that reads H numbers, one step of one stream and 50 steps of 16
sequences, on one thread.  ONNX Runtime's dynamic quantisation has an LSTM in 8 bits, and no GRU.
A model: the size of its file, its test figure, and the seconds that judging takes.  MODEL is a text
classifier (DATA: a table with columns text and label, .gz too) or a language model (DATA: a text).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from record import Record, Row, markdown, versions_of

import tidegate as tg
from tidegate.engine import EngineLayer, compiled
from tidegate.interchange.conventions import weights as conventions
from tidegate.model.narrow import WEIGHTS


def shown(row: Row, name: str) -> str:
    """Microseconds of a layer's call; of a model its figure, its file's size and its seconds."""
    if "seconds" in row:
        microseconds = 1e6 * row["seconds"][name]
        return f"{microseconds:,.{0 if microseconds > 100 else 1}f} µs"
    found = dict(row["figures"].get(name, {}))
    if not found:
        return ""
    seconds, size = found.pop("seconds"), found.pop("megabytes")
    ((figure, value),) = found.items()
    return f"{figure} {value:.4f}, {size:.1f} MB, {seconds:.1f} s"


COLUMNS: dict[str, Any] = {
    "what": lambda row: row["what"],
    **{
        name: lambda row, name=name: shown(row, name)
        for name in (*WEIGHTS, "ONNX Runtime", "ONNX Runtime, 8 bits")
    },
}


def onnx_sessions(weights: dict[str, np.ndarray], folder: Path) -> dict[str, Any]:
    """ONNX Runtime's sessions of an LSTM, as it is and quantised: X, initial states to outputs."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper, save
    from onnxruntime.quantization import QuantType, quantize_dynamic

    hidden = weights["weight_hh"].shape[1]
    arrays = {n: a[None] for n, a in conventions.into("onnx", "lstm", weights).items()}
    value = partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    states = [value(n, shape=[1, "B", hidden]) for n in ("h", "c")]
    outputs = [value("Y", shape=["T", 1, "B", hidden])]
    outputs += [value(n, shape=[1, "B", hidden]) for n in ("Y_h", "Y_c")]
    given = [value("X", shape=["T", "B", hidden]), *states]
    node = helper.make_node(
        "LSTM", ["X", *arrays, "", "h", "c"], ["Y", "Y_h", "Y_c"], hidden_size=hidden
    )
    held = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([node], "lstm", given, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    plain, rounded = folder / "plain.onnx", folder / "rounded.onnx"
    save(model, plain)
    quantize_dynamic(plain, rounded, weight_type=QuantType.QInt8, op_types_to_quantize=["LSTM"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return {
        name: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for name, path in {"ONNX Runtime": plain, "ONNX Runtime, 8 bits": rounded}.items()
    }


def layers(record: Record) -> None:
    """One LSTM layer, in turns; microseconds of a call."""
    from tidegate.bench.timing import in_turns, seconds_per_call

    rng = np.random.default_rng(0)
    for hidden in (128, 256, 512, 1024):
        scale = hidden**-0.5
        shapes = {"weight_ih": (4 * hidden, hidden), "weight_hh": (4 * hidden, hidden)}
        shapes |= {"bias_ih": (4 * hidden,), "bias_hh": (4 * hidden,)}
        weights = {n: rng.uniform(-scale, scale, s).astype(np.float32) for n, s in shapes.items()}
        ours = {w: EngineLayer("lstm", weights, w) for w in WEIGHTS}
        with tempfile.TemporaryDirectory() as folder:
            theirs = onnx_sessions(weights, Path(folder))
        for steps, rows in ((1, 1), (50, 16)):
            x = rng.standard_normal((steps, rows, hidden)).astype(np.float32)
            state = [np.zeros((1, rows, hidden), np.float32)] * 2
            feed = {"X": x, "h": state[0], "c": state[1]}
            calls: dict[str, Any] = {}
            for name, layer in ours.items():
                if steps == 1:
                    calls[name] = partial(layer.step, x[0], layer.initial_state(rows))
                else:
                    calls[name] = partial(layer.forward, x, threads=1)
            for name, session in theirs.items():
                calls[name] = partial(session.run, None, feed)
            timed = {n: partial(seconds_per_call, call) for n, call in calls.items()}
            spreads, turns = in_turns(timed, seconds=2.0)
            wanted = theirs["ONNX Runtime"].run(None, feed)[0][:, 0]
            found = {w: layer.forward(x)[0] for w, layer in ours.items()}
            found["ONNX Runtime, 8 bits"] = theirs["ONNX Runtime, 8 bits"].run(None, feed)[0][:, 0]
            errors = {n: float(np.abs(y - wanted).max()) for n, y in found.items()}
            record.add(
                {
                    "what": f"LSTM {hidden}, {rows} x {steps} steps",
                    "sets": {w: compiled.inference_isa(w) for w in WEIGHTS},
                    "seconds": {n: s[0] for n, s in spreads.items()},
                    "turns": turns,
                    "largest_error": errors,
                }
            )


def judged(model: Any, data: Path) -> tuple[str, float, float]:
    """The figure's name, the figure, and the seconds that it took."""
    if model.TASK == "text-classifier":
        from sentiment import reviews

        texts, labels = reviews(data)
        began = time.perf_counter()
        figure = model.score(texts, labels)
        return "accuracy", figure, time.perf_counter() - began
    text = data.read_text(encoding="utf-8")
    began = time.perf_counter()
    figure = model.evaluate(text)["cross_entropy"]
    return "cross-entropy", figure, time.perf_counter() - began


def model_of(path: Path, data: Path) -> Row:
    """A model's file, figure and seconds for each kind of weights."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for weights in WEIGHTS:
            file = Path(folder) / f"{weights}.safetensors"
            tg.load(path).save(file, weights=weights)
            model = tg.load(file)
            name, figure, seconds = judged(model, data)
            size = file.stat().st_size / 1e6
            figures[weights] = {name: figure, "seconds": seconds, "megabytes": size}
    hidden = " x ".join(map(str, model.hidden_sizes))
    return {"what": f"{model.TASK}, {model.cell} {hidden}", "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", nargs=2, type=Path, metavar=("MODEL", "DATA"))
    arguments = parser.parse_args()
    record = Record("narrow_weights", ("what",), versions_of(("onnx", "onnxruntime")))
    if arguments.model:
        record.add(model_of(*arguments.model))
    else:
        layers(record)
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

"""One answer of a stream that reads anew: a default classifier of sequences, which needs the end.

    python benchmarks/reproduce/whole_streams.py

A ``SequenceClassifier`` with the options that it has by default, of 3 labels and 2 channels, and
learned from sequences of 150 steps; after one step of training, since an answer takes as long
whatever was learned.  Milliseconds of one answer to a sequence that has grown to 100 and to 1,000
steps, of evidence alone, and of the same in ONNX Runtime, which reads the whole sequence, too.
They are of processor time, on one thread, so that what else runs on the machine counts little.
Their answers must agree first.  They take turns; the figure is the median, with the least and the
greatest beside it.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when the engine and torch are loaded

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingImports]
from record import Record, markdown

import tidegate as tg
from tidegate.bench.timing import in_turns
from tidegate.runtime.probabilities import log_softmax

CHANNELS, STEPS, LABELS, SEQUENCES = 2, 150, 3, 60
LENGTHS = (100, 1000)
AGREE = 1e-5  # of a probability
TURNS = 25


def classifier() -> Any:
    rng = np.random.default_rng(0)
    labels = np.arange(SEQUENCES) % LABELS
    waves = np.sin(np.linspace(0, 20, STEPS)[None, :, None] * (1 + labels[:, None, None] / 4))
    sequences = waves + rng.standard_normal((SEQUENCES, STEPS, CHANNELS))
    return tg.SequenceClassifier(max_steps=1, verbose=0).fit(sequences, labels)


def session_of(model: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.export_onnx(path)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def processor_seconds(call: Callable[[], Any], calls: int) -> float:
    """Of one call, after one more that is not timed."""
    call()
    began = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - began) / calls


def timed(model: Any, session: Any, steps: int) -> dict[str, list[float]]:
    """Median, least and greatest milliseconds of one answer."""
    rows = np.random.default_rng(1).standard_normal((steps, CHANNELS))
    feed = {"rows": rows[None], "sequence_lens": np.array([steps], np.int32)}
    stream = model.stream()
    answer = stream.feed(rows)
    p = np.exp(log_softmax(session.run(None, feed)[0])[0])
    error = max(float(np.abs(answer - q).max()) for q in (p, model.predict_proba([rows])[0]))
    if not error <= AGREE:
        raise SystemExit(f"expected the same answers, got a difference of {error:.2g}")
    filled = model.inputs_.filled(rows)
    calls = {
        "an answer": lambda: stream.answer,
        "of it evidence": lambda: model.evidence_.of([filled]),
        "ONNX Runtime": lambda: session.run(None, feed),
    }
    turns = {name: partial(processor_seconds, call) for name, call in calls.items()}
    spreads, _ = in_turns(turns, turns=TURNS)
    return {name: [round(s * 1e3, 2) for s in spread] for name, spread in spreads.items()}


def main() -> None:
    record, model = Record("whole_streams", ("steps",)), classifier()
    session = session_of(model)
    for steps in LENGTHS:
        figures = {"steps": steps, "milliseconds": timed(model, session, steps)}
        record.add(figures | {"onnxruntime": onnxruntime.__version__})
    names = list(record.rows[0]["milliseconds"])
    columns: dict[str, Any] = {
        "steps": lambda r: r["steps"],
        **{n: lambda r, n=n: r["milliseconds"][n][0] for n in names},
    }
    print("\n" + markdown(record.rows, columns))


if __name__ == "__main__":
    main()

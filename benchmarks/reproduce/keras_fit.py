"""``model.fit`` of Embedding, GRU, GRU, Dense: tidegate's layers beside Keras' own.

    python benchmarks/reproduce/keras_fit.py
    python benchmarks/reproduce/keras_fit.py --peers-python PATH

The model is the one that introductions show: an embedding of 1000 words in 128 numbers, GRUs of 128
and of 64 units, a softmax over two classes; Adam, batches of 32 texts of 80 words.  Three forms:
plain, with ``recurrent_dropout=0.2`` in both layers, and with ``mask_zero=True`` on texts of 20 to
80 words, padded in front.

Each contestant runs in a process of its own, and they take turns.  Before that each must have come
to the same loss after one epoch from the same weights; with dropout only on the same back end,
whose random numbers agree.  Of tidegate's milliseconds those within the engine are shown, too; the
rest is Keras', torch's and what is between.

Keras on JAX and on TensorFlow run in the interpreter PATH, which needs keras and these two; what it
has not is left out, with a line that says so.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from record import Record, markdown, times_as_long, versions_of

BATCH, STEPS, WORDS, WIDTH, UNITS = 32, 80, 1000, 128, (128, 64)
BATCHES, TURNS = 5, 5
FORMS = ("plain", "recurrent_dropout=0.2", "mask_zero=True")
OURS = "tidegate"
BACK_ENDS = {OURS: "torch", "Keras on torch": "torch", "Keras on JAX": "jax"} | {
    "Keras on TensorFlow": "tensorflow"
}
SAME = 1e-3  # of a loss: rounding of float32 over one epoch


def model_of(contestant: str, form: str) -> Callable[[], float]:
    """A function that fits one epoch and returns its loss."""
    import keras
    import numpy as np

    if contestant == OURS:
        from tidegate.keras import GRU
    else:
        from keras.layers import GRU

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.integers(1, WORDS, (BATCHES * BATCH, STEPS)).astype("int32")
    y = (x[:, -1] % 2).astype("int32")
    dropped: dict[str, Any] = {"recurrent_dropout": 0.2} if form.startswith("recurrent") else {}
    masked = form.startswith("mask")
    if masked:
        for row in x:
            row[: rng.integers(0, 61)] = 0
    model: Any = keras.Sequential(
        [
            keras.Input((STEPS,), dtype="int32"),
            keras.layers.Embedding(WORDS, WIDTH, mask_zero=masked),
            GRU(UNITS[0], return_sequences=True, seed=1, **dropped),
            GRU(UNITS[1], seed=2, **dropped),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.set_weights([rng.uniform(-0.1, 0.1, w.shape) for w in model.get_weights()])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0).history["loss"][0]


def serve(contestant: str, form: str) -> None:
    """Answer each line with the loss of one more epoch, and the milliseconds of a step in it.

    On the wall, of processor over all threads, and within the engine.
    """
    threads = int(os.environ["OMP_NUM_THREADS"])  # XLA takes one for each processor it may use
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    fit, engine = model_of(contestant, form), [0.0]
    if contestant == OURS:
        clock_the_engine(engine)
    for _ in sys.stdin:
        engine[0] = 0.0
        began = time.perf_counter(), time.process_time()
        loss = fit()
        ended = time.perf_counter(), time.process_time()
        wall, processor = (1000 * (e - b) / BATCHES for b, e in zip(began, ended, strict=True))
        turn = [loss, wall, processor, 1000 * engine[0] / BATCHES]
        print("turn", json.dumps(turn), flush=True)


def clock_the_engine(seconds: list[float]) -> None:
    """Add to ``seconds[0]`` what layers spend in the engine's passes from now on."""
    from tidegate.nn import engine_calls, engine_gradients

    def clocked(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **options)
            seconds[0] += time.perf_counter() - began
            return result

        return run

    engine_calls.forward = clocked(engine_calls.forward)
    engine_gradients.backward = clocked(engine_gradients.backward)


class Contestant:
    """A process that fits when it is told to."""

    def __init__(self, name: str, form: str, python: str, threads: int) -> None:
        environment = os.environ | {
            "KERAS_BACKEND": BACK_ENDS[name],
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_NUM_THREADS": str(threads),
            "TF_NUM_INTRAOP_THREADS": str(threads),
        }
        self.name = name
        self._process = subprocess.Popen(
            [python, __file__, "--serve", name, form],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def turn(self) -> list[float]:
        """One epoch: its loss, and a step's milliseconds, as `serve` gives them."""
        told, said = self._process.stdin, self._process.stdout
        assert told is not None
        assert said is not None
        told.write("\n")
        told.flush()
        for line in said:
            if line.startswith("turn "):
                return json.loads(line.removeprefix("turn "))
        raise RuntimeError(f"{self.name}: its process ended with {self._process.wait()}")

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(form: str, python: dict[str, str], threads: int) -> dict[str, Any]:
    """One row: medians over turns, with the fastest and the slowest."""
    contestants = [Contestant(name, form, path, threads) for name, path in python.items()]
    try:
        losses = {c.name: c.turn()[0] for c in contestants}
        for name, loss in losses.items():
            comparable = "dropout" not in form or BACK_ENDS[name] == "torch"
            if comparable and abs(loss - losses[OURS]) > SAME * losses[OURS]:
                raise RuntimeError(f"{name}: a loss of {loss}, and tidegate's is {losses[OURS]}")
        turns = [{c.name: c.turn()[1:] for c in contestants} for _ in range(TURNS)]
    finally:
        for contestant in contestants:
            contestant.end()
    wall, processor, engine = ({n: [t[n][k] for t in turns] for n in python} for k in range(3))
    return {
        "form": form,
        "ms_per_step": {n: round(statistics.median(t), 2) for n, t in wall.items()},
        "spread_ms": {n: [round(min(t), 2), round(max(t), 2)] for n, t in wall.items()},
        "cpu_ms_per_step": {n: round(statistics.median(t), 2) for n, t in processor.items()},
        "engine_ms_per_step": round(statistics.median(engine[OURS]), 2),
        "first_loss": losses,
    }


COLUMNS: dict[str, Any] = {
    "form": lambda row: row["form"],
    "ms per step": lambda row: f"{row['ms_per_step'][OURS]:.1f}",
    "in the engine": lambda row: row.get("engine_ms_per_step", ""),
    **{name: times_as_long(name, OURS) for name in BACK_ENDS if name != OURS},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return

    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # which the record asks torch for
    python, versions = {}, {}
    for name, back_end in BACK_ENDS.items():
        path = sys.executable if back_end == "torch" else options.peers_python
        found = versions_of(("keras", back_end), path)
        if len(found) < 2:
            print(f"{name}: left out, because {path} has no keras with {back_end}", flush=True)
            continue
        if found["keras"] != versions.setdefault("keras", found["keras"]):
            raise SystemExit(
                f"--peers-python: expected Keras {versions['keras']}, as beside tidegate, got "
                f"{found['keras']}; pip install keras=={versions['keras']} there"
            )
        python[name], versions = path, versions | found
    record = Record("keras_fit", ["form"], versions)
    for form in FORMS:
        record.add(measure(form, python, options.threads))
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

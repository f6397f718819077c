"""Layers against torch.nn in one process, interleaved: ratios, and fractions of the machine's peak.

    python benchmarks/bench.py --cells gru,lstm --repeats 15 --output benchmarks/results/layers.json

Equality is checked before anything is timed.  Run it with nothing else on the machine: two programs
on the same cores spoil each other's figures.  torch.nn is timed as it comes and with denormals
flushed; ratios are against the faster of the two.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

import tidegate as tg
from tidegate import _engine

# B, T, I, H
SHAPES = [
    (1, 100, 128, 128),
    (7, 33, 5, 19),
    (32, 100, 1, 50),
    (3, 1000, 40, 96),
    (128, 28, 28, 100),
    (32, 80, 128, 128),
    (64, 200, 128, 128),
    (32, 100, 128, 256),
    (256, 50, 256, 256),
    (50, 100, 512, 512),
]
LAYERS = {
    "rnn": (tg.RNN, torch.nn.RNN, 1),
    "gru": (tg.GRU, torch.nn.GRU, 3),
    "lstm": (tg.LSTM, torch.nn.LSTM, 4),
}


def median_seconds(runs: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Median, least and greatest time of each, taken in turns so that drift meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return {n: [statistics.median(t[1:]), min(t[1:]), max(t[1:])] for n, t in times.items()}


def compare(cell: str, shape: tuple[int, int, int, int], repeats: int, peak: float) -> list[dict]:
    """Rows for inference and training of one layer at one shape."""
    ours_class, theirs_class, gates = LAYERS[cell]
    B, T, I, H = shape  # noqa: E741, N806
    torch.manual_seed(0)
    theirs, ours = theirs_class(I, H), ours_class(I, H)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(T, B, I, requires_grad=True)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-4, atol=1e-5)
    grad = torch.randn(T, B, H)

    def infer(layer: torch.nn.Module) -> None:
        with torch.no_grad():
            layer(x)

    def train(layer: torch.nn.Module) -> None:
        layer(x)[0].backward(grad)

    def flushed(act: Callable[[torch.nn.Module], None]) -> None:
        torch.set_flush_denormal(True)
        act(theirs)
        torch.set_flush_denormal(False)

    rows = []
    for mode, act, passes in (("inference", infer, 1), ("training", train, 3)):
        runs = {
            "tidegate": lambda act=act: act(ours),
            "torch": lambda act=act: act(theirs),
            "torch, denormals flushed": lambda act=act: flushed(act),
        }
        times = median_seconds(runs, repeats)
        operations = passes * 2 * B * T * gates * H * (I + H)
        best = min(times["torch"][0], times["torch, denormals flushed"][0])
        rows.append(
            {
                "cell": cell,
                "shape": shape,
                "mode": mode,
                "seconds": times,
                "ratio": best / times["tidegate"][0],
                "fraction_of_peak": operations / times["tidegate"][0] / peak,
            }
        )
    return rows


def matrix_product_peak(repeats: int) -> float:
    """Operations per second of a large float32 product."""
    a, b, c = (torch.randn(2048, 2048) for _ in range(3))

    def product() -> None:
        torch.mm(a, b, out=c)

    times = median_seconds({"product": product}, repeats)
    return 2 * 2048**3 / times["product"][0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Layers against torch.nn, side by side.")
    parser.add_argument("--cells", default="rnn,gru,lstm")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/layers.json"))
    options = parser.parse_args()
    peak = matrix_product_peak(options.repeats)
    print(f"large float32 product: {peak / 1e9:.0f} GF/s on {torch.get_num_threads()} threads")
    rows = []
    for cell in options.cells.split(","):
        for shape in SHAPES:
            for row in compare(cell, shape, options.repeats, peak):
                rows.append(row)
                milliseconds = row["seconds"]["tidegate"][0] * 1e3
                print(
                    f"{cell:5} {shape!s:22} {row['mode']:9} {milliseconds:8.2f} ms  "
                    f"{row['ratio']:5.2f} x torch  {row['fraction_of_peak']:.2f} of peak",
                    flush=True,
                )
        for mode in ("inference", "training"):
            ratios = [r["ratio"] for r in rows if (r["cell"], r["mode"]) == (cell, mode)]
            print(f"{cell:5} {mode}: {statistics.geometric_mean(ratios):.2f} x torch")
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": platform.processor() or platform.machine(),
        "isa": _engine.isa(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "peak_operations_per_second": peak,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(
        json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()

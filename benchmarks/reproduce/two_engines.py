"""The engines of two checkouts side by side: whether a change made any layer slower.

    python benchmarks/reproduce/two_engines.py CHECKOUT

CHECKOUT is another working copy of this repository, set up by `make ready` there.  Each engine
runs in a process of its own, by its own .venv; the two take turns, and which goes first changes
from turn to turn.  A figure is the speed of this checkout's engine over the other's: the median of
the pairs of turns, and the ratio of the best turns.  Where other work shares the machine,
``--processor-time`` on one thread is what can be compared: it leaves out the time in which others
had the processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[2]
SHAPES = (  # B x T x I x H
    "1x1x4x4",
    "1x100x128x128",
    "7x33x5x19",
    "32x100x1x50",
    "3x1000x40x96",
    "128x28x28x100",
    "32x80x128x128",
    "64x200x128x128",
)
CELLS = ("rnn", "gru", "gru_reset_before", "lstm")
TURN_S = 0.02  # shorter calls are repeated within a turn
SHORT_TURN_S = 0.003  # of processor time, which needs no wait for idle threads


class Engine:
    """A process that times the layers of one checkout."""

    def __init__(self, checkout: Path, threads: int, processor_time: bool) -> None:
        python = checkout / ".venv" / "bin" / "python"
        if not python.exists():
            raise SystemExit(f"expected {python}: run `make ready` in {checkout}")
        options = ["--serve", "--threads", str(threads), *["--processor-time"] * processor_time]
        self._process = subprocess.Popen(
            [str(python), __file__, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, order: Any) -> float:
        """A list chooses the layer and the mode, a number is how often.  Gives seconds a call."""
        given, answers = self._process.stdin, self._process.stdout
        assert given is not None
        assert answers is not None
        print(json.dumps(order), file=given, flush=True)
        if not (answer := answers.readline()):
            raise SystemExit("an engine's process ended: its message stands above")
        return float(answer)

    def end(self) -> None:
        """Let it end: its input does."""
        self._process.communicate()


def processor_seconds(call: Callable[[], Any], calls: int) -> float:
    """One turn, after one call that is not timed, as `tidegate.bench.timing.seconds_per_call`."""
    call()
    began = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - began) / calls


def serve(threads: int, processor_time: bool) -> None:
    """Answer orders until there are no more, in either checkout: it asks little of both."""
    import torch

    import tidegate as tg
    from tidegate.bench.timing import seconds_per_call

    seconds = processor_seconds if processor_time else seconds_per_call
    layers: dict[str, Any] = {
        "rnn": tg.RNN,
        "gru": tg.GRU,
        "gru_reset_before": lambda *sizes: tg.GRU(*sizes, reset="before"),
        "lstm": tg.LSTM,
    }
    torch.set_num_threads(threads)
    call: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            print(seconds(call, order), flush=True)
            continue
        cell, shape, mode = order
        B, T, inputs, H = map(int, shape.split("x"))  # noqa: N806
        torch.manual_seed(0)
        layer, x, grad = layers[cell](inputs, H), torch.randn(T, B, inputs), torch.randn(T, B, H)
        wanted = [x.requires_grad_(mode == "training"), *layer.parameters()]

        def infer(layer: Any = layer, x: Any = x) -> None:
            with torch.no_grad():
                layer(x)

        def train(layer: Any = layer, x: Any = x, grad: Any = grad, wanted: Any = wanted) -> None:
            torch.autograd.grad(layer(x)[0], wanted, grad)

        call = train if mode == "training" else infer
        print(seconds(call, 3), flush=True)


def compare(
    engines: Sequence[Engine], layer: list[str], pairs: int, turn_s: float
) -> dict[str, Any]:
    """The speed of the first engine over the second's."""
    calls = max(1, round(turn_s / min([engine.ask(layer) for engine in engines])))
    times: list[list[float]] = [[], []]
    for turn in range(pairs):
        for which in (0, 1) if turn % 2 else (1, 0):
            times[which].append(engines[which].ask(calls))
    return {
        "median": round(statistics.median(b / a for a, b in zip(*times, strict=True)), 3),
        "best": round(min(times[1]) / min(times[0]), 3),
        "microseconds": [round(1e6 * min(t), 1) for t in times],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path, nargs="?", help="the other working copy")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=16, help="pairs of turns")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--shapes", default=",".join(SHAPES), help="B x T x I x H each")
    parser.add_argument("--modes", default="inference,training")
    parser.add_argument("--processor-time", action="store_true", help="instead of the clock's")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.threads, options.processor_time)
    if options.checkout is None:
        parser.error("expected the other working copy's folder")
    if options.processor_time and options.threads > 1:
        parser.error("--processor-time: expected --threads 1, as threads that wait take time too")
    counts = options.threads, options.processor_time
    engines = [Engine(path, *counts) for path in (HERE, options.checkout)]
    turn_s = SHORT_TURN_S if options.processor_time else TURN_S
    found: dict[str, list[float]] = {"median": [], "best": []}
    print(f"{'layer':44} median  best   us (this, the other)")
    for shape in options.shapes.split(","):
        for cell in options.cells.split(","):
            for mode in options.modes.split(","):
                row = compare(engines, [cell, shape, mode], options.pairs, turn_s)
                for key, values in found.items():
                    values.append(row[key])
                ours, theirs = row["microseconds"]
                name = f"{cell} {shape} {mode}"
                print(
                    f"{name:44} {row['median']:.3f}  {row['best']:.3f}  {ours} {theirs}", flush=True
                )
    for key, values in found.items():
        below = sum(v < 0.97 for v in values)
        mean = statistics.geometric_mean(values)
        print(f"{key}: geometric mean {mean:.3f}, least {min(values):.3f}, {below} below 0.97")
    for engine in engines:
        engine.end()


if __name__ == "__main__":
    main()

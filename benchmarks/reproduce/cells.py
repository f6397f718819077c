"""Cells that torch.nn has not: how fast they train, beside the LSTM and beside loops in torch.

    python benchmarks/reproduce/cells.py
    python benchmarks/reproduce/cells.py --compiled    # and torch.compile's loop, minutes a cell

In turns, on the same inputs and weights, a forward and a backward pass of each of these: the layer;
our LSTM of the same sizes, whose time is compared by multiplications; a loop as people write it,
with the cell's whole step at each time step; and the stronger loop, which makes the input products
of all steps first.  Denormals are flushed in all of them from the beginning, which spares a torch
loop more than the layer, whose engine flushes them in any case.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from record import Record, markdown
from torch import Tensor

import tidegate as tg
from tidegate.bench.shapes import Shape, operations, parse_shape, sizes_of
from tidegate.bench.timing import in_turns, seconds_per_call
from tidegate.cells import NAMES, get_cell
from tidegate.nn.reference import unroll

SHAPES = (Shape(32, 80, 128, 128), Shape(64, 200, 128, 128))
CELLS = tuple(n for n in NAMES if get_cell(n).torch is None or get_cell(n).is_projected)
AGREE = 1e-4  # of the largest value; sums of 200 steps in another order

Loop = Callable[[Tensor], Tensor]


def loops(cell: str, layer: tg.Recurrent, batch: int) -> tuple[Loop, Loop]:
    """The loop as people write it, and the one that makes the input products first."""
    declared, weights = get_cell(cell), layer.layer_weights(0)
    zeros = tuple(torch.zeros(batch, width) for width in layer.state_sizes)

    def plain(x: Tensor) -> Tensor:
        state, outputs = zeros, []
        for step in x.split(1):
            y, state = unroll(declared, step, state, weights)
            outputs.append(y)
        return torch.cat(outputs)

    return plain, lambda x: unroll(declared, x, zeros, weights)[0]


def training(run: Loop, x: Tensor, wanted: list[Tensor], grad: Tensor) -> list[Tensor]:
    """The gradients of a forward and a backward pass."""
    return [*torch.autograd.grad(run(x), wanted, grad)]


def measured(cell: str, shape: Shape, compiled: bool, seconds: float) -> dict[str, Any]:
    """Milliseconds of a training step of each contestant, and what they come to."""
    B, T, I, H = shape  # noqa: E741, N806
    size = sizes_of(cell, I, H)["P"]
    torch.manual_seed(0)
    layer, lstm = tg.Recurrent(cell, I, H, proj_size=size), tg.LSTM(I, H)
    x = torch.randn(T, B, I, requires_grad=True)
    plain, stronger = loops(cell, layer, B)
    runs: dict[str, tuple[Loop, Any]] = {
        "engine": (lambda x: layer(x)[0], layer),
        "lstm": (lambda x: lstm(x)[0], lstm),
        "loop": (plain, layer),
        "stronger loop": (stronger, layer),
    }
    if compiled:
        runs["compiled loop"] = (torch.compile(stronger, fullgraph=True), layer)
    calls = {
        name: partial(
            training, run, x, [x, *own.parameters()], torch.randn(T, B, own.state_sizes[0])
        )
        for name, (run, own) in runs.items()
    }
    for name, (run, own) in runs.items():
        if own is layer:
            error = float((run(x) - layer(x)[0]).detach().abs().max())
            if not error <= AGREE:
                raise SystemExit(
                    f"{cell}, {name}: expected the layer's output, got {error:.2g} off"
                )
    timed = {name: partial(seconds_per_call, call) for name, call in calls.items()}
    spreads, turns = in_turns(timed, seconds=seconds)
    took = {name: spread[0] for name, spread in spreads.items()}
    work = operations(cell, shape, "training") / operations("lstm", shape, "training")
    return {
        "cell": cell,
        "shape": str(shape),
        "threads": torch.get_num_threads(),
        "turns": turns,
        "milliseconds": {name: round(1e3 * s, 2) for name, s in took.items()},
        "by_multiplication": round(took["engine"] / took["lstm"] / work, 3),
        "times_as_long": {
            name: round(took[name] / took["engine"], 2) for name in took if "loop" in name
        },
    }


COLUMNS: dict[str, Any] = {
    "cell": lambda r: r["cell"],
    "B x T x I x H": lambda r: r["shape"],
    "ms": lambda r: r["milliseconds"]["engine"],
    "time by multiplication, LSTM = 1": lambda r: r["by_multiplication"],
    **{
        f"{name}: times as long": lambda r, name=name: r["times_as_long"].get(name, "")
        for name in ("loop", "stronger loop", "compiled loop")
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, help="default: every core")
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--shapes", default=",".join(map(str, SHAPES)), help="BxTxIxH, with commas")
    parser.add_argument("--compiled", action="store_true", help="torch.compile's loop, too")
    parser.add_argument("--seconds", type=float, default=10.0, help="of turns, for each row")
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # before other threads begin, which take it over
    if options.threads:
        torch.set_num_threads(options.threads)
    record = Record("cells", ("cell", "shape", "threads"))
    for shape in map(parse_shape, options.shapes.split(",")):
        for cell in options.cells.split(","):
            record.add(measured(cell, shape, options.compiled, options.seconds))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

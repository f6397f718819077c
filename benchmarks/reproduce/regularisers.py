"""What each regulariser of a layer costs: training beside the plain layer, in turns.

    python benchmarks/reproduce/regularisers.py
    python benchmarks/reproduce/regularisers.py --cells lstm --shapes 64x200x128x128

A forward and a backward pass of layers of the same cell, sizes and weights, on the same input: one
plain, and one for each option that draws something in training.  The median time of each is given
as a multiple of the plain layer's.  Cells that zoneout or dropout of candidates makes are compiled
before they are timed.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from record import Record, markdown

import tidegate as tg
from tidegate.bench.shapes import Shape, parse_shape
from tidegate.bench.timing import in_turns, seconds_per_call

SHAPES = (Shape(32, 80, 128, 128), Shape(64, 200, 128, 128), Shape(16, 100, 256, 512))
CELLS = ("lstm", "gru")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "input dropout": {"input_dropout": 0.3},
    "recurrent dropout": {"recurrent_dropout": 0.3},
    "recurrent dropout by gate": {"recurrent_dropout": 0.3, "dropout_per_gate": True},
    "candidate dropout": {"candidate_dropout": 0.3},
    "zoneout": {"zoneout": 0.1},
    "weight drop": {"weight_dropout": 0.5},
}


def measured(cell: str, shape: Shape, seconds: float) -> dict[str, Any]:
    """Milliseconds of a training step under each option, and multiples of the plain one's."""
    B, T, I, H = shape  # noqa: E741, N806
    torch.manual_seed(0)
    x, grad = torch.randn(T, B, I, requires_grad=True), torch.randn(T, B, H)
    layers = {name: tg.Recurrent(cell, I, H, **given) for name, given in OPTIONS.items()}
    for layer in layers.values():
        layer.load_state_dict(layers["plain"].state_dict())

    def step(layer: tg.Recurrent) -> None:
        torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], grad)

    timed = {
        name: partial(seconds_per_call, partial(step, layer)) for name, layer in layers.items()
    }
    spreads, turns = in_turns(timed, seconds=seconds)
    took = {name: spread[0] for name, spread in spreads.items()}
    return {
        "cell": cell,
        "shape": str(shape),
        "threads": torch.get_num_threads(),
        "turns": turns,
        "milliseconds": {name: round(1e3 * s, 2) for name, s in took.items()},
        "times_plain": {name: round(s / took["plain"], 2) for name, s in took.items()},
    }


COLUMNS: dict[str, Any] = {
    "cell": lambda row: row["cell"],
    "B x T x I x H": lambda row: row["shape"],
    "plain, ms": lambda row: row["milliseconds"]["plain"],
    **{
        name: lambda row, name=name: f"{row['times_plain'][name]:.2f}"
        for name in OPTIONS
        if name != "plain"
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--shapes", default=",".join(map(str, SHAPES)), help="BxTxIxH, with commas")
    parser.add_argument("--seconds", type=float, default=10.0, help="of turns, for each row")
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # before other threads begin, which take it over
    record = Record("regularisers", ("cell", "shape", "threads"))
    for shape in map(parse_shape, options.shapes.split(",")):
        for cell in options.cells.split(","):
            record.add(measured(cell, shape, options.seconds))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

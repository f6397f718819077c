"""A reader's own cell: seconds to its first result, and its training beside the engine's own.

    python benchmarks/reproduce/own_cell.py

Seconds from the definition to the first gradients: in a process of its own, with nothing kept, and
again with the compiled cell kept.  The same equations as a cell of tidegate, under another name:
training steps of both layers, in 25 turns, with the same weights, the least time of each.  Their
gradients must be the same bits first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from record import Record, markdown

from tidegate import Recurrent, _engine, cell, gates, states
from tidegate.bench.timing import in_turns, seconds_per_call

SHAPES = ((50, 32, 128), (100, 64, 256), (200, 8, 512))  # T, B, H; inputs as many as units


@cell(gates="r z n", state="h")
def gru_again(ops, w, u, h):
    """The equations of gru."""
    r = ops.sigmoid(w.r + u.r(h))
    z = ops.sigmoid(w.z + u.z(h))
    n = ops.tanh(w.n + r * u.n(h))
    return states(h=(1 - z) * n + z * h), gates(r=r, z=z, n=n)


@cell(gates="i f g o", states="h c")
def lstm_again(ops, w, u, h, c):
    """The equations of lstm."""
    i = ops.sigmoid(w.i + u.i(h))
    f = ops.sigmoid(w.f + u.f(h))
    g = ops.tanh(w.g + u.g(h))
    o = ops.sigmoid(w.o + u.o(h))
    c = f * c + i * g
    return states(h=o * ops.tanh(c), c=c), gates(i=i, f=f, g=g, o=o)


TWINS = {"gru": gru_again, "lstm": lstm_again}


def first_result(name: str) -> dict[str, float]:
    """Seconds from a layer to its first gradients; this process imported all it needs."""
    import resource
    import time

    def processor() -> float:  # the compiler's, too
        used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(u.ru_utime + u.ru_stime for u in used)

    began, processor_began = time.perf_counter(), processor()
    layer = Recurrent(TWINS[name], 128, 256, strict=True)
    layer(torch.zeros(20, 8, 128))[0].sum().backward()
    return {
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_seconds": round(processor() - processor_began, 2),
    }


def in_a_process(name: str, folder: str) -> dict[str, float]:
    """The same in a process of its own that keeps compiled cells in ``folder``."""
    run = subprocess.run(
        [sys.executable, __file__, "--first", name], check=True, stdout=subprocess.PIPE,
        env=os.environ | {"TIDEGATE_CACHE": folder}, cwd=Path(__file__).parent,
    )  # fmt: skip
    return json.loads(run.stdout)


def beside(name: str, steps: int, rows: int, units: int) -> dict[str, Any]:
    """Milliseconds of a training step of both layers, and how many times as long the own takes."""
    layers = {
        "built in": Recurrent(name, units, units),
        "own": Recurrent(TWINS[name], units, units),
    }
    layers["own"].load_state_dict(layers["built in"].state_dict())
    x = torch.randn(steps, rows, units)

    def step(layer: Recurrent) -> list[torch.Tensor]:
        layer.zero_grad()
        layer(x)[0].sum().backward()
        return [p.grad for p in layer.parameters() if p.grad is not None]

    same = all(map(torch.equal, *map(step, layers.values())))
    if not same:
        raise SystemExit(f"{name}: expected gradients of the same bits, got others")
    timed = {n: partial(seconds_per_call, partial(step, layer)) for n, layer in layers.items()}
    spreads, turns = in_turns(timed, turns=25)
    ms = {n: round(1e3 * least, 3) for n, (_, least, _) in spreads.items()}  # least disturbed
    return {"ms_per_step": ms, "ratio": round(ms["own"] / ms["built in"], 3), "turns": turns}


COLUMNS: dict[str, Any] = {
    "cell": lambda r: r["cell"],
    "instruction set": lambda r: r["isa"],
    "T x B x H": lambda r: f"{r['steps']} x {r['rows']} x {r['units']}",
    "first result, s (of processor)": lambda r: (
        f"{r['new']['seconds']} ({r['new']['cpu_seconds']})"
    ),
    "once kept, s": lambda r: r["kept"]["seconds"],
    "built in, ms a step": lambda r: r["ms_per_step"]["built in"],
    "own, ms a step": lambda r: r["ms_per_step"]["own"],
    "own / built in": lambda r: f"{r['ratio']:.2f}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--first", choices=TWINS, help="print the seconds of this process alone")
    options = parser.parse_args()
    if options.first:
        print(json.dumps(first_result(options.first)))
        return
    torch.set_num_threads(options.threads)
    record = Record("own_cell", ("cell", "isa", "steps", "rows", "units"))
    for name in TWINS:
        with tempfile.TemporaryDirectory() as folder:
            new, kept = in_a_process(name, folder), in_a_process(name, folder)
            os.environ["TIDEGATE_CACHE"] = folder
            for steps, rows, units in SHAPES:
                figures = beside(name, steps, rows, units)
                sizes = {"steps": steps, "rows": rows, "units": units}
                where = {"cell": name, "isa": _engine.isa(), **sizes}
                record.add({**where, "new": new, "kept": kept, **figures})
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

"""Where the time of minGRU goes, beside a scan over time of the same gates.

    python benchmarks/reproduce/minimal_scan.py

Milliseconds, the least of 25 turns: of the whole layer in inference; of its input product alone; of
the layer with one input, whose product is next to nothing, so that its steps remain; and of a scan
of the states from gates that are known, by doubling (Hillis & Steele 1986), which is log2 T passes
over all steps.  The scan's states must be the layer's first.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from record import Record, markdown
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate import Recurrent
from tidegate.bench.timing import in_turns, seconds_per_call
from tidegate.machine import describe

SHAPES = tuple((t, b, h) for t in (256, 1024, 4096) for b in (1, 8) for h in (64, 256))


def scanned(kept: Tensor, written: Tensor) -> Tensor:
    """h_t = kept_t h_{t-1} + written_t of all steps [T, B, H], from h = 0."""
    reach = 1
    while reach < len(kept):
        before = torch.zeros_like(written), torch.ones_like(kept)
        for into, of in zip(before, (written, kept), strict=True):
            into[reach:] = of[:-reach]
        written, kept = torch.addcmul(written, kept, before[0]), kept * before[1]
        reach *= 2
    return written


def measured(steps: int, rows: int, units: int) -> dict[str, Any]:
    """Milliseconds of each part."""
    layer: Any = Recurrent("mingru", units, units)
    narrow = Recurrent("mingru", 1, units)
    x, one = torch.randn(steps, rows, units), torch.randn(steps, rows, 1)
    weight, bias = layer.weight_ih_l0, layer.bias_ih_l0
    z, n = F.linear(x, weight, bias).chunk(2, -1)
    kept, written = 1 - torch.sigmoid(z), torch.sigmoid(z) * n
    worst = float((scanned(kept, written) - layer(x)[0]).abs().max())
    if worst > 1e-5:
        raise SystemExit(f"expected the states of the steps from the scan, got {worst:.2g} apart")
    calls = {
        "layer": partial(layer, x),
        "input product": partial(F.linear, x, weight, bias),
        "steps": partial(narrow, one),
        "scan": partial(scanned, kept, written),
    }
    timed = {name: partial(seconds_per_call, call) for name, call in calls.items()}
    spreads, turns = in_turns(timed, turns=25)
    return {
        "ms": {n: round(1e3 * least, 4) for n, (_, least, _) in spreads.items()},
        "turns": turns,
    }


COLUMNS: dict[str, Any] = {
    "threads": lambda r: r["threads"],
    "T x B x H": lambda r: f"{r['steps']} x {r['rows']} x {r['units']}",
    **{
        f"{name}, ms": lambda r, name=name: r["ms"][name]
        for name in ("layer", "input product", "steps", "scan")
    },
    "ns a step, row and unit": lambda r: (
        f"{1e6 * r['ms']['steps'] / (r['steps'] * r['rows'] * r['units']):.2f}"
    ),
}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    record = Record("minimal_scan", ("processor", "threads", "steps", "rows", "units"))
    for steps, rows, units in SHAPES:
        about = {"processor": describe(("torch",))["processor"], "threads": threads}
        sizes = {"steps": steps, "rows": rows, "units": units}
        record.add({**about, **sizes, **measured(steps, rows, units)})
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

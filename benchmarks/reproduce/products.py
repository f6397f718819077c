"""Products of training over all steps: the engine's beside those of torch's two libraries.

    python benchmarks/reproduce/products.py

For a layer of I inputs and R rows of weights over N tokens: the gates (x W^T), the gradient of x
(d W) and that of the weights (d^T x).  In turns: torch.mm (MKL in torch's builds for x86), oneDNN
as torch.compile calls it, the engine's, and the engine's with factors rounded to bfloat16 where the
processor can.  The results must agree first.  Rows of other processors stay in the file.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from record import Record, markdown
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # pyright: ignore[reportPrivateImportUsage]

from tidegate import _engine
from tidegate.bench.timing import in_turns, seconds_per_call
from tidegate.machine import describe

SHAPES = (  # N, I, R
    (32, 128, 384),
    (700, 400, 1600),
    (2560, 128, 384),
    (3200, 64, 384),
    (3200, 512, 1536),
    (12800, 256, 1024),
)
AGREE, AGREE_ROUNDED = 1e-5, 1e-2  # of the largest value


def contestants(a: Tensor, b: Tensor) -> dict[str, Any]:
    """Name -> a call that returns a @ b."""
    out, threads = torch.empty(a.shape[0], b.shape[1]), torch.get_num_threads()

    def engine(rounded: bool) -> Tensor:
        _engine.multiply(to_dlpack(a), to_dlpack(b), to_dlpack(out), None, False, rounded, threads)
        return out

    calls: dict[str, Any] = {"torch": lambda: torch.mm(a, b, out=out)}
    if torch.backends.mkldnn.is_available():
        one_dnn = torch.ops.mkldnn._linear_pointwise
        calls["oneDNN"] = lambda: one_dnn(a, b.t(), None, "none", [], "")
    calls["engine"] = partial(engine, False)
    if _engine.rounding_isa():
        calls["engine, bfloat16"] = partial(engine, True)
    exact = a.double() @ b.double()
    for name, call in calls.items():
        error = float((call() - exact).abs().max() / exact.abs().max())
        if not error <= (AGREE_ROUNDED if "bfloat16" in name else AGREE):
            raise SystemExit(f"{name}: expected the product, got an error of {error:.2g}")
    return calls


COLUMNS: dict[str, Any] = {
    "processor": lambda r: r["processor"],
    "bfloat16 by": lambda r: r["rounding_isa"],
    "threads": lambda r: r["threads"],
    "N x I x R": lambda r: f"{r['tokens']} x {r['inputs']} x {r['rows']}",
    "product": lambda r: r["product"],
    **{
        name: lambda r, name=name: r["gigaflops"].get(name, "")
        for name in ("torch", "oneDNN", "engine", "engine, bfloat16")
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, help="default: every core")
    if threads := parser.parse_args().threads:
        torch.set_num_threads(threads)
    key = ("processor", "rounding_isa", "threads", "tokens", "inputs", "rows", "product")
    record = Record("products", key)
    for tokens, inputs, rows in SHAPES:
        x, weight = torch.randn(tokens, inputs), torch.randn(rows, inputs)
        d_gates = torch.randn(tokens, rows)
        pairs = {
            "gates": (x, weight.t()),
            "gradient of x": (d_gates, weight),
            "gradient of W": (d_gates.t(), x),
        }
        for product, (a, b) in pairs.items():
            timed = {n: partial(seconds_per_call, c) for n, c in contestants(a, b).items()}
            spreads, turns = in_turns(timed, seconds=1.0)
            work = 2 * tokens * inputs * rows / 1e9
            record.add(
                {
                    "processor": describe(("torch",))["processor"],
                    "rounding_isa": _engine.rounding_isa(),
                    "threads": torch.get_num_threads(),
                    "tokens": tokens,
                    "inputs": inputs,
                    "rows": rows,
                    "product": product,
                    "turns": turns,
                    "gigaflops": {n: round(work / s[0]) for n, s in spreads.items()},
                }
            )
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

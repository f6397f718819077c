"""The sLSTM layer of TiRex-2 on a CPU: tirex-2's loop of torch operations beside the engine.

    pip install --no-deps tirex-2==0.4.0 flashrnn==1.0.8 mlstm_kernels==2.0.6
    pip install einops PyYAML
    python benchmarks/reproduce/slstm_of_tirex.py
    python benchmarks/reproduce/slstm_of_tirex.py --compiled   # and torch.compile's loop, minutes

Without ``--no-deps`` pip installs Triton, too, of 290 MB, which a CPU has no use for.  In turns, on
the same inputs and weights: the layer of tirex-2 as it is, and that of examples/tirex_on_engine.py;
each with its input projections and its norm.  The sizes are those of the published model: 512 units
in 4 heads, and 74 patches, 64 of the context and 10 of the horizon (12 such blocks, half of them of
mLSTMs, come to the 38.4 and 44.1 million parameters that it is said to have).  ``--compiled`` does
what ``tirex2.load_model(..., compile=True)`` does on a CPU.  Denormals are flushed in all of them.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from record import Record, markdown, versions_of
from torch import Tensor, nn

from tidegate.bench.timing import in_turns, seconds_per_call

sys.path.append(str(Path(__file__).parents[2] / "examples"))

BATCHES, PATCHES, UNITS, HEADS, BLOCKS = (1, 64), 74, 512, 4, 12
AGREE = 1e-5  # of normed values; sums of 74 steps in another order

Layer = Callable[[Tensor], Tensor]


def layers(units: int, compiled: bool) -> dict[str, nn.Module]:
    """Theirs, with weights as a trained one may have them, and ours of the same weights."""
    from tirex2.model.component import xLSTMMixedConfig  # pyright: ignore[reportMissingImports]
    from tirex2.model.component.flashrnn_slstm import (  # pyright: ignore[reportMissingImports]
        init_cell,
    )
    from tirex_on_engine import SLSTM  # pyright: ignore[reportMissingImports]

    config = xLSTMMixedConfig(units, HEADS, BLOCKS, vocab_size=0, num_slstm_heads=HEADS)
    theirs = init_cell(config, BLOCKS // 2, BLOCKS, "cpu")
    nn.init.normal_(theirs.get_R(), std=units**-0.5)  # they begin as zeros
    found = {"tidegate": SLSTM(theirs), "tirex-2": theirs}
    if compiled:
        found["tirex-2, compiled"] = copy.deepcopy(theirs)
        found["tirex-2, compiled"].compile()
    return found


def inference(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return layer(x)


def training(layer: nn.Module, x: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """The gradients of a forward and a backward pass."""
    wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]
    return torch.autograd.grad(layer(x), wanted, grad)


def measured(
    mode: str, batch: int, patches: int, units: int, compiled: bool, seconds: float
) -> dict[str, Any]:
    """Milliseconds of a pass of each contestant, and how many times as long as ours they take."""
    torch.manual_seed(0)
    contestants = layers(units, compiled)
    x = torch.randn(batch, patches, units)
    wanted = inference(contestants["tidegate"], x)
    for name, layer in contestants.items():
        error = float((inference(layer, x) - wanted).abs().max())
        if not error <= AGREE:
            raise SystemExit(f"{name}: expected the output of tidegate's, got {error:.2g} off")
    if mode == "inference":
        calls = {name: partial(inference, layer, x) for name, layer in contestants.items()}
    else:
        x.requires_grad_()
        grad = torch.randn_like(x)
        calls = {name: partial(training, layer, x, grad) for name, layer in contestants.items()}
    timed = {name: partial(seconds_per_call, call) for name, call in calls.items()}
    spreads, turns = in_turns(timed, seconds=seconds)
    took = {name: spread[0] for name, spread in spreads.items()}
    return {
        "mode": mode,
        "shape": f"{batch}x{patches}x{units}",
        "threads": torch.get_num_threads(),
        "turns": turns,
        "milliseconds": {name: round(1e3 * s, 3) for name, s in took.items()},
        "times_as_long": {n: round(s / took["tidegate"], 2) for n, s in took.items()},
    }


COLUMNS: dict[str, Any] = {
    "mode": lambda r: r["mode"],
    "series x patches x units": lambda r: r["shape"].replace("x", " x "),
    "tidegate, ms": lambda r: r["milliseconds"]["tidegate"],
    "tirex-2, ms": lambda r: r["milliseconds"]["tirex-2"],
    **{
        f"{name}: times as long": lambda r, name=name: r["times_as_long"].get(name, "")
        for name in ("tirex-2", "tirex-2, compiled")
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=("inference", "training"), help="default: both")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="series at once")
    parser.add_argument("--patches", type=int, default=PATCHES)
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--compiled", action="store_true", help="torch.compile's loop, too")
    parser.add_argument("--threads", type=int, help="default: every core")
    parser.add_argument("--seconds", type=float, default=10.0, help="of turns, for each row")
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # before other threads begin, which take it over
    if options.threads:
        torch.set_num_threads(options.threads)
    versions = versions_of(("tirex2", "flashrnn"))
    record = Record("slstm_of_tirex", ("mode", "shape", "threads"), versions)
    for mode in (options.only,) if options.only else ("inference", "training"):
        for batch in options.batches:
            sizes = (batch, options.patches, options.units)
            record.add(measured(mode, *sizes, options.compiled, options.seconds))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

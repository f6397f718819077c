"""The machine's own limits, measured on the same threads in the same run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tidegate.bench.timing import Timed, in_turns, seconds_per_call

_SIZE = 2048
_COPIED_BYTES = 1 << 28  # beyond what caches hold


def product() -> Timed:
    """A float32 matrix product of 2048, whose speed is the machine's peak.

    By the faster of the two libraries torch has: MKL takes twice as long as oneDNN on Zen 5.
    """
    import torch

    a, b, c = (torch.randn(_SIZE, _SIZE) for _ in range(3))
    timed = {"default": partial(seconds_per_call, lambda: torch.mm(a, b, out=c))}
    if torch.backends.mkldnn.is_available():
        one_dnn = torch.ops.mkldnn._linear_pointwise
        timed["oneDNN"] = partial(seconds_per_call, lambda: one_dnn(a, b, None, "none", [], ""))
    spreads, _ = in_turns(timed, None, seconds=1.0)
    return timed[min(spreads, key=lambda name: spreads[name][0])]


def peak(seconds: float) -> float:
    """Operations per second of a `product` that took so long."""
    return 2 * _SIZE**3 / seconds


def bandwidth(turns: int | None) -> float:
    """Bytes per second read and written by a copy between two arrays of 256 MB."""
    import torch

    source, target = (torch.ones(_COPIED_BYTES // 4) for _ in range(2))
    copy: Callable[[], Any] = lambda: target.copy_(source)  # noqa: E731
    spread, _ = in_turns({"copy": partial(seconds_per_call, copy)}, turns, seconds=1.0)
    return 2 * _COPIED_BYTES / spread["copy"][0]

"""The machine: what it is, and its own limits on the same threads, in the same run."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tidegate.bench.catalogue import LIBRARIES
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


def describe(libraries: Iterable[str]) -> dict[str, Any]:
    """Processor, instruction set, threads, and the version of everything that took part."""
    import torch

    from tidegate import _engine

    packages = {"tidegate", "numpy"}.union(*(LIBRARIES[name].packages for name in libraries))
    if "jax" in packages:
        packages.add("jaxlib")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "isa": _engine.isa(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in sorted(packages)},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()

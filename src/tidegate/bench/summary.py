"""From times to ratios, and from ratios to a mean, a lowest decile and a least per peer."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tidegate.bench.catalogue import OURS
from tidegate.bench.timing import Spread


class Summary(NamedTuple):
    """How many times as long as ours a peer took, over ``count`` rows.

    ``mean`` is geometric; a tenth of the rows are below ``decile``.
    """

    figure: str
    cell: str
    mode: str
    peer: str
    mean: float
    decile: float
    least: float
    count: int


def ratios(seconds: Mapping[str, Spread]) -> dict[str, float]:
    """How many times as long as ours each contestant took, by medians.

    torch with and without denormals flushed counts as one, ``torch``: the faster of the two.
    """
    ours = seconds[OURS][0]
    found = {name: median / ours for name, (median, *_) in seconds.items() if name != OURS}
    flushed = found.pop("torch-flushed", None)
    if flushed is not None:
        found["torch"] = min(found.get("torch", flushed), flushed)
    return found


def summarise(rows: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """One for each figure, cell, mode and peer, in the order in which they first come."""
    gathered: dict[tuple[str, str, str, str], list[float]] = {}
    for row in rows:
        for peer, ratio in row["ratios"].items():
            key = row["figure"], row["cell"], row["mode"], peer
            gathered.setdefault(key, []).append(ratio)
    return [
        Summary(
            *key,
            mean=statistics.geometric_mean(found),
            decile=float(np.quantile(found, 0.1)),
            least=min(found),
            count=len(found),
        )
        for key, found in gathered.items()
    ]

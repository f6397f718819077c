"""Quantiles beside a forecaster's forecasts: calibrated on held-out windows, and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.data.series.error_quantiles import (
    INTERVAL,
    ErrorQuantiles,
    steps_kept,
    windows_kept,
)
from tidegate.data.series.naive import mean_known
from tidegate.data.series.windows import Windows
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import Run, forecast_windows

JUDGED = tuple(k / 10 for k in range(1, 10))  # the quantiles whose losses are told
_CHUNK = 1024  # windows forecast at once, which bounds memory


def calibrated(run: Run, held_out: Windows) -> tuple[ErrorQuantiles | None, dict[str, float], int]:
    """Quantiles of what ``run`` misses on windows, figures of such quantiles, and how many windows
    they are of.

    None of too few windows.  The figures are of quantiles that one half of the windows gave, judged
    on the other half, a horizon apart: on the windows that gave them they would be right by
    construction.  Nothing is told of halves that are too small.
    """
    w = held_out.windowing
    steps = steps_kept(w.horizon, len(w.names))
    starts = windows_kept(held_out.starts, w.horizon, len(w.names))
    errors, sizes, weights = [], [], []
    for some in np.split(starts, range(_CHUNK, len(starts), _CHUNK)):
        part = held_out.at(some)
        spread, unit = part.spreads(), part.units()
        truth = part.asked(w.horizon)[:, steps - 1]
        forecasts = forecast_windows(run, part)[:, steps - 1]
        errors.append(((truth - forecasts) / spread).astype(np.float32))
        sizes.append((np.abs(truth) / unit).astype(np.float32))
        weights.append((spread / unit).astype(np.float32))
    missed, size, weight = map(np.concatenate, (errors, sizes, weights))
    middle = (starts[0] + starts[-1]) / 2
    halves = starts <= middle - w.horizon / 2, starts >= middle + w.horizon / 2
    found, counts = [], []
    for own, other in (halves, halves[::-1]):
        half = ErrorQuantiles.of(missed[own], range(1, 1 + len(steps)))
        if half is not None and other.any():
            by_window = losses(missed[other], weight[other], size[other], half)
            found.append({name: mean_known(values, 0) for name, values in by_window.items()})
            counts.append(other.sum())
    figures: dict[str, float] = {}
    if found:
        means = {k: np.average([f[k] for f in found], axis=0, weights=counts) for k in found[0]}
        for name, values in told(means).items():
            defined = values[~np.isnan(values)]
            figures[name] = float(defined.mean()) if len(defined) else float("nan")
    return ErrorQuantiles.of(missed, steps.tolist()), figures, len(starts)


def spreads(known: ErrorQuantiles, windows: Windows) -> np.ndarray:
    """What quantiles of errors are in units of, [windows or 1, 1, C]; 0 where there is no scale."""
    return np.nan_to_num(windows.spreads() if known.local else windows.units())


def need_quantiles(known: ErrorQuantiles | None, provenance: Mapping[str, Any]) -> ErrorQuantiles:
    """What a model knows of its errors.  Raises InputError for one that knows nothing."""
    if known is not None:
        return known
    count = provenance.get("interval_windows")
    if count is None:
        problem = "expected a model with intervals, got one without, of an older tidegate"
        raise InputError(f"{problem}; train it again", option="quantiles")
    problem = f"expected a model with intervals, got one with {count} windows to validate by, from "
    problem += "which none can be told; train again with more of these rows, as an earlier"
    raise InputError(f"{problem} {spelled('train_until')} gives", option="quantiles")


def losses(
    errors: np.ndarray, weights: np.ndarray, sizes: np.ndarray, known: ErrorQuantiles
) -> dict[str, np.ndarray]:
    """Means over rows ahead, [W, C], of errors [W, H, C] and the values' ``sizes``.

    ``coverage_80``: the share of errors within the interval.  ``pinball``: of quantile q and the
    error e less that quantile of errors, 2 max(q e, (q - 1) e), the mean over ``JUDGED``, times the
    window's ``weights`` [W, 1, C], which bring it to the unit of the sizes.  ``size``: that of the
    values.
    """
    lower, upper = known.at(INTERVAL)
    within = np.where(np.isnan(errors), np.nan, (errors >= lower) & (errors <= upper))
    pinball = np.zeros((len(errors), errors.shape[-1]))
    for q, quantile in zip(JUDGED, known.at(JUDGED), strict=True):
        missed = errors - quantile
        pinball += 2 * mean_known(np.maximum(q * missed, (q - 1) * missed), 1)
    return {
        "coverage_80": mean_known(within, 1),
        "pinball": pinball / len(JUDGED) * weights[:, 0],
        "size": mean_known(sizes, 1),
    }


def told(means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Figures [C] with the loss and the size of ``losses`` as one: ``weighted_quantile_loss``.

    It is NaN for series that are 0 throughout.
    """
    figures = dict(means)
    pinball, size = figures.pop("pinball"), figures.pop("size")
    return figures | {"weighted_quantile_loss": pinball / np.where(size > 0, size, np.nan)}

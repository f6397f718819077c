"""Forecasts held against what came, beside the two that cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.data.series.naive import mean_known, naive_forecast, seasonal_naive_forecast
from tidegate.data.series.windows import Windows
from tidegate.data.times.styles import AS_NUMPY, TimeStyle
from tidegate.errors import InputError


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts of what is known by now, from what was known before.

    ``times`` [W, horizon]; ``truth`` [W, horizon, C], NaN where a value is missing; ``forecasts``
    the same by name: ``model``, ``naive`` (the last value goes on) and ``seasonal_naive`` (the last
    season goes on).  ``quantiles`` [levels, W, horizon, C]: of the ``levels``, if any are told.
    ``style``: how the source writes times.
    """

    times: np.ndarray
    names: tuple[str, ...]
    truth: np.ndarray
    forecasts: dict[str, np.ndarray]
    levels: tuple[float, ...] = ()
    quantiles: np.ndarray | None = None
    style: TimeStyle = AS_NUMPY

    @classmethod
    def of(cls, windows: Windows, model: np.ndarray, times: np.ndarray) -> Backtest:
        """The model's forecasts [W, horizon, C] for ``windows``, beside the naive ones."""
        w = windows.windowing
        past = windows.asked(w.season, w.context - w.season, filled=True)
        return cls(
            times=times,
            names=w.names,
            truth=windows.asked(w.horizon),
            forecasts={
                "model": model,
                "naive": naive_forecast(past, w.horizon),
                "seasonal_naive": seasonal_naive_forecast(past, w.horizon, w.season),
            },
        )

    def by_window(self, unit: np.ndarray, naive_error: np.ndarray) -> dict[str, np.ndarray]:
        """Each error of each forecast, [W, C]: the mean over the values that are known.

        ``mse``, ``mae``: in a ``unit`` [W or 1, 1, C]; ``mase``: in units of ``naive_error``
        [W or 1, C] (NaN where that is 0); ``smape``: from 0 to 200.  Those of the baselines begin
        with their name.
        """
        usable = np.where(naive_error > 0, naive_error, np.nan)
        figures = {}
        for name, values in self.forecasts.items():
            prefix = "" if name == "model" else f"{name}_"
            errors = values - self.truth
            total = np.abs(self.truth) + np.abs(values)
            zero = np.zeros_like(total) + np.where(np.isnan(total), np.nan, 0.0)
            ratio = np.divide(np.abs(errors), total, out=zero, where=total > 0)
            figures[f"{prefix}mse"] = mean_known((errors / unit) ** 2, 1)
            figures[f"{prefix}mae"] = mean_known(np.abs(errors) / unit, 1)
            figures[f"{prefix}mase"] = mean_known(np.abs(errors), 1) / usable
            figures[f"{prefix}smape"] = 200 * mean_known(ratio, 1)
        return figures


def seasonal_naive_error(training: np.ndarray, season: int) -> np.ndarray:
    """Mean absolute error of the seasonal naive forecast in training [N, C], [C]: MASE's unit.

    Source: Hyndman & Koehler 2006, Int. J. Forecasting 22, section 3; Hyndman & Athanasopoulos,
    Forecasting: Principles and Practice, 3rd ed., section 5.8.
    """
    if len(training) <= season:
        raise InputError(
            f"expected training rows for more than one season of {season}, got {len(training)}; "
            "give more rows, or a shorter season"
        )
    return mean_known(np.abs(training[season:] - training[:-season]), 0)


def spread_of_targets(values: np.ndarray, rows: np.ndarray, horizon: int) -> np.ndarray:
    """Variance of each series [C] over all targets: rows [W] and the ``horizon`` from there on.

    values [N, C]; a row counts as often as it is a target, a missing value not at all.
    """
    counts = np.zeros(len(values) + 1)
    np.add.at(counts, rows, 1)
    np.add.at(counts, rows + horizon, -1)
    weights = np.where(np.isfinite(values), counts.cumsum()[:-1, None], 0.0)
    weights = weights / weights.sum(0).clip(min=1)
    known = np.where(weights > 0, values, 0.0)
    return (weights * (known - (weights * known).sum(0)) ** 2).sum(0)

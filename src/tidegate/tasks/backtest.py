"""Forecasts held against what came, beside the two that cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.data.series.naive import naive_forecast, seasonal_naive_forecast, smape
from tidegate.data.series.series import Series
from tidegate.data.series.windowing import window_rows
from tidegate.errors import InputError


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts of what is known by now, from what was known before.

    ``times`` [W, horizon]; ``truth`` [W, horizon, C]; ``forecasts`` the same by name: ``model``,
    ``naive`` (the last value goes on) and ``seasonal_naive`` (the last season goes on).
    """

    times: np.ndarray
    names: tuple[str, ...]
    truth: np.ndarray
    forecasts: dict[str, np.ndarray]

    @classmethod
    def of(cls, series: Series, rows: np.ndarray, season: int, model: np.ndarray) -> Backtest:
        """The model's forecasts [W, horizon, C] of ``rows`` [W] and following, beside the naive."""
        horizon = model.shape[1]
        past = window_rows(series.values, rows - season, season)
        return cls(
            times=window_rows(series.times, rows, horizon),
            names=series.names,
            truth=window_rows(series.values, rows, horizon),
            forecasts={
                "model": model,
                "naive": naive_forecast(past, horizon),
                "seasonal_naive": seasonal_naive_forecast(past, horizon, season),
            },
        )

    def figures(self, deviation: np.ndarray, naive_error: np.ndarray) -> dict[str, np.ndarray]:
        """Each error of each forecast, per series [C], averaged over windows and horizon.

        ``mse``, ``mae``: in units of ``deviation``; ``mase``: in units of ``naive_error`` (NaN
        where that is 0); ``smape``: from 0 to 200.  Those of the baselines begin with their name.
        """
        usable = np.where(naive_error > 0, naive_error, np.nan)
        figures = {}
        for name, values in self.forecasts.items():
            prefix = "" if name == "model" else f"{name}_"
            errors = values - self.truth
            absolute = np.abs(errors).mean((0, 1))
            figures[f"{prefix}mse"] = ((errors / deviation) ** 2).mean((0, 1))
            figures[f"{prefix}mae"] = absolute / deviation
            figures[f"{prefix}mase"] = absolute / usable
            pairs = zip(np.moveaxis(self.truth, 2, 0), np.moveaxis(values, 2, 0), strict=True)
            figures[f"{prefix}smape"] = np.array([smape(y, f) for y, f in pairs])
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
    return np.abs(training[season:] - training[:-season]).mean(0)


def spread_of_targets(values: np.ndarray, rows: np.ndarray, horizon: int) -> np.ndarray:
    """Variance of each series [C] over all targets: rows [W] and the ``horizon`` from there on.

    values [N, C]; a row counts as often as it is a target.
    """
    counts = np.zeros(len(values) + 1)
    np.add.at(counts, rows, 1)
    np.add.at(counts, rows + horizon, -1)
    weights = counts.cumsum()[:-1, None] / (len(rows) * horizon)
    return (weights * (values - (weights * values).sum(0)) ** 2).sum(0)

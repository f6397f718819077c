"""The forecasts to beat, and the errors that are told beside them.  Arrays are [..., T, C]."""

from __future__ import annotations

import warnings

import numpy as np

from tidegate.errors import InputError

__all__ = ["mase", "mean_known", "naive_forecast", "near_zero", "seasonal_naive_forecast", "smape"]


def naive_forecast(past: np.ndarray, horizon: int) -> np.ndarray:
    """The last value repeated: past [..., T, C] to [..., horizon, C].

    Source: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 5.2.
    """
    return np.repeat(past[..., -1:, :], horizon, axis=-2)


def seasonal_naive_forecast(past: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """The last season repeated: past [..., T, C] to [..., horizon, C], T at least ``season`` rows.

    Source: Hyndman & Athanasopoulos, section 5.2; the forecast for h steps ahead is the value at
    T + h - m (k + 1), m the season, k the whole seasons in h - 1.
    """
    length = past.shape[-2]
    if not 1 <= season <= length:
        problem = f"expected a season of 1 to {length} rows, the past known, got {season}"
        raise InputError(f"{problem}; choose a shorter one")
    return past[..., length - season + np.arange(horizon) % season, :]


def mase(errors: np.ndarray, training: np.ndarray, season: int) -> float:
    """Mean absolute scaled error of errors [..., C]: 1 is the seasonal naive method in training.

    Each channel's mean absolute error is divided by the mean absolute difference of its training
    values [N, C] at a distance of ``season`` rows (1: the naive method); the mean over channels is
    returned.  Channels for which that difference is 0 are left out; NaN if there is no other.
    Source: Hyndman & Koehler 2006, Another look at measures of forecast accuracy, Int. J.
    Forecasting 22, section 3; seasonal form: Hyndman & Athanasopoulos, section 5.8.
    """
    if not 1 <= season < len(training):
        problem = f"expected a season of 1 to {len(training) - 1} rows, got {season}"
        raise InputError(f"{problem}; choose a shorter one")
    scale = np.abs(training[season:] - training[:-season]).mean(axis=0)
    error = np.abs(errors).reshape(-1, errors.shape[-1]).mean(axis=0)
    usable = scale > 0
    return float((error[usable] / scale[usable]).mean()) if usable.any() else float("nan")


def near_zero(actual: np.ndarray) -> bool:
    """Whether values [...] come so near zero that a percentage of them means nothing.

    More than one in thirty is then smaller than a tenth of their standard deviation: their
    percentage errors are near 200 whatever the forecast, and outweigh all others.
    """
    return bool((np.abs(actual) < 0.1 * actual.std()).mean() > 1 / 30)


def smape(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Symmetric mean absolute percentage error: mean of 200 |y - f| / (|y| + |f|), in 0 … 200.

    A value that is 0 in both counts as no error.  Source: Makridakis & Hibon 2000, The M3
    competition, Int. J. Forecasting 16.
    """
    total = np.abs(actual) + np.abs(forecast)
    difference = np.abs(actual - forecast)
    ratio = np.divide(difference, total, out=np.zeros_like(total, dtype=float), where=total > 0)
    return float(200 * ratio.mean())


def mean_known(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """The mean over those that are not NaN; NaN where none is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of means of nothing
        return np.nanmean(values, axis)

"""After how many rows a series repeats."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidegate.data.series.scaling import power_of_two
from tidegate.data.times.grid import BusinessDay, Step

__all__ = ["guess_season"]

_DAY: Final = 86_400  # seconds


def guess_season(step: Step, values: np.ndarray | None = None) -> int:
    """Rows in a season: a day below one day's step, 7 days, 5 business days, 52 weeks, 12 months.

    Other steps: the first clear peak of the autocorrelation of values [N, C] after differencing;
    1 where there is none, and where the values are not more than one season.
    """
    season = _of_step(step)
    if season is None:
        return 1 if values is None else _peak_lag(values)
    return season if values is None or len(values) > season else 1


def _of_step(step: Step) -> int | None:
    """A season of the calendar, None where the step tells of none."""
    if isinstance(step, BusinessDay):
        return 5
    if not isinstance(step, int | float):
        unit, length = np.datetime_data(step.dtype)[0], int(step.astype(np.int64))
        if unit == "M":
            return 12 // length if 12 % length == 0 else 1
        if unit == "s" and 60 <= length < _DAY and _DAY % length == 0:
            return _DAY // length
        if unit == "s" and length in (_DAY, 7 * _DAY):
            return 7 if length == _DAY else 52
    return None


def _peak_lag(values: np.ndarray) -> int:
    changes = np.diff(values / power_of_two(values), axis=0)
    changes = changes - changes.mean(axis=0)
    n = len(changes)
    spectrum = np.abs(np.fft.rfft(changes, 2 * n, axis=0)) ** 2
    correlation = np.fft.irfft(spectrum, axis=0)[: n // 3]  # a season is seen three times or more
    power = correlation[:1].clip(min=np.finfo(float).tiny)
    correlation = (correlation / power).mean(axis=1)
    inner = correlation[1:-1]
    peaks = np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:])) + 1
    clear = peaks[correlation[peaks] > 0.3] if len(peaks) else peaks
    # the first peak nearly as high as the highest: multiples of the season peak as well
    return int(clear[correlation[clear] >= 0.8 * correlation[clear].max()][0]) if len(clear) else 1

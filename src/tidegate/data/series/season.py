"""After how many rows a series repeats."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidegate.data.series.scaling import power_of_two
from tidegate.data.times.grid import BusinessDay, Spacing, Uneven

__all__ = ["guess_season", "longer_seasons"]

_DAY: Final = 86_400  # seconds
_WHOLE: Final = {7: 365, 5: 261}  # rows of a year of days, by those of a week
_CLEAR: Final = 0.1  # autocorrelation that a season has, and by which half a season has less
_STRONG: Final = 0.3  # that of a peak at a lag that the calendar does not know


def guess_season(step: Spacing, values: np.ndarray | None = None) -> int:
    """Rows in a season: a day below one day's step, 7 days, 5 business days, 52 weeks, 12 months.

    Other steps: the first clear peak of the autocorrelation of values [N, C] after differencing;
    1 where there is none, and where the values are not more than one season.
    """
    season = _of_step(step)
    if season is None:
        return 1 if values is None else _peak_lag(values)
    return season if values is None or len(values) > season else 1


def longer_seasons(step: Spacing, values: np.ndarray, season: int) -> tuple[int, ...]:
    """Seasons of values [N, C] that are longer than ``season``, ascending; mostly none or one.

    Without trend and the profile of the first season, the values of rows one season apart are
    alike, and more so than those of rows half a season apart.  The calendar's lags are tried, weeks
    of days and years of weeks; a lag that it does not know must be the highest peak, and clear.
    """
    correlation = _without(values, season)
    known = [lag for lag in _of_calendar(step, season) if 5 * lag <= 2 * len(values)]
    found = [lag for lag in known if _repeats(correlation, lag, season, _CLEAR)]
    if not found:
        last = len(values) // 5
        inner = correlation[1 : max(last, 2)]
        peaks = 1 + np.flatnonzero((inner > correlation[: len(inner)])
                                   & (inner >= correlation[2 : len(inner) + 2]))  # fmt: skip
        clear = [p for p in peaks.tolist() if p >= max(2 * season, 4)]
        clear = [p for p in clear if _repeats(correlation, p, season, _STRONG)]
        found = sorted(clear, key=lambda lag: -correlation[lag])[:1]
    return tuple(found)


def _repeats(correlation: np.ndarray, lag: int, season: int, least: float) -> bool:
    half = max(round(lag / 2 / season), 1) * season
    return bool(correlation[lag] > max(least, correlation[half] + least))


def _of_calendar(step: Spacing, season: int) -> list[int]:
    """Longer seasons of the calendar, in rows."""
    if isinstance(step, int | float | Uneven):
        return []
    if season in _WHOLE and _of_step(step) == season:
        return [_WHOLE[season]]
    if isinstance(step, BusinessDay) or np.datetime_data(step.dtype)[0] != "s":
        return []
    return [7 * season] if int(step.astype(np.int64)) * season == _DAY else []


def _without(values: np.ndarray, season: int) -> np.ndarray:
    """Autocorrelation by lag, mean of the series, of values without trend and seasonal profile."""
    rows = len(values)
    scaled = values / power_of_two(values)
    time = np.linspace(-1, 1, rows)[:, None]
    left = scaled - scaled.mean(0)
    left = left - time * (left * time).sum(0) / (time**2).sum()
    phase = np.arange(rows) % season
    for place in range(season) if season > 1 else ():
        left[phase == place] -= left[phase == place].mean(0)
    return _autocorrelation(left) * (rows / np.arange(rows, 0, -1))


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    """By lag [N], mean over the columns of values [N, C], which have no mean."""
    rows = len(values)
    spectrum = np.abs(np.fft.rfft(values, 2 * rows, axis=0)) ** 2
    correlation = np.fft.irfft(spectrum, axis=0)[:rows]
    power = correlation[:1].clip(min=np.finfo(float).tiny)
    return (correlation / power).mean(axis=1)


def _of_step(step: Spacing) -> int | None:
    """A season of the calendar, None where the step tells of none."""
    if isinstance(step, BusinessDay):
        return 5
    if not isinstance(step, int | float | Uneven):
        unit, length = np.datetime_data(step.dtype)[0], int(step.astype(np.int64))
        if unit == "M":
            return 12 // length if 12 % length == 0 else 1
        if unit == "s" and 60 <= length < _DAY and _DAY % length == 0:
            return _DAY // length
        if unit == "s" and length in (_DAY, 7 * _DAY):
            return 7 if length == _DAY else 52
    return None


def _peak_lag(values: np.ndarray) -> int:
    if len(values) < 4:  # no change has another of the same series before and after it
        return 1
    changes = np.diff(values / power_of_two(values), axis=0)
    # a season is seen three times or more
    correlation = _autocorrelation(changes - changes.mean(axis=0))[: len(changes) // 3]
    inner = correlation[1:-1]
    peaks = np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:])) + 1
    clear = peaks[correlation[peaks] > 0.3] if len(peaks) else peaks
    # the first peak nearly as high as the highest: multiples of the season peak as well
    return int(clear[correlation[clear] >= 0.8 * correlation[clear].max()][0]) if len(clear) else 1

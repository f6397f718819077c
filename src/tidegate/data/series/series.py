"""Regular time series: the grid of times, scaling, windows and the baselines to beat.

Arrays are [N, C]: N rows in time order, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Final

import numpy as np

from tidegate.data.times.grid import BusinessDay, Step, advance, grid_positions
from tidegate.data.times.styles import AS_NUMPY, RowError, TimeStyle, fewest_seconds
from tidegate.errors import InputError, shown

__all__ = [
    "Scaler",
    "Series",
    "guess_season",
    "mase",
    "naive_forecast",
    "seasonal_naive_forecast",
    "smape",
    "window_rows",
    "windows",
]

_DAY: Final = 86_400  # seconds
_LARGEST: Final = 1e300  # a value that differences, and sums of some, do not overflow
_DIGITS: Final = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Series:
    """One or several channels on a regular grid of times, with covariates on the same rows.

    ``times`` [N] is datetime64[s] or [us] (UTC where the source named a zone), int64 or float64;
    ``values`` float64 [N, C]; ``covariates`` float64 [N, K]; ``style`` how the source writes times.
    Build it with ``Series.of`` or ``read_series``.
    """

    times: np.ndarray
    step: Step
    names: tuple[str, ...]
    values: np.ndarray
    covariate_names: tuple[str, ...]
    covariates: np.ndarray
    style: TimeStyle = AS_NUMPY

    @classmethod
    def of(
        cls,
        times: Any,
        values: Any,
        *,
        names: Sequence[str] | None = None,
        covariates: Any = None,
        covariate_names: Sequence[str] | None = None,
    ) -> Series:
        """The series of arrays: times [N] (dates or numbers), values [N] or [N, C].

        Raises InputError for shapes that disagree, values that are not finite, times that are
        not sorted and gapless.
        """
        times = _times(times)
        table = _channels(values, len(times), "values")
        extra = np.empty((len(times), 0)) if covariates is None else covariates
        extra = _channels(extra, len(times), "covariates")
        names = _names(names, table.shape[1], "value")
        covariate_names = _names(covariate_names, extra.shape[1], "covariate")
        for array, array_names in ((table, names), (extra, covariate_names)):
            if not np.isfinite(array).all():
                row, channel = np.argwhere(~np.isfinite(array))[0].tolist()
                problem = f"expected finite numbers in {array_names[channel]!r}, got "
                raise RowError(f"{problem}{array[row, channel]}; fill or remove them", row)
        step, positions = grid_positions(times)
        gaps = np.flatnonzero(np.diff(positions) != 1)
        if len(gaps):
            row = int(gaps[0]) + 1
            due = advance(times[:row], step, 1)[0]
            problem = f"expected {due}, got {times[row]}"
            raise RowError(f"{problem}; insert the missing rows, or number the rows as times", row)
        return cls(times, step, names, table, covariate_names, extra)

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, first: int, last: int) -> Series:
        """The part of the series in rows [first, last)."""
        part = slice(first, last)
        return Series(
            self.times[part],
            self.step,
            self.names,
            self.values[part],
            self.covariate_names,
            self.covariates[part],
            self.style,
        )

    def row_of(self, moment: str | int | float) -> int:
        """The row at a moment, in 0 … N; N is the end, one row past the last.

        An int is a row number; a float in (0, 1) a fraction of the rows; text is a time, standing
        for the first row at or after it, or else a number as above ("8640", "0.6").  Where times
        are numbers, or dates of as many digits, a number in text is a time.  Raises InputError
        outside the series.
        """
        n = len(self)
        if isinstance(moment, bool) or not isinstance(moment, str | Integral | Real):
            problem = f"expected a time as text, a row number or a fraction, got {shown(moment)}"
            raise InputError(f"{problem}; write a time as text, such as '2016-01-31'")
        time, number = None, moment
        if isinstance(moment, str):
            text, number = moment.strip(), None
            if re.fullmatch(r"0?\.[0-9]+", text):
                number = float(text)
            elif (time := self._time(text)) is None and _DIGITS.fullmatch(text):
                number = int(text)
        if number is not None and not isinstance(number, Integral):
            if not 0 < number < 1:
                raise InputError(
                    f"expected a row number or a fraction between 0 and 1, got {number}"
                )
            return round(number * n)
        if number is not None:
            if not 0 <= int(number) <= n:
                raise InputError(f"expected a row from 0 to {n}, got {number}")
            return int(number)
        after_last = self.future_times(1)
        if time is None or not self.times[0] <= time <= after_last[0]:
            first, last = self.style.write(np.concatenate([self.times[:1], after_last]))
            problem = f"expected a time from {first} to {last}, got {moment!r}"
            raise InputError(f"{problem}; a row number or a fraction such as 0.8 also serves")
        return int(np.searchsorted(self.times, time))

    def _time(self, text: str) -> Any:
        """The time that a text says, in the source's own way or another; None if it says none."""
        if self.times.dtype.kind != "M":
            decimals = r"(\.[0-9]+)?" if self.times.dtype.kind == "f" else ""
            number = re.fullmatch(f"{_DIGITS.pattern}{decimals}", text)
            return None if number is None else self.times.dtype.type(text)
        time = self.style.read(text)
        return AS_NUMPY.read(text) if time is None else time

    def future_times(self, horizon: int) -> np.ndarray:
        """The ``horizon`` times after the last one, [horizon]."""
        return advance(self.times, self.step, horizon)


def _times(given: Any) -> np.ndarray:
    """Times as a series has them.  Raises InputError for what are none."""
    times = np.asarray(given)
    if times.dtype.kind in "iu":
        return times.astype(np.int64)
    if times.dtype.kind == "f":
        if not np.isfinite(times).all():
            raise RowError("expected a time, got none", int(np.isfinite(times).argmin()))
        return times.astype(np.float64)
    try:
        times = times.astype("datetime64[us]")
    except (TypeError, ValueError):
        raise InputError(f"expected dates or numbers as times, got {times[:1]}") from None
    if np.isnat(times).any():
        raise RowError("expected a time, got none", int(np.isnat(times).argmax()))
    return fewest_seconds(times)


def _channels(array: Any, rows: int, what: str) -> np.ndarray:
    table = np.asarray(array, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != rows:
        shape = list(table.shape)
        raise InputError(f"expected {what} [N, channels] with N = {rows} as times, got {shape}")
    return table


def _names(names: Sequence[str] | None, channels: int, what: str) -> tuple[str, ...]:
    if names is None:
        return (what,) if channels == 1 else tuple(f"{what}_{i}" for i in range(channels))
    if len(set(names)) != channels or len(names) != channels:
        raise InputError(f"expected {channels} different {what} names, got {list(names)}")
    return tuple(names)


_FARTHEST: Final = 1e30  # in standard deviations: products of it stay within float32's 3.4e38


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and scale of each channel [C]; a channel that never changes has scale 1."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray) -> Scaler:
        """Mean and standard deviation (population) over the rows of values [N, C]."""
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
            shape = list(values.shape)
            raise InputError(f"expected finite values [N, C] with N > 0 to scale, got {shape}")
        if (np.abs(values).max(axis=0) > _LARGEST).any():
            problem = f"expected numbers up to {_LARGEST:g}, got {np.abs(values).max():g}"
            remedy = "write NaN if it stands for a missing one, else divide all by a power of ten"
            raise InputError(f"{problem}; {remedy}")
        unit = _unit(values)
        scaled = values / unit
        deviation = scaled.std(axis=0) * unit
        usable = (values.max(axis=0) > values.min(axis=0)) & (deviation > 0)
        return cls(scaled.mean(axis=0) * unit, np.where(usable, deviation, 1.0))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Values [..., C] as multiples of the scale from the mean; NaN stays.

        Raises InputError for a value so far away that float32 could not hold what follows.
        """
        with np.errstate(over="ignore"):
            scaled = (values - self.mean) / self.scale
        if (far := np.abs(scaled) > _FARTHEST).any():
            raise InputError(
                f"expected values like those that were learned from, got {values[far][0]:g}, more "
                f"than {_FARTHEST:g} standard deviations away; check its unit"
            )
        return scaled

    def inverse(self, scaled: np.ndarray) -> np.ndarray:
        """The values [..., C] that ``transform`` scaled."""
        return scaled * self.scale + self.mean

    def to_json(self) -> dict[str, list[float]]:
        """Keys: mean, scale."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_json(cls, description: Any) -> Scaler:
        """The scaler that ``to_json`` described.  Raises ValueError for anything else."""
        if not isinstance(description, Mapping) or set(description) != {"mean", "scale"}:
            raise ValueError("a scaler must be an object with the keys mean and scale")
        mean, scale = description["mean"], description["scale"]
        for key, numbers in (("mean", mean), ("scale", scale)):
            if not isinstance(numbers, list) or any(type(x) not in (int, float) for x in numbers):
                raise ValueError(f"scaler key {key!r} must be a list of numbers")
        mean, scale = np.array(mean, dtype=np.float64), np.array(scale, dtype=np.float64)
        finite = (np.abs(mean) <= _LARGEST).all() and (np.abs(scale) <= _LARGEST).all()
        if len(mean) != len(scale) or not finite or not (scale > 0).all():
            raise ValueError("a scaler must have one finite mean and one scale above 0 per channel")
        return cls(mean, scale)


def _unit(values: np.ndarray) -> np.ndarray:
    """A power of two near the largest of each channel's values [N, C], by which to divide.

    That loses nothing, while the squares of numbers near 1e300 would overflow, and of those near
    1e-300 vanish.
    """
    _, exponent = np.frexp(np.abs(values).max(axis=0))
    return np.ldexp(1.0, np.clip(exponent, -1000, 1023))


def windows(
    values: np.ndarray, context: int, horizon: int, first_target: int, last_target: int
) -> np.ndarray:
    """First rows, int64, of all windows of values [N, C] whose targets lie in the given rows.

    A window that starts at row s sees rows [s, s + context) and is asked for rows
    [s + context, s + context + horizon), all of them within [first_target, last_target); what it
    sees may lie before.  Raises InputError where no window fits.
    """
    if context < 1 or horizon < 1:
        raise InputError(f"expected context and horizon of 1 or more, got {context} and {horizon}")
    first = max(first_target - context, 0)
    last = min(last_target, len(values)) - horizon - context
    if last < first:
        raise InputError(_no_room(context, horizon, first_target, min(last_target, len(values))))
    return np.arange(first, last + 1, dtype=np.int64)


def _no_room(context: int, horizon: int, first_target: int, end: int) -> str:
    """What is wrong where no window fits before row ``end``, and what helps."""
    if first_target <= context:  # what is seen begins with the first row
        problem = f"expected {context + horizon} rows or more, {context} of context and {horizon} "
        problem += f"of horizon, got {end}; give more rows"
        if end > horizon:
            return f"{problem}, or a context of {end - horizon} or less"
        return f"{problem}, or a horizon below {end}" if end > 1 else problem
    problem = f"expected {horizon} rows or more to forecast, the horizon, got {end - first_target}"
    problem += f" (row {first_target} to {end}); give more rows"
    if end > first_target:
        problem += f", or a horizon of {end - first_target} or less"
    return f"{problem}, or let them begin at row {end - horizon}" if end > horizon else problem


def window_rows(values: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Rows [s, s + length) of values [N, C] for every start s: [len(starts), length, C]."""
    return values[np.asarray(starts)[:, None] + np.arange(length)]


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
        raise InputError(f"expected a season of 1 to {length} rows, the past known, got {season}")
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
        raise InputError(f"expected a season of 1 to {len(training) - 1} rows, got {season}")
    scale = np.abs(training[season:] - training[:-season]).mean(axis=0)
    error = np.abs(errors).reshape(-1, errors.shape[-1]).mean(axis=0)
    usable = scale > 0
    return float((error[usable] / scale[usable]).mean()) if usable.any() else float("nan")


def smape(actual: np.ndarray, forecast: np.ndarray) -> float:
    """Symmetric mean absolute percentage error: mean of 200 |y - f| / (|y| + |f|), in 0 … 200.

    A value that is 0 in both counts as no error.  Source: Makridakis & Hibon 2000, The M3
    competition, Int. J. Forecasting 16.
    """
    total = np.abs(actual) + np.abs(forecast)
    difference = np.abs(actual - forecast)
    ratio = np.divide(difference, total, out=np.zeros_like(total, dtype=float), where=total > 0)
    return float(200 * ratio.mean())


def guess_season(step: Step, values: np.ndarray | None = None) -> int:
    """Rows in a season: a day below one day's step, 7 days, 5 business days, 52 weeks, 12 months.

    Other steps: the first clear peak of the autocorrelation of values [N, C] after differencing;
    1 where there is none.
    """
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
    return 1 if values is None else _peak_lag(values)


def _peak_lag(values: np.ndarray) -> int:
    changes = np.diff(values / _unit(values), axis=0)
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

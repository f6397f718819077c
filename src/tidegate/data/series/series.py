"""Regular time series: channels on a grid of times.

Arrays are [N, C]: N rows in time order, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Final

import numpy as np

from tidegate.data.files.dialect import Dialect
from tidegate.data.times.grid import Step, advance, grid_positions
from tidegate.data.times.styles import AS_NUMPY, RowError, TimeStyle, fewest_seconds
from tidegate.errors import InputError, shown

__all__ = ["Series"]

_DIGITS: Final = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Series:
    """One or several channels on a regular grid of times, with covariates on the same rows.

    ``times`` [N] is datetime64[s] or [us] (UTC where the source named a zone), int64 or float64;
    ``values`` float64 [N, C]; ``covariates`` float64 [N, K]; ``style`` how the source writes times,
    ``dialect`` how it is written if it is the text of a table.
    Build it with ``Series.of`` or ``read_series``.
    """

    times: np.ndarray
    step: Step
    names: tuple[str, ...]
    values: np.ndarray
    covariate_names: tuple[str, ...]
    covariates: np.ndarray
    style: TimeStyle = AS_NUMPY
    dialect: Dialect = Dialect()

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
                raise RowError(
                    f"{problem}{array[row, channel]}; fill it in, such as with the value before",
                    row,
                )
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
        return replace(
            self,
            times=self.times[part],
            values=self.values[part],
            covariates=self.covariates[part],
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
                    f"expected a row number or a fraction between 0 and 1, got {number}; give one"
                )
            return round(number * n)
        if number is not None:
            if not 0 <= int(number) <= n:
                raise InputError(f"expected a row from 0 to {n}, got {number}; choose one of them")
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
            row = int(np.isfinite(times).argmin())
            raise RowError("expected a time, got none; fill it or remove the row", row)
        return times.astype(np.float64)
    try:
        times = times.astype("datetime64[us]")
    except (TypeError, ValueError):
        problem = f"expected dates or numbers as times, got {times[:1]}"
        raise InputError(f"{problem}; convert them, or number the rows") from None
    if np.isnat(times).any():
        row = int(np.isnat(times).argmax())
        raise RowError("expected a time, got none; fill it or remove the row", row)
    return fewest_seconds(times)


def _channels(array: Any, rows: int, what: str) -> np.ndarray:
    table = np.asarray(array, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != rows:
        shape = list(table.shape)
        problem = f"expected {what} [N, channels] with N = {rows} as times, got {shape}"
        raise InputError(f"{problem}; give a row for each time")
    return table


def _names(names: Sequence[str] | None, channels: int, what: str) -> tuple[str, ...]:
    if names is None:
        return (what,) if channels == 1 else tuple(f"{what}_{i}" for i in range(channels))
    if len(set(names)) != channels or len(names) != channels:
        problem = f"expected {channels} different {what} names, got {list(names)}"
        raise InputError(f"{problem}; give one for each column")
    return tuple(names)

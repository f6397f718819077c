"""Time series: channels on a grid of times, or on rows at irregular times.

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
from tidegate.data.times.frequencies import binned, step_named
from tidegate.data.times.grid import (
    Spacing,
    Uneven,
    advance,
    elapsed_between,
    grid_positions,
    order_of,
)
from tidegate.data.times.styles import AS_NUMPY, RowError, TimeStyle, fewest_seconds
from tidegate.errors import InputError, shown, spelled

__all__ = ["ELAPSED", "Series", "filled", "need_times", "rows_given"]

ELAPSED: Final = "elapsed"  # what is known of each row, where the time since the last one is read

_DIGITS: Final = re.compile(r"-?[0-9]{1,18}")


@dataclass(frozen=True, eq=False)
class Series:
    """One or several channels over times, with covariates on the same rows.

    ``times`` [N] is datetime64[s] or [us] (UTC where the source named a zone), int64 or float64;
    ``values`` float64 [N, C]; ``covariates`` float64 [N, K]; ``style`` how the source writes times,
    ``dialect`` how it is written if it is the text of a table.  ``known`` [N + F, L] are further
    covariates, of which F rows after the last one are told, too.  ``gaps``: values may be
    missing; they are NaN.  Of rows at irregular times (``Uneven``) the last of ``known`` is the
    time since the row before, called ``ELAPSED``, and ``later`` [F] are the times of those F rows.
    Build it with ``Series.of`` or ``read_series``.
    """

    times: np.ndarray
    step: Spacing
    names: tuple[str, ...]
    values: np.ndarray
    covariate_names: tuple[str, ...]
    covariates: np.ndarray
    style: TimeStyle = AS_NUMPY
    dialect: Dialect = Dialect()
    known_names: tuple[str, ...] = ()
    known: np.ndarray | None = None
    gaps: bool = False
    later: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        times: Any,
        values: Any,
        *,
        names: Sequence[str] | None = None,
        covariates: Any = None,
        covariate_names: Sequence[str] | None = None,
        known: Any = None,
        known_names: Sequence[str] | None = None,
        fill_gaps: bool = False,
        every: Any = None,
        elapsed: bool = False,
    ) -> Series:
        """The series of arrays: times [N] (dates or numbers), values [N] or [N, C].

        With ``known`` columns last rows without any value are those whose values are to come.  With
        ``fill_gaps`` missing rows and values are as ``with_gaps`` has them.  ``every`` names a
        step, to which rows at any times are brought by means; steps without rows are gaps.
        ``elapsed``: rows at irregular times stay as they are; the time since the row before, of
        dates in days, is known of each.  Rows may stand in any order: their times tell it.  Raises
        InputError for shapes that disagree, values that are not finite, times that come twice or
        leave gaps.
        """
        times = _times(times)
        if not len(times):
            raise InputError("expected rows, one for each time, got none; add some")
        table = _channels(values, len(times), "values")
        extra = np.empty((len(times), 0)) if covariates is None else covariates
        extra = _channels(extra, len(times), "covariates")
        beforehand = np.empty((len(times), 0)) if known is None else known
        beforehand = _channels(beforehand, len(times), "known")
        order = order_of(times)
        times, table, extra, beforehand = (a[order] for a in (times, table, extra, beforehand))
        names = _names(names, table.shape[1], "value")
        covariate_names = _names(covariate_names, extra.shape[1], "covariate")
        known_names = _names(known_names, beforehand.shape[1], "known")
        if elapsed:
            need_times(told=True, every=every)
            beforehand = np.c_[beforehand, elapsed_between(times)]
            known_names = (*known_names, ELAPSED)
        if every is not None:
            step = step_named(every)
            bins = binned(times, step)
            table, extra, beforehand = map(bins.means, (table, extra, beforehand))
            times, positions, fill_gaps = bins.times, bins.positions, True
        last = rows_given(table) if known_names else len(times)
        parts = (table[:last], names), (extra[:last], covariate_names), (beforehand, known_names)
        for array, array_names in parts:
            wrong = np.isinf(array) if fill_gaps else ~np.isfinite(array)
            if wrong.any():
                row, channel = np.argwhere(wrong)[0].tolist()
                value = array[row, channel]
                problem = f"expected finite numbers in {array_names[channel]!r}, got {value}"
                remedy = "fill it in, such as with the value before"
                remedy += f", or fit with {spelled('fill_gaps', True)}" if np.isnan(value) else ""
                raise RowError(f"{problem}; {remedy}", int(order[row]))
        if elapsed:
            step, positions = Uneven(times.dtype.kind == "M"), np.arange(len(times))
        elif every is None:
            try:
                step, positions = grid_positions(times)
            except RowError as e:
                raise RowError(e.problem, int(order[e.row])) from None
        gaps = np.flatnonzero(np.diff(positions) != 1)
        if len(gaps) and not fill_gaps and not isinstance(step, Uneven):
            row = int(gaps[0]) + 1
            due = advance(times[:row], step, 1)[0]
            remedy = f"fit with {spelled('fill_gaps', True)}, or number the rows as times"
            problem = f"expected {due}, got {times[row]}"
            raise RowError(f"{problem}; insert the missing rows, {remedy}", int(order[row]))
        made = cls(times, step, names, table, covariate_names, extra)
        beforehand = beforehand if known_names else None
        made = replace(made, known_names=known_names, known=beforehand, gaps=fill_gaps)
        return made.with_gaps(positions).without_future()

    def with_gaps(self, positions: np.ndarray) -> Series:
        """The series with a row for each place on its grid, of which it has those at ``positions``.

        Values of rows that were missing are NaN; covariates are the last known ones before.
        """
        count = int(positions[-1]) + 1
        columns = [self.covariates] if self.known is None else [self.covariates, self.known]
        if count == len(self) and all(np.isfinite(array).all() for array in columns):
            return self
        times = self.times
        if not isinstance(self.step, Uneven):  # which have no rows between them
            times = np.concatenate([times[:1], advance(times[:1], self.step, count - 1)])
            times[positions] = self.times

        def spread(array: np.ndarray) -> np.ndarray:
            full = np.full((count, array.shape[1]), np.nan)
            full[positions] = array
            return full

        first = np.zeros(1, np.int64)
        return replace(
            self,
            times=times,
            values=spread(self.values),
            covariates=filled(spread(self.covariates), first),
            known=None if self.known is None else filled(spread(self.known), first),
        )

    def without_future(self) -> Series:
        """The series up to its last value, where rows without any may follow it."""
        last = rows_given(self.values)
        if (self.known is None and not self.gaps) or last == len(self):
            return self
        return replace(
            self,
            times=self.times[:last],
            values=self.values[:last],
            covariates=self.covariates[:last],
            later=self._later(last),
        )

    def _later(self, last: int) -> np.ndarray | None:
        """The times that are told of rows from ``last`` on; None on a grid."""
        if not isinstance(self.step, Uneven):
            return None
        beyond = self.times[:0] if self.later is None else self.later
        return np.concatenate([self.times[last:], beyond])

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, first: int, last: int) -> Series:
        """The part of the series in rows [first, last), and all that is known of later ones."""
        part = slice(first, last)
        return replace(
            self,
            times=self.times[part],
            values=self.values[part],
            covariates=self.covariates[part],
            known=None if self.known is None else self.known[first:],
            later=self._later(last),
        )

    def row_of(self, moment: str | int | float, *, clipped: bool = False) -> int:
        """The row at a moment, in 0 … N; N is the end, one row past the last.

        An int is a row number; a float in (0, 1) a fraction of the rows; text is a time, standing
        for the first row at or after it, or else a number as above ("8640", "0.6").  Where times
        are numbers, or dates of as many digits, a number in text is a time.  Raises InputError
        outside the series; ``clipped``: gives its first row or its end there.
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
            if clipped:
                return min(max(int(number), 0), n)
            if not 0 <= int(number) <= n:
                raise InputError(f"expected a row from 0 to {n}, got {number}; choose one of them")
            return int(number)
        end = self.end
        if time is None or not (clipped or self.times[0] <= time <= end):
            first, last = self.style.write(np.array([self.times[0], end]))
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
        """The ``horizon`` times after the last one, [horizon]; off a grid those that are told."""
        if isinstance(self.step, Uneven):
            return self.times[:0] if self.later is None else self.later[:horizon]
        return advance(self.times, self.step, horizon)

    @property
    def end(self) -> Any:
        """The first time after the last row: of the next one, else the first one possible."""
        if len(after := self.future_times(1)):
            return after[0]
        last = self.times[-1]
        return np.nextafter(last, np.inf) if last.dtype.kind == "f" else last + 1


def need_times(*, told: bool, every: Any) -> None:
    """Raise InputError unless the times are ``told`` between which the time is read."""
    if told and every is None:
        return
    got = spelled("every", every) if told else "none"
    raise InputError(
        f"expected a column of times beside it, and rows as they stand, got {got}; give "
        f"{spelled('time', 'COLUMN')} alone",
        option="elapsed",
    )


def filled(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Values [N, C] of series that begin at the rows ``first``, NaN replaced by the last known one.

    Before the first one it is the first, of a column without any 0.  Returns ``values`` itself
    where nothing is missing.
    """
    holes = np.isnan(values)
    if not holes.any():
        return values
    rows = np.arange(len(values))[:, None]
    ends = np.append(first[1:], len(values))
    begins, lasts = (np.repeat(of, ends - first)[:, None] for of in (first, ends - 1))
    before = np.maximum.accumulate(np.where(holes, begins, rows), axis=0)
    found = np.take_along_axis(values, before, axis=0)
    after = np.minimum.accumulate(np.where(holes, lasts, rows)[::-1], axis=0)[::-1]
    found = np.where(np.isnan(found), np.take_along_axis(values, after, axis=0), found)
    return np.where(np.isnan(found), 0.0, found)


def rows_given(values: np.ndarray) -> int:
    """The rows of values [N, C] up to the last one that has any; all where none has."""
    found = np.flatnonzero(np.isfinite(values).any(1))
    return int(found[-1]) + 1 if len(found) else len(values)


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

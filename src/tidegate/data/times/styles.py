"""Times as people write them: read from a column, and written again in the same way.

A column is read as a whole, since one cell may not tell: 03/04/2016 is a day of March or of April,
201503 a month or a number.  Times become datetime64[s], or [us] where seconds have fractions; or
int64 or float64 where they only count.  Where a column names offsets from UTC, times are UTC; but
where rows stand at the same time of local days, through a change of the clocks, they are that local
time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final, Protocol

import numpy as np

from tidegate.data.times.calendar_cells import (
    RowError,
    has_zone,
    is_day_first,
    matches_of,
    no_time,
    offsets_of,
    year_of,
)
from tidegate.data.times.calendar_text import (
    CODES,
    KINDS,
    moments_of,
    month_named,
    of_24_hours,
    parts_of,
    template_of,
)
from tidegate.errors import InputError, shown

__all__ = ["AS_NUMPY", "AsNumpy", "RowError", "TimeStyle", "fewest_seconds", "read_times"]

_YEARS: Final = (1800, 2200)  # of dates written in digits alone; other numbers only count
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMALS: Final = 9  # of a time that counts; more are rounding
_LEAST: Final = {
    "month": 1,
    "day": 1,
    "quarter": 1,
    "week": 1,
    "weekday": 1,
}  # where a date leaves it out
_EPOCH: Final = (10**9, 4 * 10**9)  # seconds: from 2001 to 2096


class TimeStyle(Protocol):
    """How a column's times are written."""

    @property
    def zone(self) -> tzinfo | None:
        """Whose clock its cells show, where the times that are read of them are UTC."""
        ...

    def write(self, times: np.ndarray) -> list[str]:
        """Times [N], as read by the column's reader, as its cells would say them."""
        ...

    def read(self, text: str) -> Any:
        """The time that a text says, None if it says none in this style."""
        ...


@dataclass(frozen=True)
class AsNumpy:
    """Times that came as an array, or in a frame, of this ``zone`` if they have one."""

    zone: tzinfo | None = None

    def write(self, times: np.ndarray) -> list[str]:
        return [str(time) for time in times]

    def read(self, text: str) -> Any:
        if text.strip().isdigit():
            return None
        try:
            times, style = read_times([text.strip()])
        except RowError:
            return None
        return times[0] if isinstance(style, Calendar) else None


AS_NUMPY: Final[TimeStyle] = AsNumpy()


@dataclass(frozen=True)
class Numbers:
    """Times that count, with as many ``decimals``; ``per_second``: of Unix time, in that unit."""

    decimals: int = 0
    per_second: int | None = None

    @property
    def zone(self) -> tzinfo | None:
        return None if self.per_second is None else UTC

    def write(self, times: np.ndarray) -> list[str]:
        if self.per_second is not None:
            ticks = times.astype("datetime64[us]").astype(np.int64)
            if self.decimals == 0:
                return [str(t * self.per_second // 10**6) for t in ticks.tolist()]
            return [f"{t // 10**6}.{t % 10**6:06}"[: self.decimals - 6 or None] for t in ticks]
        if times.dtype == np.int64:
            return [str(t) for t in times]
        return [f"{t:.{self.decimals}f}" for t in times]

    def read(self, text: str) -> Any:
        if self.per_second is None or not re.fullmatch(r"[0-9]{10,19}", text):
            return None
        return np.datetime64(int(text) * 10**6 // self.per_second, "us")


@dataclass(frozen=True)
class Calendar:
    """Times of the calendar: ``template`` is for ``str.format``; ``offset`` from UTC in seconds.

    ``day_first``: of dates with the year at the end.
    """

    template: str
    offset: int = 0
    day_first: bool | None = None
    digits: int = 0

    @property
    def zone(self) -> tzinfo | None:
        return timezone(timedelta(seconds=self.offset)) if self.offset else None

    def write(self, times: np.ndarray) -> list[str]:
        moments = (times.astype("datetime64[us]") + np.timedelta64(self.offset, "s")).tolist()
        if any(type(moment) is int for moment in moments):  # as numpy gives those beyond
            raise InputError(
                "expected times from the year 1 to 9999, got others; forecast fewer rows"
            )
        return [self.template.format(**parts_of(moment)) for moment in moments]

    def read(self, text: str) -> Any:
        text = text.strip()
        if text.isdigit() and len(text) != self.digits:
            return None
        try:
            times, style = read_times([text], day_first=self.day_first)
        except RowError:
            return None
        if not isinstance(style, Calendar):
            return None
        return times[0] if has_zone(text) else times[0] - np.timedelta64(self.offset, "s")


def read_times(
    cells: Sequence[str], *, day_first: bool | None = None
) -> tuple[np.ndarray, TimeStyle]:
    """The times of a column's cells, [N], and how they are written.

    Raises RowError (InputError) for the first cell that is no time, or not one like the others.
    """
    if all(re.fullmatch(r"[+-]?[0-9]{1,19}", cell) for cell in cells):
        return _whole(cells)
    numbers = [_DECIMAL.fullmatch(cell) is not None for cell in cells]
    if all(numbers):
        return _decimal(cells)
    if 2 * sum(numbers) > len(cells):
        row = numbers.index(False)
        problem = f"expected a number as time, like most, got {shown(cells[row])}"
        raise RowError(f"{problem}; correct it or remove the row", row)
    return _of_iso(cells) or _of_calendar(cells, day_first)


def _whole(cells: Sequence[str]) -> tuple[np.ndarray, TimeStyle]:
    numbers = np.array([int(cell) for cell in cells], dtype=object)
    if max(numbers) >= 2**63 or min(numbers) < -(2**63):
        row = next(i for i, n in enumerate(numbers) if not -(2**63) <= n < 2**63)
        problem = f"expected a number of up to 18 digits, got {cells[row]}"
        raise RowError(f"{problem}; number the rows instead", row)
    numbers = numbers.astype(np.int64)
    sizes = {len(cell) for cell in cells}
    for parts in CODES if len(sizes) == 1 and numbers.min() > 0 else ():
        digits = sum(parts.values())
        if sizes != {digits}:
            continue
        values, rest = {}, digits
        for name, size in parts.items():
            rest -= size
            values[name] = numbers // 10**rest % 10**size
        year = values["week_year" if "week" in values else "year"]
        moments, good = moments_of(values)
        if digits >= 8 and 0.9 * len(good) <= good.sum() < len(good):
            row = int(good.argmin())
            problem = f"expected a date written like {cells[int(good.argmax())]}, got {cells[row]}"
            raise RowError(f"{problem}, which is none; correct it or remove the row", row)
        if good.all() and year.min() >= _YEARS[0] and year.max() <= _YEARS[1]:
            template = "".join(f"{{{name}:0{size}}}" for name, size in parts.items())
            return fewest_seconds(moments), Calendar(template, digits=digits)
    for per_second in (1, 10**3, 10**6, 10**9):
        seconds = numbers // per_second
        if seconds.min() >= _EPOCH[0] and seconds.max() < _EPOCH[1] and len(numbers) > 1:
            steps, counts = np.unique(np.diff(numbers), return_counts=True)
            # of a minute or more: a counter that has come so far goes on by ones
            if steps[counts.argmax()] % (60 * per_second) == 0:
                ticks = numbers // max(1, per_second // 10**6) * (10**6 // min(per_second, 10**6))
                return fewest_seconds(ticks.astype("datetime64[us]")), Numbers(0, per_second)
    return numbers, Numbers()


def _decimal(cells: Sequence[str]) -> tuple[np.ndarray, TimeStyle]:
    if (found := _months(cells)) is not None:
        return found
    numbers = np.array(cells, dtype=np.float64)
    if not np.isfinite(numbers).all():
        row = int(np.isfinite(numbers).argmin())
        raise RowError(f"expected a finite number as time, got {cells[row]}; correct it", row)
    same: list[int] = np.flatnonzero(np.diff(numbers) == 0).tolist()
    if row := next((i + 1 for i in same if Decimal(cells[i]) != Decimal(cells[i + 1])), 0):
        problem = f"expected numbers that differ in their first 15 digits, got {cells[row]} after "
        raise RowError(f"{problem}{cells[row - 1]}; number the rows instead", row)
    decimals = max(len(cell.partition(".")[2].partition("e")[0]) for cell in cells)
    exact = not any("e" in cell.lower() for cell in cells)
    decimals = min(max(1, decimals), _DECIMALS) if exact else _DECIMALS
    if decimals <= 6 and numbers.min() >= _EPOCH[0] and numbers.max() < _EPOCH[1]:
        steps, counts = np.unique(np.diff(numbers), return_counts=True)
        if len(steps) and steps[counts.argmax()] % 60 == 0:
            ticks = np.rint(numbers * 1e6).astype(np.int64)
            return fewest_seconds(ticks.astype("datetime64[us]")), Numbers(decimals, 1)
    return numbers, Numbers(decimals)


def _months(cells: Sequence[str]) -> tuple[np.ndarray, TimeStyle] | None:
    """Months with a point, 01.2015 or 2015.01: as numbers they would go on to a thirteenth."""
    for kind in ("month", "month first"):
        if KINDS[kind].fullmatch(cells[0]) is None:
            continue
        matches = [KINDS[kind].fullmatch(cell) for cell in cells]
        parts = [(int(m["year"]), m["month"]) for m in matches if m is not None]
        if len(parts) < len(cells) or not all(_YEARS[0] <= year <= _YEARS[1] for year, _ in parts):
            continue
        numbers = [12 * year + int(month) for year, month in parts]
        rise = all(a < b for a, b in zip(numbers, numbers[1:], strict=False))
        # 2015.1, 2015.2 may be tenths of a year
        told = kind == "month first" or any(len(month) > 1 for _, month in parts)
        if rise and told and all(1 <= int(month) <= 12 for _, month in parts):
            return _of_calendar(cells, None)
    return None


def _of_iso(cells: Sequence[str]) -> tuple[np.ndarray, TimeStyle] | None:
    """Times that numpy can read, in a seventh of the time; None unless all are written alike."""
    pattern = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?"
    alike = re.fullmatch(pattern, cells[0]) and len({len(cell) for cell in cells}) == 1
    if not alike or not set().union(*cells) <= set("0123456789-: T"):
        return None
    try:
        times = np.array(cells, dtype="datetime64[s]")
    except ValueError:
        return None
    match = KINDS["year first"].fullmatch(cells[-1])
    if match is None:
        return None
    template, _ = template_of([match], {name: [match[name]] for name in match.re.groupindex}, None)
    return times, Calendar(template)


def _of_calendar(cells: Sequence[str], day_first: bool | None) -> tuple[np.ndarray, TimeStyle]:
    matches = matches_of(cells)
    names = matches[0].re.groupindex
    found = {name: [match[name] for match in matches] for name in names}
    values = {
        name: np.array([int(text or _LEAST.get(name, 0)) for text in texts], dtype=np.int64)
        for name, texts in found.items()
        if name not in ("zone", "half", "name", "fraction")
    }
    if "short_year" in values:
        values["year"] = year_of(values.pop("short_year"), values, cells)
    if "first" in values:
        day_first = is_day_first(values, cells, day_first, dotted="." in matches[0][0][:3])
        order = ("first", "other") if day_first else ("other", "first")
        values["day"], values["month"] = (values.pop(name) for name in order)
    if "name" in found:
        values["month"] = np.array([month_named(text) for text in found["name"]])
    if "half" in found:
        values["hour"] = of_24_hours(values["hour"], found["half"])
    if "fraction" in found:
        values["nanosecond"] = np.array([int((f or "0").ljust(9, "0")) for f in found["fraction"]])
    moments, good = moments_of(values)
    if not good.all():
        raise no_time(cells, int(good.argmin()))
    offsets = offsets_of(found.get("zone", []), cells)
    local = moments - moments.astype("datetime64[D]")
    # rows at one time of the day, whatever the clocks do, are days apart
    if len(set(offsets.tolist())) > 1 and not (local == local[0]).all():
        moments, shift = moments - offsets.astype("timedelta64[s]"), int(offsets[-1])
    elif len(set(offsets.tolist())) == 1:
        moments, shift = moments - offsets.astype("timedelta64[s]"), int(offsets[0])
    else:
        shift = 0
    template, digits = template_of(matches, found, day_first)
    return fewest_seconds(moments), Calendar(template, shift, day_first, digits)


def fewest_seconds(moments: np.ndarray) -> np.ndarray:
    """Moments datetime64[us] as [s] unless one has a fraction of a second."""
    seconds = moments.astype("datetime64[s]")
    return seconds if (seconds == moments).all() else moments

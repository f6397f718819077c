"""Cells as moments of the calendar: which kind of date they are, and what is wrong with one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from tidegate.data.times.calendar_text import KINDS
from tidegate.errors import InputError, shown, spelled

# What a cell looks like that is no time, and what to do.
_HINTS: Final = (
    (r"\s*", "fill it or remove the row"),
    (r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2}(\D.*)?", "write the year in four digits"),
    (r"\d{1,2}:\d{2}(:\d{2})?", "write the date before it, or number the rows"),
    (r"(FY|\d{4}\s?[-/])\s?\d{2,4}", "of a year that begins in another, write the first one alone"),
    (r"\d{4}-.*\d\s?[A-Za-z/_]{2,}", "write the zone as its offset from UTC, such as +01:00"),
)


_CENTURY: Final = 69  # two digits from here on are of the last one


class RowError(InputError):
    """A row (0-based) that breaks the series; who knows the file says which line that is."""

    def __init__(self, problem: str, row: int) -> None:
        super().__init__(f"row {row}: {problem}")
        self.problem, self.row = problem, row


def matches_of(cells: Sequence[str]) -> list[re.Match[str]]:
    """Each cell as a date of one kind.  Raises RowError."""
    pattern = next((p for p in KINDS.values() if p.fullmatch(cells[0])), None)
    if pattern is None:
        raise no_time(cells, 0)
    matches = []
    for row, cell in enumerate(cells):
        match = pattern.fullmatch(cell)
        if match is None:
            if any(p.fullmatch(cell) for p in KINDS.values()):
                problem = f"expected a time written as {cells[0]}, the first one, got {shown(cell)}"
                raise RowError(f"{problem}; write all in one way", row)
            raise no_time(cells, row)
        matches.append(match)
    return matches


def has_zone(text: str) -> bool:
    """Whether a cell that is a date says how far its clock is from UTC."""
    matches = [pattern.fullmatch(text) for pattern in KINDS.values()]
    return any(match and match.groupdict().get("zone") for match in matches)


def no_time(cells: Sequence[str], row: int) -> RowError:
    """The error of a cell that is no date, with what helps there."""
    cell = cells[row]
    problem = f"expected a time such as 2016-07-01 13:00, got {shown(cell)}"
    remedy = next((text for pattern, text in _HINTS if re.fullmatch(pattern, cell)), None)
    if remedy is None:
        numbered = f"number the rows and name that column with {spelled('time', 'COLUMN')}"
        remedy = f"rewrite it as year-month-day, or {numbered}"
    return RowError(f"{problem}; {remedy}", row)


def year_of(short: np.ndarray, values: dict[str, np.ndarray], cells: Sequence[str]) -> np.ndarray:
    """The years [N] that two digits mean, from 1969 to 2068.

    In 15/12/31 the year may stand first: then the last number changes most.  Raises RowError.
    """
    first = values.get("first", values.get("day", short))
    if len(np.unique(short)) > len(np.unique(first)):
        raise no_time(cells, 0)
    return short + np.where(short >= _CENTURY, 1900, 2000)


def is_day_first(
    values: dict[str, np.ndarray], cells: Sequence[str], told: bool | None, *, dotted: bool
) -> bool:
    """Whether 03/04/2016 is in April: dots say so, or a number above 12.

    Of months and years the day is the number that never changes.  Raises RowError.
    """
    if told is not None:
        return told
    first, other = values["first"].max() > 12, values["other"].max() > 12
    if first != other:
        return bool(first)
    if dotted and not other:
        return True
    days_alike, months_alike = (len(np.unique(values[n])) == 1 for n in ("first", "other"))
    if not other and (values["first"] == values["other"]).all():
        return True  # both say the same
    if not other and days_alike != months_alike and len(np.unique(values["year"])) > 1:
        return days_alike
    row = int(values["other"].argmax()) if other else 0
    problem = f"expected a time such as 2016-07-01 13:00, got {cells[row]!r}"
    reason = "no row tells which number is the day and which is the month"
    if other:
        reason = "in some rows the day comes first, in others the month"
    raise RowError(f"{problem}: {reason}; rewrite it as year-month-day", row)


def offsets_of(zones: Sequence[str | None], cells: Sequence[str]) -> np.ndarray:
    """Seconds east of UTC, int64 [N]; empty where no cell says.  Raises RowError."""
    if not any(zones):
        return np.empty(0, np.int64)
    offsets = np.zeros(len(zones), np.int64)
    for row, zone in enumerate(zones):
        if zone is None:
            problem = f"expected a time with its zone, as others have, got {cells[row]}"
            raise RowError(f"{problem}; write it there, too", row)
        if zone[0] in "+-":
            digits = zone[1:].replace(":", "").ljust(4, "0")
            seconds = 3600 * int(digits[:2]) + 60 * int(digits[2:])
            offsets[row] = seconds if zone[0] == "+" else -seconds
    return offsets

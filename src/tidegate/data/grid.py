"""The grid of a time series: reading times, finding the step between them, going on from the last.

Times are datetime64[s] (UTC where the source named a zone) or int64; a step is an int for integer
times, else a timedelta64 in seconds or calendar months.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from tidegate.errors import InputError

__all__ = [
    "RowError",
    "Step",
    "advance",
    "grid_positions",
    "parse_time",
    "step_from_json",
    "step_to_json",
]

Step = int | np.timedelta64

_DAY: Final = 86_400  # seconds
_UNITS: Final = ((604_800, "week"), (_DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_UNPADDED: Final = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?"
)


class RowError(InputError):
    """A row (0-based) that breaks the series; who knows the file says which line that is."""

    def __init__(self, problem: str, row: int) -> None:
        super().__init__(f"row {row}: {problem}")
        self.problem, self.row = problem, row


def parse_time(text: str) -> np.datetime64 | None:
    """An ISO date or time ("2016-07", "2016-07-01 13:00", "…T13:00Z") in seconds, or None.

    A zone is converted to UTC; year-month-day may be unpadded or written with slashes.
    """
    text = text.strip()
    if match := _UNPADDED.fullmatch(text):
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        try:
            return np.datetime64(datetime(year, month, day, hour, minute, second), "s")
        except ValueError:
            return None
    if re.fullmatch(r"\d{4}-\d{2}", text) and 1 <= int(text[5:]) <= 12:
        return np.datetime64(text, "s")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return None if moment.microsecond else np.datetime64(moment, "s")


def grid_positions(times: np.ndarray) -> tuple[Step, np.ndarray]:
    """The step of a grid of times [N], its commonest difference, and every row's place on it.

    Places are int64 [N], from 0; a gap shows as a difference above 1.  Raises RowError (InputError)
    for times that do not increase or do not lie on the grid.
    """
    if len(times) < 2:
        raise RowError(f"expected two times or more, got {len(times)}; give more rows", 0)
    differences = np.diff(times).astype(np.int64)
    if (differences <= 0).any():
        row = int(np.argmax(differences <= 0)) + 1
        if differences[row - 1] == 0:
            problem = f"expected each time once, got {times[row]} again; keep one row of them"
            raise RowError(problem, row)
        problem = f"expected rows sorted by time, got {times[row]} after {times[row - 1]}"
        raise RowError(f"{problem}; sort them by time", row)
    integer = times.dtype == np.int64
    months = None if integer else _months(times)
    ticks = times.astype(np.int64) if months is None else months
    lengths, counts = np.unique(np.diff(ticks), return_counts=True)
    length = int(lengths[counts.argmax()])
    step = length if integer else np.timedelta64(length, "s" if months is None else "M")
    positions, rest = np.divmod(ticks - ticks[0], length)
    if rest.any():
        row = int(np.argmax(rest != 0))
        problem = f"expected times {_spoken(step)} apart, got {times[row]} after {times[row - 1]}"
        raise RowError(f"{problem}; bring them to a regular grid", row)
    return step, positions


def _months(times: np.ndarray) -> np.ndarray | None:
    """Month numbers, if all times lie at the same point of the month or all at its end."""
    if np.diff(times).astype(np.int64).min() < 28 * _DAY:
        return None
    for shift in (0, _DAY):
        moments = times + np.timedelta64(shift, "s")
        offsets = moments - moments.astype("datetime64[M]")
        if (offsets == offsets[0]).all() and (shift == 0 or offsets[0] < np.timedelta64(1, "D")):
            return moments.astype("datetime64[M]").astype(np.int64)
    return None


def advance(times: np.ndarray, step: Step, count: int) -> np.ndarray:
    """The ``count`` grid times after the last of times [N]."""
    last, ahead = times[-1], np.arange(1, count + 1)
    if isinstance(step, int) or np.datetime_data(step.dtype)[0] == "s":
        return last + ahead * step
    month = last.astype("datetime64[M]")
    next_day = (times + np.timedelta64(1, "D")).astype("datetime64[M]")
    if (next_day > times.astype("datetime64[M]")).all():  # month ends: the 31st, the 28th ...
        end = (month + ahead * step + 1).astype("datetime64[D]") - 1
        return end.astype("datetime64[s]") + (last - last.astype("datetime64[D]"))
    return (month + ahead * step).astype("datetime64[s]") + (last - month)


def _spoken(step: Step) -> str:
    if isinstance(step, int):
        return str(step)
    unit, _ = np.datetime_data(step.dtype)
    length = int(step.astype(np.int64))
    size, name = (1, "month") if unit == "M" else next(u for u in _UNITS if length % u[0] == 0)
    return f"{length // size} {name}{'s' if length != size else ''}"


def step_to_json(step: Step) -> str:
    """A step as text: "1" (integer times), "3600s" or "1M"."""
    if isinstance(step, int):
        return str(step)
    return f"{int(step.astype(np.int64))}{np.datetime_data(step.dtype)[0]}"


def step_from_json(text: Any) -> Step:
    """The step that ``step_to_json`` wrote.  Raises ValueError for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,17})([sM]?)", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"a step must read like 1, 3600s or 1M, got {text!r}")
    length = int(match[1])
    return np.timedelta64(length, "s" if match[2] == "s" else "M") if match[2] else length

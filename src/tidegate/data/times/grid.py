"""The grid of a time series: finding the step between its times, going on from the last.

Times are datetime64[s] or [us] (UTC where the source named a zone), int64 or float64; a step is an
int or float for times that count, else a timedelta64 in seconds, microseconds or calendar months,
or a business day.  Rows at irregular times have no grid; they are `Uneven`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tidegate.data.times.styles import AS_NUMPY, RowError, TimeStyle
from tidegate.errors import spelled

__all__ = [
    "BusinessDay",
    "Spacing",
    "Step",
    "Uneven",
    "advance",
    "elapsed_between",
    "grid_positions",
    "order_of",
    "step_from_json",
    "step_to_json",
    "time_type",
]


@dataclass(frozen=True)
class BusinessDay:
    """The step from one of Monday to Friday to the next."""


@dataclass(frozen=True)
class Uneven:
    """Between rows at irregular times, which no step leads to; those to come must be told.

    ``dated``: they are dates, so that what lies between them is in days.
    """

    dated: bool


Step = int | float | np.timedelta64 | BusinessDay
Spacing = Step | Uneven

_DAY: Final = 86_400  # seconds
_UNITS: Final = ((604_800, "week"), (_DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_JITTER: Final = 0.01  # of a step, by which decimal times may be off their grid: they are rounded


def grid_positions(times: np.ndarray, style: TimeStyle = AS_NUMPY) -> tuple[Step, np.ndarray]:
    """The step of a grid of times [N], its commonest difference, and every row's place on it.

    Places are int64 [N], from 0; a gap shows as a difference above 1.  Raises RowError (InputError)
    for times that do not increase or do not lie on the grid, written in their ``style``.
    """
    if len(times) < 2:
        raise RowError(f"expected two times or more, got {len(times)}; give more rows", 0)
    _need_rising(times, style)
    if times.dtype.kind == "f":
        step, positions, good = _decimal_grid(times)
    elif times.dtype.kind == "M" and _are_business_days(times):
        days = times.astype("datetime64[D]")
        step, positions = BusinessDay(), np.busday_count(days[0], days)
        good = np.ones(len(times), bool)
    else:
        step, positions, good = _even_grid(times)
    if not good.all():
        row = int(np.argmin(good))
        before, got = style.write(times[row - 1 : row + 1])
        problem = f"expected times {_spoken(step)} apart, got {got} after {before}"
        remedy = (
            f"read the time between them with {spelled('elapsed', True)}, bring them to a regular "
            f"grid with {spelled('every', 'STEP')}, or number the rows and name that column with "
            f"{spelled('time', 'COLUMN')}"
        )
        if (month := _one_of_each_month(times)) is not None:
            problem = f"expected the same day of each month, or the last, got {got} after {before}"
            remedy = f"write the months alone, such as {month}"
        raise RowError(f"{problem}; {remedy}", row)
    return step, positions


def order_of(times: np.ndarray) -> np.ndarray:
    """The rows of times [N] in order of time, int64 [N]; as they stand where some times are alike.

    Then there is no one order, and whoever needs one says so.
    """
    rises = times[1:] > times[:-1]
    asked = np.arange(len(times))
    if rises.all():
        return asked
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    return order if (ordered[1:] > ordered[:-1]).all() else asked


def elapsed_between(times: np.ndarray, style: TimeStyle = AS_NUMPY) -> np.ndarray:
    """The time since the one before, float64 [N], of dates in days; 0 at the first.

    Raises RowError (InputError) for times [N] that do not increase, written in their ``style``.
    """
    _need_rising(times, style)
    since = np.diff(times, prepend=times[:1])
    return since / np.timedelta64(1, "D") if since.dtype.kind == "m" else since.astype(np.float64)


def _need_rising(times: np.ndarray, style: TimeStyle) -> None:
    rises = times[1:] > times[:-1]
    if not rises.all():
        row = int(np.argmin(rises)) + 1
        before, got = style.write(times[row - 1 : row + 1])
        if times[row] == times[row - 1]:
            raise RowError(
                f"expected each time once, got {got} again; keep one row of them, or take the mean "
                f"of each step with {spelled('every', 'STEP')}",
                row,
            )
        problem = f"expected rows sorted by time, got {got} after {before}"
        raise RowError(f"{problem}; sort them by time", row)


def _even_grid(times: np.ndarray) -> tuple[Step, np.ndarray, np.ndarray]:
    """Step, places, and which rows lie on them: whole numbers, moments or months."""
    integer = times.dtype == np.int64
    months = None if integer else _months(times)
    ticks = times.astype(np.int64) if months is None else months
    lengths, counts = np.unique(np.diff(ticks), return_counts=True)
    length = int(lengths[counts.argmax()])
    positions, rest = np.divmod(ticks - ticks[0], length)
    if integer:
        return length, positions, rest == 0
    unit = "M" if months is not None else str(np.datetime_data(times.dtype)[0])
    if unit == "us" and length % 10**6 == 0:
        length, unit = length // 10**6, "s"
    return np.timedelta64(length, unit), positions, rest == 0


def _decimal_grid(times: np.ndarray) -> tuple[Step, np.ndarray, np.ndarray]:
    """As ``_even_grid``, for decimal times, each of which has been rounded."""
    differences = np.diff(times)
    rough = float(np.median(differences))
    positions = np.concatenate([[0], np.cumsum(np.maximum(np.rint(differences / rough), 1))])
    exact = float((times[-1] - times[0]) / positions[-1])
    short = float(f"{exact:.6g}")
    rounding = np.spacing(np.abs(times).max()) + np.abs(times - times[0] - positions * exact).max()
    step = short if abs(short - exact) * positions[-1] <= 2 * rounding else exact
    positions = np.rint((times - times[0]) / step).astype(np.int64)
    off = np.abs(times - times[0] - positions * step)
    good = (off <= _JITTER * step) & np.concatenate([[True], np.diff(positions) > 0])
    return step, positions, good


def _are_business_days(times: np.ndarray) -> bool:
    """Whether times are midnights, or the like, of days that leave out weekends and little else."""
    days = times.astype("datetime64[D]")
    clock = times - days
    steps = np.diff(days).astype(np.int64)
    weekend = steps[(days[:-1].astype(np.int64) + 3) % 7 == 4]  # after Fridays
    return bool(
        (clock == clock[0]).all()
        and np.is_busday(days).all()
        and 2 * (steps == 1).sum() > len(steps)
        and len(weekend) > 0
    )


def _months(times: np.ndarray) -> np.ndarray | None:
    """Month numbers, if all times lie at the same point of the month or all at its end."""
    if np.diff(times).min() < np.timedelta64(28, "D"):
        return None
    for shift in (0, _DAY):
        moments = times + np.timedelta64(shift, "s")
        offsets = moments - moments.astype("datetime64[M]")
        if (offsets == offsets[0]).all() and (shift == 0 or offsets[0] < np.timedelta64(1, "D")):
            return moments.astype("datetime64[M]").astype(np.int64)
    return None


def _one_of_each_month(times: np.ndarray) -> str | None:
    """The first month, where the months of times are evenly spaced, such as of last workdays."""
    if times.dtype.kind != "M":
        return None
    months = times.astype("datetime64[M]")
    steps = np.diff(months.astype(np.int64))
    return str(months[0]) if steps[0] > 0 and (steps == steps[0]).all() else None


def advance(times: np.ndarray, step: Step, count: int) -> np.ndarray:
    """The ``count`` grid times after the last of times [N]."""
    last, ahead = times[-1], np.arange(1, count + 1)
    if isinstance(step, BusinessDay):
        day = last.astype("datetime64[D]")
        return np.busday_offset(day, ahead, roll="backward").astype(times.dtype) + (last - day)
    if isinstance(step, int | float) or np.datetime_data(step.dtype)[0] != "M":
        return last + ahead * step
    month = last.astype("datetime64[M]")
    next_day = (times + np.timedelta64(1, "D")).astype("datetime64[M]")
    if (next_day > times.astype("datetime64[M]")).all():  # month ends: the 31st, the 28th ...
        end = (month + ahead * step + 1).astype("datetime64[D]") - 1
        return end.astype(times.dtype) + (last - last.astype("datetime64[D]"))
    return (month + ahead * step).astype(times.dtype) + (last - month)


def _spoken(step: Step) -> str:
    if isinstance(step, BusinessDay):
        return "1 business day"
    if isinstance(step, int | float):
        return str(step)
    unit, _ = np.datetime_data(step.dtype)
    length = int(step.astype(np.int64))
    if unit == "us":
        return f"{length / 10**6:g} seconds"
    size, name = (1, "month") if unit == "M" else next(u for u in _UNITS if length % u[0] == 0)
    return f"{length // size} {name}{'s' if length != size else ''}"


def time_type(step: Spacing) -> str:
    """The dtype of times that are so far apart."""
    if isinstance(step, Uneven):
        return "datetime64[us]" if step.dated else "float64"
    if isinstance(step, int | float):
        return "int64" if isinstance(step, int) else "float64"
    return "datetime64[us]"


def step_to_json(step: Spacing) -> str:
    """A step as text: "1" or "0.5" (times that count), "3600s", "500000us", "1M" or "1B".

    Of rows at irregular times what these are: "dates" or "numbers".
    """
    if isinstance(step, Uneven):
        return "dates" if step.dated else "numbers"
    if isinstance(step, BusinessDay):
        return "1B"
    if isinstance(step, int | float):
        return str(step)
    return f"{int(step.astype(np.int64))}{np.datetime_data(step.dtype)[0]}"


def step_from_json(text: Any) -> Spacing:
    """The step that ``step_to_json`` wrote.  Raises ValueError for anything else."""
    if text in ("dates", "numbers"):
        return Uneven(text == "dates")
    if text == "1B":
        return BusinessDay()
    match = re.fullmatch(r"([1-9][0-9]{0,17})(s|us|M)?", text) if isinstance(text, str) else None
    if match is not None:
        length = int(match[1])
        return np.timedelta64(length, match[2]) if match[2] else length
    decimal = r"[0-9]{1,20}(\.[0-9]{1,30})?(e[+-][0-9]{1,3})?"
    if isinstance(text, str) and re.fullmatch(decimal, text) and 0 < float(text) < np.inf:
        return float(text)
    raise ValueError(f"a step must read like 1, 0.5, 3600s, 1M, 1B or dates, got {text!r}")

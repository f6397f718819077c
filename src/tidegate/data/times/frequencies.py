"""Irregular rows brought to a regular grid, whose step is named as pandas names frequencies."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from tidegate.data.times.grid import BusinessDay, Step
from tidegate.errors import InputError, shown

__all__ = ["Binned", "binned", "step_named"]

_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MONTHS: Final = {"m": 1, "q": 3, "y": 12}
# Other names of these, once in use and still: T of min, A of Y, and those that end with S or E.
_ALIASES: Final = {
    **{"t": "min", "a": "y", "as": "y", "ms": "m", "qs": "q", "ys": "y"},
    **{"me": "m", "qe": "q", "ye": "y"},
}
_NAMED: Final = re.compile(r"\s*([0-9]*)\s*([A-Za-z]+)(?:-[A-Za-z]{3})?\s*")
_MONDAY: Final = 4 * 86_400  # seconds from the epoch, a Thursday


def step_named(name: Any) -> Step:
    """The step of a name such as ``15min``, ``h``, ``D``, ``B``, ``W``, ``MS``, ``QS``, ``YS``, or
    of a number, for times that count.  Raises InputError.

    Where a week or a year is to end (``W-SUN``) is not taken up: weeks begin on Mondays.
    """
    try:
        number = float(name)
        if 0 < number < np.inf:
            return int(number) if number == int(number) else number
    except (TypeError, ValueError):
        pass
    match = _NAMED.fullmatch(name) if isinstance(name, str) else None
    unit = "" if match is None else _ALIASES.get(match[2].lower(), match[2].lower())
    count = int(match[1] or 1) if match is not None else 0
    if count and unit == "b" and count == 1:
        return BusinessDay()
    if count and unit in _SECONDS:
        return np.timedelta64(count * _SECONDS[unit], "s")
    if count and unit in _MONTHS:
        return np.timedelta64(count * _MONTHS[unit], "M")
    problem = f"expected a step as pandas names it, got {shown(name)}"
    raise InputError(f"{problem}; give one such as 15min, h, D, B, W or MS", option="every")


class Binned:
    """Rows by the step of a grid that they fall into.

    ``times`` [M]: where the steps begin that have rows, and ``positions`` int64 [M], from 0;
    ``which`` [N]: of each row which of them it is.
    """

    def __init__(self, times: np.ndarray, positions: np.ndarray, which: np.ndarray) -> None:
        self.times, self.positions, self.which = times, positions - positions[0], which

    def means(self, values: np.ndarray) -> np.ndarray:
        """The mean of values [N, C] in each step, [M, C], NaN where all are missing."""
        known = np.isfinite(values)
        sums, counts = (np.zeros((len(self.times), values.shape[1])) for _ in range(2))
        np.add.at(sums, self.which, np.where(known, values, 0.0))
        np.add.at(counts, self.which, known)
        return np.where(counts > 0, sums / counts.clip(min=1), np.nan)


def binned(times: np.ndarray, step: Step) -> Binned:
    """The rows at times [N], in any order, by steps.

    Raises InputError for a step of the calendar where times count, or the other way round.
    """
    counted = isinstance(step, int | float)
    if counted != (times.dtype.kind != "M"):
        kinds = ("moments", "a number") if counted else ("numbers", "a step of the calendar")
        problem = f"expected a step for times that are {kinds[0]}, got {kinds[1]}"
        raise InputError(f"{problem}; give {'h or D' if counted else '1 or 10'}", option="every")
    if isinstance(step, int | float):
        places = np.floor(times / step).astype(np.int64)
        positions, which = np.unique(places, return_inverse=True)
        return Binned(positions * step, positions, which)
    if isinstance(step, BusinessDay):
        days = np.busday_offset(times.astype("datetime64[D]"), 0, roll="backward")
        begins, which = np.unique(days, return_inverse=True)
        return Binned(begins.astype("datetime64[s]"), np.busday_count(begins[0], begins), which)
    length = int(step.astype(np.int64))
    if np.datetime_data(step.dtype)[0] == "M":
        places = times.astype("datetime64[M]").astype(np.int64) // length
        positions, which = np.unique(places, return_inverse=True)
        begins = (positions * length).astype("datetime64[M]")
        return Binned(begins.astype("datetime64[s]"), positions, which)
    offset = _MONDAY if length % _SECONDS["w"] == 0 else 0
    seconds = times.astype("datetime64[s]").astype(np.int64)
    positions, which = np.unique((seconds - offset) // length, return_inverse=True)
    return Binned((positions * length + offset).astype("datetime64[s]"), positions, which)

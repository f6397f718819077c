"""Where moments stand in day, week and year: what is known of any row before it comes."""

from __future__ import annotations

from typing import Final

import numpy as np

from tidegate.data.times.grid import BusinessDay, Spacing, Uneven

__all__ = ["CALENDAR", "calendar_numbers", "calendar_parts", "calendar_size"]

# By part its waves: of a week three tell all seven days apart, of a day or a year two bend enough.
CALENDAR: Final = {"day": 2, "week": 3, "year": 2}

_DAY: Final = np.timedelta64(86_400_000_000, "us")


def calendar_parts(step: Spacing) -> tuple[str, ...]:
    """The parts of the calendar that rows so far apart differ in; none where no calendar says."""
    if isinstance(step, BusinessDay):
        return ("week", "year")
    if isinstance(step, int | float | Uneven):
        return ()
    if np.datetime_data(step.dtype)[0] == "M":
        return ("year",) if int(step.astype(np.int64)) % 12 else ()
    seconds = step / np.timedelta64(1, "s")
    parts = []
    if seconds % 86_400:
        parts.append("day")
    if seconds % (7 * 86_400):
        parts.append("week")
    return (*parts, "year")


def calendar_size(parts: tuple[str, ...]) -> int:
    """How many numbers ``calendar_numbers`` gives."""
    return sum(2 * CALENDAR[part] for part in parts)


def calendar_numbers(times: np.ndarray, parts: tuple[str, ...]) -> np.ndarray:
    """Sines and cosines of the place of times [N] in each part, float32 [N, calendar_size]."""
    moments = times.astype("datetime64[us]")
    days = moments.astype("datetime64[D]")
    of_day = (moments - days) / _DAY
    found = [np.empty((len(times), 0))]
    for part in parts:
        if part == "day":
            place = of_day
        elif part == "week":
            place = ((days.astype(np.int64) + 3) % 7 + of_day) / 7
        else:
            years = days.astype("datetime64[Y]")
            length = (years + 1).astype("datetime64[D]") - years.astype("datetime64[D]")
            begun = (days - years.astype("datetime64[D]")).astype(np.int64)
            place = (begun + of_day) / length.astype(np.int64)
        angles = 2 * np.pi * place[:, None] * np.arange(1, CALENDAR[part] + 1)
        found += [np.sin(angles), np.cos(angles)]
    return np.concatenate(found, axis=1).astype(np.float32)

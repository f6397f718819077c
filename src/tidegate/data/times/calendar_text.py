"""Dates and times as text: the kinds there are, their parts, and templates that write them again.

A part is a number by name: year, month, day, hour, minute, second, nanosecond, quarter, week of a
week_year, weekday, day_of_year; short_year is the last two digits of a year from 1969 to 2068, as
POSIX reads them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

__all__ = ["CODES", "KINDS", "moments_of", "month_named", "of_24_hours", "parts_of", "template_of"]

MONTHS: Final = [
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
]
_CLOCK: Final = (
    r"(?:[T ]\ *(?P<hour>\d{1,2})(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)"
    r"(?:[.,](?P<fraction>\d{1,9}))?)?)?(?:\ ?(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"\ ?(?P<zone>Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?"
)
# Each kind of date and what follows it; the first that a column's first cell fits is taken.
KINDS: Final = {
    name: re.compile(date + clock, re.ASCII)
    for name, date, clock in (
        ("year first", r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})", _CLOCK),
        ("month", r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})", ""),
        ("month first", r"(?P<month>\d{1,2})[-/.](?P<year>\d{4})", ""),
        ("year last", r"(?P<first>\d{1,2})([-/.])(?P<other>\d{1,2})\2(?P<year>\d{4})", _CLOCK),
        ("digits", r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)", _CLOCK),
        ("named day", r"(?P<day>\d{1,2})([- ])(?P<name>[A-Za-z]{3,9})\2(?P<year>\d{4})", _CLOCK),
        ("month day", r"(?P<name>[A-Za-z]{3,9}) (?P<day>\d{1,2}),? (?P<year>\d{4})", _CLOCK),
        (
            "year and named day",
            r"(?P<year>\d{4})([- ])(?P<name>[A-Za-z]{3,9})\2(?P<day>\d\d?)",
            _CLOCK,
        ),
        ("year and named month", r"(?P<year>\d{4})[- ](?P<name>[A-Za-z]{3,9})", ""),
        ("named month", r"(?P<name>[A-Za-z]{3,9})[- ](?P<year>\d{4})", ""),
        ("day of year", r"(?P<year>\d{4})-(?P<day_of_year>\d{3})", _CLOCK),
        ("week", r"(?P<week_year>\d{4})[- ]?W(?P<week>\d\d)(?:-?(?P<weekday>[1-7]))?", ""),
        ("quarter", r"(?P<year>\d{4})[- ]?[Qq](?P<quarter>[1-4])", ""),
        ("quarter first", r"[Qq](?P<quarter>[1-4])[- ]?(?P<year>\d{4})", ""),
        (
            "short year last",
            r"(?P<first>\d{1,2})([-/.])(?P<other>\d{1,2})\2(?P<short_year>\d\d)",
            _CLOCK,
        ),
        (
            "named day, short year",
            r"(?P<day>\d{1,2})([- ])(?P<name>[A-Za-z]{3,9})\2(?P<short_year>\d\d)",
            _CLOCK,
        ),
        (
            "named month, short year",
            r"(?P<name>[A-Za-z]{3,9})[- ]'?(?P<short_year>\d\d)",
            "",
        ),
    )
}
# Numbers that are dates: how many digits each part has.
CODES: Final = (
    {"year": 4, "month": 2, "day": 2},
    {"year": 4, "month": 2},
    {"week_year": 4, "week": 2},
    {"year": 4, "quarter": 1},
    {"year": 4, "day_of_year": 3},
    {"year": 4, "month": 2, "day": 2, "hour": 2},
    {"year": 4, "month": 2, "day": 2, "hour": 2, "minute": 2},
    {"year": 4, "month": 2, "day": 2, "hour": 2, "minute": 2, "second": 2},
)
# Parts that may be written with one digit or two.
_UNPADDED: Final = ("first", "other", "day", "month", "hour")


def month_named(text: str) -> int:
    """1 to 12; 0 for what is no month's English name or its first letters."""
    text = text.lower()
    found = [
        i for i, name in enumerate(MONTHS, 1) if name.lower().startswith(text) or text == "sept"
    ]
    return 9 if text == "sept" else found[0] if found else 0


def of_24_hours(hours: np.ndarray, halves: Sequence[str | None]) -> np.ndarray:
    """Hours of 12 with their half of the day as hours of 24; impossible ones as 99."""
    told = np.array([half is not None for half in halves])
    afternoon = np.array([(half or "a").lower() == "p" for half in halves])
    of_24 = hours % 12 + 12 * afternoon
    return np.where(told, np.where((hours >= 1) & (hours <= 12), of_24, 99), hours)


def moments_of(values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Moments datetime64[us] [N] of parts of dates, and which of them there are."""
    if "week" in values:
        year = values["week_year"]
        fourth = _days(year, np.ones_like(year), np.full_like(year, 4))
        monday = fourth - (fourth.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
        days = monday + 7 * (values["week"] - 1)
        good = (days + 3).astype("datetime64[Y]").astype(np.int64) + 1970 == year
        days = days + values.get("weekday", np.ones_like(year)) - 1
    else:
        year = values["year"]
        one = np.ones_like(year)
        month = 3 * values["quarter"] - 2 if "quarter" in values else values.get("month", one)
        day = values.get("day", values.get("day_of_year", one))
        days = _days(year, month, day)
        inside = "datetime64[Y]" if "day_of_year" in values else "datetime64[M]"
        good = days.astype(inside) == _days(year, month, one).astype(inside)
        good &= (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1)
    none = np.zeros_like(year)
    hour, minute, second, nanosecond = (
        values.get(name, none) for name in ("hour", "minute", "second", "nanosecond")
    )
    midnight = (hour == 24) & (minute == 0) & (second == 0)  # of the next day
    good &= ((hour <= 23) | midnight) & (minute <= 59) & (second <= 59) & (nanosecond % 1000 == 0)
    seconds = 3600 * hour + 60 * minute + second
    return days.astype("datetime64[us]") + (seconds * 10**6 + nanosecond // 1000), good


def _days(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    return months.astype("datetime64[D]") + (day - 1)


def template_of(
    matches: Sequence[re.Match[str]], found: dict[str, list[str | None]], day_first: bool | None
) -> tuple[str, int]:
    """For ``str.format``: the fullest of the cells, the last of several, with names for parts.

    And how many digits it is, if it is only digits.
    """
    match = max(reversed(matches), key=lambda m: sum(part is not None for part in m.groups()))
    text, end = "", 0
    spans = sorted((match.span(name), name) for name in found if match[name] is not None)
    names = {"first": "day" if day_first else "month", "other": "month" if day_first else "day"}
    unpadded = _unpadded(found)
    twelve = match["half"] is not None if "half" in found else False
    for (start, stop), name in spans:
        text += match[0][end:start]
        end, part = stop, match[0][start:stop]
        if name == "zone":
            text += matches[-1]["zone"]
        elif name == "half":
            text += "{half}" if part.isupper() else "{half_small}"
        elif name == "fraction":
            text += "{" + f"fraction_{max(len(f or '') for f in found[name])}" + "}"
        elif name == "name":
            long = any(len(c or "") > 3 and c != "Sept" for c in found[name])
            style = "_capitals" if part.isupper() else "_small" if part.islower() else ""
            text += "{" + ("month_name" if long else "month_letters") + style + "}"
        else:
            width = 1 if name in unpadded else len(part)
            name = "hour_of_12" if name == "hour" and twelve else names.get(name, name)
            text += f"{{{name}:0{width}}}"
    return text + match[0][end:], len(match[0]) if match[0].isdigit() else 0


def parts_of(moment: datetime) -> dict[str, Any]:
    """Everything that a template may ask of a moment."""
    week_year, week, weekday = moment.isocalendar()
    name = MONTHS[moment.month - 1]
    half = "P" if moment.hour >= 12 else "A"
    nanosecond = f"{moment.microsecond:06}000"
    return {
        **{n: getattr(moment, n) for n in ("year", "month", "day", "hour", "minute", "second")},
        **{f"fraction_{n}": nanosecond[:n] for n in range(1, 10)},
        **{"week_year": week_year, "week": week, "weekday": weekday},
        **{"half": half, "half_small": half.lower(), "hour_of_12": (moment.hour - 1) % 12 + 1},
        **{"month_name": name, "month_letters": name[:3]},
        **{"month_name_small": name.lower(), "month_letters_small": name[:3].lower()},
        **{"month_name_capitals": name.upper(), "month_letters_capitals": name[:3].upper()},
        "short_year": moment.year % 100,
        "quarter": (moment.month + 2) // 3,
        "day_of_year": (moment - datetime(moment.year, 1, 1)) // timedelta(days=1) + 1,
    }


def _unpadded(found: dict[str, list[str | None]]) -> set[str]:
    """The parts that are written without a leading zero: those that have none, where one has one.

    Where no cell of a part is below 10, the others tell.
    """
    cells = {name: [c for c in found[name] if c] for name in _UNPADDED if name in found}
    short = any(len(cell) == 1 for part in cells.values() for cell in part)
    zeros = {name for name, part in cells.items() if any(c[0] == "0" and len(c) > 1 for c in part)}
    return set(cells) - zeros if short else set()

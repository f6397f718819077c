"""The times of a data frame: a column or pandas' index as a grid's times, and their continuation.

Whatever the frame holds is given back: its type, unit, time zone, frequency and way of writing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from tidegate.data.grid import parse_time
from tidegate.errors import InputError

__all__ = ["Axis", "column_axis", "index_axis", "looks_like_times"]

_DAY = np.timedelta64(86_400, "s")


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """``times``: datetime64[s] or int64 [N]; ``continued`` makes later ones what the frame holds.

    ``numbered``: these are row numbers, which a column of times would outdo.
    """

    times: np.ndarray
    continued: Callable[[np.ndarray], Any]
    numbered: bool = False


def looks_like_times(column: Any) -> bool:
    """Whether a column holds times, or text of which the first reads like one."""
    import narwhals as nw

    if isinstance(column.dtype, nw.Datetime | nw.Date) or _pandas_zone(column) is not None:
        return True
    if column.dtype not in (nw.String, nw.Object) or not len(column):
        return False
    return parse_time(str(column.item(0))) is not None


def column_axis(column: Any) -> Axis:
    """The times in a column of dates, times, integers or text.  Raises InputError."""
    import narwhals as nw

    name = str(column.name)
    if column.dtype.is_integer():
        numbers = column.to_numpy()
        if numbers.dtype.kind not in "iu":  # a missing one makes them float
            raise InputError("expected a number in every row, got none in some", column=name)
        return Axis(
            times=numbers.astype(np.int64), continued=lambda later: _column_like(column, later)
        )
    if column.dtype == nw.Date:
        times = _whole_seconds(column.cast(nw.Datetime("us")).to_numpy(), name)
        return Axis(times=times, continued=lambda later: _column_like(column, later))
    if isinstance(column.dtype, nw.Datetime) or _pandas_zone(column) is not None:
        return _of_datetimes(column, name)
    if column.dtype in (nw.String, nw.Object, nw.Categorical):
        texts = [str(text) for text in column.to_list()]
        times = [parse_time(text) for text in texts]
        for text, time in zip(texts, times, strict=True):
            if time is None:
                raise InputError(f"expected times, got {text[:40]!r}", column=name)
        return Axis(
            times=np.array(times, dtype="datetime64[s]"),
            continued=lambda later: _from_list(column, _written_like(texts[-1], later)),
        )
    raise InputError(f"expected dates, times or integers, got {column.dtype}", column=name)


def index_axis(frame: Any) -> Axis | None:
    """The times in the index of a frame or Series of pandas; None where it holds no times."""
    import narwhals as nw

    index = nw.maybe_get_index(frame)
    if index is None:
        return None
    if getattr(index, "nlevels", 1) > 1:
        raise InputError(
            f"expected one time per row, got an index of {index.nlevels} levels; "
            "give every series a column of its own: frame.unstack(0)"
        )
    pandas = nw.get_native_namespace(frame)
    if isinstance(index, pandas.PeriodIndex):
        starts = _wrapped(index.to_timestamp().to_series())

        def later_periods(later: np.ndarray) -> Any:
            first = index[-1] + 1
            return pandas.period_range(first, periods=len(later), freq=index.freq, name=index.name)

        return Axis(times=column_axis(starts).times, continued=later_periods)
    column = _wrapped(index.to_series(name="index"))
    if column.dtype in (nw.String, nw.Object) and not looks_like_times(column):
        return None  # names of rows
    axis = column_axis(column)

    def later_index(later: np.ndarray) -> Any:
        if isinstance(index, pandas.RangeIndex):
            ends = int(later[0]), int(later[-1]) + index.step, index.step
            return pandas.RangeIndex(*ends, name=index.name)
        made = pandas.Index(axis.continued(later))
        made.name = index.name
        if getattr(index, "freq", None) is not None:
            made.freq = index.freq
        return made

    numbered = axis.times.dtype == np.int64
    return Axis(times=axis.times, continued=later_index, numbered=numbered)


def _of_datetimes(column: Any, name: str) -> Axis:
    """Times without a zone as they are; with one in UTC, or whole days by the clock on the wall.

    A day lasts 23 to 25 hours where clocks are changed, an hour is an hour.
    """
    native, pandas_zone = column.to_native(), _pandas_zone(column)
    if pandas_zone is not None:
        zone = pandas_zone
        utc = native.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        wall = native.dt.tz_localize(None).to_numpy()
    elif (zone := column.dtype.time_zone) is not None:
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        wall = column.dt.replace_time_zone(None).to_numpy()
    else:
        times = _whole_seconds(column.to_numpy(), name)
        return Axis(times=times, continued=lambda later: _column_like(column, later))
    utc, wall, clock = _whole_seconds(utc, name), _whole_seconds(wall, name), _clock(str(zone))

    def in_zone(later: np.ndarray) -> Any:
        if pandas_zone is None:
            return _column_like(column, later, zone)
        made = _column_like(_wrapped(native.dt.tz_localize(None)), later)
        return made.dt.tz_localize("UTC").dt.tz_convert(zone)

    def by_the_wall(later: np.ndarray) -> Any:
        local = [time.item().replace(tzinfo=clock) for time in later.astype("datetime64[s]")]
        moments = [time.astimezone(UTC).replace(tzinfo=None) for time in local]
        return in_zone(np.array(moments, dtype="datetime64[s]"))

    if clock is None or len(wall) < 2 or np.diff(wall).min() < _DAY:
        return Axis(times=utc, continued=in_zone)
    return Axis(times=wall, continued=by_the_wall)


def _pandas_zone(column: Any) -> Any:
    """The time zone of a column of pandas, asked of it: narwhals 2.28 misses America/New_York."""
    return getattr(column.to_native().dtype, "tz", None)


def _clock(zone: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(zone)
    except (ValueError, KeyError, OSError):  # a fixed offset, under which no clock is changed
        return None


def _whole_seconds(times: np.ndarray, name: str) -> np.ndarray:
    """Times [N] as datetime64[s].  Raises InputError for missing ones and parts of a second."""
    if np.isnat(times).any():
        row = int(np.isnat(times).argmax())
        raise InputError(f"row {row}: expected a time, got none; remove that row", column=name)
    seconds = times.astype("datetime64[s]")
    if (seconds != times).any():
        row = int((seconds != times).argmax())
        raise InputError(
            f"row {row}: expected whole seconds, got {times[row]}; number the rows instead",
            column=name,
        )
    return seconds


def _wrapped(native: Any) -> Any:
    import narwhals as nw

    return nw.from_native(native, series_only=True)


def _column_like(column: Any, later: np.ndarray, zone: str | None = None) -> Any:
    """``later`` as a native column of the library and the type of ``column``."""
    import narwhals as nw

    if later.dtype != np.int64:
        later = later.astype("datetime64[us]")
    made = nw.new_series(column.name, later, backend=column.implementation)
    if zone is not None:
        made = made.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return made.cast(column.dtype).to_native()


def _from_list(column: Any, values: list[str]) -> Any:
    import narwhals as nw

    return nw.new_series(column.name, values, backend=column.implementation).to_native()


def _written_like(text: str, times: np.ndarray) -> list[str]:
    """Times written as ``text`` is: as far as it goes, with its separators and in its zone."""
    text = text.strip()
    try:
        zone = datetime.fromisoformat(text).tzinfo
    except ValueError:
        zone = None
    if zone is not None:
        moments = [time.item().replace(tzinfo=UTC).astimezone(zone) for time in times]
        written = [moment.isoformat(timespec="seconds") for moment in moments]
        written = [one.replace("+00:00", "Z") if text.endswith("Z") else one for one in written]
    else:
        length = len(text) if len(text) in (7, 10, 16) else 19
        written = [str(time)[:length] for time in times]
    if "T" not in text:
        written = [one.replace("T", " ") for one in written]
    return [one.replace("-", "/") for one in written] if "/" in text else written

"""The times of a data frame: a column or pandas' index as a grid's times, and their continuation.

Whatever the frame holds is given back: its type, unit, time zone, frequency and way of writing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.times.styles import (
    AS_NUMPY,
    AsNumpy,
    RowError,
    TimeStyle,
    fewest_seconds,
    read_times,
)
from tidegate.errors import InputError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["Axis", "column_axis", "index_axis", "looks_like_times"]

_DAY = np.timedelta64(86_400, "s")


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """``times`` [N] as a Series has them; ``continued`` makes of later ones what the frame holds.

    ``numbered``: these are row numbers, which a column of times would outdo.  ``style``: how text
    says them.
    """

    times: np.ndarray
    continued: Callable[[np.ndarray], Any]
    numbered: bool = False
    style: TimeStyle = AS_NUMPY


def looks_like_times(column: Any) -> bool:
    """Whether a column holds times, or text of which the first reads like one."""
    import narwhals as nw

    if isinstance(column.dtype, nw.Datetime | nw.Date) or _pandas_zone(column) is not None:
        return True
    if column.dtype not in (nw.String, nw.Object) or not len(column):
        return False
    return AS_NUMPY.read(str(column.item(0))) is not None


def column_axis(column: Any) -> Axis:
    """The times in a column of dates, times, numbers or text.  Raises InputError."""
    import narwhals as nw

    name, kind = str(column.name), column.dtype
    if isinstance(kind, nw.Datetime) or _pandas_zone(column) is not None:
        return _of_datetimes(column, name)
    if kind in (nw.String, nw.Object, nw.Categorical):
        return _of_text(column, name)
    if kind == nw.Date:
        times = _known(column.cast(nw.Datetime("us")).to_numpy(), name)
    elif kind.is_integer() and column.null_count() == 0:
        return _of_text(column, name)  # 201503 may be a month
    elif kind.is_numeric():
        times = column.cast(nw.Float64).to_numpy()
        if not np.isfinite(times).all():
            row = int(np.isfinite(times).argmin())
            raise InputError(f"row {row}: expected a time, got none; fill it in", column=name)
    else:
        remedy = "give the seconds" if isinstance(kind, nw.Duration) else "name another column"
        raise InputError(f"expected dates, times or numbers, got {kind}; {remedy}", column=name)
    return Axis(times=times, continued=lambda later: _column_like(column, later))


def index_axis(frame: Any) -> Axis | None:
    """The times in the index of a frame or Series of pandas; None where it holds no times."""
    import narwhals as nw

    index = nw.maybe_get_index(frame)
    if index is None:
        return None
    if getattr(index, "nlevels", 1) > 1:
        raise InputError(
            f"expected one time per row, got an index of {index.nlevels} levels; "
            "give every series a column of its own, frame.unstack(0), or name their column as id "
            "after frame.reset_index()"
        )
    pandas = nw.get_native_namespace(frame)
    if isinstance(index, pandas.PeriodIndex):
        starts = _wrapped(index.to_timestamp().to_series())

        def later_periods(later: np.ndarray) -> Any:
            return pandas.PeriodIndex(pandas.to_datetime(later), freq=index.freq, name=index.name)

        return Axis(times=column_axis(starts).times, continued=later_periods)
    if isinstance(index, pandas.RangeIndex):

        def later_numbers(later: np.ndarray) -> Any:
            ends = int(later[0]), int(later[-1]) + index.step, index.step
            return pandas.RangeIndex(*ends, name=index.name)

        return Axis(times=index.to_numpy(), continued=later_numbers, numbered=True)
    column = _wrapped(index.to_series(name="index"))
    if column.dtype in (nw.String, nw.Object) and not looks_like_times(column):
        return None  # names of rows
    axis = column_axis(column)

    def later_index(later: np.ndarray) -> Any:
        made = pandas.Index(axis.continued(later))
        made.name = index.name
        if getattr(index, "freq", None) is not None:
            made.freq = index.freq
        return made

    numbered = axis.times.dtype.kind != "M"
    return Axis(times=axis.times, continued=later_index, numbered=numbered, style=axis.style)


def _of_text(column: Any, name: str) -> Axis:
    """Times as people write them, in text or digits, to be written again in the same way."""
    import narwhals as nw

    given = column.to_list()
    cells = ["" if cell is None else str(cell).strip() for cell in given]
    try:
        times, style = read_times(cells)
    except RowError as e:
        raise InputError(str(e), column=name) from None

    def written(later: np.ndarray) -> Any:
        digits = column.dtype.is_integer()
        cells = [int(cell) if digits else cell for cell in style.write(later)]
        if all(isinstance(cell, date) for cell in given):  # Python's own, as objects or categories
            moments = all(isinstance(cell, datetime) for cell in given)
            cells = later.astype("datetime64[us]" if moments else "datetime64[D]").tolist()
        made = nw.new_series(column.name, cells, backend=column.implementation)
        return (made.cast(column.dtype) if digits else made).to_native()

    return Axis(times=times, continued=written, style=style)


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
        times = _known(column.to_numpy(), name)
        return Axis(times=times, continued=lambda later: _column_like(column, later))
    utc, wall, clock = _known(utc, name), _known(wall, name), _clock(str(zone))

    def in_zone(later: np.ndarray) -> Any:
        if pandas_zone is None:
            return _column_like(column, later, zone)
        made = _column_like(_wrapped(native.dt.tz_localize(None)), later)
        return made.dt.tz_localize("UTC").dt.tz_convert(zone)

    def by_the_wall(later: np.ndarray) -> Any:
        local = [time.item().replace(tzinfo=clock) for time in later.astype("datetime64[us]")]
        moments = [time.astimezone(UTC).replace(tzinfo=None) for time in local]
        return in_zone(np.array(moments, dtype="datetime64[us]"))

    if clock is None or len(wall) < 2 or np.diff(wall).min() < _DAY:
        return Axis(times=utc, continued=in_zone, style=AsNumpy(clock or UTC))
    return Axis(times=wall, continued=by_the_wall)


def _pandas_zone(column: Any) -> Any:
    """The time zone of a column of pandas, asked of it: narwhals 2.28 misses America/New_York."""
    return getattr(getattr(column.to_native(), "dtype", None), "tz", None)


def _clock(zone: str) -> ZoneInfo | None:
    from zoneinfo import ZoneInfo  # which takes as long to import as all that stands here

    try:
        return ZoneInfo(zone)
    except (ValueError, KeyError, OSError):  # a fixed offset, under which no clock is changed
        return None


def _known(times: np.ndarray, name: str) -> np.ndarray:
    """Times [N] as datetime64[s], or [us].  Raises InputError for missing and finer ones."""
    if np.isnat(times).any():
        row = int(np.isnat(times).argmax())
        raise InputError(f"row {row}: expected a time, got none; fill it in", column=name)
    moments = times.astype("datetime64[us]")
    if (moments != times).any():
        row = int((moments != times).argmax())
        raise InputError(
            f"row {row}: expected whole microseconds, got {times[row]}; round them", column=name
        )
    return fewest_seconds(moments)


def _wrapped(native: Any) -> Any:
    import narwhals as nw

    return nw.from_native(native, series_only=True)


def _column_like(column: Any, later: np.ndarray, zone: str | None = None) -> Any:
    """``later`` as a native column of the library and the type of ``column``."""
    import narwhals as nw

    if later.dtype.kind == "M":
        later = later.astype("datetime64[us]")
    made = nw.new_series(column.name, later, backend=column.implementation)
    if zone is not None:
        made = made.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return made.cast(column.dtype).to_native()

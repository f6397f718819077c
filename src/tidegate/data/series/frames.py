"""Time series as their owners hold them: frames of pandas and polars, arrays, lists; and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tidegate.data.series.columns import floats_of, listed, numbers_in, opened
from tidegate.data.series.held import Forecast, Held
from tidegate.data.series.panel import Panel, one_step, static_cells
from tidegate.data.series.series import Series, need_times
from tidegate.data.times.frames import Axis, column_axis, index_axis, looks_like_times
from tidegate.errors import InputError, shown

__all__ = ["are_numbered", "held_series"]


@dataclass(frozen=True, kw_only=True)
class _Roles:
    """Which columns are what; None: found."""

    time: str | None
    target: Any
    covariate: Any
    known: Any
    id: str | None
    static: Any
    fill_gaps: bool
    every: str | None
    elapsed: bool


def held_series(
    data: Any,
    *,
    time: str | None = None,
    target: Any = None,
    covariate: Any = (),
    known: Any = (),
    id: str | None = None,
    static: Any = (),
    fill_gaps: bool = False,
    every: str | None = None,
    elapsed: bool = False,
) -> Held:
    """The series in a Series, a Panel, a data frame, a column or an array [N] or [N, C]; in Held.

    ``time`` names the column of the times; by default they are the frame's index, or the only
    column of times.  ``target``, ``covariate`` and ``known`` name one column or several, by default
    all that is left and none; an array's columns are numbered from 0.  ``id`` names a column that
    tells several series apart, ``static`` columns that say the same in all rows of a series.
    ``fill_gaps``: rows and values may be missing.  ``every``: the step to which rows at irregular
    times are brought.  ``elapsed``: the time between rows is read; of an array the last column is
    the time since the row before.  Raises InputError.
    """
    if isinstance(data, Held):
        return data
    if isinstance(data, Series):
        data = Panel((data,))
    if isinstance(data, Panel):
        given = {"time": time, "target": target, "covariate": covariate, "known": known,
                 "id": id, "static": static}  # fmt: skip
        for name in (name for name, value in given.items() if value not in (None, ())):
            raise InputError(
                f"{name}: expected none for a Series, whose columns have their roles already, got "
                f"{given[name]!r}; give a data frame, or name the roles in Series.of"
            )
        return Held(panel=data, timed=True, give_back=lambda forecast: forecast)
    roles = _Roles(time=time, target=target, covariate=covariate, known=known, id=id,
                   static=static, fill_gaps=fill_gaps, every=every, elapsed=elapsed)  # fmt: skip
    held = _held(opened(data), roles)
    index = getattr(getattr(data, "index", None), "name", None)
    column = held.time_column or (index if isinstance(index, str) else None)
    return replace(held, time_column=column, every=None if every is None else str(every))


def _held(data: Any, roles: _Roles) -> Held:
    if hasattr(data, "to_native") and not len(data):
        raise InputError("expected rows, one for each time, got none; add some")
    if hasattr(data, "get_column"):
        return _of_frame(data, roles)
    for name in ("time", "id", "static"):
        if getattr(roles, name):
            raise InputError(
                f"{name}: expected none for {type(data).__name__}, which names no columns, got "
                f"{getattr(roles, name)!r}; give a data frame"
            )
    if hasattr(data, "to_native"):
        return _of_column(data, roles)
    return _of_array(data, roles)


def _of_array(data: Any, roles: _Roles) -> Held:
    try:
        values = floats_of(data)
        if values.ndim == 0:
            raise TypeError
    except (TypeError, ValueError):
        raise InputError(
            "expected a data frame, a Series, or numbers [N] or [N, series], got "
            f"{type(data).__name__} {shown(data, 40)}; make it one of these"
        ) from None
    flat = values.ndim == 1
    table = values[:, None] if flat else values
    if table.ndim != 2:
        raise InputError(
            f"expected numbers [N] or [N, series], got shape {list(values.shape)}; "
            "give one series per column"
        )
    times = np.arange(len(table))
    if roles.elapsed:
        if table.shape[1] < 2:
            raise InputError(
                "expected the time since the row before as one more column, the last one, got "
                f"numbers {list(values.shape)}; add it, or give a data frame with times",
                option="elapsed",
            )
        table, times = table[:, :-1], np.cumsum(table[:, -1])
    names = ["value"] if flat else [f"value_{i}" for i in range(table.shape[1])]
    columns = {name: table[:, i] for i, name in enumerate(names)}
    series = _series_of(times, columns, _parted(names, roles), roles)
    return Held(
        panel=Panel((series,)),
        timed=False,
        named=False,
        flat=flat,
        give_back=lambda forecast: forecast,
    )


def are_numbered(names: Sequence[str]) -> bool:
    """Whether columns are called as those of an array are."""
    return all(re.fullmatch(r"value_[0-9]+", name) for name in names)


def _of_column(column: Any, roles: _Roles) -> Held:
    """A Series of pandas, with its index, or of polars, without times."""
    import narwhals as nw

    name = column.name
    axis = index_axis(column)
    if roles.elapsed:
        need_times(told=_tells_times(axis), every=roles.every)
    values = numbers_in(column, "value" if name is None else str(name))
    times = np.arange(len(values)) if axis is None else axis.times
    called = ["value" if name is None else str(name)]
    series = Series.of(times, values, names=called, fill_gaps=roles.fill_gaps, every=roles.every,
                       elapsed=roles.elapsed)  # fmt: skip

    def give_back(forecast: Forecast) -> Any:
        if forecast.levels:  # a frame, with a column for each quantile
            made = nw.from_dict(forecast.columns(), backend=column.implementation).to_native()
            return made if axis is None else made.set_index(axis.continued(forecast.times))
        if axis is None:
            made = nw.new_series(name or "", forecast.values[:, 0], backend=column.implementation)
            return made.to_native()
        return type(column.to_native())(
            forecast.values[:, 0], index=axis.continued(forecast.times), name=name
        )

    panel, timed = Panel((series,)), axis is not None
    return Held(panel=panel, timed=timed, named=False, flat=True, give_back=give_back)


def _of_frame(frame: Any, roles: _Roles) -> Held:
    labels = {str(label): label for label in frame.columns}
    if len(labels) < len(frame.columns):
        raise InputError(
            f"expected columns of different names, got {listed(frame.columns)}; rename some"
        )
    wanted = [roles.target, roles.covariate, roles.known, roles.id, roles.static]
    wanted = [name for some in wanted for name in _as_names(some)]
    time_column = _time_column(frame, labels, roles.time, wanted)
    if time_column is not None:
        axis = column_axis(frame.get_column(labels[time_column]))
    else:
        axis = index_axis(frame)
    if roles.elapsed:
        need_times(told=_tells_times(axis), every=roles.every)
    others = [name for name in labels if name != time_column]
    id_name = None if roles.id is None else _chosen(roles.id, others, (), "id")[0]
    if id_name is not None and axis is not None and axis.numbered:
        axis = None  # the rows of all series together are numbered, not those of one
    statics = _chosen(roles.static, others, (), "static")
    parts = _parted([n for n in others if n != id_name and n not in statics], roles)
    columns = {n: numbers_in(frame.get_column(labels[n]), n) for part in parts for n in part}
    times = np.arange(len(frame)) if axis is None else axis.times

    def series_of(rows: Any) -> Series:
        some = {name: values[rows] for name, values in columns.items()}
        at = times[rows] if axis is not None else times[: len(times[rows])]
        made = _series_of(at, some, parts, roles)
        return made if axis is None else replace(made, style=axis.style)

    if id_name is None:
        if statics:
            problem = f"static: expected none without ids, got {listed(statics)}"
            raise InputError(f"{problem}; name the column that tells series apart: id=...")
        panel = Panel((series_of(slice(None)),))
    else:
        ids, groups = _groups(frame.get_column(labels[id_name]), id_name)
        found = []
        for one, rows in zip(ids, groups, strict=True):
            try:
                found.append(series_of(rows))
            except InputError as e:
                raise InputError(f"{id_name} {shown(str(one))}: {e}") from None
        told = {
            name: static_cells(frame.get_column(labels[name]).to_list(), groups, ids, name)
            for name in statics
        }
        panel = Panel(one_step(found, ids, id_name), ids, id_name, told)
        first = {one: int(rows[0]) for one, rows in zip(ids, groups, strict=True)}

    def give_back(forecast: Forecast) -> Any:
        rows = None if forecast.ids is None else [first[one] for one in forecast.ids]
        return _frame_of(frame, labels, (id_name, rows), time_column, axis, forecast)

    timed = axis is not None
    return Held(panel=panel, timed=timed, time_column=time_column, give_back=give_back)


def _parted(names: Sequence[str], roles: _Roles) -> tuple[list[str], list[str], list[str]]:
    """Targets, covariates and those known beforehand, of an array's or a frame's columns."""
    covariates = _chosen(roles.covariate, names, (), "covariate")
    known = _chosen(roles.known, names, (), "known")
    return _chosen(roles.target, names, [*covariates, *known], "target"), covariates, known


def _series_of(
    times: np.ndarray,
    columns: dict[str, np.ndarray],
    parts: tuple[list[str], list[str], list[str]],
    roles: _Roles,
) -> Series:
    stacked = [np.stack([columns[n] for n in part], axis=1) if part else None for part in parts]
    names, covariate_names, known_names = parts
    values, covariates, known = stacked
    return Series.of(
        times,
        values,
        names=names,
        covariates=covariates,
        covariate_names=covariate_names or None,
        known=known,
        known_names=known_names or None,
        fill_gaps=roles.fill_gaps,
        every=roles.every,
        elapsed=roles.elapsed,
    )


def _tells_times(axis: Axis | None) -> bool:
    """Whether these are times, and no numbers that an index gives rows."""
    return axis is not None and not axis.numbered


def _groups(column: Any, name: str) -> tuple[tuple[Any, ...], list[np.ndarray]]:
    """The ids in a column, in the order in which they come, and the rows of each."""
    rows: dict[Any, list[int]] = {}
    for row, one in enumerate(column.to_list()):
        if one is None or one != one:
            raise InputError(f"row {row}: expected an id, got none; fill it in", column=name)
        rows.setdefault(one, []).append(row)
    return tuple(rows), [np.array(some) for some in rows.values()]


def _frame_of(
    frame: Any,
    labels: dict[str, Any],
    of_id: tuple[str | None, list[int] | None],
    time_column: str | None,
    axis: Axis | None,
    ahead: Forecast,
) -> Any:
    """The forecast as a frame of the library of ``frame``, with the ids that stand in its rows."""
    import narwhals as nw

    kind: Any = type(frame.to_native())
    kind = getattr(kind, "from_pydict", kind)  # of pyarrow
    columns: dict[Any, Any] = {}
    id_name, rows = of_id
    if id_name is not None and rows is not None:
        ids = frame.get_column(labels[id_name])[rows]
        columns[labels[id_name]] = nw.maybe_reset_index(ids).to_native()
    if time_column is not None:
        assert axis is not None
        columns[labels[time_column]] = axis.continued(ahead.times)
    columns |= {labels.get(name, name): values for name, values in ahead.columns().items()}
    made = kind(columns)
    if time_column is None and axis is not None:
        made.index = axis.continued(ahead.times)
    return made


def _time_column(
    frame: Any, labels: dict[str, Any], time: str | None, wanted: Sequence[Any]
) -> str | None:
    """The column of the times; None where there is none, or the index holds them."""
    if time is not None:
        if str(time) not in labels:
            problem = f"time: expected one of {listed(labels)}, got {time!r}"
            raise InputError(f"{problem}; name one of these columns")
        return str(time)
    index = index_axis(frame)
    if index is not None and not index.numbered:
        return None
    found = [
        name
        for name, label in labels.items()
        if name not in wanted and label not in wanted and looks_like_times(frame.get_column(label))
    ]
    if len(found) > 1:
        raise InputError(
            f"expected one column of times, got {listed(found)}; name it: time={found[0]!r}"
        )
    return found[0] if found else None


def _chosen(asked: Any, names: Sequence[str], without: Any, what: str) -> list[str]:
    """The names that are asked for, by name or number, or else all but those ``without``."""
    if asked is None:
        left_out = set(_chosen(without, names, (), what))
        left = [name for name in names if name not in left_out]
        if not left:
            raise InputError(f"{what}: expected a column to forecast, got none; add one")
        return left
    found = []
    for name in _as_names(asked):
        if str(name) in names:
            found.append(str(name))
        elif isinstance(name, int) and 0 <= name < len(names):
            found.append(names[name])
        else:
            problem = f"{what}: expected some of {listed(names)}, got {name!r}"
            raise InputError(f"{problem}; name some of these")
    return found


def _as_names(asked: Any) -> list[Any]:
    if asked is None:
        return []
    return list(asked) if isinstance(asked, list | tuple) else [asked]

"""A series in a table: one row per step, sorted by time; each error with its line and a remedy."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from os import PathLike
from typing import Any, Final

import numpy as np

from tidegate.data.files.formats import PLAIN, Layout
from tidegate.data.files.tables import Table, read_table
from tidegate.data.series.columns import listed
from tidegate.data.series.series import Series
from tidegate.data.times.grid import Step, advance, grid_positions
from tidegate.data.times.styles import AS_NUMPY, RowError, TimeStyle
from tidegate.errors import InputError, shown, spelled

__all__ = ["ALL", "read_series"]

ALL: Final = "*"  # for the targets: all other columns that hold numbers

_PARTS: Final = frozenset(["year", "month", "day", "hour", "minute"])
_FILLABLE: Final = 0.1  # share of rows that may be missing before filling them invents the series
_HOUR: Final = np.timedelta64(1, "h")


def read_series(
    path: str | PathLike[str],
    time_column: str | None,
    target_columns: Sequence[str],
    covariate_columns: Sequence[str] = (),
    layout: Layout = PLAIN,
    *,
    fill_gaps: bool = False,
) -> Series:
    """The series in a table whose rows are sorted by time, one row per step.

    Times are numbers, or dates and times as ``times.read_times`` knows them; without a column of
    times (None) the rows follow one another, numbered from 0.  Of the one target column ``*`` the
    targets are all other columns that hold numbers.  Missing rows and
    missing values (empty, NA, NaN, ?) are an InputError with the line; with ``fill_gaps`` the last
    value before them is carried forward, which never looks into the future.
    """
    names, covariate_names = tuple(target_columns), tuple(covariate_columns)
    table = read_table(path, layout=layout)
    timed = [] if time_column is None else [time_column]
    if names == (ALL,) and ALL not in table.frame.columns:
        names = _holding_numbers(table, without={*timed, *covariate_names})
    roles = [*timed, *names, *covariate_names]
    if not names or len(set(roles)) != len(roles):
        problem = f"expected one time column and targets, each once, got {', '.join(roles)}"
        raise InputError(f"{problem}; name every column once", file=path)
    columns = {name.lower() for name in table.frame.columns}
    if time_column is not None and time_column.lower() in _PARTS and len(_PARTS & columns) > 1:
        problem = (
            f"expected one column with the whole time, got only its {time_column}; "
            "join the parts as 2010-01-31 13:00, or name a column of row numbers"
        )
        raise InputError(problem, file=path, column=time_column)
    options = {**dict.fromkeys(timed, "time"), **dict.fromkeys(names, "target")}
    table.check(options | dict.fromkeys(covariate_names, "covariate"))
    channels = (*names, *covariate_names)
    if time_column is None:
        times, style = np.arange(table.frame.height), AS_NUMPY
    else:
        times, style = table.times(time_column)
    values = np.column_stack([table.numbers(name) for name in channels])
    try:
        step, positions = grid_positions(times, style)
    except RowError as error:
        problem = _several_series(table.frame, roles, times) or _clocks_went_back(times, error)
        problem = problem or error.problem
        raise table.error(error.row, problem, time_column) from None
    gaps = np.flatnonzero(np.diff(positions) > 1)
    if len(gaps) and not fill_gaps:
        row = int(gaps[0]) + 1
        problem = _gap(times, style, step, positions, row)
        raise table.error(row, problem, time_column)
    holes = np.argwhere(np.isnan(values))
    if len(holes) and (not fill_gaps or holes[0, 0] == 0):
        row, channel = holes[0].tolist()
        problem = f"expected a number, got a missing value (one of {len(holes)})"
        remedy = f"fill it, or carry the last value forward with {spelled('fill_gaps', True)}"
        if row == 0:
            remedy = "remove the rows before the first value"
        raise table.error(row, f"{problem}; {remedy}", channels[channel])
    if len(gaps) or len(holes):
        times, values = _carried_forward(path, times, values, step, positions)
    targets, covariates = values[:, : len(names)], values[:, len(names) :]
    dialect = table.contents.dialect
    return Series(
        times,
        step,
        names,
        targets.copy(),
        covariate_names,
        covariates.copy(),
        style,
        replace(dialect, commas=table.with_decimal_commas(roles)),
    )


def _holding_numbers(table: Table, without: Set[str]) -> tuple[str, ...]:
    """The columns of a table that hold numbers: more cells are numbers than anything else.

    Cells that say that there is no number, such as NA, do not count.
    """
    found = []
    for name in table.frame.columns:
        if name not in without and table.mostly_numbers(name):
            found.append(name)
    if not found:
        raise InputError(
            "expected other columns that hold numbers, got none among "
            f"{listed(table.frame.columns)}; name those to forecast with "
            f"{spelled('target', 'COLUMN')}",
            file=table.path,
        )
    return tuple(found)


def _gap(times: np.ndarray, style: TimeStyle, step: Step, positions: np.ndarray, row: int) -> str:
    """What is wrong where rows are missing before ``row``, and what to do."""
    missing = int((np.diff(positions) - 1).sum())
    due, got = style.write(np.concatenate([advance(times[:row], step, 1), times[row : row + 1]]))
    problem = f"expected {due}, got {got} ({missing} rows missing in all)"
    if missing <= _FILLABLE * (positions[-1] + 1):
        filled = f"carry the last value forward with {spelled('fill_gaps', True)}"
        return f"{problem}; insert them, or {filled}"
    numbered = f"number the rows and name that column with {spelled('time', 'COLUMN')}"
    remedy = f"{numbered}, or bring them to a regular grid"
    return f"{problem}: too many to fill in; {remedy}"


def _several_series(table: Any, roles: Sequence[str], times: np.ndarray) -> str | None:
    """Of a table that has several rows for a time: the column that tells its series apart."""
    if len(np.unique(times)) == len(times):
        return None
    found = []
    for name in set(table.columns) - set(roles):
        cells = [str(cell) for cell in table[name].to_list()]
        pairs = set(zip(times.tolist(), cells, strict=True))
        if 1 < (count := len(set(cells))) <= len(times) / 2 and len(pairs) == len(times):
            found.append((count, name))
    if not found:
        return None
    count, name = min(found)
    values = ", ".join(shown(str(value)) for value in [*dict.fromkeys(table[name].to_list())][:3])
    problem = f"expected one series, got {count}, told apart by the column {shown(name)} ({values}"
    problem += ", ...)" if count > 3 else ")"
    if len(times) == count * len(np.unique(times)):
        return f"{problem}; keep the rows of one of them, or give each one a column of its own"
    problem += ", not all over the same times"
    return f"{problem}; keep the rows of one of them, and train a model of each"


def _clocks_went_back(times: np.ndarray, error: RowError) -> str | None:
    """Of an hour that is there twice, on a Sunday: which it may be, and how to tell them apart."""
    row = error.row
    if row == 0 or times.dtype.kind != "M" or times[row] > times[row - 1]:
        return None
    day = times[row].astype("datetime64[D]").astype(np.int64)
    steps = np.diff(times[:row])
    if (day + 3) % 7 != 6 or not len(steps) or times[row] + _HOUR - times[row - 1] != steps.min():
        return None
    problem = error.problem.rpartition(";")[0]
    return f"{problem}: did clocks go back? write times in UTC, or with their offset from it"


def _carried_forward(
    path: str | PathLike[str],
    times: np.ndarray,
    values: np.ndarray,
    step: Step,
    positions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Every time of the grid, and the last known values at each."""
    count = int(positions[-1]) + 1
    if count > 10 * len(times):
        problem = f"expected gaps that can be filled, got {len(times)} rows for {count} times"
        raise InputError(f"{problem}; bring the rows to a regular grid", file=path)
    full_times = np.concatenate([times[:1], advance(times[:1], step, count - 1)])
    full_times[positions] = times
    full = np.full((count, values.shape[1]), np.nan)
    full[positions] = values
    known = np.where(np.isnan(full), 0, np.arange(count)[:, None])
    return full_times, np.take_along_axis(full, np.maximum.accumulate(known, axis=0), axis=0)

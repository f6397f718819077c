"""A series in a table: one row per step, in any order; each error with its line and a remedy."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Final

import numpy as np

from tidegate.data.files.formats import PLAIN, Layout
from tidegate.data.files.tables import Table, read_table
from tidegate.data.series.columns import listed
from tidegate.data.series.panel import Panel, one_step, static_cells
from tidegate.data.series.series import ELAPSED, Series, need_times, rows_given
from tidegate.data.times.frequencies import binned, step_named
from tidegate.data.times.grid import (
    Step,
    Uneven,
    advance,
    elapsed_between,
    grid_positions,
    order_of,
)
from tidegate.data.times.styles import AS_NUMPY, RowError, TimeStyle
from tidegate.errors import InputError, shown, spelled

__all__ = ["ALL", "SeriesTable", "read_series"]

ALL: Final = "*"  # for the targets: all other columns that hold numbers

_PARTS: Final = frozenset(["year", "month", "day", "hour", "minute"])
_FILLABLE: Final = 0.1  # share of rows that may be missing before filling them invents the series
_SPARSEST: Final = 10  # times of the grid for each row that there is
_HOUR: Final = np.timedelta64(1, "h")


@dataclass(frozen=True, kw_only=True)
class SeriesTable:
    """Which columns of the table at ``path`` are what, and how its series are read.

    Times are numbers, or dates and times as ``times.read_times`` knows them; without a column of
    times the rows follow one another, numbered from 0.  Of the one ``target`` column ``*`` the
    targets are all other columns that hold numbers.  With an ``id`` column the table holds several
    series, of any lengths; ``static`` columns say the same in all rows of one.
    Missing rows and missing values (empty, NA, NaN, ?) are an InputError with the line; with
    ``fill_gaps`` they are missing in the series, too.  ``every`` names a step, to which rows at any
    times are brought by means; steps without rows are missing.  With ``known`` columns last rows
    without any value are those whose values are to come.  ``elapsed``: rows at irregular times stay
    as they are; the time since the row before, of dates in days, is known of each.
    """

    path: str | PathLike[str]
    time: str | None
    target: tuple[str, ...]
    covariate: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    id: str | None = None
    static: tuple[str, ...] = ()
    fill_gaps: bool = False
    every: str | None = None
    elapsed: bool = False
    layout: Layout = PLAIN

    def read(self) -> Panel:
        """The series of the table, a panel of one without an id.  Raises InputError."""
        if self.elapsed:
            need_times(told=self.time is not None, every=self.every)
        table = read_table(self.path, layout=self.layout)
        about = [name for name in (self.time, self.id) if name is not None] + [*self.static]
        names = self.target
        if names == (ALL,) and ALL not in table.frame.columns:
            names = _holding_numbers(table, without={*about, *self.covariate, *self.known})
        roles = [*about, *names, *self.covariate, *self.known, *[ELAPSED] * self.elapsed]
        if not names or len(set(roles)) != len(roles):
            problem = f"expected one time column and targets, each once, got {', '.join(roles)}"
            raise InputError(f"{problem}; name every column once", file=self.path)
        self._check(table, names)
        columns = tuple(names), self.covariate, self.known
        if self.time is None:
            times, style = np.arange(table.frame.height), AS_NUMPY
        else:
            times, style = table.times(self.time)
        numbers = [
            np.column_stack([table.numbers(name) for name in some])
            if some
            else np.empty((len(times), 0))
            for some in columns
        ]
        found = _Read(self, table, columns, roles, times, style, numbers)
        if self.id is None:
            return Panel((found.series(np.arange(len(times))),))
        groups, ids = _groups(table, self.id)
        series = [found.series(rows) for rows in groups]
        try:
            told = {name: self._said(table, name, groups, ids) for name in self.static}
            return Panel(one_step(series, ids, self.id), tuple(ids), self.id, told)
        except InputError as e:
            raise InputError(str(e), file=self.path) from None

    def _check(self, table: Table, names: tuple[str, ...]) -> None:
        """Raise InputError for a column that is not there, or holds a part of a time."""
        parts = {name.lower() for name in table.frame.columns} & _PARTS
        if self.time is not None and self.time.lower() in _PARTS and len(parts) > 1:
            problem = (
                f"expected one column with the whole time, got only its {self.time}; "
                "join the parts as 2010-01-31 13:00, or name a column of row numbers"
            )
            raise InputError(problem, file=self.path, column=self.time)
        options = {} if self.time is None else {self.time: "time"}
        options |= dict.fromkeys(names, "target") | dict.fromkeys(self.covariate, "covariate")
        options |= dict.fromkeys(self.known, "known") | dict.fromkeys(self.static, "static")
        table.check(options if self.id is None else options | {self.id: "id"})

    def _said(
        self, table: Table, name: str, groups: list[np.ndarray], ids: list[str]
    ) -> list[str | float | None]:
        """What a static column says of each series: numbers if it holds nothing else."""
        try:
            cells = [None if np.isnan(v) else v for v in table.numbers(name).tolist()]
        except InputError:
            cells = table.cells(name, "a category")
        return static_cells(cells, groups, ids, name)


def read_series(
    path: str | PathLike[str],
    time_column: str | None,
    target_columns: Sequence[str],
    covariate_columns: Sequence[str] = (),
    layout: Layout = PLAIN,
    *,
    fill_gaps: bool = False,
) -> Series:
    """The only series of a table, as `SeriesTable` reads it."""
    table = SeriesTable(
        path=path,
        time=time_column,
        target=tuple(target_columns),
        covariate=tuple(covariate_columns),
        layout=layout,
        fill_gaps=fill_gaps,
    )
    return table.read().first


@dataclass(frozen=True, eq=False)
class _Read:
    """The cells of a table as times and numbers: of targets, of covariates and what is known."""

    told: SeriesTable
    table: Table
    columns: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    roles: Sequence[str]
    times: np.ndarray
    style: TimeStyle
    numbers: Sequence[np.ndarray]

    def series(self, rows: np.ndarray) -> Series:
        """The series in these rows.  Raises InputError, with its line."""
        told, table, style = self.told, self.table, self.style
        times = np.arange(len(rows))
        if told.time is not None:
            rows = rows[order_of(self.times[rows])]
            times = self.times[rows]
        values, covariates, known = (array[rows] for array in self.numbers)
        names, covariate_names, known_names = self.columns
        fills = told.fill_gaps or told.every is not None
        try:
            if told.elapsed:
                known = np.c_[known, elapsed_between(times, style)]
                known_names = (*known_names, ELAPSED)
                step, positions = Uneven(times.dtype.kind == "M"), np.arange(len(rows))
            elif told.every is None:
                step, positions = grid_positions(times, style)
            else:
                step = step_named(told.every)
                bins = binned(times, step)
                values, covariates, known = map(bins.means, (values, covariates, known))
                times, positions = bins.times, bins.positions
        except RowError as error:
            problem = _clocks_went_back(times, error) or error.problem
            if told.id is None:
                problem = _several_series(table.frame, self.roles, times) or problem
            raise table.error(int(rows[error.row]), problem, told.time) from None
        gaps = np.flatnonzero(np.diff(positions) > 1)
        if len(gaps) and not fills and not isinstance(step, Uneven):
            row = int(gaps[0]) + 1
            problem = _gap(times, style, step, positions, row)
            raise table.error(int(rows[row]), problem, told.time)
        count = int(positions[-1]) + 1
        if count > _SPARSEST * len(times):
            problem = f"expected gaps that can be filled, got {len(times)} rows for {count} times"
            raise InputError(f"{problem}; bring the rows to a regular grid", file=told.path)
        last = rows_given(values) if known_names else len(times)
        if not fills:
            self._check_holes(rows[:last], np.column_stack([values, covariates])[:last])
        if told.known and told.every is None:
            self._check_known(rows, known)
        made = Series(
            times,
            step,
            names,
            values,
            covariate_names,
            covariates,
            style,
            replace(table.contents.dialect, commas=table.with_decimal_commas(self.roles)),
            known_names,
            known if known_names else None,
            gaps=fills,
        )
        return made.with_gaps(positions).without_future()

    def _check_holes(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Raise InputError for a missing value that may not be missing."""
        holes = np.argwhere(np.isnan(values))
        if not len(holes):
            return
        row, channel = holes[0].tolist()
        problem = f"expected a number, got a missing value (one of {len(holes)})"
        remedy = f"fill it, or carry the last value forward with {spelled('fill_gaps', True)}"
        names = self.columns[0] + self.columns[1]
        raise self.table.error(int(rows[row]), f"{problem}; {remedy}", names[channel])

    def _check_known(self, rows: np.ndarray, known: np.ndarray) -> None:
        holes = np.argwhere(np.isnan(known))
        if len(holes):
            row, channel = holes[0].tolist()
            problem = "expected a number, which is known of every row, got a missing value; fill it"
            raise self.table.error(int(rows[row]), problem, self.columns[2][channel])


def _groups(table: Table, column: str) -> tuple[list[np.ndarray], list[str]]:
    """Rows of each series, in their order, and its id in the ``column``."""
    rows: dict[str, list[int]] = {}
    for row, one in enumerate(table.texts(column, "an id", dates=True)):
        rows.setdefault(one, []).append(row)
    return [np.array(some) for some in rows.values()], list(rows)


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
    rows = "1 row" if missing == 1 else f"{missing} rows"
    problem = f"expected {due}, got {got} ({rows} missing in all)"
    if missing <= _FILLABLE * (positions[-1] + 1):
        filled = f"carry the last value forward with {spelled('fill_gaps', True)}"
        return f"{problem}; insert them, or {filled}"
    counted = f"read the time between them with {spelled('elapsed', True)}"
    remedy = f"{counted}, or bring them to a regular grid with {spelled('every', 'STEP')}"
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
    return f"{problem}; name it with {spelled('id', name)}, or keep the rows of one of them"


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
    return (
        f"{problem}: did clocks go back? write times in UTC, or with their offset from it, or take "
        f"the mean of both hours with {spelled('every', 'h')}"
    )

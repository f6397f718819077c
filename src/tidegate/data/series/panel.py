"""Series of several ids, such as the sales of many shops: what one model learns from.

A series that stands alone is a panel of one without an id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from tidegate.data.files.items import is_missing
from tidegate.data.series.series import Series
from tidegate.data.series.windowing import Windowing
from tidegate.data.series.windows import Rows, no_room, window_rows, windows
from tidegate.data.times.calendar import calendar_numbers
from tidegate.data.times.grid import step_to_json
from tidegate.errors import InputError, shown, spelled

__all__ = ["Panel", "Stack", "one_step", "static_cells"]


@dataclass(frozen=True, eq=False)
class Panel:
    """Series with the same columns and the same step between rows, of any lengths.

    ``ids`` tell them apart, values of the column ``id_name``, which is None of a series alone.
    ``statics``: by column, what it says of each series; None where it says nothing.
    """

    series: tuple[Series, ...]
    ids: tuple[Any, ...] = ("",)
    id_name: str | None = None
    statics: Mapping[str, list[str | float | None]] = field(default_factory=dict)

    @property
    def first(self) -> Series:
        """The only series, or the first of several, which have its columns and its step."""
        return self.series[0]

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series, int64 [G]."""
        return np.array([len(one) for one in self.series], np.int64)

    def before(self, ends: Sequence[int]) -> Panel:
        """The same with the rows of each series before its end."""
        parts = zip(self.series, ends, strict=True)
        return replace(self, series=tuple(one.rows(0, int(end)) for one, end in parts))

    def alone(self, g: int) -> Panel:
        """One of the series, with its id."""
        told = {name: [cells[g]] for name, cells in self.statics.items()}
        return replace(self, series=(self.series[g],), ids=(self.ids[g],), statics=told)


def one_step(series: Sequence[Series], ids: Sequence[Any], id_name: str) -> tuple[Series, ...]:
    """The series, all of one step.  Raises InputError, with the first id that has another."""
    steps = [step_to_json(one.step) for one in series]
    usual, _ = Counter(steps).most_common(1)[0]
    for step, one in zip(steps, ids, strict=True):
        if step != usual:
            problem = f"expected rows {usual} apart, as in most series, got {step}"
            raise InputError(
                f"{id_name} {shown(str(one))}: {problem}; bring them to it, or leave them out"
            )
    return tuple(series)


def static_cells(
    cells: Sequence[Any], groups: Sequence[np.ndarray], ids: Sequence[Any], name: str
) -> list[str | float | None]:
    """What a column says of each series: numbers where all its cells are some, else text.

    Raises InputError, with the id, where the rows of a series differ.
    """
    said = [None if is_missing(cell) or cell == "" else cell for cell in cells]
    numbers = all(c is None or (isinstance(c, Real) and not isinstance(c, bool)) for c in said)
    found: list[str | float | None] = []
    for rows, one in zip(groups, ids, strict=True):
        given = dict.fromkeys(said[row] for row in rows if said[row] is not None)
        if len(given) > 1:
            a, b, *_ = (shown(str(cell)) for cell in given)
            raise InputError(
                f"expected the same in all rows of {shown(str(one))}, got {a} and {b}; name it "
                f"with {spelled('covariate', name)}",
                column=name,
            )
        cell = next(iter(given), None)
        found.append(cell if cell is None else float(cell) if numbers else str(cell))
    return found


@dataclass(frozen=True, eq=False)
class Stack:
    """The series of a panel as ``rows`` from which windows are cut, and where each one begins.

    ``zero`` [G]: the row of ``rows`` that is row 0 of each series.  What is known of a horizon
    beyond the last row follows it.  Before the first row stand as many without values as are needed
    to ask for the row ``asked`` of each series: windows then read its first value there.
    """

    panel: Panel
    windowing: Windowing
    rows: Rows
    zero: np.ndarray

    @classmethod
    def of(
        cls,
        panel: Panel,
        w: Windowing,
        *,
        asked: Sequence[int] | None = None,
        statics: np.ndarray | None = None,
    ) -> Stack:
        before = np.zeros(len(panel.series), np.int64)
        if asked is not None:
            before = np.maximum(max(w.context, w.season) - np.asarray(asked), 0)
        after = w.horizon if w.known_size else 0
        sizes = before + panel.lengths + after
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        if len(sizes) == 1 and sizes[0] == len(panel.first):
            values, covariates = panel.first.values, panel.first.covariates
        else:
            values = np.full((sizes.sum(), len(w.names)), np.nan)
            covariates = np.full((sizes.sum(), len(w.covariate_names)), np.nan)
            for one, begin in zip(panel.series, first + before, strict=True):
                values[begin : begin + len(one)] = one.values
                covariates[begin : begin + len(one)] = one.covariates
        known = None
        if w.known_size:
            known = np.zeros((sizes.sum(), w.known_size), np.float32)
            for one, begin in zip(panel.series, first + before, strict=True):
                told = _known_of(one, w)
                known[begin : begin + len(told)] = told
        return cls(panel, w, Rows(values, covariates, known, first, statics), first + before)

    def starts(self, spans: Sequence[tuple[int, int]]) -> np.ndarray:
        """First rows of all windows whose targets lie in the span of rows of each series.

        Raises InputError where there is none.
        """
        w, found = self.windowing, []
        if self.panel.id_name is None:
            first, last = spans[0]
            begins = windows(self.panel.first.values, w.context, w.horizon, first, last)
            return begins + self.zero[0]
        least = self.rows.first - self.zero
        for (first, last), one, zero, row in zip(
            spans, self.panel.series, self.zero, least, strict=True
        ):
            begin = max(first - w.context, int(row))
            end = min(last, len(one)) - w.horizon - w.context
            found.append(zero + np.arange(begin, end + 1, dtype=np.int64))
        starts = np.concatenate(found)
        if not len(starts):
            ends = [min(last, n) for (_, last), n in zip(spans, self.panel.lengths, strict=True)]
            i = int(np.argmax([end - spans[g][0] for g, end in enumerate(ends)]))
            problem = no_room(w.context, w.horizon, max(spans[i][0], w.context + 1), ends[i])
            name = shown(str(self.panel.ids[i]))
            raise InputError(f"{self.panel.id_name} {name}, which has most of them: {problem}")
        return starts

    def times_ahead(self, starts: np.ndarray) -> np.ndarray:
        """The times of each window's horizon, [W, horizon]."""
        return window_rows(self._times, starts + self.windowing.context, self.windowing.horizon)

    @cached_property
    def _times(self) -> np.ndarray:
        """Of every row that a series has."""
        times = np.zeros(len(self.rows.values), self.panel.first.times.dtype)
        for one, zero in zip(self.panel.series, self.zero, strict=True):
            times[zero : zero + len(one)] = one.times
        return times

    def places(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The series of each window, and the row of it with which the window begins, [W] each."""
        series = self.rows.series_of(starts)
        return series, starts - self.zero[series]


def _known_of(series: Series, w: Windowing) -> np.ndarray:
    """What is known of the rows, and of those of a horizon after them as far as it is told."""
    rows = len(series) + w.horizon
    parts = []
    if w.calendar:
        times = np.concatenate([series.times, series.future_times(w.horizon)])
        parts.append(calendar_numbers(times, w.calendar))
    if w.known_scaler is not None:
        assert series.known is not None
        told = w.known_scaler.transform(series.known[:rows])
        parts.insert(0, np.pad(told, ((0, rows - len(told)), (0, 0))))
    return np.concatenate(parts, axis=1).astype(np.float32)

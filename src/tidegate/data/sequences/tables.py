"""Sequences in a table: long, a row per step, or wide, a row per sequence."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from tidegate.data.files.formats import PLAIN, Layout
from tidegate.data.files.numerals import as_floats
from tidegate.data.files.tables import Table, read_table
from tidegate.data.files.text_frame import is_text
from tidegate.data.sequences.sequences import Answers, SequenceSet
from tidegate.data.times.grid import elapsed_between
from tidegate.errors import InputError, shown, spelled

__all__ = ["SequenceTable", "as_numbers", "groups_of", "in_order", "one_of_each"]


@dataclass(frozen=True, kw_only=True)
class SequenceTable:
    """Which columns of the table at ``path`` are what.

    With an ``id`` column the table is long: rows with the same id are the steps of one sequence, in
    the order of a ``time`` column, else as they stand.  Without, each row is a whole sequence:
    ``channels`` columns for its first step, as many for the next, and so on; it ends where the rest
    of its cells are empty.  ``values`` are by default all columns without another role.  ``answer``
    is the column of labels or numbers, the same on all rows of a sequence.  ``by_step``: every row
    is a step and has an answer of its own; without an ``id`` column all are one sequence.
    ``elapsed``: the time since the step before, 0 at the first, is one more value of each step; of
    dates in days.
    """

    path: str | PathLike[str]
    id: str | None = None
    time: str | None = None
    values: tuple[str, ...] = ()
    answer: str | None = None
    channels: int = 1
    by_step: bool = False
    elapsed: bool = False
    layout: Layout = PLAIN

    def read(self, answers: Answers) -> SequenceSet:
        """The sequences in the order in which they begin, named by their id, or row from 1.

        Raises InputError, with line and column, for what cannot be used.
        """
        self._check(answers)
        table = read_table(self.path, layout=self.layout)
        frame = table.frame
        asked = self.answer if answers is not None else None
        roles = [name for name in (self.id, self.time, asked) if name is not None]
        others = {self.id, self.time, self.answer}
        names = self.values or tuple(name for name in frame.columns if name not in others)
        options = {"label": "label", "labels": "label", "number": "target", None: ""}
        options = {self.id: "id", self.time: "time", asked: options[answers]}
        table.check({name: options[name] for name in roles} | dict.fromkeys(self.values, "values"))
        if not names or set(names) & others:
            got = f"got {', '.join(names) or 'none'}; name them by {spelled('values')}"
            problem = f"expected columns of values beside {', '.join(roles) or 'no other'}, {got}"
            raise InputError(problem, file=self.path)
        columns = [table.numbers(name) for name in names]
        cells = np.column_stack(columns)  # [rows, columns]
        if self.id is None and not self.by_step:
            groups = list(np.arange(frame.height)[:, None])
            values = self._wide(table, cells)
            sequence_names = [str(row + 1) for row in range(frame.height)]
        else:
            groups, sequence_names = self._groups(table)
            if self.time is not None:
                times, groups = in_order(table, self.time, groups)
            values = [cells[rows] for rows in groups]
            if self.elapsed:
                values = [
                    np.c_[of, elapsed_between(times[rows])]
                    for of, rows in zip(values, groups, strict=True)
                ]
        found = None
        if asked is not None and answers == "labels":
            labels = np.array(table.labels(asked))
            found = [labels[rows] for rows in groups]
        elif asked is not None:
            found = _answers(table, asked, groups, sequence_names, answers)
        times = None
        if self.by_step and self.time is not None:
            written = table.texts(self.time, "a time", dates=True)
            times = [[written[row] for row in rows.tolist()] for rows in groups]
        return SequenceSet(values, sequence_names, found, times)

    def _groups(self, table: Table) -> tuple[list[np.ndarray], list[str]]:
        """The rows of each sequence, and its name."""
        if self.id is not None:
            return groups_of(table, self.id)
        return [np.arange(table.frame.height)], ["1"]

    def _check(self, answers: Answers) -> None:
        if answers is not None and self.answer is None:
            option = "target" if answers == "number" else "label"
            problem = f"expected the name of the column of {answers.removesuffix('s')}s, got none"
            raise InputError(f"{problem}; give {spelled(option, 'COLUMN')}", file=self.path)
        if self.time is not None and self.id is None and not self.by_step:
            problem = "expected none for a table with a whole sequence in each row"
            raise InputError(
                f"{problem}, got {self.time!r}; or give {spelled('id')}, too", option="time"
            )
        if self.elapsed and self.time is None:
            raise InputError(
                f"expected a column of times beside it, got none; give {spelled('time', 'COLUMN')}",
                option="elapsed",
            )
        if self.channels != 1 and self.id is not None:
            problem = "expected none for a table with a row per step"
            raise InputError(
                f"{problem}, got {self.channels}; use {spelled('values')}", option="channels"
            )
        if self.channels < 1:
            problem = f"expected at least 1, got {self.channels}; leave it out, or count columns"
            raise InputError(problem, option="channels")

    def _wide(self, table: Table, cells: np.ndarray) -> list[np.ndarray]:
        """Values [T, I] of each row of cells [N, T * I]."""
        if cells.shape[1] % self.channels:
            problem = f"expected a multiple of {self.channels} columns of values, as many for each "
            problem += f"step, got {cells.shape[1]}; name them by {spelled('values')}"
            raise InputError(problem, file=self.path)
        steps = cells.reshape(len(cells), -1, self.channels)
        known = np.any(~np.isnan(steps), axis=2)  # [N, T]
        lengths = steps.shape[1] - np.argmax(known[:, ::-1], axis=1)
        empty = ~np.any(known, axis=1)
        if empty.any():
            raise table.error(
                int(empty.argmax()), "expected values, got none in this row; remove it"
            )
        return [row[:length] for row, length in zip(steps, lengths, strict=True)]


def groups_of(table: Table, column: str) -> tuple[list[np.ndarray], list[str]]:
    """Rows of each sequence of a long table, in their order, and its id in the ``column``."""
    ids = np.array(table.texts(column, "an id", dates=True))
    names, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    begun = np.argsort(first)  # in the order of first rows
    rank = np.argsort(begun)[inverse]
    order = np.argsort(rank, kind="stable")
    return np.split(order, np.cumsum(np.bincount(rank))[:-1]), names[begun].tolist()


def in_order(
    table: Table, column: str, groups: list[np.ndarray], *, once: bool = True
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The times of rows, numbers or datetime64, and the rows of every sequence in order of time.

    Rows at the same time stay as they stand.  ``once``: raises InputError where there are some.
    """
    times = as_numbers(table.frame[column])
    if times is None:
        times, _ = table.times(column)
    groups = [rows[np.argsort(times[rows], kind="stable")] for rows in groups]
    for rows in groups if once else ():
        again = np.flatnonzero(times[rows[1:]] == times[rows[:-1]])
        if len(again):
            row = int(rows[again[0] + 1])
            problem = f"expected each time once in an id, got {table.frame[column][row]} again"
            remedy = (
                f"keep one row of them, or leave {spelled('time')} out to read rows as they are"
            )
            raise table.error(row, f"{problem}; {remedy}", column)
    return times, groups


def _answers(
    table: Table, column: str, groups: list[np.ndarray], names: list[str], answers: Answers
) -> np.ndarray:
    """The answer of each sequence, [N], which all its rows must agree on."""
    if answers == "number":
        found = table.numbers(column)
        if np.isnan(found).any():
            row = int(np.isnan(found).argmax())
            raise table.error(row, "expected a number, got none; fill it", column)
    else:
        found = np.array(table.labels(column))
    return one_of_each(table, column, found, groups, names, answers or "")


def one_of_each(
    table: Table,
    column: str,
    found: np.ndarray,
    groups: list[np.ndarray],
    names: list[str],
    what: str,
) -> np.ndarray:
    """What was ``found`` in a column, [rows], of each sequence, [N]: all its rows must agree."""
    for rows, name in zip(groups, names, strict=True):
        others = np.flatnonzero(found[rows] != found[rows[0]])
        if len(others):
            cells = table.frame[column]
            first, other = (shown(str(cells[int(row)])) for row in (rows[0], rows[others[0]]))
            problem = f"expected one {what} for the id {shown(name)}, got {first} and {other}"
            remedy = "correct it, or give the sequences different ids"
            raise table.error(int(rows[others[0]]), f"{problem}; {remedy}", column)
    return found[[rows[0] for rows in groups]]


def as_numbers(column: Any) -> np.ndarray | None:
    """The numbers of a column; None unless all its cells are some."""
    if is_text(column):
        numbers, _ = as_floats(column)
        return None if np.isnan(numbers).any() else numbers
    return column.to_numpy() if column.dtype.is_numeric() and not column.has_nulls() else None

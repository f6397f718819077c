"""Events in a long table as rolls: baskets of a customer, clicks of a visit, alarms."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from tidegate.data.files.formats import PLAIN, Layout
from tidegate.data.files.reading import Taken, open_bytes
from tidegate.data.files.tables import read_table
from tidegate.data.sequences.rolls.rolls import RollSet, check_size, ordered
from tidegate.data.sequences.tables import groups_of, in_order, one_of_each
from tidegate.errors import InputError, spelled

__all__ = ["EventTable"]


@dataclass(frozen=True, kw_only=True)
class EventTable:
    """Which columns of the table at ``path`` are what: a row says that an output is on at a step.

    Rows with the same ``id`` are one sequence (None: all rows are).  Rows of a sequence with the
    same ``time`` are one step, in which all their items are on; each different time is
    one step, however far apart (None: each row is a step).  ``item`` names the output.
    ``conditions`` say what a sequence is to be, in all its rows alike.
    """

    path: str | PathLike[str]
    id: str | None
    time: str | None
    item: str | None
    conditions: tuple[str, ...] = ()
    layout: Layout = PLAIN

    def read(self) -> RollSet:
        """The sequences in the order in which they begin; outputs in the order of their names.

        Raises InputError, with line and column, for what cannot be used.
        """
        if self.item is None:
            if not isinstance(self.path, Taken):
                with open_bytes(self.path):  # of a file that is not there, this is what to say
                    pass
            problem = "expected the name of the column that says what is on, got none"
            raise InputError(f"{problem}; give {spelled('item', 'COLUMN')}", file=self.path)
        roles = {"id": self.id, "time": self.time, "item": self.item}
        given = {column: role for role, column in roles.items() if column is not None}
        if len(given) < sum(column is not None for column in roles.values()):
            problem = "expected different columns for id, time and item, got one twice"
            raise InputError(f"{problem}; name another", file=self.path)
        twice = next((name for name in self.conditions if name in given), None)
        if twice is not None:
            problem = f"expected columns beside id, time and item, got {twice!r}"
            raise InputError(f"{problem}; name another", file=self.path, option="condition")
        columns = given | dict.fromkeys(self.conditions, "condition")
        table = read_table(self.path, columns, self.layout)
        items = np.array(table.texts(self.item, "the name of what is on"))
        outputs = ordered(set(items.tolist()))
        column_of = {name: k for k, name in enumerate(outputs)}
        places = np.array([column_of[item] for item in items.tolist()])
        if self.id is None:
            groups, names = [np.arange(len(items))], ["all rows"]
        else:
            groups, names = groups_of(table, self.id)
        times = None
        if self.time is not None:
            times, groups = in_order(table, self.time, groups, once=False)
        check_size(len(items), len(outputs), str(self.path))
        rolls = []
        for rows in groups:
            steps = np.arange(len(rows))
            if times is not None:
                changes = times[rows[1:]] != times[rows[:-1]]
                steps = np.concatenate([[0], np.cumsum(changes)])
            roll = np.zeros((steps[-1] + 1, len(outputs)), np.uint8)
            roll[steps, places[rows]] = 1
            rolls.append(roll)
        conditions: dict[str, list[Any]] = {}
        for column in self.conditions:
            cells = np.array(table.numbers_or_labels(column), object)
            told = one_of_each(table, column, cells, groups, names, "condition")
            conditions[column] = told.tolist()
        return RollSet(rolls, outputs, names, conditions=conditions)

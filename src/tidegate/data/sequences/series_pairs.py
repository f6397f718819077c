"""Sequences of numbers that answer sequences of numbers: arrays, files, tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from tidegate.data.files.formats import PLAIN, Layout
from tidegate.data.files.tables import Table, read_table
from tidegate.data.sequences.inputs import as_sequences
from tidegate.data.sequences.npz import arrays_in, sequences_in
from tidegate.data.sequences.tables import groups_of, in_order
from tidegate.errors import InputError, spelled

__all__ = ["PairsTable", "SeriesPairs", "as_series_pairs", "read_npz_pairs"]

_SOURCES = ("X", "values", "lengths")
_TARGETS = ("Y", "Y_values", "Y_lengths")


class SeriesPairs(NamedTuple):
    """N sources float64 [T, C], NaN where a value is missing, and their targets float64 [U, O]."""

    sources: list[np.ndarray]
    targets: list[np.ndarray]

    def rows(self, rows: Iterable[int]) -> SeriesPairs:
        """Those of these rows."""
        rows = list(rows)
        return SeriesPairs([self.sources[i] for i in rows], [self.targets[i] for i in rows])


def as_series_pairs(
    sources: Any, targets: Any, channels: int | None = None, outputs: int | None = None
) -> SeriesPairs:
    """What a user gives: N sequences, and the N that answer them; see `as_sequences`.

    Raises InputError, also for a target with a missing value.
    """
    read = as_sequences(sources, channels)
    try:
        wanted = as_sequences(targets, outputs)
    except InputError as e:
        raise InputError(f"targets: {e}") from None
    if len(read) != len(wanted):
        problem = f"targets: expected one per source, {len(read)}, got {len(wanted)}"
        raise InputError(f"{problem}; give one for each")
    if not read:
        raise InputError("sources: expected one sequence or more, got none; give some")
    for i, target in enumerate(wanted):
        if np.isnan(target).any():
            step = int(np.isnan(target).any(axis=1).argmax())
            problem = f"targets: sequence {i}: expected numbers, got none at step {step}"
            raise InputError(f"{problem}; fill it in, or leave out that pair")
    return SeriesPairs(read, wanted)


def read_npz_pairs(
    path: str | PathLike[str], *, answered: bool
) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """Sources and targets of a ``.npz`` file, and their numbers from 1.

    Sources are ``X`` [N, T, C] or [N, T], perhaps with ``lengths`` [N], or ``values`` [sum of
    lengths, C] and ``lengths``; targets likewise ``Y`` and ``Y_lengths``, or ``Y_values`` and
    ``Y_lengths``.  ``answered``: targets must be there; else there are none.  Raises InputError.
    """
    try:
        arrays = arrays_in(path, (*_SOURCES, *_TARGETS))
        sources = sequences_in(arrays)
        names = [str(i) for i in range(1, len(sources) + 1)]
        if not answered:
            return sources, [], names
        theirs = {
            own: arrays[name]
            for own, name in zip(_SOURCES, _TARGETS, strict=True)
            if name in arrays
        }
        if ("X" in theirs) == ("values" in theirs):
            got = ", ".join(arrays)
            problem = f"expected the array Y, or Y_values and Y_lengths, the targets, got {got}"
            raise ValueError(f"{problem}; add one of them")
        try:
            targets = sequences_in(theirs)
        except ValueError as e:
            raise ValueError(f"of Y: {e}") from None
    except ValueError as e:
        if isinstance(e, InputError):
            raise
        raise InputError(str(e), file=path) from None
    if len(sources) != len(targets):
        problem = f"expected as many targets as sources, {len(sources)}, got {len(targets)}"
        raise InputError(f"{problem}; give one for each", file=path)
    return sources, targets, names


@dataclass(frozen=True, kw_only=True)
class PairsTable:
    """Which columns of a long table are what: rows with one ``id`` are the steps of a pair.

    ``values`` are a source's (default: all other columns), ``targets`` those of what answers it.
    Each of the two ends where the rest of its cells are empty.
    """

    path: str | PathLike[str]
    id: str | None
    time: str | None
    values: tuple[str, ...]
    targets: tuple[str, ...]
    layout: Layout = PLAIN

    def read(self, *, answered: bool) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
        """Sources, targets, and their ids; without ``answered`` no targets.  Raises InputError."""
        if self.id is None:
            problem = "expected the column that tells sequences apart, got none"
            raise InputError(f"{problem}; give {spelled('id', 'COLUMN')}", file=self.path)
        if answered and not self.targets:
            problem = "expected the columns of the answers, got none"
            raise InputError(f"{problem}; give {spelled('target', 'COLUMN')}", file=self.path)
        roles = [self.id, *([] if self.time is None else [self.time])]
        others = {*roles, *self.targets}
        table = read_table(self.path, layout=self.layout)
        names = self.values or tuple(n for n in table.frame.columns if n not in others)
        if not names or set(names) & others or set(self.targets) & set(roles):
            got = f"got {', '.join(names) or 'none'}; name them by {spelled('values')}"
            raise InputError(f"expected columns of values beside the others, {got}", file=self.path)
        options = {self.id: "id", self.time: "time"} | dict.fromkeys(names, "values")
        options |= dict.fromkeys(self.targets, "target") if answered else {}
        table.check({n: option for n, option in options.items() if n is not None})
        groups, ids = groups_of(table, self.id)
        if self.time is not None:
            _, groups = in_order(table, self.time, groups)
        sources = [_ended(table, names, rows) for rows in groups]
        targets = [_ended(table, self.targets, rows) for rows in groups] if answered else []
        return sources, targets, ids


def _ended(table: Table, columns: tuple[str, ...], rows: np.ndarray) -> np.ndarray:
    """The values of some rows, up to the last one that is known."""
    cells = np.column_stack([table.numbers(name)[rows] for name in columns])
    known = np.flatnonzero(~np.isnan(cells).all(axis=1))
    if not len(known):
        problem = "expected a number in one row of this id or more, got none"
        raise table.error(int(rows[0]), f"{problem}; fill some in, or take the id out", columns[0])
    return cells[: known[-1] + 1]

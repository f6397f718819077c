"""Sequences of numbers as a FILE of commands: ``.ts``, ``.npz``, or a table.

Readers are imported when they are used, so that help texts are fast.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from tidegate.data.files.reading import File, Taken
from tidegate.data.source import COLUMNS, PredictableSource, source_option
from tidegate.errors import InputError

if TYPE_CHECKING:
    from tidegate.data.sequences.sequences import Answers, SequenceSet

__all__ = ["LabelledSequences", "LabelledSteps", "MeasuredSequences", "SequencesOfBoth"]


@dataclass(frozen=True, kw_only=True)
class SequenceSource(PredictableSource):
    """Sequences of numbers: a ``.ts`` or ``.npz`` file, or a table, to which the options belong."""

    FILE: ClassVar[str] = (
        "a .ts or .npz file, or a table: CSV, TSV, JSONL, Parquet or .xlsx; text may be gzipped"
    )
    ANSWERS: ClassVar[Literal["label", "number", "labels"]]

    id: str | None = source_option(
        "column that says which sequence a row belongs to, in a table with one row per step",
        default=None,
    )
    time: str | None = source_option(
        "column of times, which must rise within a sequence, in a table with one row per step",
        default=None,
    )
    values: tuple[str, ...] = source_option(
        "columns that hold the values, if FILE is a table (default: all other columns)",
        COLUMNS,
        default=(),
    )
    elapsed: bool = source_option(
        "read how much time lies between steps: of a table from its column of times, of .npz and "
        ".ts from the last channel",
        None,
        default=False,
    )

    @property
    @abstractmethod
    def answer_column(self) -> str | None:
        """Of a table: where the answers stand."""

    @abstractmethod
    def _form(self) -> dict[str, Any]:
        """How a table holds sequences: arguments of SequenceTable."""

    def read(self, file: File, *, learning: bool) -> tuple[Any, Any]:
        """Values, N arrays [T, I], and answers [N]."""
        if learning and _kind(file):  # later, what is told may be of the training's table
            given = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
            given = [name for name in given if name not in ("encoding", "elapsed")]  # of a .ts, too
            if given:
                problem = "expected none, for it is about tables"
                got = f"got {getattr(self, given[0])!r}; leave it out"
                raise InputError(f"{problem}, {got}", option=given[0])
        found = self._read(file, self.ANSWERS)
        return found.values, found.answers

    def read_inputs(self, file: File, *, table: bool = False) -> tuple[Any, list[str]]:  # noqa: ARG002
        found = self._read(file, None)
        return found.values, found.names

    def error_at(self, file: File, index: int, problem: str) -> InputError:
        return InputError(f"sequence {self._read(file, None).names[index]}: {problem}", file=file)

    def _read(self, file: File, answers: Answers) -> SequenceSet:
        kind = _kind(file)
        if kind is None:
            from tidegate.data.sequences.tables import SequenceTable

            table = SequenceTable(
                path=file,
                id=self.id,
                time=self.time,
                values=self.values,
                elapsed=self.elapsed,
                answer=self.answer_column,
                layout=self.layout(),
                **self._form(),
            )
            return table.read(answers)
        self.refuse_table_options(file)
        if kind == "npz":
            from tidegate.data.sequences.npz import read_npz

            return read_npz(file, answers)
        if answers == "labels":
            raise InputError(
                "expected a label of each step, got a .ts file, which has one of each sequence; "
                "give a table or a .npz file, or use series-classifier",
                file=file,
            )
        from tidegate.data.sequences.ts import read_ts

        return read_ts(file, answers, self.encoding)


@dataclass(frozen=True, kw_only=True)
class WholeSequences(SequenceSource):
    """Sequences with one answer each."""

    channels: int = source_option(
        "number of columns that make one step, in a table with one row per sequence", "N", default=1
    )

    def _form(self) -> dict[str, Any]:
        return {"channels": self.channels}


def _kind(file: File) -> str | None:
    """The ending npz or ts; None for a table."""
    if isinstance(file, Taken):
        from tidegate.data.files.formats import kind_of_content

        kind = kind_of_content(file.content)
    else:
        kind = file.lower().removesuffix(".gz").rpartition(".")[2]
    return kind if kind in ("npz", "ts") else None


@final
@dataclass(frozen=True, kw_only=True)
class LabelledSequences(WholeSequences):
    """Sequences of numbers with a label each."""

    ANSWERS: ClassVar[Literal["label", "number", "labels"]] = "label"

    label: str | None = source_option(
        "column that holds the labels, if FILE is a table", default=None
    )

    @property
    def answer_column(self) -> str | None:
        return self.label


@final
@dataclass(frozen=True, kw_only=True)
class MeasuredSequences(WholeSequences):
    """Sequences of numbers with one more number each, which is to be told from them."""

    ANSWERS: ClassVar[Literal["label", "number", "labels"]] = "number"

    target: str | None = source_option(
        "column that holds the numbers to predict, if FILE is a table", default=None
    )

    @property
    def answer_column(self) -> str | None:
        return self.target


@final
@dataclass(frozen=True, kw_only=True)
class SequencesOfBoth(PredictableSource):
    """Sequences of numbers with a sequence of numbers each, of another length."""

    FILE: ClassVar[str] = (
        "a table with a row for each step: CSV, TSV, JSONL, Parquet or .xlsx, of which text may be "
        "gzipped. Or a .npz file"
    )

    id: str | None = source_option("column that says which pair a row belongs to", default=None)
    time: str | None = source_option("column of times, which must rise within a pair", default=None)
    values: tuple[str, ...] = source_option(
        "columns that hold what is read, if FILE is a table; a sequence ends where the rest of its "
        "cells are empty (default: all other columns)",
        COLUMNS,
        default=(),
    )
    target: tuple[str, ...] = source_option(
        "columns that hold what answers it, if FILE is a table; it ends likewise, sooner or later",
        COLUMNS,
        default=(),
    )

    def read(self, file: File, *, learning: bool) -> tuple[Any, Any]:  # noqa: ARG002
        """Sources, N arrays [T, C], and targets, N arrays [U, O]."""
        sources, targets, _ = self._read(file, answered=True)
        return sources, targets

    def read_inputs(self, file: File, *, table: bool = False) -> tuple[Any, list[str]]:  # noqa: ARG002
        sources, _, names = self._read(file, answered=False)
        return sources, names

    def error_at(self, file: File, index: int, problem: str) -> InputError:
        names = self._read(file, answered=False)[2]
        return InputError(f"sequence {names[index]}: {problem}", file=file)

    def _read(self, file: File, *, answered: bool) -> tuple[Any, Any, list[str]]:
        from tidegate.data.sequences.series_pairs import PairsTable, read_npz_pairs

        if _kind(file) == "npz":
            self.refuse_table_options(file)
            return read_npz_pairs(file, answered=answered)
        table = PairsTable(
            path=file,
            id=self.id,
            time=self.time,
            values=self.values,
            targets=self.target,
            layout=self.layout(),
        )
        return table.read(answered=answered)


@final
@dataclass(frozen=True, kw_only=True)
class LabelledSteps(SequenceSource):
    """Sequences of numbers with a label of each step."""

    FILE: ClassVar[str] = (
        "a table with a row for each step: CSV, TSV, JSONL, Parquet or .xlsx, of which text may be "
        "gzipped; without --id it is one sequence. Or a .npz file"
    )
    ANSWERS: ClassVar[Literal["label", "number", "labels"]] = "labels"

    label: str | None = source_option(
        "column that holds the label of each step, if FILE is a table", default=None
    )

    @property
    def answer_column(self) -> str | None:
        return self.label

    def times(self, file: File) -> list[list[str]]:
        """Of each sequence the times of its steps as they are written; without any, 0, 1, ..."""
        found = self._read(file, None)
        if found.times is not None:
            return found.times
        return [[str(step) for step in range(len(one))] for one in found.values]

    def _form(self) -> dict[str, Any]:
        return {"by_step": True}

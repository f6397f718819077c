"""Kinds of FILE that commands are given: what they must be told about one, what they get out of it.

The fields of a source are options of the commands that read such a file.  Readers are imported when
they are used, so that help texts are fast.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, final

from tidegate.errors import InputError

if TYPE_CHECKING:
    from tidegate.data.files.formats import Layout
    from tidegate.data.sequences.sequences import Answers, SequenceSet

__all__ = [
    "LabelledSequences",
    "LabelledTexts",
    "MeasuredSequences",
    "PlainText",
    "PredictableSource",
    "Source",
    "TimeSeries",
    "names_columns",
    "as_list",
    "split_list",
]

_TABLE = "a table: CSV, TSV, JSONL (these three may be gzipped), Parquet or .xlsx"
_COLUMN, _COLUMNS = "COLUMN", "COLUMN,..."
_LISTED = re.compile(r'\s*("(?:[^"]|"")*"|[^",]*)\s*(,|$)')


def _told(
    help: str, metavar: str | None = _COLUMN, *, default: Any = MISSING, kept: bool = True
) -> Any:
    """A field with its help text and the word that stands for its value there (None: a flag).

    ``kept``: it is about the task, so that later files are read as in training.
    """
    return field(default=default, metadata={"help": help, "metavar": metavar, "kept": kept})


def names_columns(f: Field[Any]) -> bool:
    """Whether a field of a source names columns of a table."""
    return f.metadata["metavar"] in (_COLUMN, _COLUMNS)


def split_list(text: str) -> tuple[str, ...]:
    """Names split by commas; one that has a comma, or spaces at its ends, stands in quotes.

    Raises InputError for a quote that is not closed.
    """
    names, at = [], 0
    while at < len(text):
        match = _LISTED.match(text, at)
        if match is None:
            problem = f"expected names split by commas, those with a comma in quotes, got {text!r}"
            raise InputError(f"{problem}; write a quote within quotes twice")
        name = match[1]
        names.append(name[1:-1].replace('""', '"') if name.startswith('"') else name.strip())
        at = match.end()
    return tuple(name for name in names if name)


def as_list(names: Sequence[str]) -> str:
    """What ``split_list`` reads as these names."""
    odd = re.compile(r'[",\r\n]|^\s|\s$')
    return ",".join(
        '"' + name.replace('"', '""') + '"' if odd.search(name) else name for name in names
    )


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """One kind of FILE.

    ``FILE`` is its help text; ``HAS_VALIDATION_FILE`` says whether ``fit`` takes a second file,
    which chooses the best weights.
    """

    FILE: ClassVar[str]
    HAS_VALIDATION_FILE: ClassVar[bool] = True

    encoding: str | None = _told(
        "encoding of text files: cp1252, gb18030, ... (default: UTF-8)",
        "NAME",
        default=None,
        kept=False,
    )
    separator: str | None = _told(
        "character between the cells of a .csv or .tsv file (default: detected)",
        "CHARACTER",
        default=None,
        kept=False,
    )
    decimal: str | None = _told(
        "decimal mark of the numbers in a .csv or .tsv file (default: detected)",
        "CHARACTER",
        default=None,
        kept=False,
    )
    header: bool = _told(
        "whether the first row of a .csv or .tsv file names the columns; if not, the columns are "
        "called 1, 2, ...",
        None,
        default=True,
    )
    sheet: str | None = _told(
        "sheet to read of an .xlsx file (default: the first)",
        "NAME",
        default=None,
        kept=False,
    )

    @abstractmethod
    def read(self, file: str, *, learning: bool) -> tuple[Any, ...]:
        """What an estimator's ``fit`` (``learning``) or ``evaluate`` is given.

        Raises InputError, with the line, for a file that cannot be used.
        """

    def provenance(self) -> dict[str, str | int | bool]:
        """What was told, as scalars, by the names under which a model file keeps it."""
        told = {_kept_as(f): getattr(self, f.name) for f in fields(self) if f.metadata["kept"]}
        told = {name: v for name, v in told.items() if v not in (None, ())}
        return {name: as_list(v) if isinstance(v, tuple) else v for name, v in told.items()}

    @classmethod
    def as_in_training(cls, provenance: Mapping[str, Any], given: Mapping[str, Any]) -> Self:
        """What ``provenance`` keeps, but for what is ``given`` by name (None: not given).

        Raises InputError where something is needed that neither tells.
        """
        told = {}
        for f in fields(cls):
            value = given.get(f.name)
            kept = f.metadata["kept"]
            if kept and value is None and (value := provenance.get(_kept_as(f))) is not None:
                several = f.metadata["metavar"] == _COLUMNS
                value = split_list(value) if several else value
            if value is not None:
                told[f.name] = value
            elif f.default is MISSING:
                raise InputError(
                    f"expected the name of the {f.name} column, got none; give --{f.name} COLUMN"
                )
        return cls(**told)

    def layout(self) -> Layout:
        """How a table is written, as far as it was told."""
        from tidegate.data.files.formats import Layout

        names = {"tab": "\t", "\\t": "\t", "space": " "}
        separator = (
            self.separator if self.separator is None else names.get(self.separator, self.separator)
        )
        return Layout(
            separator=separator,
            decimal=self.decimal,
            header=self.header,
            encoding=self.encoding,
            sheet=self.sheet,
        )

    def _refuse_table_options(self, file: str) -> None:
        """Raise InputError for an option about tables, since ``file`` is none."""
        for name in ("separator", "decimal", "sheet"):
            if (value := getattr(self, name)) is not None:
                problem = f"expected none, for {file} is no table"
                raise InputError(f"{problem}, got {value!r}; leave it out", option=name)


def _kept_as(f: Field[Any]) -> str:
    ending = {_COLUMN: "_column", _COLUMNS: "_columns"}
    return f.name + ending.get(f.metadata["metavar"], "")


class PredictableSource(Source):
    """A source of inputs with an answer each, which ``predict`` may ask for."""

    @abstractmethod
    def read_inputs(self, file: str) -> tuple[Any, list[str]]:
        """Inputs, N of them, without their answers, and N names to tell them by."""

    @abstractmethod
    def error_at(self, file: str, index: int, problem: str) -> InputError:
        """The error in the answer of input ``index``, with its line where the file has lines."""


@final
@dataclass(frozen=True, kw_only=True)
class LabelledTexts(PredictableSource):
    """A table with a text and its label in each row."""

    FILE: ClassVar[str] = _TABLE

    text: str = _told("column that holds the texts")
    label: str = _told("column that holds the labels")

    def read(self, file: str, *, learning: bool) -> tuple[list[str], list[str]]:
        from tidegate.data.files.tables import read_labelled_texts

        return read_labelled_texts(
            file, self.text, self.label, self.layout(), allow_one_class=not learning
        )

    def read_inputs(self, file: str) -> tuple[list[str], list[str]]:
        """Each text of the table, or each line of a ``.txt`` file, or of stdin for ``-``."""
        if file == "-" or _is_plain_text(file):
            from tidegate.data.text.reading import read_lines

            self._refuse_table_options(file)
            texts = read_lines(file, self.encoding)
        else:
            from tidegate.data.files.tables import as_text, read_table

            values = read_table(file, [self.text], self.layout())[self.text].to_list()
            texts = [as_text(value) for value in values]
        return texts, [" ".join(text.split()) for text in texts]

    def error_at(self, file: str, index: int, problem: str) -> InputError:
        from tidegate.data.files.tables import row_error

        return row_error(file, index, problem, self.layout(), column=self.label)


def _is_plain_text(file: str) -> bool:
    return file.lower().removesuffix(".gz").endswith(".txt")


@final
@dataclass(frozen=True, kw_only=True)
class PlainText(Source):
    """One long text, or the texts in a column of a table, one after another."""

    FILE: ClassVar[str] = "a text file in UTF-8, which may be gzipped; or, with --text, a table"

    text: str | None = _told("column that holds the texts, if FILE is a table", default=None)

    def read(self, file: str, *, learning: bool) -> tuple[str | list[str]]:
        if self.text is None or (_is_plain_text(file) and not learning):
            from tidegate.data.text.reading import read_text

            self._refuse_table_options(file)
            return (read_text(file, self.encoding),)
        from tidegate.data.files.tables import read_texts

        return (read_texts(file, self.text, self.layout()),)


@final
@dataclass(frozen=True, kw_only=True)
class TimeSeries(Source):
    """A table of one or several series over the same times; parts of it are held out, not files."""

    FILE: ClassVar[str] = _TABLE
    HAS_VALIDATION_FILE: ClassVar[bool] = False

    time: str = _told("column of times; rows are evenly spaced in time")
    target: tuple[str, ...] = _told("columns to forecast, such as OT or HULL,OT", _COLUMNS)
    covariate: tuple[str, ...] = _told(
        "more columns to read; their future values need not be known", _COLUMNS, default=()
    )
    fill_gaps: bool = _told(
        "fill missing rows and values with the last known value", None, default=False
    )

    def read(self, file: str, *, learning: bool) -> tuple[Any]:  # noqa: ARG002
        from tidegate.data.series.tables import read_series

        columns = self.target, self.covariate
        series = read_series(file, self.time, *columns, self.layout(), fill_gaps=self.fill_gaps)
        return (series,)


@dataclass(frozen=True, kw_only=True)
class SequenceSource(PredictableSource):
    """Sequences of numbers: a ``.ts`` or ``.npz`` file, or a table, to which the options belong."""

    FILE: ClassVar[str] = (
        "a .ts or .npz file, or a table: CSV, TSV, JSONL, Parquet or .xlsx; text may be gzipped"
    )
    ANSWERS: ClassVar[Literal["label", "number"]]

    id: str | None = _told(
        "column that says which sequence a row belongs to, in a table with one row per step",
        default=None,
    )
    time: str | None = _told(
        "column of times, which must rise within a sequence, in a table with one row per step",
        default=None,
    )
    values: tuple[str, ...] = _told(
        "columns that hold the values, if FILE is a table (default: all other columns)",
        _COLUMNS,
        default=(),
    )
    channels: int = _told(
        "number of columns that make one step, in a table with one row per sequence", "N", default=1
    )

    @property
    @abstractmethod
    def answer_column(self) -> str | None:
        """Of a table: where the answers stand."""

    def read(self, file: str, *, learning: bool) -> tuple[Any, Any]:
        """Values, N arrays [T, I], and answers [N]."""
        if learning and not _is_table(file):  # later, what is told may be of the training's table
            told = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
            told = [name for name in told if name != "encoding"]  # of a .ts, too
            if told:
                problem = "expected none, for it is about tables"
                raise InputError(f"{problem}, got {getattr(self, told[0])!r}", option=told[0])
        found = self._read(file, self.ANSWERS)
        return found.values, found.answers

    def read_inputs(self, file: str) -> tuple[Any, list[str]]:
        found = self._read(file, None)
        return found.values, found.names

    def error_at(self, file: str, index: int, problem: str) -> InputError:
        return InputError(f"sequence {self._read(file, None).names[index]}: {problem}", file=file)

    def _read(self, file: str, answers: Answers) -> SequenceSet:
        if _is_table(file):
            from tidegate.data.sequences.tables import SequenceTable

            table = SequenceTable(
                path=file,
                id=self.id,
                time=self.time,
                values=self.values,
                answer=self.answer_column,
                channels=self.channels,
                layout=self.layout(),
            )
            return table.read(answers)
        self._refuse_table_options(file)
        if file.lower().endswith(".npz"):
            from tidegate.data.sequences.npz import read_npz

            return read_npz(file, answers)
        from tidegate.data.sequences.ts import read_ts

        return read_ts(file, answers, self.encoding)


def _is_table(file: str) -> bool:
    return not file.lower().endswith((".npz", ".ts", ".ts.gz"))


@final
@dataclass(frozen=True, kw_only=True)
class LabelledSequences(SequenceSource):
    """Sequences of numbers with a label each."""

    ANSWERS: ClassVar[Literal["label", "number"]] = "label"

    label: str | None = _told("column that holds the labels, if FILE is a table", default=None)

    @property
    def answer_column(self) -> str | None:
        return self.label


@final
@dataclass(frozen=True, kw_only=True)
class MeasuredSequences(SequenceSource):
    """Sequences of numbers with one more number each, which is to be told from them."""

    ANSWERS: ClassVar[Literal["label", "number"]] = "number"

    target: str | None = _told(
        "column that holds the numbers to predict, if FILE is a table", default=None
    )

    @property
    def answer_column(self) -> str | None:
        return self.target

"""What every kind of FILE has: options that tell how to read one, which a model file keeps.

The fields of a source are options of the commands that read such a file.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tidegate.data.files.reading import File
from tidegate.errors import InputError, spelled

if TYPE_CHECKING:
    from tidegate.data.files.formats import Layout

__all__ = [
    "COLUMN",
    "COLUMNS",
    "MARK",
    "PredictableSource",
    "Source",
    "as_list",
    "names_columns",
    "split_list",
    "source_option",
]

COLUMN, COLUMNS, MARK = "COLUMN", "COLUMN,...", "MARK"
_LISTED = re.compile(r'\s*("(?:[^"]|"")*"|[^",]*)\s*(,|$)')


def source_option(
    help: str,
    metavar: str | None = COLUMN,
    *,
    default: Any = MISSING,
    kept: bool = True,
    later: str | None = None,
    to_learn: bool = False,
) -> Any:
    """A field with its help text and the word that stands for its value there (None: a flag).

    ``kept``: it is about the task, so that later files are read as in training; ``later``: what is
    taken then of a model that keeps no value, since it was trained in Python; ``to_learn``: only
    commands that learn have it.
    """
    about = {
        "help": help,
        "metavar": metavar,
        "kept": kept,
        "later": later,
        "to_learn": to_learn,
    }
    return field(default=default, metadata=about)


def names_columns(f: Field[Any]) -> bool:
    """Whether a field of a source names columns of a table."""
    return f.metadata["metavar"] in (COLUMN, COLUMNS)


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


_OF_TABLES = ("separator", "decimal", "sheet")


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """One kind of FILE.

    ``FILE`` is its help text; ``HAS_VALIDATION_FILE`` says whether ``fit`` takes a second file,
    which chooses the best weights; ``READS_TEXT`` whether a line of text is one, so that a command
    may be given the text itself.
    """

    FILE: ClassVar[str]
    HAS_VALIDATION_FILE: ClassVar[bool] = True
    READS_TEXT: ClassVar[bool] = False

    encoding: str | None = source_option(
        "encoding of text files: cp1252, gb18030, ... (default: UTF-8)",
        "NAME",
        default=None,
        kept=False,
    )
    separator: str | None = source_option(
        "character between the cells of a .csv or .tsv file (default: detected)",
        "CHARACTER",
        default=None,
        kept=False,
    )
    decimal: str | None = source_option(
        "decimal mark of numbers that are written as text (default: detected)",
        "CHARACTER",
        default=None,
        kept=False,
    )
    header: bool = source_option(
        "whether the first row of a .csv or .tsv file names the columns; if not, their names are "
        "1, 2, ...",
        None,
        default=True,
    )
    sheet: str | None = source_option(
        "sheet to read of an .xlsx file (default: the first)",
        "NAME",
        default=None,
        kept=False,
    )

    @abstractmethod
    def read(self, file: File, *, learning: bool) -> tuple[Any, ...]:
        """What an estimator's ``fit`` (``learning``) or ``evaluate`` is given.

        Raises InputError, with the line, for a file that cannot be used.
        """

    def weights(self, file: File) -> list[float] | None:  # noqa: ARG002
        """How much each input counts in training, [N]; None: all alike.  Raises InputError."""
        return None

    def given_to_fit(self, file: File) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What ``fit`` is given in its order, and what by name.  Raises InputError."""
        data, weights = self.read(file, learning=True), self.weights(file)
        return data, {} if weights is None else {"sample_weight": weights}

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
                value = split_list(value) if _is_several(f) else value
            if value is not None:
                told[f.name] = value
            elif f.default is MISSING and (later := f.metadata["later"]) is not None:
                told[f.name] = (later,) if _is_several(f) else later
            elif f.default is MISSING:
                raise InputError(
                    f"expected the name of the {f.name} column, got none; "
                    f"give {spelled(f.name, 'COLUMN')}"
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

    def layout_told(self) -> str:
        """What was told of how the file is written, as its user writes it; empty: nothing was.

        Other files may be written otherwise, so a model does not keep it.
        """
        told = {name: getattr(self, name) for name in ("encoding", *_OF_TABLES)}
        return " ".join(spelled(name, value) for name, value in told.items() if value is not None)

    def refuse_table_options(self, file: File) -> None:
        """Raise InputError for an option about tables, since ``file`` is none."""
        for name in _OF_TABLES:
            if (value := getattr(self, name)) is not None:
                problem = f"expected none, for {file} is no table"
                raise InputError(f"{problem}, got {value!r}; leave it out", option=name)


def _is_several(f: Field[Any]) -> bool:
    """Whether a field holds names, not one name; its type is text, as all annotations are."""
    return str(f.type).startswith("tuple")


def _kept_as(f: Field[Any]) -> str:
    ending = {COLUMN: "_column", COLUMNS: "_columns"}
    return f.name + ending.get(f.metadata["metavar"], "")


class PredictableSource(Source):
    """A source of inputs with an answer each, which ``predict`` may ask for."""

    @abstractmethod
    def read_inputs(self, file: File, *, table: bool = False) -> tuple[Any, list[str]]:
        """Inputs, N of them, without their answers, and N names to tell them by.

        ``table``: standard input and pipes hold a table where they could hold lines of text.
        """

    @abstractmethod
    def error_at(self, file: File, index: int, problem: str) -> InputError:
        """The error in the answer of input ``index``, with its line where the file has lines."""

"""Tables of texts with an answer each, as FILE of commands.

Readers are imported when they are used, so that help texts are fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from tidegate.data.files.reading import File, Taken
from tidegate.data.source import COLUMNS, MARK, PredictableSource, Source, source_option
from tidegate.errors import InputError

if TYPE_CHECKING:
    from tidegate.data.files.tables import Table

__all__ = ["TABLE", "LabelledTexts", "MeasuredTexts", "is_plain_text", "texts_to_ask_about"]

TABLE = "a table: CSV, TSV, JSONL (these three may be gzipped), Parquet or .xlsx"


@dataclass(frozen=True, kw_only=True)
class AnsweredTexts(PredictableSource):
    """A table with a text and its answer in each row."""

    FILE: ClassVar[str] = TABLE
    READS_TEXT: ClassVar[bool] = True
    ANSWER: ClassVar[str]  # the option that names its column

    text: tuple[str, ...] = source_option(
        "column that holds the texts; of several, such as title,body, the texts are read one after "
        "another",
        later="text",
    )
    condition: tuple[str, ...] = source_option(
        "columns of categories or numbers that are read beside each text, such as brand,price",
        COLUMNS,
        default=(),
    )
    weight: str | None = source_option(
        "column that says how much each text counts in training: a number from 0",
        default=None,
        kept=False,
        to_learn=True,
    )

    @property
    def answer(self) -> str:
        """The column of the answers."""
        return getattr(self, self.ANSWER)

    def read_inputs(self, file: File, *, table: bool = False) -> tuple[list[Any], list[str]]:
        """Each row of the table, or each line of a ``.txt`` file, of standard input or a pipe."""
        several = len(self.text) > 1 or bool(self.condition)
        if not several or are_lines(file, table=table):
            return texts_to_ask_about(self, self._columns, file, table=table)
        from tidegate.data.files.tables import read_table
        from tidegate.data.text.rows import text_of

        rows = self._rows(read_table(file, self._columns, self.layout()), may_be_empty=True)
        return rows, [" ".join(text_of(row).split()) for row in rows]

    def error_at(self, file: File, index: int, problem: str) -> InputError:
        from tidegate.data.files.tables import row_error

        return row_error(file, index, problem, self.layout(), column=self.answer)

    def weights(self, file: File) -> list[float] | None:
        if self.weight is None:
            return None
        from tidegate.data.files.tables import read_table

        table = read_table(file, {self.weight: "weight"}, self.layout())
        numbers = table.numbers(self.weight)
        for row, number in enumerate(numbers):
            if not number >= 0:
                got = "an empty cell" if number != number else f"{number:g}"
                problem = f"expected a number from 0 as weight, got {got}; correct it"
                raise table.error(row, problem, self.weight)
        return numbers.tolist()

    @property
    def _columns(self) -> dict[str, str]:
        """What is read beside the answers, and the option that names it.  Raises InputError."""
        if not self.text:
            raise InputError("expected a column of texts, got none; name it", option="text")
        columns = dict.fromkeys(self.condition, "condition") | dict.fromkeys(self.text, "text")
        if len(columns) < len(self.text) + len(self.condition):
            given = [*self.text, *self.condition]
            twice = next(name for name in given if given.count(name) > 1)
            problem = f"expected different columns for texts and conditions, got {twice!r} twice"
            raise InputError(f"{problem}; name each once", option="text")
        return columns

    def _table(self, file: File) -> Table:
        """The table, which has the columns of texts and answers.  Raises InputError."""
        from tidegate.data.files.tables import read_table

        columns = self._columns
        if (other := columns.get(self.answer)) is not None:
            problem = (
                f"expected two columns, got {self.answer!r} for both {other} and {self.ANSWER}"
            )
            raise InputError(f"{problem}; name another", file=file)
        return read_table(file, {**columns, self.answer: self.ANSWER}, self.layout())

    def _rows(self, table: Table, *, may_be_empty: bool = False) -> list[Any]:
        """The texts of a table, or rows where there are conditions.

        Of several columns of text some may be empty.  Raises InputError for a text that is empty.
        """
        from tidegate.data.text.conditions import ConditionedTexts
        from tidegate.data.text.rows import Row, joined

        if len(self.text) == 1 and not may_be_empty and not self.condition:
            return table.texts(self.text[0])
        columns = [table.cells(name, "a text") for name in self.text]
        texts = []
        for row, parts in enumerate(zip(*columns, strict=True)):
            if not may_be_empty and not self.condition and not any(part.strip() for part in parts):
                problem = "expected a text, got empty cells; fill one or remove the row"
                raise table.error(row, problem, self.text[0])
            texts.append(joined(parts))
        if not self.condition:
            return texts
        beside = ConditionedTexts.cells_of(table, self.condition)
        return [
            Row(text, dict(zip(beside, cells, strict=True)))
            for text, *cells in zip(texts, *beside.values(), strict=True)
        ]


@final
@dataclass(frozen=True, kw_only=True)
class LabelledTexts(AnsweredTexts):
    """A table with a text and its label, or labels, in each row."""

    ANSWER: ClassVar[str] = "label"

    label: str = source_option("column that holds the labels", later="label")
    labels_separator: str | None = source_option(
        "what stands between the labels of a text that has several, such as ';' (or comma, tab, "
        "space); an empty cell is no label. Lists in JSONL and Parquet need none",
        MARK,
        default=None,
    )

    def read(self, file: File, *, learning: bool) -> tuple[list[Any], list[Any]]:
        from tidegate.data.files.label_lists import label_lists
        from tidegate.data.files.tables import checked_labels

        table = self._table(file)
        several = label_lists(table, self.label, self.labels_separator, learning=learning)
        texts = self._rows(table)
        if several is not None:
            return texts, several
        return texts, checked_labels(table, self.label, allow_one_class=not learning)


@final
@dataclass(frozen=True, kw_only=True)
class MeasuredTexts(AnsweredTexts):
    """A table with a text and a number in each row."""

    ANSWER: ClassVar[str] = "target"

    target: str = source_option("column that holds the numbers to tell", later="target")

    def read(self, file: File, *, learning: bool) -> tuple[list[Any], Any]:  # noqa: ARG002
        table = self._table(file)
        texts, numbers = self._rows(table), table.numbers(self.target)
        for row, number in enumerate(numbers):
            if number != number:
                problem = "expected a number, got an empty cell; fill it or remove the row"
                raise table.error(row, problem, self.target)
        return texts, numbers


def texts_to_ask_about(
    told: Source, columns: Mapping[str, str], file: File, *, table: bool
) -> tuple[list[str], list[str]]:
    """Each text in the column of a table, or each line of what is none; and their names.

    ``columns``: the column, and the option that names it.
    """
    if are_lines(file, table=table):
        from tidegate.data.text.reading import read_lines

        told.refuse_table_options(file)
        texts = read_lines(file, told.encoding)
    else:
        from tidegate.data.files.tables import read_table

        (column,) = columns
        texts = read_table(file, columns, told.layout()).cells(column, "a text")
    return texts, [" ".join(text.split()) for text in texts]


def are_lines(file: File, *, table: bool) -> bool:
    """Whether a file is read as lines of text: also standard input and pipes, if no ``table``."""
    return is_plain_text(file) or (isinstance(file, Taken) and not table)


def is_plain_text(file: File) -> bool:
    """Whether a file holds lines of text, by its name."""
    return isinstance(file, str) and file.lower().removesuffix(".gz").endswith(".txt")

"""Tables of texts with an answer each, as FILE of commands.

Readers are imported when they are used, so that help texts are fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from tidegate.data.files.reading import File, Taken
from tidegate.data.source import MARK, PredictableSource, Source, source_option
from tidegate.errors import InputError

if TYPE_CHECKING:
    from tidegate.data.files.tables import Table

__all__ = ["TABLE", "LabelledTexts", "MeasuredTexts", "is_plain_text", "texts_to_ask_about"]

TABLE = "a table: CSV, TSV, JSONL (these three may be gzipped), Parquet or .xlsx"


@dataclass(frozen=True, kw_only=True)
class AnsweredTexts(PredictableSource):
    """A table with a text and its answer in each row."""

    FILE: ClassVar[str] = TABLE
    ANSWER: ClassVar[str]  # the option that names its column

    text: str = source_option("column that holds the texts", later="text")
    weight: str | None = source_option(
        "column that says how much each text counts in training: a number from 0",
        default=None,
        kept=False,
        train_alone=True,
    )

    @property
    def answer(self) -> str:
        """The column of the answers."""
        return getattr(self, self.ANSWER)

    def read_inputs(self, file: File, *, table: bool = False) -> tuple[list[str], list[str]]:
        """Each text of the table, or each line of a ``.txt`` file, of standard input or a pipe."""
        return texts_to_ask_about(self, {self.text: "text"}, file, table=table)

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

    def _table(self, file: File) -> Table:
        """The table, which has the columns of texts and answers.  Raises InputError."""
        from tidegate.data.files.tables import read_table

        if self.text == self.answer:
            problem = f"expected two columns, got {self.text!r} for both text and {self.ANSWER}"
            raise InputError(f"{problem}; name another", file=file)
        return read_table(file, {self.text: "text", self.answer: self.ANSWER}, self.layout())


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

    def read(self, file: File, *, learning: bool) -> tuple[list[str], list[str] | list[list[str]]]:
        from tidegate.data.files.label_lists import label_lists
        from tidegate.data.files.tables import checked_labels

        table = self._table(file)
        several = label_lists(table, self.label, self.labels_separator)
        texts = table.texts(self.text)
        if several is not None:
            return texts, several
        return texts, checked_labels(table, self.label, allow_one_class=not learning)


@final
@dataclass(frozen=True, kw_only=True)
class MeasuredTexts(AnsweredTexts):
    """A table with a text and a number in each row."""

    ANSWER: ClassVar[str] = "target"

    target: str = source_option("column that holds the numbers to tell", later="target")

    def read(self, file: File, *, learning: bool) -> tuple[list[str], Any]:  # noqa: ARG002
        table = self._table(file)
        texts, numbers = table.texts(self.text), table.numbers(self.target)
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
    if is_plain_text(file) or (isinstance(file, Taken) and not table):
        from tidegate.data.text.reading import read_lines

        told.refuse_table_options(file)
        texts = read_lines(file, told.encoding)
    else:
        from tidegate.data.files.tables import read_table

        (column,) = columns
        texts = read_table(file, columns, told.layout()).cells(column, "a text")
    return texts, [" ".join(text.split()) for text in texts]


def is_plain_text(file: File) -> bool:
    """Whether a file holds lines of text, by its name."""
    return isinstance(file, str) and file.lower().removesuffix(".gz").endswith(".txt")

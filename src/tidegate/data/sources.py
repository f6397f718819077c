"""Kinds of FILE that commands are given: what they must be told about one, what they get out of it.

Readers are imported when they are used, so that help texts are fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

from tidegate.data.files.reading import File
from tidegate.data.source import COLUMNS, PredictableSource, Source, as_list, source_option
from tidegate.data.text_sources import TABLE, is_plain_text, texts_to_ask_about
from tidegate.errors import InputError, spelled

if TYPE_CHECKING:
    from tidegate.data.text.conditions import ConditionedTexts
    from tidegate.data.text.tagged import TaggedSentences

__all__ = [
    "PlainText",
    "TaggedTokens",
    "TextPairs",
    "TimeSeries",
]


@final
@dataclass(frozen=True, kw_only=True)
class TextPairs(PredictableSource):
    """A table with a text and the text that answers it in each row."""

    FILE: ClassVar[str] = TABLE
    READS_TEXT: ClassVar[bool] = True

    source: str = source_option("column that holds the texts to answer", later="source")
    target: str = source_option("column that holds the answers", later="target")

    def read(self, file: File, *, learning: bool) -> tuple[list[str], list[str]]:  # noqa: ARG002
        from tidegate.data.files.tables import read_table

        if self.source == self.target:
            problem = f"expected two columns, got {self.source!r} for both source and target"
            raise InputError(f"{problem}; name another", file=file)
        columns = {self.source: "source", self.target: "target"}
        table = read_table(file, columns, self.layout())
        return table.texts(self.source, "a source"), table.texts(self.target, "a target")

    def read_inputs(self, file: File, *, table: bool = False) -> tuple[list[str], list[str]]:
        """Each source of the table, or each line of a ``.txt`` file, standard input or a pipe."""
        return texts_to_ask_about(self, {self.source: "source"}, file, table=table)

    def error_at(self, file: File, index: int, problem: str) -> InputError:
        from tidegate.data.files.tables import row_error

        return row_error(file, index, problem, self.layout(), column=self.target)


@final
@dataclass(frozen=True, kw_only=True)
class PlainText(Source):
    """One long text, or the texts in a column of a table, one after another; or sound.

    With conditions each text of a table is by itself.
    """

    FILE: ClassVar[str] = (
        "a text file in UTF-8, which may be gzipped; or, with --text, a table; or sound, a .wav of "
        "one channel"
    )
    READS_TEXT: ClassVar[bool] = True

    text: str | None = source_option(
        "column that holds the texts, if FILE is a table", default=None
    )
    condition: tuple[str, ...] = source_option(
        "columns, of categories or numbers, that say what each text of a table is to be; each text "
        "then begins and ends by itself, and tidegate generate is told what to write with --given",
        COLUMNS,
        default=(),
    )

    def read(self, file: File, *, learning: bool) -> tuple[str | list[str] | ConditionedTexts]:
        from tidegate.data.text.sound import is_sound_file, read_wav

        if self.condition:
            return (self._conditioned(file),)
        if self.text is None and is_sound_file(file):
            self.refuse_table_options(file)
            return (read_wav(file),)
        if self.text is None or (is_plain_text(file) and not learning):
            from tidegate.data.text.reading import read_text

            self.refuse_table_options(file)
            return (read_text(file, self.encoding),)
        from tidegate.data.files.tables import read_texts

        return (read_texts(file, self.text, self.layout()),)

    def _conditioned(self, file: File) -> ConditionedTexts:
        from tidegate.data.text.conditions import conditioned_table

        if self.text is None or is_plain_text(file):
            problem = "expected a table with a column of texts beside it, got none"
            raise InputError(f"{problem}; name it with --text COLUMN", option="condition")
        return conditioned_table(file, self.text, self.condition, self.layout())


@final
@dataclass(frozen=True, kw_only=True)
class TaggedTokens(PredictableSource):
    """Sentences of tokens with a label each: CoNLL-U, other columns, or a table."""

    FILE: ClassVar[str] = (
        "CoNLL-U (.conllu), columns with blank lines between sentences (.conll, .txt, ...), JSONL "
        "or Parquet with lists of tokens and labels, or a table with a token in each row; text may "
        "be gzipped"
    )
    READS_TEXT: ClassVar[bool] = True

    tokens: str | None = source_option(
        "column that holds the tokens: a name, or of .conll its number (default: form of CoNLL-U, "
        "the first of columns, tokens or token of a table)",
        default=None,
    )
    labels: str | None = source_option(
        "column that holds the labels (default: upos of CoNLL-U, the last of columns, labels or "
        "label of a table)",
        default=None,
    )
    sentence: str | None = source_option(
        "column that says which sentence a row belongs to, in a table with a token in each row",
        default=None,
    )

    def read(self, file: File, *, learning: bool) -> tuple[list[list[str]], list[list[str]]]:  # noqa: ARG002
        found = self._read(file, labelled=True)
        return found.tokens, found.labels

    def read_inputs(
        self,
        file: File,
        *,
        table: bool = False,  # noqa: ARG002
    ) -> tuple[list[list[str]], list[str]]:
        """The sentences of such a file, or each line of plain text, split at white space."""
        from tidegate.data.text.tagged import is_plain, read_plain

        if is_plain(file):
            self.refuse_table_options(file)
            tokens = read_plain(file, self.encoding)
        else:
            tokens = self._read(file, labelled=False).tokens
        return tokens, [" ".join(one) for one in tokens]

    def error_at(self, file: File, index: int, problem: str) -> InputError:
        lines = self._read(file, labelled=False).lines
        if lines:
            return InputError(problem, file=file, line=lines[index][0])
        return InputError(f"sentence {index + 1}: {problem}", file=file)

    def _read(self, file: File, *, labelled: bool) -> TaggedSentences:
        from tidegate.data.text.tagged import read_tagged

        return read_tagged(
            file,
            tokens=self.tokens,
            labels=self.labels,
            sentence=self.sentence,
            layout=self.layout(),
            labelled=labelled,
        )


@final
@dataclass(frozen=True, kw_only=True)
class TimeSeries(Source):
    """A table of series; parts of it are held out, not files.

    Columns are several series over the same times; an ``id`` tells series in the rows apart.
    """

    FILE: ClassVar[str] = TABLE
    HAS_VALIDATION_FILE: ClassVar[bool] = False

    time: str | None = source_option(
        "column of times, or of whole numbers; rows are evenly spaced in time",
        default=None,
        later="time",
    )
    no_time: bool = source_option(
        "read the rows in their order, without a column of times", None, default=False
    )
    target: tuple[str, ...] = source_option(
        "columns to forecast, such as OT or HULL,OT; '*': all other columns that hold numbers",
        COLUMNS,
    )
    covariate: tuple[str, ...] = source_option(
        "more columns to read; their future values need not be known", COLUMNS, default=()
    )
    known: tuple[str, ...] = source_option(
        "more columns to read, such as prices and holidays, of which those of the horizon are "
        "known, too: tidegate forecast reads them in rows after the last value, which have none",
        COLUMNS,
        default=(),
    )
    id: str | None = source_option(
        "column that says which series a row belongs to: many, of any lengths, in one model",
        default=None,
    )
    static: tuple[str, ...] = source_option(
        "columns, of categories or numbers, that say the same in all rows of a series",
        COLUMNS,
        default=(),
    )
    fill_gaps: bool = source_option(
        "read on where rows or values are missing, as if the last known value went on; nothing is "
        "learned from them or judged by them",
        None,
        default=False,
    )

    every: str | None = source_option(
        "bring rows at irregular times to one for each such step, the mean of those within it: "
        "15min, h, D, B (business days), W, MS (months), QS, YS; of times that count a number",
        "STEP",
        default=None,
    )
    elapsed: bool = source_option(
        "read rows at irregular times as they stand, and how much time lies between them, in days "
        "if they are dates, by which the cell gru_decay lets its state fade; of rows to forecast "
        "the times are known, too, and stand in the table",
        None,
        default=False,
    )

    def read(self, file: File, *, learning: bool) -> tuple[Any]:
        from tidegate.data.series.tables import SeriesTable

        if learning and not self.no_time and self.time is None:
            problem = "expected the column of times, got none; name it, or read the rows in their "
            raise InputError(f"{problem}order with {spelled('no_time', True)}", option="time")
        if learning and self.no_time and self.time is not None:
            problem = f"expected none beside {spelled('no_time', True)}, got {self.time!r}"
            raise InputError(f"{problem}; leave one of them out", option="time")
        if self.static and self.id is None:
            problem = f"expected none without {spelled('id')}, got {as_list(self.static)}"
            raise InputError(f"{problem}; name the column of ids, or leave it out", option="static")
        table = SeriesTable(
            path=file,
            time=self.time_column,
            target=self.target,
            covariate=self.covariate,
            known=self.known,
            id=self.id,
            static=self.static,
            fill_gaps=self.fill_gaps,
            every=self.every,
            elapsed=self.elapsed,
            layout=self.layout(),
        )
        return (table.read(),)

    @classmethod
    def as_in_training(cls, provenance: Mapping[str, Any], given: Mapping[str, Any]) -> Self:
        """As any source; a column of times that is given outdoes an order that is kept, and the
        other way round.
        """
        outdone = {"no_time"} if given.get("time") is not None else set()
        outdone |= {"time_column"} if given.get("no_time") else set()
        kept = {name: value for name, value in provenance.items() if name not in outdone}
        return super().as_in_training(kept, given)

    @property
    def time_column(self) -> str | None:
        """None: the rows stand in their order.  Of a model that was trained in Python: ``time``."""
        if self.no_time:
            return None
        return "time" if self.time is None else self.time

    def provenance(self) -> dict[str, str | int | bool]:
        """As of any source; of columns that were found ``fit`` keeps the names."""
        from tidegate.data.series.tables import ALL

        told = super().provenance()
        return {n: v for n, v in told.items() if n != "target_columns" or v != ALL}

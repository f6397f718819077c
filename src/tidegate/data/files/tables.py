"""Tables of a user's: texts, labels, numbers and times, each error with its file, line, column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.data.files.formats import PLAIN, Contents, Layout, line_of_row, read_contents
from tidegate.data.files.items import is_missing, label_text
from tidegate.data.files.numerals import (
    as_floats,
    mark_of,
    what_helps,
    what_helps_text,
    with_points,
)
from tidegate.data.files.text_frame import TextColumn, is_text
from tidegate.data.times.styles import RowError, TimeStyle, read_times
from tidegate.errors import InputError, shown, spelled

if TYPE_CHECKING:
    import polars

__all__ = ["Table", "checked_labels", "read_table", "read_texts", "row_error"]

_TITLES: Final = 10  # first rows, among which the true header may be
_FOOTER: Final = 3  # last rows, of which one that is no row of data may be a footer


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of a table in a file.  Its methods raise InputError with file, line and column."""

    path: str | PathLike[str]
    layout: Layout
    contents: Contents

    @property
    def frame(self) -> Any:
        """The cells, polars' DataFrame or a `TextFrame`.

        Only Parquet and workbooks have types; else all are text, or null.
        """
        return self.contents.frame

    def check(self, columns: Iterable[str] | Mapping[str, str]) -> None:
        """Raise InputError for a column that is not there; of a dict, with the option it is of."""
        options = columns if isinstance(columns, Mapping) else {}
        for name in columns:
            if name not in self.frame.columns:
                problem = _missing_column(name, self.frame.columns, options.get(name))
                if (row := self._row_of_names(name)) is not None:
                    problem = problem.rpartition("; ")[0]
                    problem += "; this row holds the name: take out what stands above it"
                    raise self.error(row, problem)
                raise InputError(problem, file=self.path)

    def _row_of_names(self, name: str) -> int | None:
        """The row in which a column's name stands, where the header is further down."""
        rows = self.frame.head(_TITLES).rows()
        return next((i for i, row in enumerate(rows) if name in map(as_text, row)), None)

    def cells(self, column: str, what: str, *, dates: bool = False) -> list[str]:
        """What the cells of a column say, "" where one is empty.

        Raises InputError, which says ``what`` was expected, for lists, objects and bytes, and
        unless ``dates`` are as good for dates and times.
        """
        self._check_plain(column, what, dates=dates)
        return [as_text(cell) for cell in self.frame[column].to_list()]

    def texts(self, column: str, what: str = "a text", *, dates: bool = False) -> list[str]:
        """The cells of a column, none of which may be empty."""
        cells = self.cells(column, what, dates=dates)
        for row, cell in enumerate(cells):
            if not cell.strip():
                problem = f"expected {what}, got an empty cell; fill it or remove the row"
                raise self.error(row, problem, column)
        return cells

    def labels(self, column: str) -> list[str]:
        """The labels in a column, none of which may be empty, as ``label_text`` has them.

        Of numbers with a decimal comma, the numbers, which other formats write with a point.
        """
        labels = self.texts(column, "a label")
        if self._has_commas and self._own_mark(column) == ",":
            labels = with_points(TextColumn(column, list(labels)), ",").to_list()
        return [label_text(label) for label in labels]

    def numbers(self, column: str) -> np.ndarray:
        """The float64 values of a column, NaN where the cell says that there is none."""
        self._check_plain(column, "a number", dates=True)
        cells = self.frame[column]
        if not is_text(cells):
            cells = self._numbers_or_text(cells)
        if is_text(cells):
            numbers, wrong = as_floats(cells)
            if wrong.any() or self._has_commas:
                numbers, wrong = as_floats(with_points(cells, self._mark_of(column)))
        else:
            numbers = cells.to_numpy().astype(np.float64)
            wrong = np.zeros(len(cells), bool)
        wrong = wrong | np.isinf(numbers)
        if wrong.any():
            raise self._no_number(cells, wrong)
        return numbers

    def numbers_or_labels(self, column: str) -> list[str | float | None]:
        """Of a column of numbers, which it is if it has no other cells, numbers, else labels.

        None where a cell is empty.
        """
        try:
            numbers = self.numbers(column)
        except InputError:
            return [label_text(cell) or None for cell in self.cells(column, "a category")]
        return [None if np.isnan(number) else number for number in numbers.tolist()]

    def mostly_numbers(self, column: str) -> bool:
        """Whether more cells of a column are numbers than text, dates and whatever else.

        What marks that a number is missing counts as neither.
        """
        cells = self.frame[column]
        if column in self.contents.nested:
            return False
        if not is_text(cells):
            return cells.dtype.is_numeric()
        numbers, wrong = as_floats(cells)
        if wrong.any():
            numbers, wrong = as_floats(with_points(cells, self._mark_of(column)))
        return bool(np.isfinite(numbers).sum() > wrong.sum())

    def _numbers_or_text(self, cells: Any) -> Any:
        """A column that is no text, as float64 or as text.  Raises InputError for truth values."""
        import polars

        if cells.dtype == polars.Boolean and cells.is_not_null().any():
            row = int(cells.is_not_null().arg_max() or 0)
            problem = f"expected a number, got {cells[row]}; write 1 for true and 0 for false"
            raise self.error(row, problem, cells.name)
        if cells.dtype.is_numeric():
            return cells.cast(polars.Float64)
        return polars.Series(cells.name, [as_text(c) for c in cells.to_list()], polars.String)

    def times(self, column: str) -> tuple[np.ndarray, TimeStyle]:
        """The times of a column, [N], and how they are written."""
        self._check_plain(column, "a time", dates=True)
        cells = self.frame[column]
        if not is_text(cells):
            cells = _dates_as_text(cells)
        elif self._has_commas and self._own_mark(column) == ",":
            cells = with_points(cells, ",")
        said = [as_text(cell).strip() for cell in cells.to_list()]
        try:
            return read_times(said)
        except RowError as error:
            problem = error.problem
            if 0 < len(cells) - _FOOTER <= error.row:
                problem += "; if it is a footer, take it out"
            elif error.row == 0 and len(said) > 1 and _are_times(said[1:]):
                problem += "; if it is a row of units or a second header, take it out"
            raise self.error(error.row, problem, column) from None

    def with_decimal_commas(self, columns: Sequence[str]) -> frozenset[str]:
        """Those of the columns whose numbers are written with a decimal comma."""
        return frozenset(n for n in columns if self._has_commas and self._mark_of(n) == ",")

    def _mark_of(self, column: str) -> str | None:
        """The decimal mark of a column's numbers, if it is told, or tells it, or the others do."""
        return self._own_mark(column) or self._common_mark

    def _own_mark(self, column: str) -> str | None:
        mark = self.layout.decimal or self._marks[column]
        return None if mark == "," and not self._has_commas else mark

    @cached_property
    def _common_mark(self) -> str | None:
        marks = {self._own_mark(column) for column in self.frame.columns} - {None}
        return marks.pop() if len(marks) == 1 else None

    @cached_property
    def _marks(self) -> dict[str, str | None]:
        """By column, the mark that it tells."""
        return {c.name: mark_of(c) if is_text(c) else None for c in self.frame}

    @cached_property
    def _has_commas(self) -> bool:
        """Whether numbers may have decimal commas: where these separate cells, only if told so."""
        dialect = self.contents.dialect
        separate = dialect.kind in ("csv", "tsv") and dialect.separator == ","
        return self.layout.decimal == "," or (self.layout.decimal is None and not separate)

    def error(self, row: int, problem: str, column: str | None = None) -> InputError:
        """The error at a row (from 0), with its line where the format has lines."""
        return row_error(self.path, row, problem, self.layout, column=column)

    def _check_plain(self, column: str, what: str, *, dates: bool) -> None:
        """Raise InputError for cells that are no text, number or truth value, nor a plain date."""
        cells = self.frame[column]
        found = self.contents.nested.get(column)
        kind = None if found is None else ("a list" if isinstance(found[1], list) else "an object")
        kinds = None if is_text(cells) else _kind_of(cells.dtype, dates=dates)
        if found is None and (kind := kinds) is not None:
            row = int(cells.is_not_null().arg_max() or 0)
            found = row, cells[row]
        if found is None or found[1] is None:
            return
        row, cell = found
        cell = cell.to_list() if hasattr(cell, "to_list") else cell
        remedy = {
            "bytes": "decode the column to text",
            "a date": "write it as text",
            "a time": "write it as text",
        }.get(str(kind), "write it as text, or give each of its parts a column")
        problem = f"expected {what}, got {kind}, {shown(cell, 40)}; {remedy}"
        raise self.error(row, problem, column)

    def _no_number(self, cells: polars.Series, wrong: np.ndarray) -> InputError:
        row, last = int(wrong.argmax()), len(wrong) - 1
        cell = as_text(cells[row])
        remedy = what_helps(cell)
        if remedy is None and 2 * wrong.sum() > len(wrong):  # a column of something else
            texts = [as_text(cells[i]) for i in np.flatnonzero(wrong).tolist()]
            remedy = what_helps_text(texts, times=_are_times([cell]))
        remedy = remedy or "correct it or remove the row"
        if row == 0 < last and wrong.sum() == 1 and not re.search(r"\d", cell):
            remedy += "; if it is a row of units or a second header, take it out"
        elif row > max(0, last - _FOOTER):
            remedy += "; if it is a footer, take it out"
        problem = f"expected a number, got {shown(cell)}; {remedy}"
        return self.error(row, problem, cells.name)


def read_table(
    path: str | PathLike[str],
    columns: Iterable[str] | Mapping[str, str] = (),
    layout: Layout = PLAIN,
) -> Table:
    """The table in a file, which has the ``columns`` and a row at least.

    Of a dict, each column is named by an option, which an error about it says.

    .csv, .tsv (never quoted), .jsonl and .ndjson, each also with .gz, .parquet and .xlsx.  Blank
    lines are no rows, but for those of a table with one column.  Raises InputError naming file,
    line and column for whatever is wrong with the file.
    """
    table = Table(path, layout, read_contents(path, layout))
    table.check(columns)
    if not table.frame.height:
        raise InputError("expected rows, got the header only; add some", file=path)
    return table


def read_texts(path: str | PathLike[str], column: str, layout: Layout = PLAIN) -> list[str]:
    """The texts in a column.  Raises InputError, with the line, for an empty one."""
    return read_table(path, {column: "text"}, layout).texts(column)


def checked_labels(table: Table, column: str, *, allow_one_class: bool = False) -> list[str]:
    """The labels in a column, as str, in the order of the rows.

    Raises InputError for an empty one (with its line), for a single class (unless
    ``allow_one_class``: a test set may have one), and where every row has a label of its own.
    """
    labels = table.labels(column)
    classes = set(labels)
    if len(classes) == 1 and not allow_one_class:
        problem = f"expected two classes or more, got only {shown(labels[0])}; add rows of another"
        raise InputError(problem, file=table.path, column=column)
    if len(classes) == len(labels) >= 20:
        problem = f"expected labels that repeat, got a different one in each of {len(labels)} rows"
        remedy = "are the text and the label column swapped?"
        raise InputError(f"{problem}; {remedy}", file=table.path, column=column)
    return labels


def row_error(
    path: str | PathLike[str],
    row: int,
    problem: str,
    layout: Layout = PLAIN,
    *,
    column: str | None = None,
) -> InputError:
    """The error at a row (from 0) of a table, with its line where the format has lines."""
    line = line_of_row(path, row, layout)
    problem = problem if line is not None else f"row {row + 1}: {problem}"
    return InputError(problem, file=path, line=line, column=column)


def as_text(cell: Any) -> str:
    """What a cell says; "" where it is missing, which NaN is, too."""
    return "" if is_missing(cell) else str(cell)


def _dates_as_text(cells: polars.Series) -> Any:
    """A column of dates as text, in the zone's own time with its offset; another as it is."""
    import polars

    if cells.dtype not in (polars.Date, polars.Datetime):
        return cells
    zone = getattr(cells.dtype, "time_zone", None)
    form = "%Y-%m-%d" if cells.dtype == polars.Date else "%Y-%m-%d %H:%M:%S%.f"
    return cells.dt.strftime(form + ("%:z" if zone else ""))


def _are_times(cells: list[str]) -> bool:
    try:
        read_times(cells)
    except RowError:
        return False
    return True


def _kind_of(dtype: Any, *, dates: bool) -> str | None:
    """What cells of a type are, if no texts, numbers or truth values; None for plain ``dates``."""
    import polars

    kinds = {
        "a list": (polars.List, polars.Array),
        "an object": (polars.Struct, polars.Object),
        "bytes": (polars.Binary,),
    }
    if not dates:
        kinds["a date"] = (polars.Date, polars.Datetime)
        kinds["a time"] = (polars.Time, polars.Duration)
    return next((kind for kind, types in kinds.items() if dtype in types), None)


def _missing_column(name: str, columns: list[str], option: str | None) -> str:
    there = ", ".join(shown(column) for column in columns[:20])
    if len(columns) > 20:
        there += f" and {len(columns) - 20} more"
    problem = f"expected a column {shown(name)}, got {there}"
    if len(columns) == 1 and re.search(r"\S {2,}\S", columns[0]):
        return f"{problem}; are these columns of a fixed width? write them as .csv"
    if len(columns) == 1 and (other := re.search(r"[;\t|,:^~ ]", columns[0].strip())):
        between = "space" if other[0] == " " else other[0]
        remedy = f"are cells separated by {between!r}? then say so: {spelled('separator', between)}"
        return f"{problem}; {remedy}"
    by_lower = {column.strip().lower(): column for column in reversed(columns)}
    close = difflib.get_close_matches(name.strip().lower(), by_lower, n=1)
    if close:
        return f"{problem}; did you mean {shown(by_lower[close[0]])}?"
    first = "".join(columns[:1]).lstrip()
    if first.startswith("#") or any(c.startswith("__UNNAMED__") for c in columns):
        return f"{problem}; is there a title or a comment above the header? take it out"
    by = "" if option is None else f" with {spelled(option, 'COLUMN')}"
    return f"{problem}; name one of these{by}"

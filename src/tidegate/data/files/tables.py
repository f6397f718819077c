"""Tables of a user's: labelled texts and series, each error with its file, line and column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.data.files.formats import PLAIN, Layout, line_of_row, read_frame
from tidegate.data.files.items import is_missing
from tidegate.data.times.styles import RowError, TimeStyle, read_times
from tidegate.errors import InputError, shown, spelled

if TYPE_CHECKING:
    import polars

__all__ = [
    "as_text",
    "numbers_of",
    "read_labelled_texts",
    "read_table",
    "read_texts",
    "row_error",
    "select",
    "times_of",
]

_MISSING: Final = ("", "na", "n/a", "nan", "nil", "none", "null", "?", "-", "--")


def read_table(
    path: str | PathLike[str], columns: Sequence[str] | None = None, layout: Layout = PLAIN
) -> polars.DataFrame:
    """The named columns of a table, all of them where ``columns`` is None.

    .csv, .tsv (never quoted), .jsonl and .ndjson, each also with .gz, .parquet and .xlsx.  Only the
    last two have types; else every cell is text, an empty one null or "".  Blank lines are no rows,
    but for those of a table with one column.
    Raises InputError naming file, line and column for whatever is wrong with the file.
    """
    frame = read_frame(path, layout)
    frame = frame if columns is None else select(path, frame, columns)
    if not frame.height:
        raise InputError("expected rows, got the header only; add some", file=path)
    return frame


def read_texts(path: str | PathLike[str], column: str, layout: Layout = PLAIN) -> list[str]:
    """The texts in a column.  Raises InputError, with the line, for an empty one."""
    return _filled(path, read_table(path, [column], layout)[column], "a text", layout)


def read_labelled_texts(
    path: str | PathLike[str],
    text_column: str,
    label_column: str,
    layout: Layout = PLAIN,
    *,
    allow_one_class: bool = False,
) -> tuple[list[str], list[str]]:
    """Texts and their labels, both as str, in the order of the rows.

    Raises InputError for an empty text or label (with its line), for a single class (unless
    ``allow_one_class``: a test set may have one), and where every row has a label of its own.
    """
    if text_column == label_column:
        problem = f"expected two columns, got {text_column!r} for both text and label"
        raise InputError(f"{problem}; name another", file=path)
    frame = read_table(path, [text_column, label_column], layout)
    texts = _filled(path, frame[text_column], "a text", layout)
    labels = _filled(path, frame[label_column], "a label", layout)
    classes = set(labels)
    if len(classes) == 1 and not allow_one_class:
        problem = f"expected two classes or more, got only {shown(labels[0])}; add rows of another"
        raise InputError(problem, file=path, column=label_column)
    if len(classes) == len(labels) >= 20:
        problem = f"expected labels that repeat, got a different one in each of {len(labels)} rows"
        remedy = "are the text and the label column swapped?"
        raise InputError(f"{problem}; {remedy}", file=path, column=label_column)
    return texts, labels


def _filled(
    path: str | PathLike[str], column: polars.Series, what: str, layout: Layout
) -> list[str]:
    """The cells of a column as text.  Raises InputError, with the line, for an empty one."""
    cells = [as_text(cell) for cell in column.to_list()]
    for row, cell in enumerate(cells):
        if not cell.strip():
            problem = f"expected {what}, got an empty cell; fill it or remove the row"
            raise row_error(path, row, problem, layout, column=column.name)
    return cells


def select(
    path: str | PathLike[str], frame: polars.DataFrame, columns: Sequence[str]
) -> polars.DataFrame:
    """The named columns of a table, each once.  Raises InputError for one that is not there."""
    for name in columns:
        if name not in frame.columns:
            raise InputError(_missing_column(name, frame.columns), file=path)
    return frame.select(list(dict.fromkeys(columns)))


def times_of(
    path: str | PathLike[str], column: polars.Series, layout: Layout = PLAIN
) -> tuple[np.ndarray, TimeStyle]:
    """The times of a column, [N], and how they are written.  Raises InputError, with the line."""
    import polars

    zone = None
    if column.dtype in (polars.Date, polars.Datetime):
        zone = getattr(column.dtype, "time_zone", None)
        # as text, in the zone's own time with its offset
        form = "%Y-%m-%d" if column.dtype == polars.Date else "%Y-%m-%d %H:%M:%S%.f"
        column = column.dt.strftime(form + ("%:z" if zone else ""))
    cells = [as_text(cell).strip() for cell in column.to_list()]
    try:
        return read_times(cells)
    except RowError as error:
        raise row_error(path, error.row, error.problem, layout, column=column.name) from None


def numbers_of(
    path: str | PathLike[str], column: polars.Series, layout: Layout = PLAIN
) -> np.ndarray:
    """The float64 values of a column, NaN where the cell says that there is none."""
    import polars

    if not (column.dtype.is_numeric() or column.dtype in (polars.String, polars.Boolean)):
        column = polars.Series(column.name, [as_text(c) for c in column.to_list()], polars.String)
    if column.dtype == polars.String:
        stripped = column.str.strip_chars()
        missing = stripped.is_null() | stripped.str.to_lowercase().is_in(_MISSING)
        values = stripped.cast(polars.Float64, strict=False)
        wrong = (values.is_null() & ~missing).to_numpy()
    else:
        values = column.cast(polars.Float64, strict=False)
        wrong = (values.is_null() & column.is_not_null()).to_numpy()
    numbers = values.to_numpy().astype(np.float64)
    wrong = wrong | np.isinf(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        cell = as_text(column[row])
        remedy = "correct it or remove the row"
        if re.fullmatch(r"\s*[+-]?[0-9.]*,[0-9]+\s*", cell):
            remedy = f"write a decimal point, or read it with {spelled('decimal', ',')}"
        problem = f"expected a number, got {shown(cell)}"
        raise row_error(path, row, f"{problem}; {remedy}", layout, column=column.name)
    return numbers


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


def _missing_column(name: str, columns: list[str]) -> str:
    there = ", ".join(shown(column) for column in columns[:20])
    if len(columns) > 20:
        there += f" and {len(columns) - 20} more"
    problem = f"expected a column {shown(name)}, got {there}"
    by_lower = {column.strip().lower(): column for column in reversed(columns)}
    close = difflib.get_close_matches(name.strip().lower(), by_lower, n=1)
    if close:
        return f"{problem}; did you mean {shown(by_lower[close[0]])}?"
    if len(columns) == 1 and (other := re.search(r"[;\t|,:^~]", columns[0])):
        remedy = f"are cells separated by {other[0]!r}? then say so with {spelled('separator')}"
        return f"{problem}; {remedy}"
    return f"{problem}; name one of these"


def as_text(cell: Any) -> str:
    """What a cell says; "" where it is missing, which NaN is, too."""
    return "" if is_missing(cell) else str(cell)

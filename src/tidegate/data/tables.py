"""Tables of a user's: labelled texts and series, each error with its file, line and column."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.data.formats import line_of_row, read_frame, shown
from tidegate.data.grid import RowError, Step, advance, grid_positions, parse_time
from tidegate.data.series import Series
from tidegate.errors import InputError

if TYPE_CHECKING:
    import polars

__all__ = [
    "numbers_of",
    "read_labelled_texts",
    "read_series",
    "read_table",
    "read_texts",
    "row_error",
    "select",
    "times_of",
]

_MISSING: Final = ("", "na", "n/a", "nan", "nil", "none", "null", "?", "-", "--")
_PARTS: Final = frozenset(["year", "month", "day", "hour", "minute"])


def read_table(
    path: str | PathLike[str], columns: Sequence[str] | None = None, *, header: bool = True
) -> polars.DataFrame:
    """The named columns of a table, all of them where ``columns`` is None.

    .csv, .tsv (never quoted), .jsonl and .ndjson, each also with .gz, and .parquet.  Only Parquet
    has types; else every cell is text, an empty one null or "", and blank lines are left out.
    Without a ``header`` (.csv or .tsv only) the columns are called 1, 2 and so on.
    Raises InputError naming file, line and column for whatever is wrong with the file.
    """
    frame = read_frame(path, header=header)
    frame = frame if columns is None else select(path, frame, columns)
    if not frame.height:
        raise InputError("expected rows, got the header only; add some", file=path)
    return frame


def read_texts(path: str | PathLike[str], column: str) -> list[str]:
    """The texts in a column.  Raises InputError, with the line, for an empty one."""
    return _filled(path, read_table(path, [column])[column], "a text")


def read_labelled_texts(
    path: str | PathLike[str], text_column: str, label_column: str, *, allow_one_class: bool = False
) -> tuple[list[str], list[str]]:
    """Texts and their labels, both as str, in the order of the rows.

    Raises InputError for an empty text or label (with its line), for a single class (unless
    ``allow_one_class``: a test set may have one), and where every row has a label of its own.
    """
    if text_column == label_column:
        problem = f"expected two columns, got {text_column!r} for both text and label"
        raise InputError(f"{problem}; name another", file=path)
    frame = read_table(path, [text_column, label_column])
    texts = _filled(path, frame[text_column], "a text")
    labels = _filled(path, frame[label_column], "a label")
    classes = set(labels)
    if len(classes) == 1 and not allow_one_class:
        problem = f"expected two classes or more, got only {shown(labels[0])}; add rows of another"
        raise InputError(problem, file=path, column=label_column)
    if len(classes) == len(labels) >= 20:
        problem = f"expected labels that repeat, got a different one in each of {len(labels)} rows"
        remedy = "are the text and the label column swapped?"
        raise InputError(f"{problem}; {remedy}", file=path, column=label_column)
    return texts, labels


def _filled(path: str | PathLike[str], column: polars.Series, what: str) -> list[str]:
    """The cells of a column as text.  Raises InputError, with the line, for an empty one."""
    cells = [_as_text(cell) for cell in column.to_list()]
    for row, cell in enumerate(cells):
        if not cell.strip():
            problem = f"expected {what}, got an empty cell; fill it or remove the row"
            raise row_error(path, row, problem, column=column.name)
    return cells


def read_series(
    path: str | PathLike[str],
    time_column: str,
    target_columns: Sequence[str],
    covariate_columns: Sequence[str] = (),
    *,
    fill_gaps: bool = False,
) -> Series:
    """The series in a table whose rows are sorted by time, one row per step.

    Times are integers, ISO dates or times ("2016-07", "2016-07-01 13:00"; zones become UTC), or
    dates written 20160701.  Missing rows and missing values (empty, NA, NaN, ?) are an InputError
    with the line; with ``fill_gaps`` the last value before them is carried forward, which never
    looks into the future.
    """
    names, covariate_names = tuple(target_columns), tuple(covariate_columns)
    roles = [time_column, *names, *covariate_names]
    if not names or len(set(roles)) != len(roles):
        problem = f"expected one time column and targets, each once, got {', '.join(roles)}"
        raise InputError(f"{problem}; name every column once", file=path)
    table = read_table(path)
    columns = {name.lower() for name in table.columns}
    if time_column.lower() in _PARTS and len(_PARTS & columns) > 1:
        problem = (
            f"expected one column with the whole time, got only its {time_column}; "
            "join the parts as 2010-01-31 13:00, or name a column of row numbers"
        )
        raise InputError(problem, file=path, column=time_column)
    frame = select(path, table, roles)
    times = times_of(path, frame[time_column])
    values = np.column_stack([numbers_of(path, frame[name]) for name in roles[1:]])
    try:
        step, positions = grid_positions(times)
    except RowError as error:
        raise row_error(path, error.row, error.problem, column=time_column) from None
    gaps = np.flatnonzero(np.diff(positions) > 1)
    if len(gaps) and not fill_gaps:
        row, missing = int(gaps[0]) + 1, int((np.diff(positions) - 1).sum())
        due = _clock(advance(times[:row], step, 1)[0])
        problem = f"expected {due}, got {_clock(times[row])} ({missing} rows missing in all)"
        remedy = "insert them, or carry the last value forward with --fill-gaps"
        raise row_error(path, row, f"{problem}; {remedy}", column=time_column)
    holes = np.argwhere(np.isnan(values))
    if len(holes) and (not fill_gaps or holes[0, 0] == 0):
        row, channel = holes[0].tolist()
        problem = f"expected a number, got a missing value (one of {len(holes)})"
        remedy = "fill it, or carry the last value forward with --fill-gaps"
        if fill_gaps:
            remedy = "remove the rows before the first value"
        raise row_error(path, row, f"{problem}; {remedy}", column=roles[1 + channel])
    if len(gaps) or len(holes):
        times, values = _carried_forward(path, times, values, step, positions)
    targets, covariates = values[:, : len(names)], values[:, len(names) :]
    return Series(times, step, names, targets.copy(), covariate_names, covariates.copy())


def select(
    path: str | PathLike[str], frame: polars.DataFrame, columns: Sequence[str]
) -> polars.DataFrame:
    """The named columns of a table, each once.  Raises InputError for one that is not there."""
    for name in columns:
        if name not in frame.columns:
            raise InputError(_missing_column(name, frame.columns), file=path)
    return frame.select(list(dict.fromkeys(columns)))


def times_of(
    path: str | PathLike[str], column: polars.Series, *, header: bool = True
) -> np.ndarray:
    """The times of a column: datetime64[s], or int64 where they are integers."""
    import polars

    if column.dtype.is_temporal():
        moments = column.cast(polars.Datetime("us")).to_numpy()
        fine = moments.astype("datetime64[s]") == moments
        cells, times = column.to_list(), moments.astype("datetime64[s]")
    else:
        cells = [_as_text(cell).strip() for cell in column.to_list()]
        if all(re.fullmatch(r"[+-]?\d{1,18}", cell) for cell in cells):
            return _whole_times(np.array(cells, dtype=np.int64))
        parsed = [parse_time(cell) for cell in cells]
        fine = np.array([time is not None for time in parsed])
        times = np.array(["NaT" if time is None else time for time in parsed], "datetime64[s]")
    if not fine.all():
        row = int(np.argmin(fine))
        problem = f"expected a time such as 2016-07-01 13:00, got {shown(cells[row])}"
        remedy = "rewrite it as year-month-day"
        raise row_error(path, row, f"{problem}; {remedy}", column=column.name, header=header)
    return times


def _whole_times(numbers: np.ndarray) -> np.ndarray:
    """Dates where every number reads as one (20160701), else the numbers."""
    if ((numbers < 1800_01_01) | (numbers > 2200_12_31)).any():
        return numbers
    dates = [parse_time(f"{n // 10_000}-{n // 100 % 100}-{n % 100}") for n in numbers.tolist()]
    return numbers if None in dates else np.array(dates, dtype="datetime64[s]")


def numbers_of(
    path: str | PathLike[str], column: polars.Series, *, header: bool = True
) -> np.ndarray:
    """The float64 values of a column, NaN where the cell says that there is none."""
    import polars

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
        cell = _as_text(column[row])
        remedy = "correct it or remove the row"
        if re.fullmatch(r"\s*[+-]?[\d.]*,\d+\s*", cell):
            remedy = "write a decimal point and no separator of thousands"
        problem = f"expected a number, got {shown(cell)}"
        raise row_error(path, row, f"{problem}; {remedy}", column=column.name, header=header)
    return numbers


def _carried_forward(
    path: str | PathLike[str],
    times: np.ndarray,
    values: np.ndarray,
    step: Step,
    positions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Every time of the grid, and the last known values at each."""
    count = int(positions[-1]) + 1
    if count > 10 * len(times):
        problem = f"expected gaps that can be filled, got {len(times)} rows for {count} times"
        raise InputError(f"{problem}; bring the rows to a regular grid", file=path)
    full_times = np.concatenate([times[:1], advance(times[:1], step, count - 1)])
    full_times[positions] = times
    full = np.full((count, values.shape[1]), np.nan)
    full[positions] = values
    known = np.where(np.isnan(full), 0, np.arange(count)[:, None])
    return full_times, np.take_along_axis(full, np.maximum.accumulate(known, axis=0), axis=0)


def row_error(
    path: str | PathLike[str],
    row: int,
    problem: str,
    *,
    column: str | None = None,
    header: bool = True,
) -> InputError:
    """The error at a row (from 0) of a table, with its line where the format has lines."""
    line = line_of_row(path, row, header=header)
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
    if len(columns) == 1 and (other := re.search(r"[;\t|,]", columns[0])):
        return f"{problem}; cells are separated by {other[0]!r}: use commas, or tabs in a .tsv"
    return f"{problem}; name one of these"


def _as_text(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _clock(time: np.generic) -> str:
    return str(time).replace("T", " ")

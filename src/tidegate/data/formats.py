"""The formats of a table: a polars frame out of a file, and the line on which a row stands.

polars reads the good file fast; only a file that fails or looks suspicious is gone through again,
slowly, to say in one line which line is wrong and what to do.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from tidegate.data.files import decode_utf8, read_bytes
from tidegate.errors import InputError

if TYPE_CHECKING:
    import polars

__all__ = ["line_of_row", "read_frame", "shown"]

_DELIMITERS: Final = {"csv": ",", "tsv": "\t"}
_ENDINGS: Final = ".csv, .tsv, .jsonl, .ndjson (also with .gz) or .parquet"
_SHOWN: Final = 40  # characters of a cell in a message


def read_frame(path: str | PathLike[str], *, header: bool = True) -> polars.DataFrame:
    """The whole table in a file.  Raises InputError, with the line, where it is malformed.

    Without a ``header`` the first row is data, and the columns are called 1, 2 and so on.
    """
    kind = _kind(path)
    if not header and kind not in _DELIMITERS:
        problem = f"expected a .csv or .tsv, which may lack a header, got {kind}"
        raise InputError(f"{problem}; leave out --no-header", file=path)
    if kind == "parquet":
        return _read_parquet(path)
    if kind in _DELIMITERS:
        return _read_delimited(path, _DELIMITERS[kind], header)
    return _read_json_lines(path)


def line_of_row(path: str | PathLike[str], row: int, *, header: bool = True) -> int | None:
    """The line (from 1) on which a row (from 0) of the table starts; None in Parquet."""
    kind = _kind(path)
    if kind == "parquet":
        return None
    if kind in _DELIMITERS:
        records = _records(decode_utf8(read_bytes(path), path), _DELIMITERS[kind], path, header)
        return next(islice(records, row + 1, None))[0]
    return next(islice(_json_texts(path), row, None))[0]


def shown(cell: Any) -> str:
    """A cell as a message quotes it, cut at 40 characters."""
    text = str(cell)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _kind(path: str | PathLike[str]) -> str:
    match = re.search(r"\.(csv|tsv|jsonl|ndjson)(?:\.gz)?$|\.(parquet)$", str(path).lower())
    if match is None:
        raise InputError(f"expected a table ending in {_ENDINGS}; rename or convert it", file=path)
    return match[1] or match[2]


def _read_parquet(path: str | PathLike[str]) -> polars.DataFrame:
    import polars

    data = read_bytes(path)
    try:
        return polars.read_parquet(data)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        reason = str(error).splitlines()[0][:100]
        problem = f"expected a Parquet file, got one that cannot be read ({reason}); write it again"
        raise InputError(problem, file=path) from None


def _read_delimited(
    path: str | PathLike[str], delimiter: str, has_header: bool
) -> polars.DataFrame:
    import polars

    data = read_bytes(path)
    if b"\0" in data:
        decode_utf8(data, path)  # names the line, or UTF-16
    quote = '"' if delimiter == "," else None
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise InputError("expected a header and rows, got blank lines only", file=path)
    try:
        frame = polars.read_csv(
            data,
            infer_schema=False,
            separator=delimiter,
            quote_char=quote,
            has_header=has_header,
        )
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException):
        frame = None
    if frame is not None and not has_header:
        frame.columns = _numbered(frame.width)
    if frame is None or _suspicious(data, frame, delimiter, has_header):
        records = _records(decode_utf8(data, path), delimiter, path, has_header)
        header, *rows = (row for _, row in records)
        cells = [[cell or None for cell in column] for column in zip(*rows, strict=True)]
        cells = cells or [[] for _ in header]
        series = [
            polars.Series(name, column, dtype=polars.String)
            for name, column in zip(header, cells, strict=True)
        ]
        return polars.DataFrame(series)
    blank = polars.all_horizontal(polars.all().is_null() | (polars.all() == ""))
    return frame.filter(~blank)


def _numbered(columns: int) -> list[str]:
    """Names of the columns of a table without a header."""
    return [str(i) for i in range(1, columns + 1)]


def _suspicious(data: bytes, frame: polars.DataFrame, delimiter: str, has_header: bool) -> bool:
    """Whether polars may have read the file otherwise than its writer meant."""
    head = io.StringIO(data[:1_000_000].decode("utf-8", "replace"), newline="")
    with _long_cells_allowed():
        header = next((row for row in _reader(head, delimiter, strict=False) if any(row)), [])
    header = header if has_header else _numbered(len(header))
    odd_quotes = delimiter == "," and data.count(b'"') % 2 == 1
    # polars fills a row that is too short with nulls
    may_be_short = frame.height > 0 and frame[frame.columns[-1]].null_count() > 0
    return header != frame.columns or odd_quotes or may_be_short


@contextmanager
def _long_cells_allowed() -> Iterator[None]:
    limit = csv.field_size_limit(2**31 - 1)  # 131,072 characters otherwise, for the whole process
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _reader(file: io.StringIO, delimiter: str, *, strict: bool) -> Any:
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    return csv.reader(file, delimiter=delimiter, quoting=quoting, strict=strict)


def _records(
    text: str, delimiter: str, path: str | PathLike[str], has_header: bool
) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of the header (numbers, if it has none) and of each row, but blank ones.

    Raises InputError for a quote never closed, a row of another length, a name given twice.
    """
    header: list[str] = []
    line = 1
    with _long_cells_allowed():
        reader = _reader(io.StringIO(text, newline=""), delimiter, strict=True)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                problem = f"expected cells in closed quotes, got an error ({error})"
                remedy = 'close the quote that opens here, or double those inside a cell ("")'
                raise InputError(f"{problem}; {remedy}", file=path, line=line) from None
            if row is None:
                return
            if any(row):
                if not header and not has_header:
                    header = _numbered(len(row))
                    yield line, header
                if not header:
                    header = row
                    _check_header(header, path, line)
                elif len(row) != len(header):
                    raise _ragged(row, header, path, line, reader.line_num)
                yield line, row
            line = reader.line_num + 1


def _check_header(header: list[str], path: str | PathLike[str], line: int) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        problem = f"expected each column name once, got {shown(twice)} {header.count(twice)} times"
        data = all(re.fullmatch(r"\s*[+-]?[\d.]+([eE][+-]?\d+)?\s*", cell) for cell in header)
        remedy = "is the first row data? then read it with --no-header" if data else "rename one"
        raise InputError(f"{problem}; {remedy}", file=path, line=line)


def _ragged(
    row: list[str], header: list[str], path: str | PathLike[str], line: int, last_line: int
) -> InputError:
    first = "first row" if header == _numbered(len(header)) else "header"
    problem = f"expected {len(header)} fields as in the {first}, got {len(row)}"
    remedy = "put cells that hold the separator in quotes" if len(row) > len(header) else "add them"
    if last_line > line:
        remedy = f"is the quote that opens here closed only on line {last_line}?"
    return InputError(f"{problem}; {remedy}", file=path, line=line)


def _read_json_lines(path: str | PathLike[str]) -> polars.DataFrame:
    import polars

    columns: dict[str, list[Any]] = {}
    for count, (line, text) in enumerate(_json_texts(path)):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            problem = f"expected one JSON object, got an error ({str(error)[:80]}); correct it"
            raise InputError(problem, file=path, line=line) from None
        if not isinstance(row, dict):
            problem = f"expected one JSON object per line, got a {type(row).__name__}"
            remedy = "write each row as an object on its own line"
            raise InputError(f"{problem}; {remedy}", file=path, line=line)
        for key in row:  # a column per key, in the order in which they come up
            columns.setdefault(key, [None] * count)
        for key, cells in columns.items():
            cells.append(row.get(key))
    return polars.DataFrame(
        [
            polars.Series(name, [_json_cell(cell) for cell in cells], dtype=polars.String)
            for name, cells in columns.items()
        ]
    )


def _json_texts(path: str | PathLike[str]) -> Iterator[tuple[int, str]]:
    lines = decode_utf8(read_bytes(path), path).split("\n")
    return ((i, line) for i, line in enumerate(lines, 1) if line.strip())


def _json_cell(cell: Any) -> str | None:
    return cell if cell is None or isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)

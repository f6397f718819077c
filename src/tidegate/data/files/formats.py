"""The formats of a table: a polars frame out of a file, and the line on which a row stands."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from tidegate.data.files.delimited import Delimited, separator_of
from tidegate.data.files.encodings import decode, lines_of
from tidegate.data.files.items import is_missing
from tidegate.data.files.reading import can_be_read_again, check_unpacked, read_bytes
from tidegate.errors import InputError, spelled

if TYPE_CHECKING:
    import polars

__all__ = ["PLAIN", "Layout", "line_of_row", "read_frame"]

_OWN_SEPARATORS: Final = {"csv": ",", "tsv": "\t"}
_ENDINGS: Final = ".csv, .tsv, .jsonl, .ndjson (also with .gz), .parquet, .xlsx or .xls"
# A number with a decimal comma, perhaps points between its thousands
_DECIMAL_COMMA: Final = r"^[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,\d+)?(?:[eE][+-]?\d+)?$"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a table is written, where neither its name nor its content says so.

    ``separator`` of cells (None: found out) and ``decimal`` mark (None: a comma where ``;`` or a
    tab separates cells and a column's numbers have one), of .csv and .tsv; ``header``: whether the
    first row names the columns; ``encoding`` of text (None: UTF-8, or as a byte order mark says);
    ``sheet`` of a workbook (None: the first).
    """

    separator: str | None = None
    decimal: str | None = None
    header: bool = True
    encoding: str | None = None
    sheet: str | None = None

    def check(self, kind: str, path: str | PathLike[str]) -> None:
        """Raise InputError for what cannot be, of a file of this kind least of all."""
        if self.separator is not None and (
            len(self.separator) != 1 or self.separator in '"\r\n' or not self.separator.isascii()
        ):
            problem = "expected one character between cells, such as ';', or 'tab'"
            raise InputError(f"{problem}, got {self.separator!r}", option="separator")
        if self.decimal not in (None, ".", ","):
            raise InputError(f"expected '.' or ',', got {self.decimal!r}", option="decimal")
        if self.decimal == "," == self.separator:
            raise InputError(
                "expected another mark than the separator ','; give another of the two",
                option="decimal",
            )
        if not self.header and kind not in _OWN_SEPARATORS:
            problem = f"expected a .csv or .tsv, which may lack a header, got {kind}"
            raise InputError(f"{problem}; leave out {spelled('header', False)}", file=path)
        for option, kinds in (
            ("separator", "csv tsv"),
            ("decimal", "csv tsv"),
            ("encoding", "csv tsv jsonl ndjson"),
            ("sheet", "xlsx xls"),
        ):
            if (value := getattr(self, option)) is not None and kind not in kinds.split():
                problem = f"expected none for a .{kind} file, got {value!r}; leave it out"
                raise InputError(problem, option=option)


PLAIN: Final = Layout()


def read_frame(path: str | PathLike[str], layout: Layout) -> polars.DataFrame:
    """The whole table in a file.  Raises InputError, with the line, where it is malformed."""
    kind = _kind(path)
    layout.check(kind, path)
    if kind == "parquet":
        return _read_parquet(path)
    if kind in ("xlsx", "xls"):
        from tidegate.data.files.workbooks import read_sheet

        return read_sheet(path, layout.sheet)
    if kind in _OWN_SEPARATORS:
        text = _delimited(path, kind, layout)
        frame = text.frame()
        commas = layout.decimal == "," if layout.decimal else text.separator in ";\t"
        return _with_points(frame) if commas else frame
    return _read_json_lines(path, layout.encoding)


def line_of_row(path: str | PathLike[str], row: int, layout: Layout) -> int | None:
    """The line (from 1) on which a row (from 0) of the table starts; None where there is none.

    A format may have no lines, and a pipe cannot be read again.
    """
    kind = _kind(path)
    if kind in ("parquet", "xlsx", "xls") or not can_be_read_again(path):
        return None
    if kind in _OWN_SEPARATORS:
        return _delimited(path, kind, layout).line_of(row)
    return next(islice(_json_texts(path, layout.encoding), row, None))[0]


def _kind(path: str | PathLike[str]) -> str:
    match = re.search(r"\.(csv|tsv|jsonl|ndjson)(?:\.gz)?$|\.(parquet|xlsx?)$", str(path).lower())
    if match is None:
        if os.path.isdir(path):
            raise InputError("expected a table, got a folder; name a file in it", file=path)
        raise InputError(f"expected a table ending in {_ENDINGS}; rename or convert it", file=path)
    return match[1] or match[2]


def _delimited(path: str | PathLike[str], kind: str, layout: Layout) -> Delimited:
    text = decode(read_bytes(path), path, layout.encoding)
    own = _OWN_SEPARATORS[kind]
    separator = layout.separator or separator_of(text, own)
    # a .tsv never has quotes, unless it is one by name only
    quoted = not (kind == "tsv" and separator == "\t")
    return Delimited(text, path, separator=separator, quoted=quoted, header=layout.header)


def _with_points(frame: polars.DataFrame) -> polars.DataFrame:
    """Columns that are numbers with a decimal comma, with a point instead."""
    changed = []
    for column in frame:
        cells = column.str.strip_chars()
        numbers = cells.str.contains(_DECIMAL_COMMA)
        if (cells.str.contains(",", literal=True) & numbers).any() and (
            2 * (numbers.sum() or 0) >= (cells != "").sum()
        ):
            points = cells.str.replace_all(".", "", literal=True)
            points = points.str.replace(",", ".", literal=True)
            changed.append(points.zip_with(numbers.fill_null(False), column).alias(column.name))
    return frame.with_columns(changed)


def _read_parquet(path: str | PathLike[str]) -> polars.DataFrame:
    import io

    import polars

    data = read_bytes(path)
    try:
        lazy = polars.scan_parquet(io.BytesIO(data))
        cells = lazy.select(polars.len()).collect().item() * len(lazy.collect_schema())
        check_unpacked(8 * cells, len(data), path, "write it as CSV")
        return polars.read_parquet(data)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
        reason = (str(error).splitlines() or [""])[0][:100]
        problem = f"expected a Parquet file, got one that cannot be read ({reason}); write it again"
        raise InputError(problem, file=path) from None


def _read_json_lines(path: str | PathLike[str], encoding: str | None) -> polars.DataFrame:
    import polars

    columns: dict[str, list[Any]] = {}
    for count, (line, text) in enumerate(_json_texts(path, encoding)):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            problem = f"expected one JSON object, got an error ({str(error)[:80]}); correct it"
            raise InputError(problem, file=path, line=line) from None
        if not isinstance(row, dict):
            problem = f"expected one JSON object per line, got a {type(row).__name__}"
            remedy = "write each row as an object on its own line"
            raise InputError(f"{problem}; {remedy}", file=path, line=line)
        for key, cell in row.items():  # a column per key, in the order in which they come up
            if (half := _half_a_character([key, cell])) is not None:
                problem = f"expected characters, got half of one, {half}; write both halves"
                raise InputError(problem, file=path, line=line, column=key)
            columns.setdefault(key, [None] * count)
        for key, cells in columns.items():
            cells.append(row.get(key))
    return polars.DataFrame(
        [
            polars.Series(name, [_json_cell(cell) for cell in cells], dtype=polars.String)
            for name, cells in columns.items()
        ]
    )


def _json_texts(path: str | PathLike[str], encoding: str | None) -> Iterator[tuple[int, str]]:
    lines = lines_of(decode(read_bytes(path), path, encoding))
    return ((i, line) for i, line in enumerate(lines, 1) if line.strip())


def _half_a_character(values: Any) -> str | None:
    r"""A surrogate without the one that belongs to it, as JSON writes it: \ud83d."""
    text = json.dumps(values, ensure_ascii=False)
    found = re.search("[\ud800-\udfff]", text)
    return None if found is None else f"\\u{ord(found[0]):x}"


def _json_cell(cell: Any) -> str | None:
    if is_missing(cell):
        return None
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)

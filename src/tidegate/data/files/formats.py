"""The formats of a table: what a file holds, and the line on which a row stands."""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from tidegate.data.files.delimited import Delimited, separator_of
from tidegate.data.files.dialect import Dialect
from tidegate.data.files.encodings import decode, encoding_of, lines_of
from tidegate.data.files.items import is_missing
from tidegate.data.files.reading import Taken, can_be_read_again, check_unpacked, read_bytes
from tidegate.data.files.text_frame import TextFrame, text_frame
from tidegate.errors import InputError, spelled

if TYPE_CHECKING:
    import polars

__all__ = ["PLAIN", "Contents", "Layout", "kind_of_content", "line_of_row", "read_contents"]

_OWN_SEPARATORS: Final = {"csv": ",", "tsv": "\t"}
_ENDINGS: Final = ".csv, .tsv, .jsonl, .ndjson (also with .gz), .parquet, .xlsx or .xls"
_LINE_ENDS: Final = re.compile(r"\r\n|\r|\n")
_FIRST_MEMBER: Final = 300  # bytes of a zip file in which the name of its first member ends
# What spreadsheets write and read above the header.
_SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?(?=\r|\n)', re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a table is written, where neither its name nor its content says so.

    ``separator`` of cells of .csv and .tsv (None: found out); ``decimal`` mark of numbers that are
    text (None: found out, but a comma only where it does not separate cells); ``header``: whether
    the first row names the columns; ``encoding`` of text (None: UTF-8, or as a byte order mark
    says); ``sheet`` of a workbook (None: the first).
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
            got = f"got {self.separator!r}; leave it out, or give one"
            raise InputError(f"{problem}, {got}", option="separator")
        if self.decimal not in (None, ".", ","):
            problem = f"expected '.' or ',', got {self.decimal!r}; give one of these"
            raise InputError(problem, option="decimal")
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
            ("encoding", "csv tsv jsonl ndjson"),
            ("sheet", "xlsx xls"),
        ):
            if (value := getattr(self, option)) is not None and kind not in kinds.split():
                problem = f"expected none for a .{kind} file, got {value!r}; leave it out"
                raise InputError(problem, option=option)


PLAIN: Final = Layout()


@dataclass(frozen=True, eq=False)
class Contents:
    """A table as it came out of a file.

    ``nested``: of JSON, the columns in which a row (from 0) holds a list or an object, the first.
    """

    frame: polars.DataFrame | TextFrame
    dialect: Dialect
    nested: Mapping[str, tuple[int, Any]] = field(default_factory=dict)


def read_contents(path: str | PathLike[str], layout: Layout) -> Contents:
    """The whole table in a file.  Raises InputError, with the line, where it is malformed."""
    kind = _kind(path)
    layout.check(kind, path)
    if kind == "parquet":
        return Contents(_read_parquet(path), Dialect())
    if kind in ("xlsx", "xls"):
        from tidegate.data.files.workbooks import read_sheet

        return Contents(read_sheet(path, layout.sheet), Dialect())
    if kind in _OWN_SEPARATORS:
        return _read_delimited(path, kind, layout)
    return _read_json_lines(path, kind, layout.encoding)


def line_of_row(path: str | PathLike[str], row: int, layout: Layout) -> int | None:
    """The line (from 1) on which a row (from 0) of the table starts; None where there is none.

    A format may have no lines, and a pipe cannot be read again.
    """
    kind = _kind(path)
    if kind in ("parquet", "xlsx", "xls") or not can_be_read_again(path):
        return None
    if kind in _OWN_SEPARATORS:
        return _delimited(read_bytes(path), path, kind, layout).line_of(row)
    return next(islice(_json_texts(path, layout.encoding), row, None))[0]


def kind_of_content(data: bytes) -> str:
    """What kind of file bytes without a name are, by the ending that it would have."""
    if data.startswith(b"PAR1"):
        return "parquet"
    if data.startswith(b"PK\x03\x04"):  # a zip file, which .npz and .xlsx are
        return "npz" if b".npy" in data[:_FIRST_MEMBER] else "xlsx"
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        return "xls"
    text = data.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith((b"@", b"#")) and re.search(rb"(?im)^[ \t]*@data[ \t]*\r?$", data):
        return "ts"
    return "jsonl" if text.startswith(b"{") else "csv"


def _kind(path: str | PathLike[str]) -> str:
    if isinstance(path, Taken):
        kind = kind_of_content(path.content)
        if kind in ("npz", "ts"):
            problem = f"expected a table, got what looks like a .{kind} file"
            raise InputError(f"{problem}; write it as CSV", file=path)
        return kind
    match = re.search(r"\.(csv|tsv|jsonl|ndjson)(?:\.gz)?$|\.(parquet|xlsx?)$", str(path).lower())
    if match is None:
        if os.path.isdir(path):
            raise InputError("expected a table, got a folder; name a file in it", file=path)
        raise InputError(f"expected a table ending in {_ENDINGS}; rename or convert it", file=path)
    return match[1] or match[2]


def _read_delimited(path: str | PathLike[str], kind: str, layout: Layout) -> Contents:
    data = read_bytes(path)
    table = _delimited(data, path, kind, layout)
    frame = table.frame()
    header_quoted, quoted = table.quoting()
    end = _LINE_ENDS.search(table.text)
    dialect = Dialect(
        kind=kind,
        separator=table.separator,
        header=layout.header,
        header_quoted=header_quoted,
        quoted=quoted,
        line_end="\n" if end is None else end[0],
        encoding=encoding_of(data, layout.encoding),
    )
    return Contents(frame, dialect)


def _delimited(data: bytes, path: str | PathLike[str], kind: str, layout: Layout) -> Delimited:
    text = decode(data, path, layout.encoding)
    named = _SEPARATOR_LINE.match(text)
    if named is not None:  # its line stays, a blank one, so that lines are counted as in the file
        text = text[named.end() :]
    own = named[1] if named is not None else _OWN_SEPARATORS[kind]
    separator = layout.separator or (own if named is not None else separator_of(text, own))
    # a .tsv never has quotes, unless it is one by name only
    quoted = not (kind == "tsv" and separator == "\t")
    return Delimited(text, path, separator=separator, quoted=quoted, header=layout.header)


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


def _read_json_lines(path: str | PathLike[str], kind: str, encoding: str | None) -> Contents:
    columns: dict[str, list[Any]] = {}
    nested: dict[str, tuple[int, Any]] = {}
    for count, (line, text) in enumerate(_json_texts(path, encoding)):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            problem = f"expected one JSON object, got an error ({str(error)[:80]})"
            remedy = "write each row as an object on its own line"
            raise InputError(f"{problem}; {remedy}", file=path, line=line) from None
        if not isinstance(row, dict):
            problem = f"expected one JSON object per line, got a {type(row).__name__}"
            remedy = "write each row as an object on its own line"
            raise InputError(f"{problem}; {remedy}", file=path, line=line)
        for key, cell in row.items():  # a column per key, in the order in which they come up
            if (half := _half_a_character([key, cell])) is not None:
                problem = f"expected characters, got half of one, {half}; write both halves"
                raise InputError(problem, file=path, line=line, column=key)
            columns.setdefault(key, [None] * count)
            if isinstance(cell, list | dict):
                nested.setdefault(key, (count, cell))
        for key, cells in columns.items():
            cells.append(row.get(key))
    frame = text_frame({n: [_json_cell(cell) for cell in cells] for n, cells in columns.items()})
    texts = frozenset(n for n, cells in columns.items() if any(isinstance(c, str) for c in cells))
    return Contents(frame, Dialect(kind=kind, quoted=texts), nested)


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

"""Tables as text: cells split by a separator, which may stand in quotes.

polars, where it is, reads the good file fast; only a file that fails or looks suspicious is gone
through again, slowly, to say in one line which line is wrong and what to do.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from tidegate.data.files.text_frame import TextFrame, has_polars, text_frame
from tidegate.errors import InputError, shown, spelled

if TYPE_CHECKING:
    import polars

__all__ = ["Delimited", "separator_of"]

SEPARATORS: Final = (",", ";", "\t", "|")
_HEAD: Final = 1_000_000  # characters looked at to tell the separator, or a table's layout
_LOOKED_AT: Final = 20  # records


def separator_of(text: str, own: str) -> str:
    """What splits the cells of a table: ``own``, unless another one splits it evenly.

    Even: the first records have as many cells as the header, two or more.  Lines of comment before
    the header, which ``records`` refuses, do not count.
    """
    head = re.sub(r"\A(?:\s*#[^\r\n]*[\r\n]+)+", "", text[:_HEAD])
    for separator in (own, *(s for s in SEPARATORS if s != own)):
        reader = _reader(io.StringIO(head, newline=""), separator, quoted=True, strict=False)
        with _long_cells_allowed():
            records = [row for row in islice(reader, _LOOKED_AT) if row]
        if len(text) > _HEAD and len(records) > 1:
            records = records[:-1]  # it may be cut
        widths = {len(row) for row in records}
        if len(widths) == 1 and widths != {1}:
            return separator
    return own


class Delimited:
    """The records of a table's text.

    A line without any cell is no record, unless the table has but one column: then it is an empty
    cell.  Without a ``header`` the columns are called 1, 2 and so on.
    """

    def __init__(
        self, text: str, path: str | PathLike[str], *, separator: str, quoted: bool, header: bool
    ) -> None:
        self.text, self.path, self.separator = text, path, separator
        self.quoted, self.has_header = quoted, header

    def frame(self) -> polars.DataFrame | TextFrame:
        """All rows, every cell as text, an empty one null or "".

        Raises InputError, with the line, where the text is malformed.
        """
        if not self.text.strip("\r\n"):
            raise InputError(
                "expected a header and rows, got blank lines only; check the file", file=self.path
            )
        if has_polars() and (frame := self._read_fast()) is not None:
            return frame
        header, *rows = (row for _, row in self.records())
        cells = [[cell or None for cell in column] for column in zip(*rows, strict=True)]
        return text_frame(dict(zip(header, cells or [[] for _ in header], strict=True)))

    def _read_fast(self) -> polars.DataFrame | None:
        """What polars reads; None where it may have read otherwise than meant."""
        import polars

        try:
            frame = polars.read_csv(
                self.text.encode(),
                infer_schema=False,
                separator=self.separator,
                quote_char='"' if self.quoted else None,
                has_header=self.has_header,
            )
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException):
            return None
        if not self.has_header:
            frame.columns = _numbered(frame.width)
        return None if self._suspicious(frame) else frame

    def quoting(self) -> tuple[bool, frozenset[str]]:
        """Whether names stand in quotes that they do not need, and the columns whose cells do.

        The header and the first row tell.
        """
        if not self.quoted:
            return False, frozenset()
        begun = list(islice(self._raw_records(), 2))
        named = self.has_header and all(cell.startswith('"') for row in begun[:1] for cell in row)
        names = next(self.records())[1]
        cells = [cell for row in begun[self.has_header :][:1] for cell in row]
        in_quotes = {n for n, cell in zip(names, cells, strict=False) if cell.startswith('"')}
        return named, frozenset(in_quotes)

    def _raw_records(self) -> Iterator[list[str]]:
        """The cells of each record as they stand, with their quotes."""
        separator = re.escape(self.separator)
        cell = re.compile(rf'("(?:[^"]|"")*"|[^{separator}\r\n]*)({separator}|\r\n|\r|\n|$)')
        cells: list[str] = []
        head, at = self.text[:_HEAD].lstrip("\r\n"), 0
        while at < len(head) and (found := cell.match(head, at)) is not None:
            cells.append(found[1])
            at = found.end()
            if found[2] != self.separator:
                yield cells
                cells = []

    def line_of(self, row: int) -> int:
        """The line (from 1) on which a row (from 0) starts."""
        return next(islice(self.records(), row + 1, None))[0]

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Line and cells of the header (numbers, if it has none) and of each row.

        Raises InputError for a quote never closed, a row of another length, a name given twice.
        """
        header: list[str] = []
        line = 1
        with _long_cells_allowed():
            file = io.StringIO(self.text, newline="")
            reader = _reader(file, self.separator, quoted=self.quoted, strict=True)
            while True:
                try:
                    row = next(reader, None)
                except csv.Error as error:
                    problem = f"expected cells in closed quotes, got an error ({error})"
                    remedy = 'close the quote that opens here, or double those inside a cell ("")'
                    raise InputError(f"{problem}; {remedy}", file=self.path, line=line) from None
                if row is None:
                    return
                if not row and len(header) == 1:
                    row = [""]
                if row and not header and not self.has_header:
                    header = _numbered(len(row))
                    yield line, header
                if row and not header:
                    header = row
                    _check_header(header, self.path, line)
                elif row and len(row) != len(header):
                    raise self._ragged(row, header, line, reader.line_num)
                if row:
                    yield line, row
                line = reader.line_num + 1

    def _ragged(self, row: list[str], header: list[str], line: int, last_line: int) -> InputError:
        first = "first row" if header == _numbered(len(header)) else "header"
        problem = f"expected {len(header)} fields as in the {first}, got {len(row)}"
        remedy = "add them, or take the line out if it is a title or a footer"
        if header[0].lstrip().startswith("#") or (len(header) == 1 and len(row) > 1):
            title = shown(header[0])
            return InputError(
                f"{problem}; is {title} a title or a comment? take out the lines above the header",
                file=self.path,
                line=line,
            )
        if len(row) > len(header):
            remedy = "take the tab out of the cell that holds one, or write a .csv with quotes"
            if self.quoted:
                remedy = "put cells that hold the separator in quotes"
        if last_line > line:
            remedy = f"is the quote that opens here closed only on line {last_line}?"
        return InputError(f"{problem}; {remedy}", file=self.path, line=line)

    def _suspicious(self, frame: polars.DataFrame) -> bool:
        """Whether polars may have read the text otherwise than its writer meant."""
        import polars

        head = io.StringIO(self.text[:_HEAD], newline="")
        with _long_cells_allowed():
            reader = _reader(head, self.separator, quoted=self.quoted, strict=False)
            header = next((row for row in reader if row), [])
        header = header if self.has_header else _numbered(len(header))
        odd_quotes = self.quoted and self.text.count('"') % 2 == 1
        # polars fills a row that is too short with nulls, and makes a row of a line without cells
        may_be_short = frame.height > 0 and frame[frame.columns[-1]].null_count() > 0
        empty = polars.all_horizontal(polars.all().is_null() | (polars.all() == ""))
        return (
            header != frame.columns
            or odd_quotes
            or may_be_short
            or frame.select(empty.any()).item() is True
        )


def _numbered(columns: int) -> list[str]:
    """Names of the columns of a table without a header."""
    return [str(i) for i in range(1, columns + 1)]


@contextmanager
def _long_cells_allowed() -> Iterator[None]:
    limit = csv.field_size_limit(2**31 - 1)  # 131,072 characters otherwise, for the whole process
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _reader(file: io.StringIO, separator: str, *, quoted: bool, strict: bool) -> Any:
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    return csv.reader(file, delimiter=separator, quoting=quoting, strict=strict)


def _check_header(header: Sequence[str], path: str | PathLike[str], line: int) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        problem = f"expected each column name once, got {shown(twice)} {header.count(twice)} times"
        data = all(re.fullmatch(r"\s*[+-]?[\d.]+([eE][+-]?\d+)?\s*", cell) for cell in header)
        remedy = f"is the first row data? then read it with {spelled('header', False)}"
        remedy = remedy if data else "rename one"
        remedy = remedy if twice.strip() else "name them, or take out the empty columns"
        raise InputError(f"{problem}; {remedy}", file=path, line=line)

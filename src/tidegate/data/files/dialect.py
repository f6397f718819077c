"""How a table in a file is written, so that rows that follow it can be written in the same way."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Final

from tidegate.errors import InputError, shown

__all__ = ["Dialect", "check_table_name"]

_WRITTEN: Final = re.compile(r"\.(csv|tsv|jsonl|ndjson)(?:\.gz)?$", re.IGNORECASE)
_NOT_WRITTEN: Final = re.compile(
    r"\.(parquet|xlsx?|ods|feather|arrow|json)(?:\.gz)?$", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")

Cell = str | float | None  # None: an empty one


def check_table_name(path: str | PathLike[str]) -> None:
    """Raise InputError for the name of a table in a format that is not written."""
    if found := _NOT_WRITTEN.search(str(path)):
        problem = f"expected a name that ends in .csv, .tsv, .jsonl or .ndjson, got .{found[1]}"
        raise InputError(f"{problem}; write a .csv, and convert it", file=path)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The form of a table's text.

    ``kind``: csv, tsv, jsonl or ndjson, as the file's name ends.  ``quoted``: columns whose cells
    stand in quotes although they need none (of JSON: are strings), and ``header_quoted`` whether
    their names do.  ``commas``: columns of numbers that are written with a decimal comma.
    """

    kind: str = "csv"
    separator: str = ","
    header: bool = True
    header_quoted: bool = False
    quoted: frozenset[str] = frozenset()
    commas: frozenset[str] = frozenset()
    line_end: str = "\n"
    encoding: str = "utf-8"

    def for_file(self, path: str | PathLike[str] | None) -> Dialect:
        """The form for a file of that name: this one, unless the name ends as another kind's does.

        A ``.tsv`` keeps the decimal marks; a ``.csv`` of what was none has commas and points.
        """
        found = None if path is None else _WRITTEN.search(str(path))
        kind = self.kind if found is None else found[1].lower()
        if kind == self.kind:
            return self
        if kind == "tsv":
            return Dialect(kind=kind, separator="\t", commas=self.commas)
        return Dialect(kind=kind)

    def with_made(self, columns: Sequence[str]) -> Dialect:
        """The form with these columns more, whose numbers are written as the others' are."""
        return replace(self, commas=self.commas | frozenset(columns)) if self.commas else self

    def text(self, names: Sequence[str], columns: Sequence[Sequence[Cell]]) -> str:
        """A table of these columns: texts as they are, floats with all their digits."""
        rows = zip(*columns, strict=True)
        if self.kind in ("jsonl", "ndjson"):
            lines = [
                json.dumps(
                    {name: self._json(name, cell) for name, cell in zip(names, row, strict=True)},
                    ensure_ascii=False,
                )
                for row in rows
            ]
        else:
            head = [self._cell(name, quote=self.header_quoted) for name in names]
            cells = (
                [
                    self._cell(self._as_text(name, cell), quote=name in self.quoted)
                    for name, cell in zip(names, row, strict=True)
                ]
                for row in rows
            )
            lines = [self.separator.join(row) for row in ([head] if self.header else [])]
            lines += [self.separator.join(row) for row in cells]
        return "".join(line + self.line_end for line in lines)

    def content(self, text: str, path: str | PathLike[str]) -> bytes:
        """The bytes of a file of that name."""
        data = text.encode(self.encoding)
        return gzip.compress(data, mtime=0) if str(path).lower().endswith(".gz") else data

    def _as_text(self, name: str, cell: Cell) -> str:
        # a float of Python's is written with as many digits as tell it from its neighbours
        text = "" if cell is None else cell if isinstance(cell, str) else repr(cell)
        if name in self.commas and _NUMBER.fullmatch(text):
            text = text.replace(".", ",")
        return text

    def _cell(self, text: str, *, quote: bool) -> str:
        special = any(character in text for character in (self.separator, "\r", "\n"))
        if self.kind == "tsv" and self.separator == "\t":  # has no quotes
            if special:
                problem = f"expected a text without tabs and line ends, got {shown(text)}"
                raise InputError(f"{problem}; write a .csv instead of a .tsv")
            return text
        if quote or special or '"' in text or text != text.strip():
            return '"' + text.replace('"', '""') + '"'
        return text

    def _json(self, name: str, cell: Cell) -> Cell:
        if name in self.quoted:
            return self._as_text(name, cell)
        return json.loads(cell) if isinstance(cell, str) and _NUMBER.fullmatch(cell) else cell

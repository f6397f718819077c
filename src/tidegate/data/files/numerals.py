"""Numbers as people write them: with a decimal point or comma, and marks between thousands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tidegate.data.files.text_frame import TextColumn
from tidegate.errors import spelled

if TYPE_CHECKING:
    import polars

__all__ = ["as_floats", "mark_of", "what_helps", "what_helps_text", "with_points"]

# What stands in a cell without a number, in small letters.
_MISSING: Final = (
    *("", "-", "--", "?", ".", "na", "n/a", "n.a.", "nan", "-nan", "nat", "nil", "none", "null"),
    *("missing", "<na>", "#na", "#n/a", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    *("#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!"),  # of spreadsheets
)
_SPACES: Final = " \u00a0\u202f'\u2019"  # between thousands, whatever the decimal mark


def _pattern(decimal: str, thousands: str) -> str:
    grouped = rf"[1-9]\d{{0,2}}(?:(?:{thousands}\d{{3}})+|(?:[{_SPACES}]\d{{3}})+)"
    number = rf"(?:(?:\d+|{grouped})(?:{decimal}\d*)?|{decimal}\d+)"
    return rf"^[+-]?{number}(?:[eE][+-]?\d+)?$"


# By decimal mark; numbers as 12 and 1,234 are of both.
_NUMBER: Final = {",": _pattern(",", r"\."), ".": _pattern(r"\.", ",")}
_MARKED: Final = {mark: re.compile(pattern) for mark, pattern in _NUMBER.items()}
# As polars reads them; Python knows 1_000 and digits of other scripts as well.
_FLOAT: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)", re.IGNORECASE
)


def mark_of(column: polars.Series | TextColumn) -> str | None:
    """The decimal mark that a column of text tells.

    None where each of its numbers could have either one, where they contradict each other, and if
    less than half of its cells are numbers.
    """
    if isinstance(column, TextColumn):
        cells = [t for c in column.cells if c is not None and not _is_missing(t := _plain(c))]
        comma, point = (
            np.array([_MARKED[m].fullmatch(t) is not None for t in cells], bool) for m in ",."
        )
    else:
        cells = _stripped(column).drop_nulls()
        cells = cells.filter(~cells.str.to_lowercase().is_in(_MISSING))
        comma, point = (cells.str.contains(_NUMBER[mark]) for mark in ",.")
    if 2 * ((comma | point).sum() or 0) < max(1, len(cells)):
        return None
    only_comma, only_point = (comma & ~point).any(), (point & ~comma).any()
    if only_comma == only_point:
        return None
    return "," if only_comma else "."


def with_points(column: Any, mark: str | None) -> Any:
    """A column of text, its numbers with a decimal point and nothing between thousands.

    Those of the decimal ``mark``; None: of a point, a comma being left where it stands.
    """
    if isinstance(column, TextColumn):
        cells = [None if c is None else _with_point(c, mark) for c in column.cells]
        return TextColumn(column.name, cells)
    cells = _stripped(column)
    numbers = cells.str.contains(_NUMBER[mark or "."])
    if mark is None:
        numbers &= ~cells.str.contains(",", literal=True)
    between = "." if mark == "," else ","
    plain = cells.str.replace_all(f"[{re.escape(between)}{_SPACES}]", "")
    plain = plain.str.replace(",", ".", literal=True)
    return plain.zip_with(numbers.fill_null(False), column)


def _with_point(cell: str, mark: str | None) -> str:
    """The same of one cell."""
    text = _plain(cell)
    if _MARKED[mark or "."].fullmatch(text) is None or (mark is None and "," in text):
        return cell
    between = "." if mark == "," else ","
    return re.sub(f"[{re.escape(between)}{_SPACES}]", "", text).replace(",", ".", 1)


def _plain(cell: str) -> str:
    return re.sub("^\u2212", "-", cell.strip())


def _is_missing(text: str) -> bool:
    return text.lower() in _MISSING


def _stripped(column: polars.Series) -> polars.Series:
    """Cells without spaces around them, the minus of typesetters as that of computers."""
    return column.str.strip_chars().str.replace("^\u2212", "-")


def as_floats(column: polars.Series | TextColumn) -> tuple[np.ndarray, np.ndarray]:
    """Numbers with a decimal point out of text, float64 [N], NaN where none is; which cells say
    neither, bool [N].
    """
    if isinstance(column, TextColumn):
        texts = [None if cell is None else cell.strip() for cell in column.cells]
        numbers = [t if t is not None and _FLOAT.fullmatch(t) else None for t in texts]
        wrong = [
            n is None and t is not None and not _is_missing(t)
            for t, n in zip(texts, numbers, strict=True)
        ]
        values = [np.nan if n is None else float(n) for n in numbers]
        return np.array(values, np.float64), np.array(wrong, bool)
    import polars

    text = column.str.strip_chars()
    values = text.cast(polars.Float64, strict=False)
    unread = values.is_null() & text.is_not_null()
    if unread.any():
        unread &= ~text.str.to_lowercase().is_in(_MISSING)
    return values.to_numpy().astype(np.float64), unread.to_numpy()


def what_helps_text(cells: Sequence[str], *, times: bool) -> str | None:
    """What to do about a column that holds these in place of numbers, or times."""
    if times:
        return "leave the column out, or name it as the column of times"
    if 2 * len(kinds := set(cells)) > len(cells):
        return None
    return (
        f"leave the column out, or write {len(kinds)} columns of 0 and 1 in its place, one for "
        "each of its values"
    )


def what_helps(cell: str) -> str | None:
    """What to do about a cell that is no number, where that can be told."""
    cell = cell.strip()
    comma, point = (re.fullmatch(_NUMBER[mark], cell) is not None for mark in ",.")
    if comma and point and "," in cell:
        least = cell.replace(",", "")
        marks = f"{spelled('decimal', ',')} or {spelled('decimal', '.')}"
        return f"is it {cell.replace(',', '.')} or {least}? say so: {marks}"
    if comma and "," in cell:
        return f"write a decimal point, or read it with {spelled('decimal', ',')}"
    if cell.lower() in ("true", "false", "yes", "no"):
        return "write 1 for true and 0 for false"
    unit = re.fullmatch(r"[+-]?[\d.,]*\d\s?([^\d\s.,]{1,6})|([^\d\s.,+-]{1,3})\s?[\d.,]+", cell)
    if unit is not None:
        return f"write the number without {unit[1] or unit[2]}"
    return None

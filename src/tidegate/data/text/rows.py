"""Rows of texts: several columns of text read as one, and categories and numbers beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from tidegate.data.files.items import as_items, as_texts
from tidegate.data.text.conditions import ConditionedTexts, Conditions
from tidegate.errors import InputError, shown

__all__ = [
    "BETWEEN",
    "Row",
    "joined",
    "learned_conditions",
    "numbers_beside",
    "rows_of",
    "text_of",
]

BETWEEN: Final = "\N{DOUBLE VERTICAL LINE}"  # of one column's text and the next one's, a token


class Row(NamedTuple):
    """A text, and the cells beside it by column: str, float, or None where one is missing."""

    text: str
    cells: Mapping[str, str | float | None]


def text_of(one: str | Row) -> str:
    """The text of an input."""
    return one if isinstance(one, str) else one.text


def joined(parts: Sequence[str]) -> str:
    """Texts of several columns as one, with a mark between them that none of them holds."""
    if len(parts) == 1:
        return parts[0]
    return f" {BETWEEN} ".join(part.replace(BETWEEN, " ") for part in parts)


def rows_of(texts: Any, conditions: Sequence[str] = (), *, partly: bool = False) -> list[Any]:
    """What a user gives as texts, as a list of str, or of `Row` where there are conditions.

    ``texts``: a collection of texts, or of rows; or a frame or a dict of columns, of which those
    that ``conditions`` names are categories or numbers, and all others texts.  ``partly``: texts
    may come without the columns, which are then unknown.  Raises InputError.
    """
    if hasattr(texts, "collect") and hasattr(texts, "collect_schema"):  # a polars LazyFrame
        texts = texts.collect()
    if isinstance(texts, list) and any(isinstance(one, Row) for one in texts):
        return texts
    names = _columns(texts)
    by_name: Any = texts
    if names is None and conditions and not partly:
        problem = f"expected a frame or a dict with a column {shown(conditions[0])}"
        raise InputError(f"texts: {problem}, got {type(texts).__name__}; give one")
    if names is None or (len(names) == 1 and not conditions):
        return as_texts(texts)
    for name in conditions:
        if name not in names:
            _missing(name, names)
    read = [name for name in names if name not in conditions]
    if not read:
        problem = f"texts: expected a column of texts beside {', '.join(map(shown, conditions))}"
        raise InputError(f"{problem}, got none; give one")
    columns = [as_texts(as_items(by_name[name], f"texts: {name}")) for name in read]
    whole = [joined(parts) for parts in zip(*columns, strict=True)]
    if not conditions:
        return whole
    found = ConditionedTexts.of(whole, {name: by_name[name] for name in conditions})
    return [
        Row(text, dict(zip(conditions, cells, strict=True)))
        for text, *cells in zip(found.texts, *found.columns.values(), strict=True)
    ]


def numbers_beside(conditions: Conditions, rows: Sequence[str | Row]) -> np.ndarray:
    """What stands beside each row, float32 [N, K]; zeros are unknown.  Raises InputError."""
    cells = [{} if isinstance(one, str) else one.cells for one in rows]
    columns = {name: [own.get(name) for own in cells] for name in conditions.names}
    return conditions.numbers(columns)


def learned_conditions(rows: Sequence[str | Row]) -> Conditions | None:
    """The conditions that stand beside rows; None where they are texts alone."""
    first = next((one for one in rows if isinstance(one, Row)), None)
    if first is None or not first.cells:
        return None
    names, cells = list(first.cells), [one.cells for one in rows if isinstance(one, Row)]
    return Conditions.learn({name: [own.get(name) for own in cells] for name in names})


def _columns(texts: Any) -> list[str] | None:
    """The names of a frame's columns, or of a dict's; None of what is neither."""
    if isinstance(texts, Mapping):
        return [str(name) for name in texts]
    names = getattr(texts, "column_names", getattr(texts, "columns", None))
    return None if names is None else [str(name) for name in names]


def _missing(name: str, names: Sequence[str]) -> None:
    problem = f"expected a column {shown(name)}, got {', '.join(map(shown, names))}"
    raise InputError(f"conditions: {problem}; name one of these")

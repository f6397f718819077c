"""Several labels in each cell of a table: lists of JSON and Parquet, or text with a separator."""

from __future__ import annotations

import json
from typing import Any, Final

from tidegate.data.files.items import is_missing, label_text
from tidegate.data.files.tables import Table
from tidegate.data.files.text_frame import is_text
from tidegate.errors import InputError, shown, spelled

__all__ = ["NAMED", "label_lists"]

NAMED: Final = {"tab": "\t", "space": " ", "comma": ",", "semicolon": ";"}


def label_lists(
    table: Table, column: str, separator: str | None, *, learning: bool = False
) -> list[list[str]] | None:
    """The labels of each row, none where a cell is empty; None where each cell is one label.

    ``separator``: what stands between labels in a cell of text.  Raises InputError, with the line,
    for a cell that is no list among lists, for a separator where they are lists already, and where
    what is learned from has it nowhere.
    """
    cells = _lists(table, column)
    if cells is not None:
        if separator is not None:
            problem = f"expected none, since the cells of {column} are lists, got {separator!r}"
            raise InputError(f"{problem}; leave it out", option="labels_separator")
        return [_labels(table, column, row, cell) for row, cell in enumerate(cells)]
    if separator is None:
        return None
    mark = NAMED.get(separator, separator)
    if not mark:
        raise InputError("expected a mark, got ''; name one, such as ;", option="labels_separator")
    found = [
        _distinct(label_text(part) for part in cell.split(mark))
        for cell in table.cells(column, "labels")
    ]
    if learning and all(len(labels) == 1 for labels in found):
        problem = f"expected labels with {mark!r} between them in a cell at least, got none"
        remedy = f"write another one, or leave {spelled('labels_separator')} out"
        raise InputError(f"{problem}; {remedy}", option="labels_separator")
    return found


def _lists(table: Table, column: str) -> list[Any] | None:
    """The cells of a column that holds lists, None for an empty one; None for another column."""
    if isinstance(table.contents.nested.get(column, (0, None))[1], list):
        return [None if cell is None else _parsed(cell) for cell in table.frame[column].to_list()]
    cells = table.frame[column]
    if not is_text(cells) and str(cells.dtype).startswith(("List", "Array")):
        return cells.to_list()
    return None


def _parsed(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:  # a text among lists
        return cell


def _labels(table: Table, column: str, row: int, cell: Any) -> list[str]:
    if is_missing(cell):
        return []
    if not isinstance(cell, list):
        problem = f"expected a list of labels, got {shown(cell)}; write one"
        raise table.error(row, problem, column)
    for one in cell:
        if is_missing(one) or not isinstance(one, str | int | float) or not str(one).strip():
            problem = f"expected labels in a list, got {shown(one)}; write one, or leave it out"
            raise table.error(row, problem, column)
    return _distinct(label_text(str(one)) for one in cell)


def _distinct(labels: Any) -> list[str]:
    return [label for label in dict.fromkeys(labels) if label]

"""Texts with conditions: categories and numbers that say of each text what it is to be.

In a model file they stand in the encoder's object under the key ``conditions``, a list with an
object for each column: ``name``, and either ``categories``, a list of 1 to 65 536 different
strings, or ``mean`` and ``scale``, numbers, the second above 0.  A category is a vector that is 1
at its place and 0 elsewhere, a number its distance from the mean by the scale; zeros are unknown.
All columns one after another are a text's condition.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Final

import numpy as np

from tidegate.data.files.items import as_items, as_texts, is_missing, label_text
from tidegate.data.files.reading import File
from tidegate.data.files.tables import Table
from tidegate.errors import InputError, shown

__all__ = ["END", "START", "Category", "ConditionedTexts", "Conditions", "Quantity"]

# The characters that Unicode has for it; no text is given that holds one of them.
START: Final = "\x02"
END: Final = "\x03"
UNNAMED: Final = "condition"  # the column that is given alone, as a list
_MOST: Final = 2**16  # numbers of a condition
_LISTED: Final = 20  # categories that an error lists


@dataclass(frozen=True, eq=False)
class ConditionedTexts:
    """N texts, and of each column of conditions N cells: str, float, or None where one is missing.

    ``texts`` is what each is, to be read by itself from its start to its end.
    """

    texts: list[str]
    columns: dict[str, list[str | float | None]]

    @classmethod
    def of(cls, texts: Any, conditions: Any) -> ConditionedTexts:
        """Texts with a frame, a dict of lists, or one list of conditions, called ``condition``.

        Raises InputError for what is no such, and where they differ in number.
        """
        texts = as_texts(texts)
        columns = {n: [_cell(c) for c in cells] for n, cells in _columns(conditions).items()}
        for name, cells in columns.items():
            if len(cells) != len(texts):
                problem = f"expected one for each of {len(texts)} texts, got {len(cells)}"
                raise InputError(f"conditions: {problem} in {shown(name)}; give as many")
        return cls(texts, columns)

    @classmethod
    def read(cls, table: Table, text: str, conditions: Sequence[str]) -> ConditionedTexts:
        """Those of a table.  A column of which every cell is a number or empty holds numbers.

        Raises InputError, with the line, for an empty text.
        """
        texts = table.texts(text)
        return cls(texts, {name: _read_column(table, name) for name in conditions})

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, rows: np.ndarray) -> ConditionedTexts:
        """Those of these ``rows``."""
        columns = {name: [cells[i] for i in rows] for name, cells in self.columns.items()}
        return replace(self, texts=[self.texts[i] for i in rows], columns=columns)

    def pieces(self) -> Iterator[ConditionedTexts]:
        """Each text by itself."""
        for i in range(len(self)):
            yield self.part(np.array([i]))


@dataclass(frozen=True)
class Category:
    """A column of categories."""

    name: str
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.categories)

    def numbers(self, cells: Sequence[Any], *, known: bool = False) -> np.ndarray:
        """A row for each cell, [N, width].

        ``known``: raise InputError for a category that training did not have, which is else read as
        unknown.
        """
        place = {category: i for i, category in enumerate(self.categories)}
        rows = np.zeros((len(cells), self.width), np.float32)
        for row, cell in zip(rows, map(_category, cells), strict=True):
            if cell in place:
                row[place[cell]] = 1
            elif known and cell is not None:
                listed = ", ".join(shown(one) for one in self.categories[:_LISTED])
                if (more := len(self.categories) - _LISTED) > 0:
                    listed += f" and {more} more"
                problem = f"expected a {self.name} of the training, one of {listed}"
                raise InputError(f"{problem}, got {shown(cell)}; give one of them")
        return rows

    def told(self) -> list[str]:
        """What a model says of the column."""
        return list(self.categories)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "categories": list(self.categories)}


@dataclass(frozen=True)
class Quantity:
    """A column of numbers."""

    name: str
    mean: float
    scale: float

    width = 1

    def numbers(self, cells: Sequence[Any], *, known: bool = False) -> np.ndarray:  # noqa: ARG002
        """A row for each cell, [N, 1].  Raises InputError for what is no number."""
        values = [0.0 if cell is None else self._scaled(cell) for cell in cells]
        return np.array(values, np.float32).reshape(-1, 1)

    def _scaled(self, cell: str | float) -> float:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        scaled = (value - self.mean) / self.scale
        if not math.isfinite(np.float32(min(max(scaled, -1e30), 1e30))) or abs(scaled) >= 1e30:
            problem = f"expected a number for {self.name}, as in training, got {shown(cell)}"
            raise InputError(f"{problem}; correct it, or leave it empty")
        return scaled

    def told(self) -> str:
        """What a model says of the column."""
        return f"a number, {self.mean:.4g} in the mean with a deviation of {self.scale:.4g}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "mean": self.mean, "scale": self.scale}


@dataclass(frozen=True)
class Conditions:
    """The columns of conditions that a model knows."""

    columns: tuple[Category | Quantity, ...]

    @classmethod
    def learn(cls, columns: Mapping[str, Sequence[Any]]) -> Conditions:
        """Those of the training part: its categories, its means and deviations.

        Raises InputError for a column that says the same of every text, and for too many
        categories.
        """
        if not columns:
            raise InputError("conditions: expected a column or more, got none; leave it out")
        found: list[Category | Quantity] = []
        for name, cells in columns.items():
            given = [cell for cell in cells if cell is not None]
            if len(set(map(_category, given))) < 2:
                got = f"got {shown(given[0])} alone" if given else "got none"
                problem = f"expected two different values or more in {shown(name)}, {got}"
                raise InputError(f"conditions: {problem}; leave this condition out")
            if any(isinstance(cell, str) for cell in given):
                found.append(Category(name, tuple(sorted({str(_category(c)) for c in given}))))
            else:
                values = np.array(given, np.float64)
                found.append(Quantity(name, float(values.mean()), float(values.std())))
        conditions = cls(tuple(found))
        if conditions.size > _MOST:
            widest = max(found, key=lambda one: one.width)
            problem = f"expected at most {_MOST} categories, got {widest.width}"
            raise InputError(f"conditions: {problem} in {shown(widest.name)}; leave it out")
        return conditions

    @property
    def size(self) -> int:
        """How many numbers a condition is."""
        return sum(column.width for column in self.columns)

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def columns_of_numbers(self) -> np.ndarray:
        """Which column each number of a condition belongs to, int [C]."""
        return np.repeat(np.arange(len(self.columns)), [c.width for c in self.columns])

    def numbers(self, texts: ConditionedTexts) -> np.ndarray:
        """The condition of each text, float32 [N, C].  Raises InputError as ``of_cells``."""
        return self.of_cells(texts.columns, len(texts))

    def of_cells(self, columns: Mapping[str, Sequence[Any]], count: int) -> np.ndarray:
        """The conditions that ``count`` cells of each column say, float32 [count, C].

        Categories that training did not have are unknown.  Raises InputError for a missing column.
        """
        parts = [np.zeros((count, 0), np.float32)]
        for column in self.columns:
            if column.name not in columns:
                there = ", ".join(map(shown, columns)) or "none"
                problem = f"expected a column {shown(column.name)}, as in training, got {there}"
                raise InputError(f"conditions: {problem}; give it, its cells empty if need be")
            parts.append(column.numbers(columns[column.name]))
        return np.concatenate(parts, axis=1)

    def given(self, given: Any) -> np.ndarray:
        """The condition that a dict from names to values says, float32 [C]; the others are unknown.

        Raises InputError for a name or a category that training did not have.
        """
        if given is None:
            given = {}
        if not isinstance(given, Mapping):
            problem = f"expected a dict from conditions to values, got {type(given).__name__}"
            example = {self.columns[0].name: "..."}
            raise InputError(f"{problem}; give one, such as {example}", option="given")
        known = {column.name: column for column in self.columns}
        for name in given:
            if name not in known:
                listed = ", ".join(map(shown, known))
                problem = f"expected conditions of the training, {listed}, got {shown(name)}"
                raise InputError(f"{problem}; name one of them", option="given")
        parts = []
        for name, column in known.items():
            try:
                parts.append(column.numbers([_cell(given.get(name))], known=True)[0])
            except InputError as e:
                raise InputError(str(e), option="given") from None
        return np.concatenate(parts)

    def told(self) -> dict[str, Any]:
        """Of each column its categories, or what its numbers are."""
        return {column.name: column.told() for column in self.columns}

    def to_json(self) -> list[dict[str, Any]]:
        return [column.to_json() for column in self.columns]

    @classmethod
    def from_json(cls, description: Any) -> Conditions:
        """What ``to_json`` described.  Raises ValueError for anything else."""
        if not isinstance(description, list) or not description:
            raise ValueError("conditions: expected a list of columns")
        found = [_column_from_json(one) for one in description]
        if len({column.name for column in found}) < len(found):
            raise ValueError("conditions: expected columns of different names")
        return cls(tuple(found))


def _column_from_json(one: Any) -> Category | Quantity:
    keys = set(one) if isinstance(one, dict) else set()
    if "name" not in keys or type(one["name"]) is not str:
        raise ValueError("conditions: expected an object with a name for each column")
    if keys == {"name", "categories"}:
        several = one["categories"]
        strings = isinstance(several, list) and all(type(c) is str for c in several)
        if not strings or not 1 <= len(set(several)) == len(several) <= _MOST:
            raise ValueError(f"conditions: expected 1 to {_MOST} different strings as categories")
        return Category(one["name"], tuple(several))
    if keys == {"name", "mean", "scale"}:
        numbers = one["mean"], one["scale"]
        are_good = all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
        if not are_good or one["scale"] <= 0:
            raise ValueError("conditions: expected finite numbers, the scale above 0")
        return Quantity(one["name"], *map(float, numbers))
    raise ValueError("conditions: expected categories, or mean and scale")


def _columns(conditions: Any) -> dict[str, list[Any]]:
    """The columns of a frame or a dict by name; a list is one."""
    if hasattr(conditions, "collect") and hasattr(conditions, "collect_schema"):  # a LazyFrame
        conditions = conditions.collect()
    names = getattr(conditions, "column_names", getattr(conditions, "columns", None))
    if isinstance(conditions, Mapping):
        names = list(conditions)
    if names is None:
        name = getattr(conditions, "name", None)
        name = name if isinstance(name, str) and name else UNNAMED
        return {name: as_items(conditions, "conditions")}
    return {str(name): as_items(conditions[name], f"conditions: {name}") for name in names}


def _cell(cell: Any) -> str | float | None:
    """What a cell says; None where it is missing."""
    if cell is None or is_missing(cell):
        return None
    if isinstance(cell, Real) and not isinstance(cell, bool) and type(cell).__name__ != "bool_":
        value = float(cell)
        if not math.isfinite(value):
            problem = f"conditions: expected finite numbers, got {shown(cell)}"
            raise InputError(f"{problem}; leave the cell empty")
        return value
    return label_text(str(cell)) or None


def _category(cell: str | float | None) -> str | None:
    """A cell as one of several categories."""
    return cell if cell is None else label_text(str(cell))


def _read_column(table: Table, name: str) -> list[str | float | None]:
    try:
        numbers = table.numbers(name)
    except InputError:
        return [label_text(cell) or None for cell in table.cells(name, "a category")]
    return [None if math.isnan(number) else number for number in numbers.tolist()]


def conditioned_table(
    file: File, text: str, conditions: Sequence[str], layout: Any
) -> ConditionedTexts:
    """The texts and conditions of a table in a file.  Raises InputError."""
    from tidegate.data.files.tables import read_table

    if text in conditions:
        problem = f"expected columns beside the texts, got {text!r} for both text and condition"
        raise InputError(f"{problem}; name another", file=file)
    table = read_table(file, {text: "text", **dict.fromkeys(conditions, "condition")}, layout)
    return ConditionedTexts.read(table, text, conditions)

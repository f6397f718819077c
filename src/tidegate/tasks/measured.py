"""Figures by name, and those of cheap predictions beside them, as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from tidegate.output.html_tables import html_table

# What stands before a figure's name where it is that of a cheap or trivial prediction.
BASELINES = ("baseline", "naive", "seasonal_naive", "mean")


class Line(NamedTuple):
    """A figure and, by whose they are, the same figures of cheap predictions."""

    name: str
    value: Any
    beside: dict[str, Any]


def lines_of(figures: Mapping[str, Any]) -> list[Line]:
    """Each figure once, in their order, those of baselines beside it."""
    others = {f"{b}_{name}" for b in BASELINES for name in figures if f"{b}_{name}" in figures}
    return [
        Line(name, value, {b: figures[of] for b in BASELINES if (of := f"{b}_{name}") in figures})
        for name, value in figures.items()
        if name not in others
    ]


class Measured(dict[str, Any]):
    """Figures by name, as ``evaluate`` gives them; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        return figures_table({"": self})


def figures_table(parts: Mapping[str, Mapping[str, Any]], title: str = "") -> str:
    """A row for each figure, columns for each part it is of and for those beside it there."""
    lines = {part: {one.name: one for one in lines_of(of)} for part, of in parts.items()}
    names = list(dict.fromkeys(name for of in lines.values() for name in of))
    columns = [
        (part, b)
        for part, of in lines.items()
        for b in ("", *(b for b in BASELINES if any(b in one.beside for one in of.values())))
    ]
    rows = []
    for name in names:
        cells = []
        for part, b in columns:
            one = lines[part].get(name)
            found = None if one is None else one.beside.get(b) if b else one.value
            cells.append("" if found is None else number_text(found))
        rows.append([name.replace("_", " "), *cells])
    heads = [" ".join(filter(None, (part, b.replace("_", " ")))) for part, b in columns]
    return html_table(["", *heads] if any(heads) else [], rows, title)


def number_text(value: Any) -> str:
    """A number to four figures; what is undefined says so."""
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.4g}"
    return str(value)

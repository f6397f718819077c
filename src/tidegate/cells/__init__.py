"""Every cell, by name.  A new one is one function in one file of this folder, found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from tidegate.cells.definition import Cell
from tidegate.cells.regularised import (
    Probabilities,
    scales_of,
    with_candidate_dropout,
    with_zoneout,
)
from tidegate.errors import InputError, shown


def _declared() -> dict[str, Cell]:
    found = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for value in vars(importlib.import_module(f"{__name__}.{module}")).values():
            if isinstance(value, Cell):
                found.setdefault(value.name, value)
    return found


CELLS: dict[str, Cell] = _declared()
_NAMED = {cell.short: cell for cell in CELLS.values() if cell.short} | CELLS
NAMES = [cell.short or name for name, cell in CELLS.items()]  # as a person writes them
_VARIANTS = [name for name in NAMES if _NAMED[name].variant_of]
TO_TRY = [name for name in NAMES if name not in _VARIANTS]  # by those who search
_FIRST = [name for name in TO_TRY if _NAMED[name].torch]
# for help texts
USES = " ".join(
    [
        *(f"{name}: {_NAMED[name].use}" for name in _FIRST),
        f"Others: {', '.join(name for name in TO_TRY if name not in _FIRST)}; tidegate cells says "
        "when to take which.",
        f"Variants of others, to compare them with: {', '.join(_VARIANTS)}.",
    ]
)
PROJECTED = ", ".join(name for name, cell in CELLS.items() if cell.is_projected)
HEADED = ", ".join(name for name, cell in CELLS.items() if cell.heads)
_OWN: dict[str, Cell] = {}  # readers' own cells of this process, by name and by key


def add_own(cell: Cell) -> None:
    """Let `get_cell` find a reader's own cell by its key and, until the next of it, by its name.

    Raises ValueError, with the line of its definition, for a name that is taken.
    """
    if cell.name in _NAMED:
        raise cell.trace.refusal(
            "expected a name that no cell of tidegate has, got one of these; call it otherwise"
        )
    _OWN[cell.name] = _OWN[cell.key] = cell


def add_stored(cell: Cell) -> None:
    """Let `get_cell` find by its key a cell that a file brought, unless it is known already."""
    _OWN.setdefault(cell.key, cell)


def regularised(cell: Cell, zoneout: Probabilities = (), candidate_dropout: bool = False) -> Cell:
    """The cell with dropout of its candidates, and with zoneout of some states, or as it is.

    `get_cell` finds it by its key from then on.
    """
    made = with_candidate_dropout(cell) if candidate_dropout else cell
    made = with_zoneout(made, zoneout) if zoneout else made
    if made is not cell:
        _OWN.setdefault(made.key, made)
    return made


def zoneout_of(cell: Cell, probability: float) -> Probabilities:
    """The same for each state that may stay as it was while others are new."""
    return tuple((name, probability) for name in may_stay(cell)) if probability else ()


def may_stay(cell: Cell) -> tuple[str, ...]:
    """The states that zoneout is for: of H units, which those of a projection are not, and with a
    meaning of their own, which those have not that are at one scale with others (`scales_of`).
    """
    scales = scales_of(cell)
    tied = {*scales, *scales.values()}
    return tuple(n for n, state in cell.states.items() if state.width == "H" and n not in tied)


def get_cell(name: str | Cell) -> Cell:
    """The cell called ``name``: its name, its short name or its key.  Raises InputError."""
    if isinstance(name, Cell):
        return name
    places = (CELLS, _NAMED, _OWN) if isinstance(name, str) else ()
    cell = next((place[name] for place in places if name in place), None)
    if cell is None:
        raise InputError(unknown(name))
    return cell


def get_own(key: str) -> Cell | None:
    """The reader's own cell of this key, if this process has it."""
    found = _OWN.get(key)
    return found if found is not None and found.key == key else None


def unknown(name: Any) -> str:
    """What to tell of a name that no cell has."""
    own, _, digest = name.partition("@") if isinstance(name, str) else ("", "", "")
    if digest and own.isidentifier():
        there = "one of other equations" if own in _OWN else "none of this name"
        return (
            f"expected the reader's own cell {own}, whose code no file holds, got {there}; define "
            "it as it was before loading, with @tidegate.cell"
        )
    known = ", ".join(_FIRST)
    return f"expected a cell, such as {known}, got {shown(name)}; tidegate cells lists all of them"


def cell_of(layer: str, *, projected: bool = False, **options: str) -> Cell:
    """The cell that the layer of this class runs; without ``options`` the first declared.

    Raises ValueError naming the option and its choices.
    """
    declared = [c for c in CELLS.values() if c.layer == layer and c.is_projected == projected]
    for cell in declared:
        if all(cell.options[name] == value for name, value in options.items()):
            return cell
    name, value = next(iter(options.items()))
    known = " or ".join(repr(cell.options[name]) for cell in declared)
    raise ValueError(f"{name}: expected {known}, got {value!r}")


def title(cell: str) -> str:
    """What a reader calls a cell: ``GRU`` for gru, ``RNN`` for rnn_tanh, ``RNN relu``."""
    known = get_cell(cell)
    name, _, form = (known.short or known.name).partition("_")
    return f"{name.upper()} {form.replace('_', ' ')}".strip()


__all__ = [
    "CELLS",
    "HEADED",
    "NAMES",
    "PROJECTED",
    "TO_TRY",
    "USES",
    "Cell",
    "Probabilities",
    "add_own",
    "add_stored",
    "cell_of",
    "get_cell",
    "get_own",
    "may_stay",
    "regularised",
    "title",
    "unknown",
    "zoneout_of",
]

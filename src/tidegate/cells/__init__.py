"""Every cell, by name.  A new one is one function in one file of this folder."""

from __future__ import annotations

from tidegate.cells import gru, lstm, rnn
from tidegate.cells.definition import Cell
from tidegate.errors import InputError, shown

CELLS: dict[str, Cell] = {
    cell.name: cell for module in (rnn, lstm, gru) for cell in vars(module).values()
    if isinstance(cell, Cell)
}  # fmt: skip

SHORT_NAMES = {"rnn": "rnn_tanh"}
_SHORT = {name: short for short, name in SHORT_NAMES.items()}
NAMES = [_SHORT.get(name, name) for name in CELLS]  # as a person writes them


def get_cell(name: str) -> Cell:
    """The cell called ``name``; ``rnn`` is short for ``rnn_tanh``.  Raises InputError."""
    cell = CELLS.get(SHORT_NAMES.get(name, name)) if isinstance(name, str) else None
    if cell is None:
        known = ", ".join(NAMES)
        raise InputError(f"expected a cell, one of {known}, got {shown(name)}; choose one of these")
    return cell


def cell_of(layer: str, **options: str) -> Cell:
    """The cell that the layer of this class runs; without ``options`` the first declared.

    Raises ValueError naming the option and its choices.
    """
    declared = [cell for cell in CELLS.values() if cell.layer == layer]
    for cell in declared:
        if all(cell.options[name] == value for name, value in options.items()):
            return cell
    name, value = next(iter(options.items()))
    known = " or ".join(repr(cell.options[name]) for cell in declared)
    raise ValueError(f"{name}: expected {known}, got {value!r}")


def title(cell: str) -> str:
    """What a reader calls a cell: ``GRU`` for gru, ``RNN`` for rnn_tanh, ``RNN relu``."""
    name, _, form = _SHORT.get(cell, cell).partition("_")
    return f"{name.upper()} {form.replace('_', ' ')}".strip()


__all__ = ["CELLS", "NAMES", "Cell", "cell_of", "get_cell", "title"]

"""Every cell, by name.  A new one is one function in one file of this folder."""

from __future__ import annotations

from tidegate.cells import gru, lstm, rnn
from tidegate.cells.definition import Cell
from tidegate.errors import InputError

CELLS: dict[str, Cell] = {
    cell.name: cell for module in (rnn, lstm, gru) for cell in vars(module).values()
    if isinstance(cell, Cell)
}  # fmt: skip

SHORT_NAMES = {"rnn": "rnn_tanh"}


def get_cell(name: str) -> Cell:
    """The cell called ``name``; ``rnn`` is short for ``rnn_tanh``.  Raises InputError."""
    cell = CELLS.get(SHORT_NAMES.get(name, name))
    if cell is None:
        known = ", ".join([*SHORT_NAMES, *CELLS])
        raise InputError(f"expected a cell, one of {known}, got {name!r}; choose one of these")
    return cell


__all__ = ["CELLS", "SHORT_NAMES", "Cell", "get_cell"]

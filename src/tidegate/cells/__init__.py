"""Every cell, by name.  A new one is one function in one file of this folder, found by itself."""

from __future__ import annotations

import importlib
import pkgutil

from tidegate.cells.definition import Cell
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
# for help texts
USES = " ".join(
    [
        *(f"{name}: {_NAMED[name].use}" for name in TO_TRY),
        f"Variants of others, to compare them with: {', '.join(_VARIANTS)}.",
    ]
)
PROJECTED = ", ".join(name for name, cell in CELLS.items() if cell.is_projected)


def get_cell(name: str) -> Cell:
    """The cell called ``name``, which may be its short name.  Raises InputError."""
    cell = _NAMED.get(name) if isinstance(name, str) else None
    if cell is None:
        known = ", ".join(NAMES)
        raise InputError(f"expected a cell, one of {known}, got {shown(name)}; choose one of these")
    return cell


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


__all__ = ["CELLS", "NAMES", "PROJECTED", "TO_TRY", "USES", "Cell", "cell_of", "get_cell", "title"]

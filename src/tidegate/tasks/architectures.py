"""The network that an estimator's options ask for: its cells, and whether there can be such one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from tidegate.cells import HEADED, PROJECTED, Cell, get_cell
from tidegate.cells.definition import divisible
from tidegate.declaring import cell_at
from tidegate.errors import InputError, shown, spelled, written
from tidegate.model.architecture import READOUTS, Architecture, one_or_each, smallest_hidden_size


def cells_as_given(value: Any) -> Any:
    """What is given as ``cell``: a name, a reader's own cell by its key, or several, a tuple then.

    ``package.module:name`` and ``path/to/file.py:name`` are own ones, which are imported.  Raises
    InputError where they cannot be.
    """
    if isinstance(value, str) and "," in value:
        value = [name.strip() for name in value.split(",")]
    if not isinstance(value, list | tuple):
        return _key_of(value)
    names = tuple(map(_key_of, value))
    return value if names == value else names  # the same one, as scikit-learn expects


def _key_of(value: Any) -> Any:
    if isinstance(value, str) and ":" in value:
        value = cell_at(value)
    return value.key if isinstance(value, Cell) else value


def cell_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """The names in an option ``cell``: one for all layers, or one for each."""
    return (given,) if isinstance(given, str) else tuple(given)


def cells_of(given: str | Sequence[str]) -> str | tuple[str, ...]:
    """An option ``cell`` as an `Architecture` has it.  Raises InputError for an unknown one."""
    return one_or_each([get_cell(name).key for name in cell_names(given)] or [""])


def check_layers(
    cell: str | Sequence[str],
    sizes: Sequence[int] | None,
    projection_size: int | None,
    num_heads: int,
) -> None:
    """Raise InputError naming the option that cannot be used; ``sizes``: None: left to the task."""
    names = cell_names(cell)
    try:
        cells = [get_cell(name) for name in names]
    except InputError as e:
        raise InputError(str(e), option="cell") from None
    if projection_size is not None and not any(one.is_projected for one in cells):
        raise InputError(
            f"expected none for {', '.join(names)}, which has no projection, got "
            f"{projection_size}; leave it out, or choose a cell that has one: {PROJECTED}",
            option="projection_size",
        )
    if num_heads > 1 and not any(one.heads for one in cells):
        raise InputError(
            f"expected 1 for {', '.join(names)}, which has no heads, got {num_heads}; leave it "
            f"out, or choose a cell that has them: {HEADED}",
            option="num_heads",
        )
    if sizes is None:
        return
    if len(sizes) == 0:
        problem = "expected one size per layer, got none; give one or more, such as"
        raise InputError(f"{problem} {written((128,))}", option="hidden_sizes")
    if len(names) not in (1, len(sizes)):
        many = f"{len(sizes)} layer{'s' * (len(sizes) > 1)}, as {spelled('hidden_sizes')} has"
        raise InputError(
            f"expected one cell for all layers, or one for each of {many}, got {len(names)}; give "
            "as many cells as sizes",
            option="cell",
        )
    for name, size in zip(names * (len(sizes) // len(names)), sizes, strict=True):
        if get_cell(name).heads and size % num_heads:
            advice = divisible(size, num_heads, spelled("hidden_sizes"), spelled("num_heads"))
            raise InputError(
                f"expected a divisor of {size}, a layer's units, got {num_heads}; {advice}",
                option="num_heads",
            )
        least = smallest_hidden_size(name, projection_size)
        if size < least:
            raise InputError(
                f"expected {least} units or more in each layer, since the projection of {name} is "
                f"smaller, got {size}; give more units",
                option="hidden_sizes",
            )


def check_readout(readout: str) -> None:
    """Raise InputError unless it sums up a whole sequence."""
    parts = readout.split("+")
    if not set(parts) <= set(READOUTS) or len(set(parts)) < len(parts):
        problem = f"expected one or several of {', '.join(READOUTS)}, such as 'mean+max', got "
        raise InputError(f"{problem}{shown(readout)}; choose some", option="readout")


def need_memory(architecture: Architecture) -> None:
    """Raise InputError for a network whose weights alone are more than this machine's memory."""
    count = architecture.parameter_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if 4 * count > memory:
        raise InputError(
            f"expected weights that fit into this machine's {memory / 1e9:.0f} GB of memory, got "
            f"{count:.3g} of 4 bytes each; choose smaller sizes, such as a smaller "
            f"{spelled('hidden_sizes')}"
        )

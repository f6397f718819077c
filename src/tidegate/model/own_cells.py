"""Readers' own cells in a model file: there beside an architecture that names them."""

from __future__ import annotations

from typing import Any

from tidegate.cells import CELLS, add_stored, get_own
from tidegate.cells.stored import restored, stored
from tidegate.model.architecture import MAX_LAYERS, Architecture
from tidegate.model.encoder_decoder import EncoderDecoder


def own_cells(architecture: Architecture | EncoderDecoder) -> list[dict[str, Any]]:
    """What a file holds of the cells that are none of tidegate; nothing of one that it cannot."""
    found = (get_own(key) for key in own_keys(architecture))
    return [values for cell in found if cell is not None and (values := stored(cell)) is not None]


def own_keys(architecture: Architecture | EncoderDecoder) -> list[str]:
    """The keys of these cells, in the order of layers."""
    one = architecture.source if isinstance(architecture, EncoderDecoder) else architecture
    return [key for key in dict.fromkeys(one.cells) if key not in CELLS]


def add_own_cells(values: Any) -> list[str]:
    """Make the cells that a file holds known by their keys.  Raises ValueError."""
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_LAYERS:
        raise ValueError(f"cells: expected 1 to {MAX_LAYERS} of them, got another value")
    found = list(map(restored, values))
    for cell in found:
        add_stored(cell)
    return [cell.key for cell in found]

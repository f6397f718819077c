"""Weights and networks of other libraries, read and written.

``read(path)`` gives a `Network`, whatever library wrote the file; ``write(network, path)`` writes
it for another.  The command is ``tidegate convert``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidegate.interchange.formats import read, write
    from tidegate.interchange.keras_writer import keras_weights
    from tidegate.interchange.network import Network

# imported when first used, so that the table of conventions comes without the rest
_HOME_OF = {
    "Network": "tidegate.interchange.network",
    "keras_weights": "tidegate.interchange.keras_writer",
    "read": "tidegate.interchange.formats",
    "write": "tidegate.interchange.formats",
}

__all__ = ["Network", "keras_weights", "read", "write"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value

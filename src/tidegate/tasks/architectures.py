"""The network that an estimator's options ask for: whether there can be such a one."""

from __future__ import annotations

import os

from tidegate.errors import InputError, shown, spelled
from tidegate.model.architecture import READOUTS, Architecture


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

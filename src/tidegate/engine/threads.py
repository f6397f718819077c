"""How many threads a sweep is worth, and how they share it."""

from __future__ import annotations

import os
import re
import sys

from tidegate.engine import compiled

_SMALLEST_SHARE = 1_000_000  # multiplications worth waking one more thread for
# What threads that share the units of a sweep wait for each other in a step, each two of them, in
# multiplications (0.4 us on Zen 5); weights that a core's second cache no longer holds; and rows of
# each thread from which on reading those matters little.
_MEETING, _SECOND_CACHE, _MANY_ROWS = 12_000, 1 << 17, 4


def processors() -> int:
    """Those this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_threads() -> int:
    """How many threads there are to use: torch's number, where torch is in the process.

    Else OMP_NUM_THREADS, which numpy's BLAS reads too, or as many as there are processors.
    """
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return torch.get_num_threads()
    told = re.match(r"\s*([1-9][0-9]*)", os.environ.get("OMP_NUM_THREADS", ""))
    return min(int(told[1]), compiled.most_threads) if told else processors()


def threads_for(multiplications: int, available: int) -> int:
    """How many of the ``available`` threads a sweep is worth, at least 1."""
    return max(1, min(available, multiplications // _SMALLEST_SHARE))


def threads_worth(multiplications: int) -> int:
    """How many of the available threads a sweep is worth; a small one does not ask how many."""
    small = multiplications < 2 * _SMALLEST_SHARE
    return 1 if small else threads_for(multiplications, available_threads())


def shares_units(threads: int, batch_size: int, recurrent_weights: int) -> bool:
    """Whether threads should take some of the units of all rows each, not all units of some rows.

    They then wait for each other at every step, but a single row keeps all of them busy, and each
    reads but its part of the weights.
    """
    if threads < 2 or not 0 < batch_size < _MANY_ROWS * threads:
        return False
    read = recurrent_weights if recurrent_weights >= _SECOND_CACHE else 0
    by_rows = -(-batch_size // threads) * recurrent_weights + read
    by_units = (batch_size * recurrent_weights + read) / threads + _MEETING * threads / 2
    return by_units < by_rows

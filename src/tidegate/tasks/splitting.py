"""Which rows are learned from, and which are held out."""

from __future__ import annotations

import numpy as np

from tidegate.errors import InputError, spelled


def split_rows(
    count: int, seed: int, *, validation: float, test: float, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of the training, validation and test part, drawn by the seed.

    ``validation`` and ``test`` are fractions of ``count`` rows; a validation part that is wanted
    has one row at least.  Raises InputError where nothing is left to learn from, with ``what`` for
    the rows' name.
    """
    order = np.random.default_rng(seed).permutation(count)
    tested = round(count * test)
    held_out = max(1, round(count * validation)) if validation else 0
    if tested + held_out >= count:
        raise InputError(
            f"{what}: expected enough to train on beside {held_out} for validation and {tested} "
            f"for test, got {count} in all; give more, or a "
            f"smaller {spelled('validation_fraction')} or {spelled('test_fraction')}"
        )
    held_out += tested
    return np.sort(order[held_out:]), order[tested:held_out], order[:tested]

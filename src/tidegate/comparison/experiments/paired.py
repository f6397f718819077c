"""Two methods on the same examples: is one better, or is that the luck of the examples drawn?"""

from __future__ import annotations

import numpy as np

LEVEL = 0.05  # a smaller p is told as a difference
FEW = 30  # examples: of fewer, a difference that is not found may well be there
_EXACT = 16  # differences of which all 2 ** 16 signs are tried
_MOST_BLOCKS = 100


def paired_p(first: np.ndarray, second: np.ndarray) -> float:
    """The chance of a mean difference as large as that of losses [N], if both were equally good.

    Where at most 16 examples differ it is exact: the share of all ways to swap the two methods'
    losses on single examples (Fisher 1935).  For right and wrong answers that is McNemar's exact
    test.  Where more differ: Student's t of the differences.
    """
    from scipy.special import stdtr

    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    different = differences[differences != 0]
    if len(different) <= _EXACT:
        sums = np.zeros(1)
        for difference in different:
            sums = np.concatenate([sums - difference, sums + difference])
        least = abs(different.sum()) * (1 - 1e-9)  # rounding must not part equal sums
        return float(np.mean(np.abs(sums) >= least))
    n = len(differences)
    error = differences.std(ddof=1) / n**0.5
    if error == 0:
        return 0.0
    return float(2 * stdtr(n - 1, -abs(differences.mean()) / error))


def in_blocks(losses: np.ndarray, shortest: int) -> np.ndarray:
    """Losses [N] in time order as means over 100 equal blocks, or fewer; their mean is the same.

    What follows closely is alike: single losses are not examples of their own.  A block has
    ``shortest`` of them at least.
    """
    count = max(1, min(_MOST_BLOCKS, len(losses) // shortest))
    sums = np.array([part.sum() for part in np.array_split(losses, count)])
    return sums * (count / len(losses))


def as_p(p: float) -> str:
    """``p = 0.03``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"

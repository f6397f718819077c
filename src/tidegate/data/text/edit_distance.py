"""How far a text is from the one that was wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidegate.data.text.encoders import code_points

__all__ = ["character_errors", "edit_distance"]


def edit_distance(a: str, b: str) -> int:
    """Fewest characters to insert, delete or replace to make ``b`` of ``a``.

    Source: Levenshtein 1966, Binary codes capable of correcting deletions, insertions and
    reversals.  Row by row (Wagner & Fischer 1974), the insertions of a row by a running minimum.
    """
    if a == b:
        return 0
    x, y = code_points(a), code_points(b)
    places = np.arange(len(y) + 1)
    row = places
    for code in x:
        best = row + 1
        np.minimum(best[1:], row[:-1] + (y != code), out=best[1:])
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def character_errors(found: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Errors of each text, float64 [N], by the mean length of those wanted.

    Their mean is the character error rate: all edits over all characters.
    """
    edits = np.array([edit_distance(a, b) for a, b in zip(found, wanted, strict=True)], float)
    characters = sum(map(len, wanted))
    return edits * (len(edits) / max(1, characters))

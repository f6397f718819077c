"""Counting: what n-grams of the same tokens reach."""

from __future__ import annotations

import math
from typing import Self

import numpy as np

from tidegate.baselines.baseline import Baseline, part_of
from tidegate.data.text.ngrams import KneserNey

_TOKENS_A_SECOND = 200_000  # counted, all lengths together, on one core


def last_of(kept: int, count: int) -> str:
    """The ``part`` of a baseline that has counted so many tokens at the end of a text."""
    part = part_of(kept, count, "tokens")
    return part and f"the last {part}"


class CountedTokens(Baseline):
    """N-grams, interpolated with modified Kneser-Ney smoothing; parts are tokens, int [T]."""

    def __init__(self, counted: KneserNey, part: str) -> None:
        self._counted = counted
        self.name = f"{counted.length}-grams"
        self.about, self.part = "interpolated, modified Kneser-Ney", part
        self.parameters = counted.ngrams

    @classmethod
    def fit(
        cls,
        train: np.ndarray,
        validation: np.ndarray,
        *,
        size: int,
        never_target: int | None,
        seconds: float = math.inf,
    ) -> Self:
        """Count in ``train``; how long the n-grams are ``validation`` decides.

        Tokens are of ``size`` kinds, of which ``never_target`` is not predicted.  Where all would
        take more than about ``seconds``, those nearest to what follows are counted.
        """
        most = min(len(train), max(10_000, seconds * _TOKENS_A_SECOND))
        kept = train[len(train) - int(most) :]
        part = last_of(len(kept), len(train))
        return cls(KneserNey.fit(kept, validation, size, never_target), part)

    def losses(self, part: np.ndarray) -> np.ndarray:
        """Nats of all tokens but the first, [T - 1]; 0 for those never predicted."""
        return self._counted.nats(part)

    def figures(self, part: np.ndarray) -> dict[str, float]:
        """``cross_entropy`` in nats per token, and ``perplexity``."""
        nats = self._counted.cross_entropy(part)
        return {"cross_entropy": nats, "perplexity": math.exp(nats)}

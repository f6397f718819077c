"""Counted n-grams, which a language model stands beside."""

from __future__ import annotations

import numpy as np

from tidegate.baselines.baseline import Baseline
from tidegate.data.text import ngrams


class KneserNey(ngrams.KneserNey, Baseline):
    """The counts that a language model may be mixed with, alone; no n-gram is left out."""

    about = "interpolated, modified Kneser-Ney"

    def __init__(self, orders: list[ngrams.Order], size: int, never_target: int | None) -> None:
        super().__init__(orders, size, never_target)
        self.name, self.parameters = f"{self.length}-grams", self.ngrams

    def losses(self, part: np.ndarray) -> np.ndarray:
        """Nats of all tokens but the first, [T - 1]; 0 for those never predicted."""
        return self.nats(part)

    def figures(self, part: np.ndarray) -> dict[str, float]:
        """``cross_entropy`` in nats per token, and ``perplexity``."""
        nats = self.cross_entropy(part)
        return {"cross_entropy": nats, "perplexity": float(np.exp(nats))}

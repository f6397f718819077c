"""A language model that counts: n-grams, interpolated with modified Kneser-Ney smoothing.

Source: Chen & Goodman 1999, An empirical study of smoothing techniques for language modeling,
Computer Speech & Language 13, sections 2.7 and 3.1 to 3.3; no n-gram is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

_LONGEST = 10  # tokens in an n-gram


@dataclass(frozen=True, eq=False)
class _Order:
    """All n-grams of one length, by number.

    ``keys`` [n-grams], ascending: the number of the context, which is an n-gram one token shorter,
    times the vocabulary's size, plus the token.  ``counted`` [n-grams]: count less discount.
    ``total`` [contexts]: the counts of what follows each; ``discounted``: the discounts among them,
    which the shorter n-grams share out.
    """

    keys: np.ndarray
    counted: np.ndarray
    total: np.ndarray
    discounted: np.ndarray

    @classmethod
    def of(cls, keys: np.ndarray, counts: np.ndarray, size: int, contexts: int) -> Self:
        """The n-grams ``keys``, counted so often; ``contexts``: how many contexts there are."""
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        total, discounted = (
            np.bincount(keys // size, weights, minlength=contexts)
            for weights in (counts, discounts)
        )
        return cls(keys, counts - discounts, total, discounted)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The number of each n-gram, -1 for one that was not seen."""
        at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1)

    def interpolated(
        self, grams: np.ndarray, contexts: np.ndarray, shorter: np.ndarray
    ) -> np.ndarray:
        """Probabilities [T] of tokens that end ``grams``, given ``shorter``, those without it."""
        counted = np.where(grams >= 0, self.counted[grams], 0.0)
        total = np.where(contexts >= 0, self.total[contexts], 0)
        numerator = counted + self.discounted[contexts] * shorter
        return np.divide(numerator, total, out=shorter.copy(), where=total > 0)


class KneserNey:
    """The probability of each token given those before it.

    Tokens are int [T], as an encoder gives them, of ``size`` kinds.  They are one stream, as a
    recurrent network reads them; ``never_target``, which opens a sentence, is read, not predicted.
    """

    def __init__(self, orders: list[_Order], size: int, never_target: int | None) -> None:
        self.orders, self.size, self.never_target = orders, size, never_target

    @classmethod
    def fit(
        cls, train: np.ndarray, validation: np.ndarray, size: int, never_target: int | None
    ) -> Self:
        """Count in ``train``, longer and longer n-grams while that predicts ``validation`` better.

        The longest n-grams count as often as they are seen, the others once for each token that
        was seen before them.
        """
        best, lowest = None, np.inf
        shorter: list[_Order] = []
        keys = np.zeros(1, np.int64)  # of the n-grams one token shorter: at first the empty one
        before = 1  # how many there are of those shorter by two
        grams = np.zeros(len(train), np.int64)  # the number of the n-gram that each token ends
        for length in range(1, min(_LONGEST, len(train)) + 1):
            ends = np.arange(length - 1, len(train))
            contexts = grams[ends - 1]
            longer, first, numbers, counts = np.unique(
                contexts * size + train[ends].astype(np.int64),
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            predicted = longer % size != (-1 if never_target is None else never_target)
            if length > 1:
                endings = grams[ends[first]]  # each n-gram without its first token
                continuations = np.bincount(endings[predicted], minlength=len(keys))
                shorter = [*shorter, _Order.of(keys, continuations, size, before)]
            top = _Order.of(longer, np.where(predicted, counts, 0), size, len(keys))
            model = cls([*shorter, top], size, never_target)
            entropy = model.cross_entropy(validation)
            if best is not None and entropy >= lowest:
                break
            best, lowest = model, entropy
            before, keys, grams[ends] = len(keys), longer, numbers
        assert best is not None
        return best

    @property
    def length(self) -> int:
        """Tokens in the longest n-gram."""
        return len(self.orders)

    @property
    def ngrams(self) -> int:
        """How many n-grams are known, of all lengths."""
        return sum(len(order.keys) for order in self.orders)

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """The probability of each token, [T]; that of the first is given nothing."""
        p = np.full(len(tokens), 1 / (self.size - (self.never_target is not None)))
        contexts = np.zeros(len(tokens), np.int64)
        for order in self.orders:
            keys = contexts * self.size + tokens
            grams = np.where(contexts >= 0, order.find(keys), -1)
            p = order.interpolated(grams, contexts, p)
            contexts = np.concatenate([[-1], grams[:-1]])
        return p

    def nats(self, tokens: np.ndarray) -> np.ndarray:
        """Nats of all tokens but the first, [T - 1]; 0 for those never predicted."""
        return -np.log(np.where(self._scored(tokens), self.probabilities(tokens)[1:], 1.0))

    def cross_entropy(self, tokens: np.ndarray) -> float:
        """Nats per token, over all but the first and those never predicted."""
        return float(self.nats(tokens)[self._scored(tokens)].mean())

    def _scored(self, tokens: np.ndarray) -> np.ndarray:
        """Which of all tokens but the first are predicted, bool [T - 1]."""
        return tokens[1:] != (-1 if self.never_target is None else self.never_target)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What is taken from counts of 0, 1, 2 and from 3 on: their equation 17."""
    n = np.bincount(counts[counts <= 4], minlength=5).astype(float)  # n-grams seen so often
    if not n[1]:
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n[1] / (n[1] + 2 * n[2])
    with np.errstate(divide="ignore", invalid="ignore"):
        j = np.arange(1, 4)
        modified = j - (j + 1) * y * n[2:] / n[1:4]
    if (np.isfinite(modified) & (modified > 0)).all():
        return np.array([0.0, *modified])
    return np.array([0.0, y, y, y])  # too few n-grams to tell three apart: Ney et al. 1994

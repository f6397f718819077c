"""A network mixed with what is counted: n-grams of the training text, and the words just read.

    p = g_0 * p_network + g_1 * p_counted + g_2 * p_recent

``p_counted`` is interpolated Kneser-Ney (data/text/ngrams.py).  ``p_recent`` is the share of each
token among the latest ones, of which older ones weigh less: a cache (Kuhn & De Mori 1990).  A text
goes on with the words that it has, and a network learns this late.  The shares g are the softmax of
a linear map of what the n-grams know of the tokens before.  They are fitted on text that neither
network nor n-grams have learned from: each is too sure of what it has seen.  (Mixtures of the
three: Mikolov et al. 2011, Extensions of recurrent neural network language model.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from tidegate.data.text.ngrams import KneserNey
from tidegate.runtime.probabilities import log_softmax
from tidegate.runtime.products import Array

__all__ = ["RECENT", "Mixture", "follow", "nothing_read", "recent_weights"]

RECENT: Final = 500  # latest tokens that the cache knows
_HALF_LIFE = 100  # tokens, after which one weighs half as much
_ITERATIONS = 20
_DECAY = 1e-4  # of the shares' weights, for each token that they are fitted on
_FEW = 100  # tokens, of which little is learned
_SOURCES = 3


@dataclass(frozen=True, eq=False)
class Mixture:
    """``ngrams``, and the ``shares``' weights, float32 [3, ngrams.width + 1], the last the bias."""

    ngrams: KneserNey
    shares: Array

    def __post_init__(self) -> None:
        expected = _SOURCES, self.ngrams.width + 1
        if self.shares.shape != expected or not np.isfinite(self.shares).all():
            raise ValueError(f"shares: expected finite numbers {list(expected)}")

    @classmethod
    def fit(cls, ngrams: KneserNey, tokens: np.ndarray, nats: np.ndarray) -> Mixture:
        """The shares under which ``tokens`` [T] are likeliest.

        ``nats`` [T]: of each token by the network, NaN for those that are not predicted.
        """
        scored = np.isfinite(nats)
        x, p = (part[scored] for part in _read(ngrams, tokens, nats))
        decay = max(_FEW, len(x)) * _DECAY * np.eye(x.shape[1])
        shares = np.zeros((_SOURCES, x.shape[1]))
        for _ in range(_ITERATIONS):
            # expectation: whose each token is; maximisation: one step of Newton's method
            g = _softmax(x @ shares.T)
            owned = g * p
            owned /= owned.sum(1, keepdims=True)
            slope = (owned - g).T @ x - shares @ decay
            curvature = np.block(
                [
                    [(x * (g[:, [i]] * ((i == j) - g[:, [j]]))).T @ x + (i == j) * decay
                     for j in range(_SOURCES)]
                    for i in range(_SOURCES)
                ]
            )  # fmt: skip
            shares += np.linalg.solve(curvature, slope.ravel()).reshape(shares.shape)
        return cls(ngrams, shares.astype(np.float32))

    def arrays(self) -> dict[str, Array]:
        """All there is to it, by name, as a model file holds it."""
        return {"shares": self.shares, **self.ngrams.arrays()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], size: int, never_target: int | None
    ) -> Mixture | None:
        """What ``arrays`` gave; None of none.  Raises ValueError for others."""
        if not arrays:
            return None
        counted = {name: array for name, array in arrays.items() if name != "shares"}
        return cls(KneserNey.from_arrays(counted, size, never_target), arrays["shares"])

    def nats(self, tokens: np.ndarray, nats: np.ndarray) -> np.ndarray:
        """-log p of tokens [T], of which the network has these ``nats``; NaN stays."""
        x, p = _read(self.ngrams, tokens, nats)
        with np.errstate(divide="ignore"):
            return -np.log((self._shares(x) * p).sum(1))

    def log_probabilities(self, outputs: Array, recent: np.ndarray) -> Array:
        """Log p of every token, float32 [B, V].

        ``outputs`` [B, V]: the network's logits; ``recent`` int64 [B, RECENT]: the tokens before,
        the latest last, -1 for none.
        """
        counted, known = self.ngrams.after(recent)
        g = self._shares(_with_bias(known))
        read = np.exp(log_softmax(outputs).astype(np.float64))
        p = g[:, :1] * read + g[:, 1:2] * counted
        lately = np.zeros_like(p)
        weights = np.where(self._counts(recent), recent_weights()[::-1], 0.0)
        rows = np.arange(len(recent))[:, None]
        np.add.at(lately, (rows, np.maximum(recent, 0)), weights)
        total = weights.sum(1, keepdims=True)
        lately = np.where(total > 0, lately / np.maximum(total, 1e-300), counted)
        with np.errstate(divide="ignore"):  # impossible for all three
            return np.log(p + g[:, 2:] * lately).astype(np.float32)

    def _counts(self, recent: np.ndarray) -> np.ndarray:
        never = self.ngrams.never_target
        return (recent >= 0) & (recent != (-1 if never is None else never))

    def _shares(self, x: np.ndarray) -> np.ndarray:
        return _softmax(x @ self.shares.astype(np.float64).T)


def nothing_read(rows: int) -> np.ndarray:
    """The tokens before a text begins, int64 [rows, RECENT]: none."""
    return np.full((rows, RECENT), -1, np.int64)


def follow(recent: np.ndarray, tokens: np.ndarray) -> None:
    """Put ``tokens`` [T] behind the ``recent`` ones [RECENT], in their place."""
    recent[:] = np.concatenate([recent, tokens])[-RECENT:]


def _read(ngrams: KneserNey, tokens: np.ndarray, nats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the shares depend on, [T, width + 1], and the probabilities of the three, [T, 3]."""
    counted = ngrams.probabilities(tokens)
    lately = _lately(tokens, ngrams.never_target)
    p = [np.exp(-nats.astype(np.float64)), counted, np.where(np.isnan(lately), counted, lately)]
    return _with_bias(ngrams.evidence(tokens)), np.stack(p, 1)


def _lately(tokens: np.ndarray, never: int | None) -> np.ndarray:
    """Of each token its share among those before it, [T]; NaN where there are none."""
    tokens = tokens.astype(np.int32)
    counts = np.ones(len(tokens)) if never is None else (tokens != never).astype(float)
    same, total = np.zeros(len(tokens)), np.zeros(len(tokens))
    for back, weight in enumerate(recent_weights()[: len(tokens) - 1], 1):
        same[back:] += weight * (tokens[back:] == tokens[:-back])
        total[back:] += weight * counts[:-back]
    with np.errstate(invalid="ignore"):
        return same * counts / total


def recent_weights() -> np.ndarray:
    """Of the latest token, the one before it, ..., [RECENT]."""
    return 0.5 ** (np.arange(RECENT) / _HALF_LIFE)


def _with_bias(known: np.ndarray) -> np.ndarray:
    return np.concatenate([known, np.ones((len(known), 1))], 1)


def _softmax(x: np.ndarray) -> np.ndarray:
    p = np.exp(x - x.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)

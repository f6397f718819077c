"""A language model that counts: n-grams, interpolated with modified Kneser-Ney smoothing.

Source: Chen & Goodman 1999, An empirical study of smoothing techniques for language modeling,
Computer Speech & Language 13, sections 2.7 and 3.1 to 3.3.  What the single tokens' discounts leave
over goes to the tokens that were never seen, in equal parts, as in SRILM (Stolcke 2002): with a
vocabulary of all words that were seen, to the unknown one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from tidegate.model.tensors import MAX_LENGTH

__all__ = ["KneserNey"]

_JUDGES = 1 << 17  # tokens by which it is told how long n-grams should be, at most


@dataclass(frozen=True, eq=False)
class Order:
    """All n-grams of one length, by number.

    ``keys`` [n-grams], ascending: the number of the context, which is an n-gram one token shorter,
    times the vocabulary's ``size``, plus the token.  ``counted`` [n-grams]: count less discount.
    ``total`` [contexts]: the counts of what follows each; ``rest``: what is not in ``counted`` of
    these, which the shorter n-grams share out.
    """

    keys: np.ndarray
    counted: np.ndarray
    total: np.ndarray
    rest: np.ndarray
    size: int

    @classmethod
    def of(cls, keys: np.ndarray, counted: np.ndarray, total: np.ndarray, size: int) -> Self:
        """What is left over follows from the others."""
        known = np.bincount(keys // size, counted, minlength=len(total))
        return cls(keys, counted, total, np.maximum(total - known, 0.0), size)

    @classmethod
    def count(cls, keys: np.ndarray, counts: np.ndarray, size: int, contexts: int) -> Self:
        """The n-grams ``keys``, counted so often; ``contexts``: how many contexts there are."""
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        total = np.bincount(keys // size, counts, minlength=contexts)
        return cls.of(keys, counts - discounts, total, size)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The number of each n-gram, -1 for one that was not seen."""
        at = self._ended.searchsorted(keys)
        return np.where(self._ended[at] == keys, at, -1)

    @cached_property
    def _ended(self) -> np.ndarray:
        """The keys, and one that is larger than any that is looked for."""
        return np.append(self.keys, np.iinfo(np.int64).max)

    # By context, each with one more entry, which -1 takes: that of no known context.

    @cached_property
    def left_over(self) -> np.ndarray:
        """Which part of the probability is the shorter n-grams', [contexts + 1]."""
        total = np.append(self.total, 0)
        rest = np.append(self.rest, 0)
        return np.divide(rest, total, out=np.ones(len(total)), where=total > 0)

    @cached_property
    def weight(self) -> np.ndarray:
        """Of each context log(1 + count), and the part of what was seen after it: two columns."""
        return np.stack([np.log1p(np.append(self.total, 0)), 1 - self.left_over], 1)

    @cached_property
    def followers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of all n-grams, each one's part of its context's probability, and where the
        n-grams of each context begin, [contexts + 1].
        """
        contexts, tokens = np.divmod(self.keys, self.size)
        shares = self.counted / np.maximum(self.total[contexts], 1e-300)
        first = np.searchsorted(contexts, np.arange(len(self.total) + 1))
        return tokens, shares, first


class KneserNey:
    """The probability of each token given those before it.

    Tokens are int [T], as an encoder gives them, of ``size`` kinds.  They are one stream, as a
    recurrent network reads them; ``never_target``, which opens a sentence, is read, not predicted.
    """

    def __init__(self, orders: list[Order], size: int, never_target: int | None) -> None:
        self.orders, self.size, self.never_target = orders, size, never_target
        first = orders[0]
        unseen = np.ones(size, bool)
        unseen[first.keys[first.counted > 0]] = False
        if never_target is not None:
            unseen[never_target] = False
        if not unseen.any():
            unseen[:] = True
            if never_target is not None:
                unseen[never_target] = False
        self._unseen = unseen / unseen.sum()  # probabilities before anything is counted

    @classmethod
    def fit(
        cls,
        train: np.ndarray,
        validation: np.ndarray,
        size: int,
        never_target: int | None,
        longest: int = MAX_LENGTH,
        seconds: float = math.inf,
    ) -> Self:
        """Count in ``train``, longer and longer n-grams while that predicts ``validation`` better.

        None are begun that would not be counted within ``seconds``, about.

        The longest n-grams count as often as they are seen, the others once for each token that
        was seen before them.
        """
        validation = validation[:_JUDGES]
        best, lowest, ends = None, np.inf, time.monotonic() + seconds
        before = time.monotonic()
        for model in cls._growing(train, size, never_target, longest):
            entropy = model.cross_entropy(validation)
            if best is not None and entropy >= lowest:
                break
            best, lowest = model, entropy
            now = time.monotonic()
            if now + (now - before) > ends:  # longer ones take longer still
                break
            before = now
        assert best is not None
        return best

    @classmethod
    def count(cls, train: np.ndarray, size: int, never_target: int | None, length: int) -> Self:
        """Count n-grams of up to ``length`` tokens."""
        *_, longest = cls._growing(train, size, never_target, length)
        return longest

    @classmethod
    def _growing(
        cls, train: np.ndarray, size: int, never_target: int | None, longest: int
    ) -> Iterator[Self]:
        """Models of n-grams of one token, of two, ..."""
        shorter: list[Order] = []
        keys = np.zeros(1, np.int64)  # of the n-grams one token shorter: at first the empty one
        before = 1  # how many there are of those shorter by two
        grams = np.zeros(len(train), np.int64)  # the number of the n-gram that each token ends
        for length in range(1, min(longest, len(train)) + 1):
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
                shorter = [*shorter, Order.count(keys, continuations, size, before)]
            top = Order.count(longer, np.where(predicted, counts, 0), size, len(keys))
            yield cls([*shorter, top], size, never_target)
            before, keys, grams[ends] = len(keys), longer, numbers

    @property
    def length(self) -> int:
        """Tokens in the longest n-gram."""
        return len(self.orders)

    @property
    def ngrams(self) -> int:
        """How many n-grams are known, of all lengths."""
        return sum(len(order.keys) for order in self.orders)

    def pruned(self, most: int) -> Self:
        """At most about ``most`` n-grams: those counted least are left out, but for single tokens
        and those that longer ones begin with.

        What they had is left to the shorter n-grams.  Numbers are as a file holds them.
        """
        orders, least = self.orders, -1.0
        while sum(len(order.keys) for order in orders) > most and len(orders) > 1:
            counted = (order.counted[order.counted > least] for order in self.orders[1:])
            least = min((float(c.min()) for c in counted if len(c)), default=np.inf)
            orders = self._above(least)
        kept = type(self)(orders, self.size, self.never_target)
        return self.from_arrays(kept.arrays(), self.size, self.never_target)

    def _above(self, least: float) -> list[Order]:
        """The orders without n-grams that are counted ``least`` or less and begin no other."""
        kept: list[np.ndarray] = []
        begins = np.zeros(0, np.int64)  # the n-grams that longer ones, which are kept, begin with
        for k, order in reversed(list(enumerate(self.orders))):
            keep = (order.counted > least) | (k == 0)
            keep[begins] = True
            begins = order.keys[keep] // self.size
            kept.insert(0, keep)
        orders: list[Order] = []
        contexts = np.ones(1, bool)
        for order, keep in zip(self.orders, kept, strict=True):
            number = np.cumsum(contexts) - 1
            keys = number[order.keys[keep] // self.size] * self.size + order.keys[keep] % self.size
            orders.append(Order.of(keys, order.counted[keep], order.total[contexts], self.size))
            contexts = keep
        while not len(orders[-1].keys):
            orders.pop()
        return orders

    # in a file

    def arrays(self) -> dict[str, np.ndarray]:
        """All there is to it but for ``size`` and ``never_target``, by name."""
        found: dict[str, np.ndarray] = {}
        for k, order in enumerate(self.orders, 1):
            found[f"{k}.keys"] = order.keys
            found[f"{k}.counted"] = order.counted.astype(np.float32)
            found[f"{k}.total"] = order.total.astype(np.float32)
        return found

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], size: int, never_target: int | None
    ) -> Self:
        """What ``arrays`` gave.  Raises ValueError for arrays that are none of a model's."""
        orders: list[Order] = []
        contexts = 1
        for k in range(1, len(arrays) // 3 + 1):
            keys, counted, total = (arrays[f"{k}.{n}"] for n in ("keys", "counted", "total"))

            def need(good: bool, expected: str, k: int = k) -> None:
                if not good:
                    raise ValueError(f"counts of {k} tokens: expected {expected}")

            need(len(counted) == len(keys) and len(total) == contexts, "arrays of one length")
            need(bool((np.diff(keys) > 0).all()), "rising keys")
            inside = not len(keys) or (keys[0] >= 0 and keys[-1] < contexts * size)
            need(bool(inside), "keys of known contexts and tokens")
            for numbers in (counted, total):
                need(bool((np.isfinite(numbers) & (numbers >= 0)).all()), "finite counts from 0")
            own = np.bincount(keys // size, counted, minlength=contexts)
            need(bool((own <= total.astype(float) * 1.0001).all()), "totals that hold the counts")
            orders.append(Order.of(keys, counted.astype(float), total.astype(float), size))
            contexts = len(keys)
        return cls(orders, size, never_target)

    # what it expects

    def _orders_at(self, tokens: np.ndarray) -> Iterator[tuple[Order, np.ndarray, np.ndarray]]:
        """Of each length the numbers of the n-grams that tokens [T] end and of their contexts."""
        contexts = np.zeros(len(tokens), np.int64)
        for order in self.orders:
            grams = np.where(contexts >= 0, order.find(contexts * self.size + tokens), -1)
            yield order, grams, contexts
            contexts = np.concatenate([[-1], grams[:-1]])

    def probabilities(self, tokens: np.ndarray) -> np.ndarray:
        """The probability of each token, [T]; that of the first is given nothing."""
        p = self._unseen[tokens]
        for order, grams, contexts in self._orders_at(tokens):
            found = (grams >= 0) & (order.total[contexts] > 0)
            p = order.left_over[contexts] * p
            p[found] += order.counted[grams[found]] / order.total[contexts[found]]
        return p

    def evidence(self, tokens: np.ndarray) -> np.ndarray:
        """What is known of the tokens before each, [T, ``width``]; see ``after``."""
        known = [order.weight[contexts] for order, _, contexts in self._orders_at(tokens)]
        return np.concatenate([np.zeros((len(tokens), 0)), *known[1:]], 1)

    def after(self, recent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What follows each row of the latest tokens [B, length - 1], of which -1 is none.

        The probability of every token, [B, size], and what is known of the tokens before it, [B,
        ``width``]: of each length of context how often it was seen, as log(1 + count), and which
        part of the probability its own followers have.
        """
        p = np.tile(self._unseen, (len(recent), 1))
        contexts = self._contexts_of(recent)
        for order, numbers in zip(self.orders, contexts, strict=True):
            p *= order.left_over[numbers][:, None]
            tokens, shares, first = order.followers
            for row, context in zip(p, numbers, strict=True):
                if context >= 0:
                    own = slice(first[context], first[context + 1])
                    row[tokens[own]] += shares[own]
        known = [o.weight[c] for o, c in zip(self.orders[1:], contexts[1:], strict=True)]
        return p, np.concatenate([np.zeros((len(recent), 0)), *known], 1)

    def _contexts_of(self, recent: np.ndarray) -> np.ndarray:
        """The numbers of the n-grams that the latest 0, 1, ... tokens are, [length, B]."""
        longest, width = self.length - 1, recent.shape[1]
        numbers = np.zeros((self.length, len(recent)), np.int64)
        for k, order in enumerate(self.orders[:-1]):
            # token k + 1 of the n-grams of more tokens than k, all lengths at once
            token = recent[:, width - longest + k :].T[::-1]
            before = numbers[k + 1 :]
            found = order.find((before * self.size + token).ravel()).reshape(before.shape)
            numbers[k + 1 :] = np.where((before >= 0) & (token >= 0), found, -1)
        return numbers

    @property
    def width(self) -> int:
        """How many numbers say what is known of the tokens before another."""
        return 2 * (self.length - 1)

    def nats(self, tokens: np.ndarray) -> np.ndarray:
        """Nats of all tokens but the first, [T - 1]; 0 for those never predicted."""
        scored = tokens[1:] != (-1 if self.never_target is None else self.never_target)
        return -np.log(np.where(scored, self.probabilities(tokens)[1:], 1.0))

    def cross_entropy(self, tokens: np.ndarray) -> float:
        """Nats per token, over all but the first and those never predicted."""
        scored = tokens[1:] != (-1 if self.never_target is None else self.never_target)
        return float(self.nats(tokens)[scored].mean())


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

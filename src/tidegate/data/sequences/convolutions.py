"""Shapes in a sequence, counted: how often each of many fixed kernels finds its pattern.

After MiniRocket (Dempster, Schmidt & Webb 2021, arXiv:2012.08791): 84 kernels of nine weights, two
values among them, are laid over a sequence at several dilations; a feature is the share of places
where a kernel's convolution exceeds a bias, which is a quantile of what the kernel gives on a
training sequence.  Half of the kernels also look at places that reach beyond the sequence's ends,
where zeros stand for what is not there.  Of several channels, kernels are laid over sums of some.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np

from tidegate.model.architecture import KERNELS

__all__ = ["LENGTH", "REACH", "TWOS", "Convolutions"]

LENGTH = 9  # weights of a kernel: 2 at three places and -1 elsewhere, so that they add up to 0
TWOS = np.array(list(combinations(range(LENGTH), 3)))
assert len(TWOS) == KERNELS
REACH = LENGTH // 2  # dilations from a kernel's middle to its end
_MOST_FEATURES = 10_000  # about so many
_MOST_DILATIONS = 32
_EXAMPLES = 16  # training sequences of which quantiles are taken, another for each kernel
_GOLDEN = (5**0.5 + 1) / 2  # the fractions of its multiples cover 0 to 1 evenly
_BLOCK = 1 << 18  # values of convolutions at a time, which stay in the processor's cache
_LANES = 8  # truth values of a byte in a word of 64 bits: added up eight at a time
_WORDS = 255  # of which a byte holds the sum


@dataclass(frozen=True, eq=False)
class Convolutions:
    """84 kernels at D dilations over R sums of channels, with Q biases each.

    ``dilations``: int64 [D], steps from one weight to the next.  ``sums``: float32 [D, R, C], by
    what each of C channels is multiplied.  ``biases``: float32 [D, R, 84, Q].
    """

    dilations: np.ndarray
    sums: np.ndarray
    biases: np.ndarray

    def __post_init__(self) -> None:
        if not (len(self.dilations) and ((self.dilations >= 1) & (self.dilations < 2**31)).all()):
            raise ValueError("evidence: expected dilations from 1 to 2147483647")
        if not (np.isfinite(self.sums).all() and np.isfinite(self.biases).all()):
            raise ValueError("evidence: expected finite sums of channels and biases")

    @classmethod
    def fit(
        cls, sequences: list[np.ndarray], most_features: int = _MOST_FEATURES, groups: int = 1
    ) -> Self:
        """Dilations up to the median length of sequences float32 [T, C], and biases from them.

        Sums are of channels of one of ``groups`` that follow one another, and so many of each.
        """
        rng = np.random.default_rng(0)
        median = float(np.median([len(sequence) for sequence in sequences]))
        reach = np.log2(max(1.0, (median - 1) / (LENGTH - 1)))
        exponents = np.linspace(0, reach, _MOST_DILATIONS)
        dilations = np.unique(np.floor(2**exponents).astype(np.int64))
        each = max(1, most_features // (KERNELS * len(dilations)))
        sums = _sums(len(dilations), each // groups, sequences[0].shape[1] // groups, rng)
        sums = np.concatenate([np.kron(np.eye(groups)[g], sums) for g in range(groups)], axis=1)
        sums = sums.astype(np.float32)
        shape = (*sums.shape[:2], KERNELS, max(1, each // sums.shape[1]))
        examples = [sequences[i] for i in rng.permutation(len(sequences))[:_EXAMPLES]]
        at = (np.arange(1, np.prod(shape) + 1) * _GOLDEN % 1).reshape(shape)
        biases = np.empty(shape, np.float32)
        for d, dilation in enumerate(dilations.tolist()):
            for r, weights in enumerate(sums[d]):
                found = [_convolved(_summed(x[None], weights), dilation, d)[0] for x in examples]
                for k, chosen in enumerate(rng.integers(len(found), size=KERNELS)):
                    values = found[chosen][k, 0]
                    biases[d, r, k] = np.quantile(values[np.isfinite(values)], at[d, r, k])
        return cls(dilations, sums, biases)

    @property
    def size(self) -> int:
        """Features of a sequence."""
        return self.biases.size

    def features(self, sequences: list[np.ndarray]) -> np.ndarray:
        """Shares, float32 [N, size], of sequences float32 [T, C]; none depends on its neighbours.

        Sequences of one length are gone through together.
        """
        result = np.empty((len(sequences), *self.biases.shape), np.float32)
        lengths = np.array([len(sequence) for sequence in sequences])
        for length in np.unique(lengths):
            (rows,) = np.nonzero(lengths == length)
            most = max(1, _BLOCK // (KERNELS * int(length)))
            for some in np.split(rows, range(most, len(rows), most)):
                self._fill(np.stack([sequences[i] for i in some]), some, result)
        return result.reshape(len(sequences), -1)

    def _fill(self, x: np.ndarray, rows: np.ndarray, result: np.ndarray) -> None:
        """Write the shares of x [B, T, C] to ``rows`` of the result."""
        most = max(1, _BLOCK // (KERNELS * x[..., 0].size))
        for d, dilation in enumerate(self.dilations.tolist()):
            for begin in range(0, self.sums.shape[1], most):
                some = slice(begin, begin + most)
                summed = np.concatenate([_summed(x, weights) for weights in self.sums[d, some]])
                convolved, places = _convolved(summed, dilation, d)
                convolved = convolved.reshape(KERNELS, -1, len(x), convolved.shape[-1])
                above = np.empty(convolved.shape, np.bool_)
                for q in range(self.biases.shape[-1]):
                    bias = self.biases[d, some, :, q].T
                    np.greater(convolved, bias[:, :, None, None], out=above)
                    shares = _counts(above) / places[:, None, None]
                    result[rows, d, some, :, q] = shares.transpose(2, 1, 0)


def _sums(dilations: int, most: int, channels: int, rng: np.random.Generator) -> np.ndarray:
    """Sums of channels for each dilation, float32 [D, R, C], at most ``most`` of them.

    Each channel alone, and as many sums of some that are drawn.
    """
    if channels == 1:
        return np.ones((dilations, 1, 1), np.float32)
    count = max(1, min(most, 2 * channels))
    sums = np.zeros((dilations, count, channels), np.float32)
    for of_dilation in sums:
        alone = rng.permutation(channels)[: -(-count // 2)]
        of_dilation[np.arange(len(alone)), alone] = 1
        for drawn in of_dilation[len(alone) :]:
            drawn[rng.permutation(channels)[: rng.integers(2, min(channels, LENGTH) + 1)]] = 1
    return sums


def _summed(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A sum of channels float32 [B, T] of x [B, T, C]; ``weights`` [C].

    One channel after the other, so that its bits are the same on every machine: a value just at a
    bias would else be counted here and not there.  So it is with the sums in ``_convolved``.
    """
    total = np.zeros(x.shape[:-1], np.float32)
    for channel in np.flatnonzero(weights):
        total += x[..., channel] * weights[channel]
    return total


def _convolved(x: np.ndarray, dilation: int, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Convolutions of x [B, T], float32 [84, B, W], and the number of places of each kernel, [84].

    W is T or a little more.  What is no place is -inf: what lies beyond T, and, of every second
    kernel, those of odd numbers if ``first`` is even, what reaches beyond the ends.
    """
    batch, steps = x.shape
    end = REACH * dilation
    shifts = np.zeros((LENGTH, batch, -(-steps // _LANES) * _LANES), np.float32)
    for k in range(LENGTH):
        ahead = (k - REACH) * dilation  # at step t stands x[t + ahead]
        low, high = max(0, -ahead), min(steps, steps - ahead)
        if low < high:
            shifts[k, :, low:high] = x[:, low + ahead : high + ahead]
    ones = -shifts.sum(0)
    shifts *= 3
    convolved = shifts[TWOS[:, 0]]
    for column in TWOS.T[1:]:
        convolved += shifts[column]
    convolved += ones
    convolved[..., steps:] = -np.inf
    places = np.full(KERNELS, steps, np.float32)
    if steps > 2 * end:
        inner = slice((first + 1) % 2, None, 2)
        convolved[inner, :, :end] = -np.inf
        convolved[inner, :, steps - end :] = -np.inf
        places[inner] -= 2 * end
    return convolved, places


def _counts(truth: np.ndarray) -> np.ndarray:
    """How many of the last axis, a multiple of eight, are true: [...] of bool [..., W]."""
    words = truth.view(np.uint64)
    total = np.zeros(truth.shape[:-1], np.float32)
    for begin in range(0, words.shape[-1], _WORDS):
        bytewise = words[..., begin : begin + _WORDS].sum(-1)[..., None]
        total += bytewise.view(np.uint8).sum(-1, dtype=np.float32)
    return total

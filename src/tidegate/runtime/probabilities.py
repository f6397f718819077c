"""From a network's outputs to probabilities: softmax, and that of many words at one of them."""

from __future__ import annotations

import numpy as np

from tidegate.engine import available_threads, compiled
from tidegate.runtime.products import Array, linear

_CHUNK_LOGITS = 2**22  # 16 MiB in float32
_FEWEST_ROWS = 256  # below, it takes longer to read the weights than to multiply by them


@np.errstate(over="ignore", invalid="ignore")
def log_softmax(outputs: Array) -> Array:
    """Logarithm of the softmax over the last axis."""
    shifted = outputs - outputs.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def rows_at_once(words: int) -> int:
    """How many rows of logits to make at a time, so that few of them are ever in memory."""
    return max(_FEWEST_ROWS, _CHUNK_LOGITS // words)


def nats_of(features: Array, weight: Array, bias: Array, targets: np.ndarray) -> Array:
    """-log softmax(features @ weight.T + bias) of N rows at each one's target, in nats, [N].

    features: [N, F]; weight: [V, F]; bias: [V]; targets: int64 [N], each in 0 .. V - 1.  Takes,
    beside these, memory for 2**22 logits, or 256 * V where that is more.
    """
    size = min(len(features), rows_at_once(len(weight)))
    logits = np.empty((size, len(weight)), np.float32)
    nats = np.empty(len(features), np.float32)
    for first in range(0, len(features), size or 1):
        rows = slice(first, first + size)
        x = features[rows]
        some = linear(x, weight, bias, logits[: len(x)])
        compiled.softmax_cross_entropy(some, targets[rows], nats[rows], False, available_threads())
    return nats

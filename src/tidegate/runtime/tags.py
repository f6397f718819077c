"""From outputs at every step to labels: the most likely of each step, or of a whole sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.runtime import crf
from tidegate.runtime.probabilities import log_softmax

Array = np.ndarray[Any, Any]

_STEPS = 20_000  # of a batch, padding included


def decoded(outputs: Sequence[Array], transitions: Array | None) -> list[Array]:
    """The positions of the labels of each sequence, int64 [T], of its outputs [T, L].

    With ``transitions`` those that are the most likely together (Viterbi).
    """
    if transitions is None:
        return [of_one.argmax(1) for of_one in outputs]
    found: list[Array] = [np.zeros(0, np.int64)] * len(outputs)
    for rows, padded, lengths in _batches(outputs):
        labels = crf.viterbi(padded, transitions, lengths)
        for column, i in enumerate(rows):
            found[i] = labels[: lengths[column], column]
    return found


def log_probabilities(outputs: Sequence[Array], transitions: Array | None) -> list[Array]:
    """The logarithm of each label's probability at each step, float64 [T, L].

    With ``transitions`` those over all ways to label the sequence.
    """
    if transitions is None:
        return [_log_softmax(of_one) for of_one in outputs]
    found = [np.zeros(of_one.shape) for of_one in outputs]
    for rows, padded, lengths in _batches(outputs):
        logs = crf.log_marginals(padded, transitions, lengths)
        for column, i in enumerate(rows):
            found[i] = logs[: lengths[column], column]
    return found


def losses(outputs: Sequence[Array], transitions: Array | None, labels: Sequence[Array]) -> Array:
    """-log p of all labels of each sequence together, in nats, float64 [N]; NaN where one is
    below 0, which stands for a label that the model does not know.
    """
    found = np.zeros(len(outputs))
    if transitions is None:
        for i, (of_one, right) in enumerate(zip(outputs, labels, strict=True)):
            logs = _log_softmax(of_one)
            found[i] = -logs[np.arange(len(right)), np.maximum(right, 0)].sum()
    else:
        for rows, padded, lengths in _batches(outputs):
            right, _ = pad_sequences([np.maximum(labels[i], 0) for i in rows])
            found[rows] = -crf.log_likelihoods(padded, transitions, lengths, right)
    found[[bool((right < 0).any()) for right in labels]] = np.nan
    return found


def _log_softmax(outputs: Array) -> Array:
    wide: Array = outputs.astype(np.float64)
    return log_softmax(wide)


def _batches(outputs: Sequence[Array]) -> Iterator[tuple[Array, Array, Array]]:
    """Row numbers, their outputs [T, B, L] and lengths [B], of sequences that have a step."""
    lengths = np.array([len(of_one) for of_one in outputs], np.int64)
    order = np.argsort(lengths, kind="stable")[::-1]
    order = order[: int((lengths > 0).sum())]
    while len(order):
        rows, order = np.split(order, [max(1, _STEPS // int(lengths[order[0]]))])
        yield rows, *pad_sequences([outputs[i] for i in rows])

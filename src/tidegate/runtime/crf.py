"""A linear-chain conditional random field on numpy arrays: the best labels, and how sure they are.

weights: float32 [T, B, L], of each label at each step.  transitions: [L + 1, L + 1], of label after
label; its last row is the start, its last column the end.  lengths: [B], from 0 to T.  What stands
beyond a length is of no account.  Source: Lafferty, McCallum & Pereira 2001; Rabiner 1989, Proc.
IEEE 77.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def viterbi(weights: Array, transitions: Array, lengths: Array) -> Array:
    """The most likely labels of each sequence, int64 [T, B]; 0 beyond a length."""
    steps, rows, count = weights.shape
    between, first, last = _parts(transitions, count)
    best, come_from = first + weights[0], np.zeros((steps, rows, count), np.int64)
    for t in range(1, steps):
        inside = (t < lengths)[:, None]
        reached = best[:, :, None] + between  # [B, from, to]
        come_from[t] = reached.argmax(1)
        best = np.where(inside, reached.max(1) + weights[t], best)
    labels = np.zeros((steps, rows), np.int64)
    label = (best + last).argmax(1)
    every = np.arange(rows)
    for t in range(steps - 1, -1, -1):
        inside = t < lengths
        labels[t] = np.where(inside, label, 0)
        label = np.where(inside, come_from[t][every, label], label)
    return labels


def log_marginals(weights: Array, transitions: Array, lengths: Array) -> Array:
    """The logarithm of each label's probability at each step, float64 [T, B, L]."""
    steps, _, count = weights.shape
    between, _, last = _parts(transitions, count)
    forward = _forward(weights, transitions, lengths)
    backward = np.empty_like(forward)
    after = np.broadcast_to(last, forward[0].shape)
    for t in range(steps - 1, -1, -1):
        # from the last true step back: what stands behind it is the end
        backward[t] = np.where((t < lengths)[:, None], after, last)
        after = np.where((t < lengths)[:, None], _sum(between + (weights[t] + after)[:, None], 2),
                         last)  # fmt: skip
    both = forward + backward
    return both - _sum(both, 2)[..., None]


def log_likelihoods(weights: Array, transitions: Array, lengths: Array, labels: Array) -> Array:
    """The logarithm of the probability of labels, int64 [T, B], float64 [B]; 0 of no step."""
    steps, rows, count = weights.shape
    between, first, last = _parts(transitions, count)
    forward = _forward(weights, transitions, lengths)
    every, ends = np.arange(rows), np.maximum(lengths - 1, 0)
    everything = _sum(forward[ends, every] + last, 1)
    inside = np.arange(steps)[:, None] < lengths
    own = np.take_along_axis(weights, labels[..., None], 2)[..., 0].astype(np.float64)
    told = np.where(inside, own, 0).sum(0) + first[labels[0]] + last[labels[ends, every]]
    told += np.where(inside[1:], between[labels[:-1], labels[1:]], 0).sum(0)
    return np.where(lengths > 0, told - everything, 0.0)


def _parts(transitions: Array, count: int) -> tuple[Array, Array, Array]:
    """Between labels [L, L], from the start [L], to the end [L]; in float64."""
    wide = transitions.astype(np.float64)
    return wide[:count, :count], wide[count, :count], wide[:count, count]


def _forward(weights: Array, transitions: Array, lengths: Array) -> Array:
    """Log of the sum over all ways to each label at each step, [T, B, L]; stays beyond a length."""
    between, first, _ = _parts(transitions, weights.shape[2])
    found = np.empty(weights.shape, np.float64)
    found[0] = first + weights[0]
    for t in range(1, len(weights)):
        reached = _sum(found[t - 1][:, :, None] + between, 1) + weights[t]
        found[t] = np.where((t < lengths)[:, None], reached, found[t - 1])
    return found


def _sum(logs: Array, axis: int) -> Array:
    """The logarithm of the sum of what these are logarithms of."""
    highest = logs.max(axis, keepdims=True)
    return np.squeeze(highest, axis) + np.log(np.exp(logs - highest).sum(axis))

"""What a network's dense layer sees of a whole sequence: sums of the last layer's outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidegate.runtime.products import Array

_SUMMED_STEPS = 64  # added up one after the other; their sums then are, so that little is lost


def pooled(
    readout: str, y: Sequence[Array], ends: Sequence[Array], lengths: np.ndarray | None
) -> Array:
    """What ``readout`` sums up of a layer's outputs ``y``, [T, B, H] of each direction, [B, F].

    ``ends``: what each direction put out last, [B, H].
    """
    outside, pairs = outside_of(y[0], lengths), list(zip(y, ends, strict=True))
    read = [_read_out(p, *one, lengths, outside) for p in readout.split("+") for one in pairs]
    return np.concatenate(read, axis=-1)


def ends_of(y: Sequence[Array], lengths: np.ndarray | None) -> list[Array]:
    """What each direction put out at its own last step, [B, H] of [T, B, H]; 0 without a step."""
    if not len(y[0]):
        return [np.zeros(one.shape[1:], np.float32) for one in y]
    rows = np.arange(y[0].shape[1])
    last = np.full_like(rows, len(y[0])) if lengths is None else lengths
    return [y[0][np.maximum(last - 1, 0), rows], *(one[0] for one in y[1:])]


def outside_of(inputs: np.ndarray, lengths: np.ndarray | None) -> np.ndarray | None:
    """Which steps are padding, [T, B]; None where none is."""
    if lengths is None or (lengths == len(inputs)).all():
        return None
    return np.arange(len(inputs))[:, None] >= lengths


def last_steps(x: Array, lengths: np.ndarray | None, steps: int) -> Array:
    """The last ``steps`` true steps of x [T, B, I], zeros before the first, [B, steps * I]."""
    rows = x.shape[1]
    last = np.zeros((steps, *x.shape[1:]), np.float32)
    if lengths is None:
        known = x[-steps:]
        last[steps - len(known) :] = known
    else:
        places = np.arange(-steps, 0)[:, None] + lengths  # [steps, B]
        known = places >= 0
        last[known] = x[places.clip(0), np.arange(rows)][known]
    return last.swapaxes(0, 1).reshape(rows, -1)


def _read_out(
    part: str, y: Array, end: Array, lengths: np.ndarray | None, outside: np.ndarray | None
) -> Array:
    """[B, H] of one direction's outputs y [T, B, H], zero outside, and its last one."""
    if part == "last":
        return end
    if part == "mean":
        blocks = range(0, len(y), _SUMMED_STEPS)
        total = np.sum([y[t : t + _SUMMED_STEPS].sum(0) for t in blocks], axis=0)
        steps = np.float32(len(y)) if lengths is None else np.maximum(lengths, 1)[:, None]
        return (total / steps).astype(np.float32, copy=False)
    if outside is None or lengths is None:
        return y.max(0)
    y[outside] = -np.inf
    highest = y.max(0)
    y[outside] = 0.0
    highest[lengths == 0] = 0.0
    return highest

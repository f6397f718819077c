"""Sequences of numbers answered by sequences of numbers: every step at once, from the source alone.

The decoder reads where a step stands, as sines and cosines (Vaswani et al. 2017, arXiv:1706.03762,
section 3.5), not what was said before it: the mean squared error of a step does not depend on the
steps before it, and an answer cannot drift away from itself.  Where the lengths of targets differ,
one output more tells the odds that a step is the last one; an answer ends at the median.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.data.series.scaling import Scaler

_STEPS = 20_000  # of a batch, padding included
_SHORTEST = 4  # steps: the shortest wave; each further one is twice as long
_MOST_WAVES = 20

Run = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class ReadPairs(NamedTuple):
    """Sources as the encoder reads them, float32 [T, I], and scaled targets, float32 [U, O]."""

    sources: list[np.ndarray]
    targets: list[np.ndarray]


def waves(steps: int) -> int:
    """How many numbers tell where one of so many steps stands."""
    longest = max(0, math.ceil(math.log2(max(2 * steps, 1) / _SHORTEST)))
    return 2 * min(_MOST_WAVES, 1 + longest)


def places(steps: int, width: int) -> np.ndarray:
    """Where each of so many steps stands, in ``width`` numbers, float32 [steps, width]."""
    lengths = _SHORTEST * 2.0 ** np.arange(width // 2)
    angles = 2 * np.pi * np.arange(steps)[:, None] / lengths
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def outputs_to(
    run: Run, sources: Sequence[np.ndarray], steps: Sequence[int], width: int
) -> list[np.ndarray]:
    """The outputs of so many ``steps`` to each source, float32 [U, O] each.

    ``run`` takes sources [T, B, I], their lengths [B] and ``width`` numbers of each place, [U, B,
    width].
    """
    found: list[np.ndarray] = [np.zeros(0)] * len(sources)
    order = np.argsort([len(s) + n for s, n in zip(sources, steps, strict=True)])[::-1]
    while len(order):
        longest = len(sources[order[0]]) + steps[order[0]]
        rows, order = np.split(order, [max(1, _STEPS // longest)])
        x, lengths = pad_sequences([sources[i] for i in rows])
        read = places(max(steps[i] for i in rows), width)
        outputs = run(x, lengths, np.repeat(read[:, None], len(rows), axis=1))
        for column, i in enumerate(rows):
            found[i] = outputs[: steps[i], column]
    return found


def ends(logits: np.ndarray, shortest: int) -> int:
    """How many steps an answer has: ``logits`` [U] that each is the last, from ``shortest`` on.

    That is the median; the last one where it is later.
    """
    with np.errstate(over="ignore"):
        goes_on = 1 / (1 + np.exp(logits[shortest - 1 :].astype(np.float64)))
    left = np.cumprod(goes_on)
    over = np.flatnonzero(left <= 0.5)
    return shortest + (int(over[0]) if len(over) else len(left) - 1)


def series_figures(
    outputs: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    scaler: Scaler,
    shortest: int | None,
) -> dict[str, float]:
    """Figures of outputs at the steps of true targets [U, O], both in the scaler's units.

    ``mse`` and ``mae`` are in the targets' own; ``scaled_mse`` in their deviations, of which 1 is
    what their mean comes to.  ``shortest``: the length from which an answer may end, None where all
    are of one.  Outputs go on to the longest answer there is.
    """
    pairs = list(zip(outputs, targets, strict=True))
    errors = np.concatenate([o[: len(t), : t.shape[1]] - t for o, t in pairs]).astype(np.float64)
    own = errors * scaler.scale
    figures = {
        "mse": float(np.mean(own**2)),
        "mae": float(np.abs(own).mean()),
        "scaled_mse": float(np.mean(errors**2)),
    }
    if shortest is not None:
        told = [ends(o[:, -1], shortest) == len(t) for o, t in pairs]
        figures["length_accuracy"] = float(np.mean(told))
    return figures

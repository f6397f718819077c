"""Counting: how often an output is on after it was on or off, and how often whole steps stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from tidegate.baselines.baseline import Baseline

_SHARES = np.linspace(0, 0.99, 100)  # of all steps, those that are the one before them again


class CountedSteps(Baseline):
    """Each output by its own last value, mixed with the whole last step again; parts are rolls.

    ``tables`` [3, O]: the share of steps at which an output is on, where it was off, where it was
    on, and of first steps.  Half a step of either kind is added to what is counted (Krichevsky &
    Trofimov 1981).  ``share``: how likely the whole last step comes again, beside that.
    """

    name = "frequencies after the last step"
    about = "each output by its own last value, or the whole step again"

    def __init__(self, tables: np.ndarray, share: float) -> None:
        self._tables, self._share = tables, share
        self.parameters = tables.size + 1

    @classmethod
    def fit(cls, train: Sequence[np.ndarray], validation: Sequence[np.ndarray]) -> Self:
        """Count in ``train``; how often whole steps come again ``validation`` decides, if it is
        there.
        """
        on = np.full((3, train[0].shape[1]), 0.5)
        seen = np.ones_like(on)
        for roll in train:
            last, now = roll[:-1], roll[1:]
            for value, kept in enumerate((last == 0, last > 0)):
                on[value] += (now * kept).sum(0)
                seen[value] += kept.sum(0)
            on[2] += roll[0]
            seen[2] += 1
        tables = on / seen
        judges = validation if len(validation) else train
        alone = cls(tables, 0.0)
        nats, again = zip(*(alone._nats(roll) for roll in judges), strict=True)
        found = [_mixed(np.concatenate(nats), np.concatenate(again), s).sum() for s in _SHARES]
        return cls(tables, float(_SHARES[np.argmin(found)]))

    def losses(self, part: Sequence[np.ndarray]) -> np.ndarray:
        """Nats of each roll, all of its steps together, float64 [N]."""
        return np.array([_mixed(*self._nats(roll), self._share).sum() for roll in part])

    def figures(self, part: Sequence[np.ndarray]) -> dict[str, float]:
        """``nats_per_step`` and ``frame_accuracy``."""
        steps = sum(map(len, part))
        right = other = 0
        for roll in part:
            expected = self._likely(roll) > 0.5
            right += int((expected & (roll > 0)).sum())
            other += int((expected != (roll > 0)).sum())
        accuracy = right / (right + other) if right + other else float("nan")
        return {"nats_per_step": float(self.losses(part).sum()) / steps, "frame_accuracy": accuracy}

    def _alone(self, roll: np.ndarray) -> np.ndarray:
        """How likely each output is on by its own last value, [T, O]."""
        which = np.concatenate([np.full((1, roll.shape[1]), 2), roll[:-1]])
        return self._tables[which, np.arange(roll.shape[1])]

    def _likely(self, roll: np.ndarray) -> np.ndarray:
        likely = self._alone(roll)
        likely[1:] += self._share * (roll[:-1] - likely[1:])
        return likely

    def _nats(self, roll: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nats of each step without the mixture, and whether it is the last one again.

        That is NaN for the first step, which has none before it.
        """
        likely = self._alone(roll)
        nats = -np.log(np.where(roll > 0, likely, 1 - likely)).sum(1)
        again = np.concatenate([[np.nan], (roll[1:] == roll[:-1]).all(1)])
        return nats, again


def _mixed(nats: np.ndarray, again: np.ndarray, share: float) -> np.ndarray:
    """Nats of the mixture: the last step again with probability ``share``, else by its outputs."""
    mixed = -np.log((1 - share) * np.exp(-nats) + share * np.nan_to_num(again) + 1e-300)
    return np.where(np.isnan(again), nats, np.minimum(mixed, nats - np.log1p(-share)))

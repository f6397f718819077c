"""Ridge regression from the windows that a forecaster reads: what a linear map of them reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from tidegate.data.series.windowing import Windows

# In squared standard deviations, as the windows are; sums over some thousand of these to some
# hundred thousand stand beside it.
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1e3, 3e3, 1e4, 3e4)
_ROWS = 4096  # at once: bounds the memory


@dataclass(frozen=True, eq=False)
class Ridge:
    """``weights`` [inputs, outputs] and ``intercept`` [outputs], shared by all windows."""

    weights: np.ndarray
    intercept: np.ndarray
    penalty: float

    @classmethod
    def fit(cls, train: Windows, validation: Windows) -> Self:
        """The map of ``train`` whose penalty has the least squared error on ``validation``."""
        sums: list[np.ndarray] | None = None
        for x, y in _design(train):
            new = [x.sum(0), y.sum(0), x.T @ x, x.T @ y]
            sums = new if sums is None else [a + b for a, b in zip(sums, new, strict=True)]
        assert sums is not None  # there is at least one window
        n = len(train)
        x_mean, y_mean = sums[0] / n, sums[1] / n
        gram = sums[2] - n * np.outer(x_mean, x_mean)
        moment = sums[3] - n * np.outer(x_mean, y_mean)
        fitted = []
        for penalty in PENALTIES:
            weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), moment)
            fitted.append(cls(weights, y_mean - x_mean @ weights, penalty))
        return min(fitted, key=lambda ridge: ridge.errors(validation)["mse"])

    @property
    def parameters(self) -> int:
        return self.weights.size + self.intercept.size

    def errors(self, part: Windows) -> dict[str, float]:
        """``mse`` and ``mae`` over all windows and series, in standard deviations of training."""
        squared = absolute = count = 0.0
        for x, y in _design(part):
            error = x @ self.weights + self.intercept - y
            squared, absolute = squared + np.sum(error**2), absolute + np.sum(np.abs(error))
            count += error.size
        return {"mse": float(squared / count), "mae": float(absolute / count)}

    def squared(self, part: Windows) -> np.ndarray:
        """Mean squared error of each window, over horizon and series, [windows]."""
        rows = [((x @ self.weights + self.intercept - y) ** 2).mean(1) for x, y in _design(part)]
        return np.concatenate(rows).reshape(len(part.starts), -1).mean(1)


def _design(part: Windows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs [B, inputs] and targets [B, outputs] of the rows of windows, float64."""
    for rows in np.split(np.arange(len(part)), range(_ROWS, len(part), _ROWS)):
        x = part.inputs(rows).astype(np.float64)  # [T, B, I]
        yield x.swapaxes(0, 1).reshape(len(rows), -1), part.targets(rows).astype(np.float64)

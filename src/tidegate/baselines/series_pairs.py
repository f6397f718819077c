"""Series that answer series: a ridge regression on both, brought to one length each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from tidegate.baselines.baseline import Baseline
from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.sequences.ridge import PENALTIES, Fit, Ridge
from tidegate.data.sequences.series_pairs import SeriesPairs
from tidegate.data.series.scaling import Scaler

_MOST_POINTS = 64  # to which a source is brought
_MOST_ANSWERS = 256  # numbers that are told of one source


class StretchedRidge(Baseline):
    """A linear map from sources at some points to targets at some, stretched to the true length."""

    name = "ridge"

    def __init__(
        self, inputs: SequenceInputs, scaler: Scaler, points: tuple[int, int], fitted: Fit | None
    ) -> None:
        self._inputs, self._scaler, self._points, self._fitted = inputs, scaler, points, fitted
        self.about = f"linear, of {points[0]} points of a source and {points[1]} of its answer"

    @classmethod
    def fit(cls, train: SeriesPairs, validation: SeriesPairs) -> Self:
        """That of ``train`` whose penalty does best on ``validation``."""
        inputs = SequenceInputs.fit(train.sources, 1, own_scale=False)
        scaler = Scaler.fit(np.concatenate(train.targets))
        width = train.targets[0].shape[1]
        medians = [round(float(np.median([len(s) for s in side]))) for side in train]
        points = (
            min(_MOST_POINTS, medians[0]), max(1, min(_MOST_ANSWERS // width, medians[1])),
        )  # fmt: skip
        bare = cls(inputs, scaler, points, None)
        told = [scaler.transform(target) for target in train.targets]
        answers = np.stack([_stretched(t, points[1]).ravel() for t in told])
        ridge = Ridge(bare._read(train.sources), answers, np.ones(len(answers)))
        models = [cls(inputs, scaler, points, ridge.fit(penalty)) for penalty in PENALTIES]
        return min(models, key=lambda model: float(model.losses(validation).mean()))

    def predict(self, sources: Sequence[np.ndarray], steps: Sequence[int]) -> list[np.ndarray]:
        """An answer of so many ``steps`` to each source, in the targets' own units."""
        assert self._fitted is not None
        found = self._read(sources) @ self._fitted.weights + self._fitted.intercepts
        answers = found.reshape(len(found), self._points[1], -1)
        return [
            self._scaler.inverse(_stretched(answer, count))
            for answer, count in zip(answers, steps, strict=True)
        ]

    def losses(self, part: SeriesPairs) -> np.ndarray:
        """The mean squared error of each pair, in the scaler's units, [N]."""
        return np.array([np.mean((e / self._scaler.scale) ** 2) for e in self._errors(part)])

    def figures(self, part: SeriesPairs) -> dict[str, float]:
        """``mse``, ``mae`` and ``scaled_mse``, over all steps."""
        errors = np.concatenate(self._errors(part))
        scaled = errors / self._scaler.scale
        return {
            "mse": float(np.mean(errors**2)),
            "mae": float(np.abs(errors).mean()),
            "scaled_mse": float(np.mean(scaled**2)),
        }

    def _errors(self, part: SeriesPairs) -> list[np.ndarray]:
        found = self.predict(part.sources, [len(target) for target in part.targets])
        return [a - b for a, b in zip(found, part.targets, strict=True)]

    def _read(self, sources: Sequence[np.ndarray]) -> np.ndarray:
        """Features of sources, [N, F]."""
        read = (_stretched(self._inputs.filled(source), self._points[0]) for source in sources)
        return np.stack([one.ravel() for one in read])


def _stretched(steps: np.ndarray, count: int) -> np.ndarray:
    """Steps [T, C] at ``count`` points from the first to the last, [count, C]."""
    at = np.linspace(0, len(steps) - 1, count)
    return np.stack([np.interp(at, np.arange(len(steps)), c) for c in steps.T], axis=1)

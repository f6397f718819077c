"""Classifiers and regressors of sequences of numbers, beside 1-nearest-neighbour and ridge.

Both baselines read what the networks read, `SequenceInputs.scaled`, once every sequence is brought
to the same length: the median of the training part.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.comparison.experiments.answered import ACCURACY, AnsweredExperiment, Part
from tidegate.comparison.experiments.experiment import Baseline, Metric
from tidegate.data.files.items import as_labels
from tidegate.data.sequences.inputs import SequenceInputs, as_sequences

_PENALTIES = tuple(10.0**k for k in range(-2, 5))


class _Sequences(AnsweredExperiment):
    """What the two tasks share: reading sequences."""

    def _read(self, model: Any, inputs: list[Any]) -> list[np.ndarray]:
        return [model.inputs_.segments(model.inputs_.scaled(sequence)) for sequence in inputs]

    def _features(self) -> list[np.ndarray]:
        """Of the training, the validation and the scored part: [N, features]."""
        inputs = SequenceInputs.fit(self.train.inputs, None)
        length = round(float(np.median([len(sequence) for sequence in self.train.inputs])))
        return [
            np.stack([_resampled(inputs.scaled(s), inputs.channels, length) for s in part.inputs])
            for part in (self.train, self.validation, self.scored)
        ]


class SequenceClassification(_Sequences):
    """The experiment on sequences and their labels."""

    metric: ClassVar[Metric] = ACCURACY

    def baselines(self, model: Any) -> list[Baseline]:  # noqa: ARG002
        """The label of the nearest training sequence: the archive's own yardstick.

        Source: Dau et al. 2019, The UCR time series archive, arXiv:1810.07758.
        """
        from sklearn.neighbors import KNeighborsClassifier

        train, validation, scored = self._features()
        nearest = KNeighborsClassifier(1).fit(train, self.train.answers)
        return [
            Baseline(
                name="1-nearest neighbour",
                about="Euclidean distance",
                validation=float(nearest.score(validation, self.validation.answers)),
                held_out=float(nearest.score(scored, self.scored.answers)),
                losses=self.losses_of(nearest.predict(scored), self.scored.answers),
            )
        ]

    def _part(self, inputs: Any, answers: Any) -> Part:
        return Part(as_sequences(inputs), np.array(as_labels(answers)))

    def _targets(self, model: Any, answers: np.ndarray) -> np.ndarray:
        return np.searchsorted(model.classes_, answers)


class SequenceRegression(_Sequences):
    """The experiment on sequences and a number that belongs to each."""

    metric: ClassVar[Metric] = Metric(name="mse", label="mean squared error", lower_is_better=True)

    def baselines(self, model: Any) -> list[Baseline]:  # noqa: ARG002
        """The training part's mean, and ridge regression."""
        from sklearn.linear_model import Ridge
        from sklearn.metrics import mean_squared_error

        train, validation, scored = self._features()
        fitted = [Ridge(alpha=penalty).fit(train, self.train.answers) for penalty in _PENALTIES]

        def error(linear: Ridge) -> float:
            return float(mean_squared_error(self.validation.answers, linear.predict(validation)))

        ridge = min(fitted, key=error)
        mean = self.train.answers.mean()
        return [
            Baseline(
                name="mean",
                about="of the training part",
                validation=float(np.mean((self.validation.answers - mean) ** 2)),
                held_out=float(np.mean((self.scored.answers - mean) ** 2)),
                losses=(self.scored.answers - mean) ** 2,
            ),
            Baseline(
                name="ridge regression",
                about=f"penalty {ridge.get_params()['alpha']:g}",
                validation=error(ridge),
                held_out=float(mean_squared_error(self.scored.answers, ridge.predict(scored))),
                losses=self.losses_of(ridge.predict(scored), self.scored.answers),
                parameters=train.shape[1] + 1,
            ),
        ]

    def _part(self, inputs: Any, answers: Any) -> Part:
        return Part(as_sequences(inputs), np.asarray(answers, dtype=np.float64))

    def _targets(self, model: Any, answers: np.ndarray) -> np.ndarray:
        return model.target_.transform(answers[:, None])


def _resampled(scaled: np.ndarray, channels: int, length: int) -> np.ndarray:
    """Scaled values [T, 3 C] as features: shapes at ``length`` points, means and magnitudes."""
    shape, whole = scaled[:, :channels], scaled[0, channels:]
    at = np.linspace(0, len(shape) - 1, length)
    points = [np.interp(at, np.arange(len(shape)), channel) for channel in shape.T]
    return np.concatenate([*points, whole])

"""Classifiers and regressors of sequences of numbers, beside the baselines of sequences."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.baselines.constants import Mean
from tidegate.baselines.sequences import (
    ConvolvedLabels,
    ConvolvedNumbers,
    LinearSequences,
    NearestNeighbour,
)
from tidegate.comparison.experiments.answered import CROSS_ENTROPY, AnsweredExperiment
from tidegate.comparison.experiments.experiment import Metric
from tidegate.data.files.items import as_labels


class _Sequences(AnsweredExperiment):
    """What the two tasks share: reading sequences."""

    def _read(self, model: Any, inputs: list[Any]) -> list[np.ndarray]:
        return model._read(inputs)


class SequenceClassification(_Sequences):
    """The experiment on sequences and their labels."""

    metric: ClassVar[Metric] = CROSS_ENTROPY

    def _fitted(self, model: Any) -> list[Baseline]:  # noqa: ARG002
        return [NearestNeighbour.fit(self.train), ConvolvedLabels.fit(self.train)]

    def _part(self, model: Any, inputs: Any, answers: Any) -> Answered:
        return Answered(model._sequences(inputs), np.array(as_labels(answers)))

    def _targets(self, model: Any, answers: np.ndarray) -> np.ndarray:
        return np.searchsorted(model.classes_, answers)


class SequenceRegression(_Sequences):
    """The experiment on sequences and a number that belongs to each."""

    metric: ClassVar[Metric] = Metric(name="mse", label="mean squared error")

    def _fitted(self, model: Any) -> list[Baseline]:  # noqa: ARG002
        return [
            Mean.fit(self.train),
            LinearSequences.fit(self.train),
            ConvolvedNumbers.fit(self.train),
        ]

    def _part(self, model: Any, inputs: Any, answers: Any) -> Answered:
        return Answered(model._sequences(inputs), np.asarray(answers, dtype=np.float64))

    def _targets(self, model: Any, answers: np.ndarray) -> np.ndarray:
        return model.target_.transform(answers[:, None])

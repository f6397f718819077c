"""The same answer whatever the input: what no method that reads the input may be worse than."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from tidegate.baselines.baseline import Answered, Holding, Labelling, Valued
from tidegate.data.text.label_sets import log_odds


class Mean(Valued):
    """The mean answer of the training part."""

    name = "mean"
    about = "of the training part"
    parameters = 1

    def __init__(self, value: float) -> None:
        self._value = value

    @classmethod
    def fit(cls, train: Answered) -> Self:
        return cls(float(train.answers.mean()))

    def predict(self, inputs: list[Any]) -> np.ndarray:
        return np.full(len(inputs), self._value)


class Frequencies(Labelling):
    """How often each label is in the training part."""

    name = "label frequencies"
    about = "of the training part, whatever the input"

    def __init__(self, classes: np.ndarray, counts: np.ndarray) -> None:
        self.classes, self._log_p = classes, np.log(counts / counts.sum())
        self.parameters = len(classes)

    @classmethod
    def fit(cls, train: Answered) -> Self:
        return cls(*np.unique(train.answers, return_counts=True))

    def log_probabilities(self, inputs: list[Any]) -> np.ndarray:
        return np.tile(self._log_p, (len(inputs), 1))


class SetFrequencies(Holding):
    """How often each of several labels is there in the training part."""

    name = "label frequencies"
    about = "of the training part, whatever the input"

    def __init__(self, logits: np.ndarray) -> None:
        self._logits, self.thresholds = logits, np.full(len(logits), 0.5)
        self.parameters = len(logits)

    @classmethod
    def fit(cls, train: Answered) -> Self:
        return cls(np.array([log_odds(held) for held in train.answers.T > 0]))

    def logits(self, inputs: list[Any]) -> np.ndarray:
        return np.tile(self._logits, (len(inputs), 1))

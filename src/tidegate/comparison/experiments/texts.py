"""Classifiers of texts, beside TF-IDF and logistic regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.baselines.texts import LinearTexts
from tidegate.comparison.experiments.answered import CROSS_ENTROPY, AnsweredExperiment
from tidegate.comparison.experiments.experiment import Metric
from tidegate.data.files.items import as_labels, as_texts


class TextClassification(AnsweredExperiment):
    """The experiment on texts and their labels."""

    metric: ClassVar[Metric] = CROSS_ENTROPY

    def _fitted(self, model: Any) -> list[Baseline]:
        return [LinearTexts.fit(self.train, self.validation, lowercase=model.lowercase)]

    def _part(self, inputs: Any, answers: Any) -> Answered:
        return Answered(as_texts(inputs), np.array(as_labels(answers)))

    def _read(self, model: Any, inputs: list[Any]) -> list[np.ndarray]:
        return model.encode(inputs)

    def _targets(self, model: Any, answers: np.ndarray) -> np.ndarray:
        return np.searchsorted(model.classes_, answers)

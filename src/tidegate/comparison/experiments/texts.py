"""Classifiers and regressors of texts, beside linear models of TF-IDF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.comparison.experiments.answered import CROSS_ENTROPY, AnsweredExperiment
from tidegate.comparison.experiments.experiment import Figures, Metric
from tidegate.data.text.rows import rows_of


class _Texts(AnsweredExperiment):
    """What the two tasks share; the model's kind of answers says the rest."""

    def __init__(
        self,
        model: Any,
        inputs: Any,
        answers: Any,
        *,
        conditions: Sequence[str] = (),
        **told: Any,
    ) -> None:
        self._model = type(model)()  # which learns the answers there are
        self._conditions = tuple(conditions)
        self._model._learn_answers(rows_of(inputs, conditions), answers)
        self._kind = self._model.kind_
        super().__init__(model, inputs, answers, **told)
        self._kind.learn(self.train.answers)

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already, the same for every seed
        train, validation = map(self._given, (self.train, self.validation))
        model.fit(*train, validation=validation, sample_weight=self.weights)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        return model.evaluate(*self._given(self.scored)), model.evaluate(*self._given(self.train))

    def _given(self, part: Answered) -> tuple[Any, Any]:
        return part.inputs, self._kind.given(part.answers)

    def _fitted(self, model: Any) -> list[Baseline]:
        how = {"lowercase": model.lowercase, "seconds": math.inf}
        return [self._kind.baseline(self.train, self.validation, **how)]

    def _part(self, model: Any, inputs: Any, answers: Any) -> Answered:  # noqa: ARG002
        known = rows_of(inputs, self._conditions)
        return Answered(known, self._model._answers(known, answers))

    def _losses(self, model: Any, part: Answered) -> np.ndarray:
        return model.kind_.losses(model._outputs(part.inputs), part.answers)

    def _read(self, model: Any, inputs: list[Any]) -> list[np.ndarray]:
        return model.encode(inputs)

    def _targets(self, model: Any, answers: np.ndarray) -> np.ndarray:
        return model.kind_.targets(answers)


class TextClassification(_Texts):
    """The experiment on texts and their labels, one or several of each."""

    metric: ClassVar[Metric] = CROSS_ENTROPY


class TextRegression(_Texts):
    """The experiment on texts and a number that belongs to each."""

    metric: ClassVar[Metric] = Metric(name="mse", label="mean squared error")

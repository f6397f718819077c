"""Experiments on inputs that have an answer each: texts and sequences, with labels or numbers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    BaselineScores,
    Batch,
    Experiment,
    Figures,
    Metric,
    padded,
)
from tidegate.errors import InputError, spelled
from tidegate.tasks.splitting import split_rows
from tidegate.tasks.weights import sample_weights

CROSS_ENTROPY = Metric(name="cross_entropy", label="cross-entropy (nats)")

# To validate where the model leaves it open, since it would take none of few.
_FRACTION, _OF_MANY = 0.2, 0.1
_MANY = 1000


class AnsweredExperiment(Experiment):
    """What is learned from, what chooses the weights and what is scored are rows of a table."""

    def __init__(
        self,
        model: Any,
        inputs: Any,
        answers: Any,
        *,
        validation: Any,
        test: Any,
        sample_weight: Any = None,
    ) -> None:
        whole, chosen, tested = (
            None if given is None else self._part(model, *given)
            for given in ((inputs, answers), validation, test)
        )
        assert whole is not None
        weights = sample_weights(sample_weight, len(whole.inputs))
        rows = _split(
            model, whole, draw_validation=chosen is None, labelled=self.metric is CROSS_ENTROPY
        )
        self.train, drawn, last = map(whole.rows, rows)
        self.weights = weights[rows[0]]  # in training alone, as those of fit
        self.validation = chosen or drawn
        self.scored = tested or (last if last.inputs else self.validation)
        self.held_out = "validation" if self.scored is self.validation else "test"
        self.size, self.unit = len(self.scored.inputs), model.INPUTS
        self.examples = self.unit

    @abstractmethod
    def _part(self, model: Any, inputs: Any, answers: Any) -> Answered:
        """What a user gave.  Raises InputError."""

    @abstractmethod
    def _read(self, model: Any, inputs: list[Any]) -> list[np.ndarray]:
        """What the network reads of each input, tokens [T] or values [T, I]."""

    @abstractmethod
    def _targets(self, model: Any, answers: np.ndarray) -> np.ndarray:
        """What its output is held against: classes, int64 [N], or numbers, [N, 1]."""

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already, the same for every seed
        model.fit(*self.train, validation=self.validation, sample_weight=self.weights)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        return model.evaluate(*self.scored), model.evaluate(*self.train)

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        validation, scored = (self._losses(model, part) for part in (self.validation, self.scored))
        return validation, scored

    def held_out_losses(self, model: Any) -> np.ndarray:
        return self._losses(model, self.scored)

    def _losses(self, model: Any, part: Answered) -> np.ndarray:
        """-log p of the label, or the squared error; [N]."""
        if self.metric is not CROSS_ENTROPY:
            return (model.predict(part.inputs) - part.answers) ** 2
        log_p = model.predict_log_proba(part.inputs)
        return -log_p[np.arange(len(log_p)), self._targets(model, part.answers)]

    def baselines(self, model: Any) -> list[BaselineScores]:
        return [
            BaselineScores.of(
                fitted, self.metric, self.validation, self.scored, fitted.losses(self.scored)
            )
            for fitted in self._fitted(model)
        ]

    @abstractmethod
    def _fitted(self, model: Any) -> list[Baseline]:
        """The baselines, fitted to the training part; ``model`` tells how inputs are read."""

    def batch(self, model: Any) -> Batch:
        some = self.scored.rows(np.arange(min(self.size, MOST_SEQUENCES)))
        return padded(self._read(model, some.inputs), self._targets(model, some.answers))


def _split(
    model: Any, whole: Answered, *, draw_validation: bool, labelled: bool
) -> list[np.ndarray]:
    """Rows to train on, to validate by and to test on, the last two empty where not wanted.

    Where answers are labels, one that would be held out alone is learned from instead.
    """
    fraction = model.validation_fraction
    if fraction is None:
        fraction = _OF_MANY if len(whole.inputs) >= _MANY else _FRACTION
    if draw_validation and not fraction:
        raise InputError(
            "expected more than 0, since cells are compared on that part, got 0; give it, such as "
            f"{spelled('validation_fraction', 0.1)}",
            option="validation_fraction",
        )
    train, *held_out = split_rows(
        len(whole.inputs),
        model.seed,
        validation=fraction if draw_validation else 0,
        test=model.test_fraction,
        what=model.INPUTS,
    )
    if labelled:
        if whole.answers.ndim == 1:
            known: np.ndarray = np.isin(whole.answers, whole.answers[train])
        else:  # of several labels, none of which may be unknown
            met = whole.answers[train].max(0) > 0
            known = whole.answers[:, np.flatnonzero(~met)].sum(1) == 0
        train = np.sort(np.concatenate([train, np.flatnonzero(~known)]))
        held_out = [part[known[part]] for part in held_out]
    return [train, *held_out]

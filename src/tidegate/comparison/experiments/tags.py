"""Taggers of tokens beside the most frequent tag of each word, of numbers beside windows."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Baseline
from tidegate.baselines.steps import LinearSteps, NearestSteps
from tidegate.baselines.tagged import Tagged
from tidegate.baselines.tags import MostFrequentTag
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


class _Tagging(Experiment):
    """The experiment on sequences, and the labels of each one's steps.

    A sequence with a label that the training part has not is learned from, or left out where it
    is held out by another file.
    """

    def __init__(self, model: Any, inputs: Any, labels: Any, *, validation: Any, test: Any) -> None:
        drawn = validation is None or model.test_fraction > 0
        whole = model.whole(inputs, labels, drawn=drawn)
        if validation is None and not model.validation_fraction:
            raise InputError(
                "expected more than 0, since cells are compared on that part, got 0; give it, such "
                f"as {spelled('validation_fraction', 0.1)}",
                option="validation_fraction",
            )
        rows = split_rows(
            len(whole.inputs),
            model.seed,
            validation=0 if validation is not None else model.validation_fraction,
            test=model.test_fraction,
            what=model.WHOLES,
        )
        known = {label for i in rows[0] for label in whole.labels[i]}
        held_out = [[i for i in part if known.issuperset(whole.labels[i])] for part in rows[1:]]
        train = sorted({*range(len(whole.inputs))}.difference(*held_out))
        self.train = whole.rows(train)
        known = {label for of_one in self.train.labels for label in of_one}
        parts = [whole.rows(part) for part in held_out]
        for k, given in enumerate((validation, test)):
            if given is not None:
                parts[k] = _known(Tagged(*model.pairs(*given)), known, model.WHOLES)
        self.validation = parts[0]
        self.held_out = "test" if parts[1].inputs else "validation"
        self.scored = parts[1] if parts[1].inputs else parts[0]
        self.size = len(self.scored.inputs)

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already, the same for every seed
        model.fit(*self.train, validation=self.validation)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        return model.evaluate(*self.scored), model.evaluate(*self.train)

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        validation, scored = (
            _per_step(model.losses(*part), part) for part in (self.validation, self.scored)
        )
        return validation, scored

    def baselines(self, model: Any) -> list[BaselineScores]:  # noqa: ARG002
        found = []
        for fitted in self._fitted():
            losses = _per_step(fitted.losses(self.scored), self.scored)
            found.append(
                BaselineScores.of(fitted, self.metric, self.validation, self.scored, losses)
            )
        return found

    @abstractmethod
    def _fitted(self) -> list[Baseline]:
        """The baselines, fitted."""

    def batch(self, model: Any) -> Batch:
        """Some sequences, the label of the last step being the target."""
        some = [i for i, one in enumerate(self.scored.inputs) if len(one)][:MOST_SEQUENCES]
        part = self.scored.rows(some)
        targets = np.searchsorted(model.classes_, [of_one[-1] for of_one in part.labels])
        return padded(model.encode(part.inputs), targets.astype(np.int64))


class Tags(_Tagging):
    """The experiment on sentences, lists of tokens."""

    metric: ClassVar[Metric] = Metric(name="cross_entropy", label="cross-entropy (nats per token)")
    unit: str = "sentences"
    examples: str = "sentences"

    def _fitted(self) -> list[Baseline]:
        return [MostFrequentTag.fit(self.train)]


class StepTags(_Tagging):
    """The experiment on sequences of numbers."""

    metric: ClassVar[Metric] = Metric(name="cross_entropy", label="cross-entropy (nats per step)")
    unit: str = "sequences"
    examples: str = "sequences"

    def _fitted(self) -> list[Baseline]:
        return [NearestSteps.fit(self.train), LinearSteps.fit(self.train, self.validation)]


def _known(part: Tagged, labels: set[Any], wholes: str) -> Tagged:
    """The sequences whose labels are all known.  Raises InputError where there are none."""
    kept = [i for i, of_one in enumerate(part.labels) if labels.issuperset(of_one)]
    if not any(len(part.inputs[i]) for i in kept):
        other = next(x for of_one in part.labels for x in of_one if x not in labels)
        raise InputError(
            f"expected held-out {wholes} with labels of the training part, got others, such as "
            f"{other!r}; mend the labels"
        )
    return part.rows(kept)


def _per_step(nats: np.ndarray, part: Tagged) -> np.ndarray:
    """Nats of whole sequences [N] as numbers whose mean is that over steps."""
    return nats * (len(nats) / part.steps)

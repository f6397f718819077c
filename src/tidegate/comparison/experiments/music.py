"""Models of music and other steps of many outputs, beside frequencies after the last step."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.rolls import CountedSteps
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    BaselineScores,
    Batch,
    Experiment,
    Figures,
    Metric,
    padded,
)
from tidegate.data.sequences.rolls.rolls import RollSet
from tidegate.tasks.pieces import held_apart


class Music(Experiment):
    """The experiment on pieces."""

    metric: ClassVar[Metric] = Metric(name="nats_per_step", label="nats per step")
    unit: str = "pieces"
    examples: str = "pieces"

    def __init__(
        self, model: Any, rolls: Any, *, validation: Any, test: Any, conditions: Any = None
    ) -> None:
        self.train, self.validation, last = model.split(rolls, validation, conditions=conditions)
        if test is not None:
            last = held_apart(test, self.train, "test")
        self.held_out = "test" if len(last) else "validation"
        self.scored = last if len(last) else self.validation
        self.size = len(self.scored)

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already
        model.fit(self.train, validation=self.validation)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        return model.evaluate(self.scored), model.evaluate(self.train)

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        validation, scored = (
            _per_step(model.losses(part), part) for part in (self.validation, self.scored)
        )
        return validation, scored

    def baselines(self, model: Any) -> list[BaselineScores]:  # noqa: ARG002
        counted = CountedSteps.fit(self.train.rolls, self.validation.rolls)
        losses = _per_step(counted.losses(self.scored.rolls), self.scored)
        parts = self.validation.rolls, self.scored.rolls
        return [BaselineScores.of(counted, self.metric, *parts, losses)]

    def batch(self, model: Any) -> Batch:
        """Pieces, the last step of each being the target."""
        some = self.scored.rows(range(min(MOST_SEQUENCES, self.size)))
        targets = np.stack([roll[-1] for roll in some.rolls]).astype(np.float32)
        return padded(model.inputs_of(some), targets)


def _per_step(nats: np.ndarray, pieces: RollSet) -> np.ndarray:
    """Nats of whole pieces, in shares of a step: their mean is the mean over all steps."""
    return nats * (len(nats) / sum(map(len, pieces.rolls)))

"""Texts that answer texts, beside the answer of the most similar source."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.pairs import NearestAnswer
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    BaselineScores,
    Batch,
    Experiment,
    Figures,
    Metric,
    padded,
)
from tidegate.data.text.edit_distance import character_errors
from tidegate.tasks.pairs import as_pairs


class Transduction(Experiment):
    """The experiment on pairs of texts."""

    metric: ClassVar[Metric] = Metric(
        name="character_error_rate",
        label="character error rate",
        drawn="cross_entropy",
        axis="cross-entropy (nats per token)",
    )
    unit: str = "pairs"
    examples: str = "pairs"

    def __init__(
        self, model: Any, sources: Any, targets: Any, *, validation: Any, test: Any
    ) -> None:
        self.train, self.validation, last = model.split(sources, targets, validation)
        if test is not None:
            last = as_pairs(*test)
        self.held_out = "test" if last.inputs else "validation"
        self.scored = last if last.inputs else self.validation
        self.size = len(self.scored.inputs)

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already, the same for every seed
        model.fit(*self.train, validation=self.validation)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        """The training figure is of as many training pairs as are held out."""
        rows = np.random.default_rng(0).permutation(len(self.train.inputs))[: self.size]
        return model.evaluate(*self.scored), model.evaluate(*self.train.rows(rows))

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        validation, scored = (
            character_errors(model.predict(part.inputs), list(part.answers))
            for part in (self.validation, self.scored)
        )
        return validation, scored

    def baselines(self, model: Any) -> list[BaselineScores]:  # noqa: ARG002
        nearest = NearestAnswer.fit(self.train, self.validation)
        losses = nearest.losses(self.scored)
        return [BaselineScores.of(nearest, self.metric, self.validation, self.scored, losses)]

    def batch(self, model: Any) -> Batch:
        """Sources: how far back the last row of the memory reaches, whatever is written."""
        side, _ = model.sides
        read = side.encode(self.scored.inputs[:MOST_SEQUENCES])
        width = model.runtime_.architecture.source.output_size
        return padded(read, np.zeros((len(read), width), np.float32))

    def reader(self, network: Any) -> Any:
        return network.source

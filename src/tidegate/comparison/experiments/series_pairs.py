"""Series that answer series, beside a ridge regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.series_pairs import StretchedRidge
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    BaselineScores,
    Batch,
    Experiment,
    Figures,
    Metric,
    padded,
)
from tidegate.data.sequences.series_pairs import as_series_pairs


class SeriesAnswers(Experiment):
    """The experiment on pairs of sequences of numbers."""

    metric: ClassVar[Metric] = Metric(name="scaled_mse", label="squared error, in deviations")
    unit: str = "pairs"
    examples: str = "pairs"

    def __init__(self, model: Any, X: Any, Y: Any, *, validation: Any, test: Any) -> None:
        self.train, self.validation, last = model.split(X, Y, validation)
        if test is not None:
            last = as_series_pairs(*test)
        self.held_out = "test" if last.sources else "validation"
        self.scored = last if last.sources else self.validation
        self.size = len(self.scored.sources)

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already, the same for every seed
        model.fit(*self.train, validation=self.validation)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        """The training figure is of as many training pairs as are held out."""
        rows = np.random.default_rng(0).permutation(len(self.train.sources))[: self.size]
        return model.evaluate(*self.scored), model.evaluate(*self.train.rows(rows))

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        validation, scored = (model.losses(part) for part in (self.validation, self.scored))
        return validation, scored

    def baselines(self, model: Any) -> list[BaselineScores]:  # noqa: ARG002
        ridge = StretchedRidge.fit(self.train, self.validation)
        losses = ridge.losses(self.scored)
        return [BaselineScores.of(ridge, self.metric, self.validation, self.scored, losses)]

    def batch(self, model: Any) -> Batch:
        """Sources: how far back the last row of the memory reaches, whatever is told."""
        read = model.sources_read(self.scored.sources[:MOST_SEQUENCES])
        width = model.runtime_.architecture.source.output_size
        return padded(read, np.zeros((len(read), width), np.float32))

    def reader(self, network: Any) -> Any:
        return network.source

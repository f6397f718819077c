"""Experiments on sources that are answered: what texts and series have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Baseline
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    BaselineScores,
    Batch,
    Experiment,
    Figures,
    padded,
)


class PairsExperiment(Experiment):
    """The experiment on pairs, whose parts are tuples of sources and targets with ``rows``."""

    BASELINE: ClassVar[type[Any]]
    unit: str = "pairs"
    examples: str = "pairs"

    def __init__(
        self, model: Any, sources: Any, targets: Any, *, validation: Any, test: Any
    ) -> None:
        self.train, self.validation, last = model.split(sources, targets, validation)
        if test is not None:
            last = self._pairs(*test)
        self.held_out = "test" if last[0] else "validation"
        self.scored = last if last[0] else self.validation
        self.size = len(self.scored[0])

    @abstractmethod
    def _pairs(self, sources: Any, targets: Any) -> Any:
        """What a user gave.  Raises InputError."""

    @abstractmethod
    def _losses(self, model: Any, part: Any) -> np.ndarray:
        """How far each answer is from its target, float64 [N]."""

    @abstractmethod
    def _read(self, model: Any, sources: list[Any]) -> list[np.ndarray]:
        """What the encoder reads of each source, tokens [T] or values [T, I]."""

    def fit(self, model: Any) -> None:
        model.set_params(test_fraction=0.0)  # it is set aside already, the same for every seed
        model.fit(*self.train, validation=self.validation)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        """The training figure is of as many training pairs as are held out."""
        rows = np.random.default_rng(0).permutation(len(self.train[0]))[: self.size]
        return model.evaluate(*self.scored), model.evaluate(*self.train.rows(rows))

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        validation, scored = (self._losses(model, part) for part in (self.validation, self.scored))
        return validation, scored

    def baselines(self, model: Any) -> list[BaselineScores]:  # noqa: ARG002
        simple: Baseline = self.BASELINE.fit(self.train, self.validation)
        losses = simple.losses(self.scored)
        return [BaselineScores.of(simple, self.metric, self.validation, self.scored, losses)]

    def batch(self, model: Any) -> Batch:
        """Sources: how far back the last row of the memory reaches, whatever is answered."""
        read = self._read(model, self.scored[0][:MOST_SEQUENCES])
        width = model.runtime_.architecture.source.output_size
        return padded(read, np.zeros((len(read), width), np.float32))

    def reader(self, network: Any) -> Any:
        return network.source

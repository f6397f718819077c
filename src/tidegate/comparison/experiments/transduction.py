"""Texts that answer texts, beside the answer of the most similar source."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered
from tidegate.baselines.pairs import NearestAnswer
from tidegate.comparison.experiments.experiment import Metric
from tidegate.comparison.experiments.pairs import PairsExperiment
from tidegate.data.text.edit_distance import character_errors
from tidegate.tasks.pairs import as_pairs


class Transduction(PairsExperiment):
    """The experiment on pairs of texts."""

    metric: ClassVar[Metric] = Metric(
        name="character_error_rate",
        label="character error rate",
        drawn="cross_entropy",
        axis="cross-entropy (nats per token)",
    )
    BASELINE: ClassVar[type[Any]] = NearestAnswer

    def _pairs(self, sources: Any, targets: Any) -> Answered:
        return as_pairs(sources, targets)

    def _losses(self, model: Any, part: Any) -> np.ndarray:
        return character_errors(model.predict(part.inputs), list(part.answers))

    def _read(self, model: Any, sources: list[Any]) -> list[np.ndarray]:
        side, _ = model.sides
        return side.encode(sources)

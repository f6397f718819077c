"""Series that answer series, beside a ridge regression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.series_pairs import StretchedRidge
from tidegate.comparison.experiments.experiment import Metric
from tidegate.comparison.experiments.pairs import PairsExperiment
from tidegate.data.sequences.series_pairs import SeriesPairs, as_series_pairs


class SeriesAnswers(PairsExperiment):
    """The experiment on pairs of sequences of numbers."""

    metric: ClassVar[Metric] = Metric(name="scaled_mse", label="squared error, in deviations")
    BASELINE: ClassVar[type[Any]] = StretchedRidge

    def _pairs(self, sources: Any, targets: Any) -> SeriesPairs:
        return as_series_pairs(sources, targets)

    def _losses(self, model: Any, part: Any) -> np.ndarray:
        return model.losses(part)

    def _read(self, model: Any, sources: list[Any]) -> list[np.ndarray]:
        return model.sources_read(sources)

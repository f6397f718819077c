"""Forecasters, beside the naive forecasts and ridge regression on the same windows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.windows import LinearWindows, Repeated
from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    BaselineScores,
    Batch,
    Experiment,
    Figures,
    Metric,
    padded,
)
from tidegate.comparison.experiments.paired import in_blocks
from tidegate.data.series.frames import held_series
from tidegate.data.series.windowing import Windows, window_rows, windows
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import forecast_windows

_CHUNK = 2048  # windows forecast at once, which bounds memory


class Forecasts(Experiment):
    """The experiment on a series, in any form that ``fit`` takes.

    The model's options say which rows of it are held out.
    """

    metric: ClassVar[Metric] = Metric(name="mse", label="mean squared error, standardised")
    unit: str = "windows"
    examples: str = "stretches of windows"

    def __init__(self, model: Any, data: Any, *, validation: None, test: None) -> None:
        if validation is not None or test is not None:
            raise InputError(
                "expected one series, got others to hold out; name the rows to hold out by "
                f"{spelled('train_until')} and {spelled('validate_until')}"
            )
        self.series = series = held_series(data).series
        cut, end = model.spans(series)
        self.learned, self.chosen = (0, cut), (cut, end)
        last = len(series)
        self.held_out = "test" if last - end >= model.horizon else "validation"
        self.scored = (end, last) if self.held_out == "test" else self.chosen
        self.size = self.scored[1] - self.scored[0] - model.horizon + 1

    @classmethod
    def held_back(cls, model: Any, share: float) -> dict[str, Any]:
        told = model.validate_until
        return {"validate_until": 1 - share if told is None else told}

    def fit(self, model: Any) -> None:
        model.fit(self.series)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        held_out, learned = (model.evaluate(self.series, *p) for p in (self.scored, self.learned))
        return held_out, learned

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        """Neighbouring windows ask for almost the same rows: a stretch has two horizons of them."""
        chosen, scored = (self._losses(model, part) for part in (self.chosen, self.scored))
        return chosen, scored

    def held_out_losses(self, model: Any) -> np.ndarray:
        return self._losses(model, self.scored)

    def _losses(self, model: Any, span: tuple[int, int]) -> np.ndarray:
        w = model.windowing_
        starts = self._windows(model, span).starts
        errors = []
        for some in np.split(starts, range(_CHUNK, len(starts), _CHUNK)):
            forecasts = forecast_windows(model.runtime_, Windows(w, self.series, some))
            truth = window_rows(self.series.values, some + w.context, w.horizon)
            errors.append((((forecasts - truth) / w.scaler.scale) ** 2).mean((1, 2)))
        return self._by_stretch(model, np.concatenate(errors))

    def _by_stretch(self, model: Any, errors: np.ndarray) -> np.ndarray:
        return in_blocks(errors, 2 * model.windowing_.horizon)

    def baselines(self, model: Any) -> list[BaselineScores]:
        """The last value again, the last season again, and a linear map of the context."""
        train, validation, scored = map(
            self._windows, (model,) * 3, (self.learned, self.chosen, self.scored)
        )
        seasons = dict.fromkeys((1, model.windowing_.season))  # without one, naive alone
        fitted = [*map(Repeated, seasons), LinearWindows.fit(train, validation)]
        return [
            BaselineScores.of(
                one, self.metric, validation, scored, self._by_stretch(model, one.losses(scored))
            )
            for one in fitted
        ]

    def batch(self, model: Any) -> Batch:
        part = self._windows(model, self.scored)
        rows = np.unique(np.linspace(0, len(part) - 1, MOST_SEQUENCES).astype(int))
        return padded(list(part.inputs(rows).swapaxes(0, 1)), part.targets(rows))

    def _windows(self, model: Any, span: tuple[int, int]) -> Windows:
        """All windows whose targets are rows of ``span``, as ``Forecaster.evaluate`` takes them."""
        w = model.windowing_
        first = max(span[0], w.context, w.season)
        starts = windows(self.series.values, w.context, w.horizon, first, span[1])
        return Windows(w, self.series, starts)

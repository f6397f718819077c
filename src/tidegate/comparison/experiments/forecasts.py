"""Forecasters, beside naive forecasts, the mean and ridge regression on the same windows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.baselines.windows import Averaged, LinearWindows, Repeated
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
from tidegate.data.series.naive import mean_known
from tidegate.data.series.windows import Windows
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import forecast_windows
from tidegate.tasks.forecast_figures import Spans
from tidegate.tasks.forecast_spans import horizon_of

_CHUNK = 2048  # windows forecast at once, which bounds memory


class Forecasts(Experiment):
    """The experiment on a series, in any form that ``fit`` takes.

    The model's options say which rows of it are held out.
    """

    metric: ClassVar[Metric] = Metric(name="mse", label="mean squared error, standardised")
    unit: str = "windows"
    examples: str = "stretches of windows"

    def __init__(
        self, model: Any, data: Any, *, validation: None, test: None, **roles: Any
    ) -> None:
        if validation is not None or test is not None:
            raise InputError(
                "expected one series, got others to hold out; name the rows to hold out by "
                f"{spelled('train_until')} and {spelled('validate_until')}"
            )
        self.held = held_series(data, **roles)
        self.panel = panel = self.held.panel
        self.chosen, horizon = model.spans(panel), horizon_of(model, panel)
        self.learned = [(0, cut) for cut, _ in self.chosen]
        later = [(end, len(one)) for (_, end), one in zip(self.chosen, panel.series, strict=True)]
        tested = any(last - end >= horizon for end, last in later)
        self.held_out = "test" if tested else "validation"
        self.scored = later if tested else self.chosen
        self.size = sum(max(b - a - horizon + 1, 0) for a, b in self.scored)

    @classmethod
    def held_back(cls, model: Any, share: float) -> dict[str, Any]:
        told = model.validate_until
        return {"validate_until": 1 - share if told is None else told}

    def fit(self, model: Any) -> None:
        model.fit(self.held)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        parts = self.scored, self.learned
        held_out, learned = (model.evaluate_spans(self.panel, spans) for spans in parts)
        return held_out, learned

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        """Neighbouring windows ask for almost the same rows: a stretch has two horizons of them."""
        chosen, scored = (self._losses(model, part) for part in (self.chosen, self.scored))
        return chosen, scored

    def held_out_losses(self, model: Any) -> np.ndarray:
        return self._losses(model, self.scored)

    def _losses(self, model: Any, spans: Spans) -> np.ndarray:
        every, errors = self._windows(model, spans), []
        for some in np.split(every.starts, range(_CHUNK, len(every.starts), _CHUNK)):
            part = every.at(some)
            missed = forecast_windows(model.runtime_, part) - part.asked(model.windowing_.horizon)
            errors.append(mean_known((missed / part.units()) ** 2, (1, 2)))
        return self._by_stretch(model, np.concatenate(errors))

    def _by_stretch(self, model: Any, errors: np.ndarray) -> np.ndarray:
        return in_blocks(errors, 2 * model.windowing_.horizon)

    def baselines(self, model: Any) -> list[BaselineScores]:
        """The last value and season again, and the mean and a linear map of the context."""
        train, validation, scored = map(
            self._windows, (model,) * 3, (self.learned, self.chosen, self.scored)
        )
        seasons = dict.fromkeys((1, model.windowing_.season))  # without one, naive alone
        fitted = [
            *map(Repeated, seasons),
            Averaged(model.windowing_.context),
            LinearWindows.fit(train, validation),
        ]
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

    def _windows(self, model: Any, spans: Spans) -> Windows:
        """All windows whose targets lie in ``spans``, as ``Forecaster.evaluate`` takes them."""
        stack, starts = model.windows_within(self.panel, spans)
        return Windows(model.windowing_, stack.rows, starts)

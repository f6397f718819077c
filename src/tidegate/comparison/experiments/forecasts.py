"""Forecasters, beside the naive forecasts and ridge regression on the same windows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tidegate.comparison.experiments.experiment import (
    MOST_SEQUENCES,
    Baseline,
    Batch,
    Experiment,
    Figures,
    Metric,
    padded,
)
from tidegate.comparison.experiments.paired import in_blocks
from tidegate.comparison.experiments.ridge import Ridge
from tidegate.data.series.frames import held_series
from tidegate.data.series.windowing import Windows, windows
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import forecast_windows
from tidegate.tasks.backtest import Backtest

_CHUNK = 2048  # windows forecast at once, which bounds memory


class Forecasts(Experiment):
    """The experiment on a series, in any form that ``fit`` takes.

    The model's options say which rows of it are held out.
    """

    metric: ClassVar[Metric] = Metric(
        name="mse", label="mean squared error, standardised", lower_is_better=True
    )
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

    def fit(self, model: Any) -> None:
        model.fit(self.series)

    def score(self, model: Any) -> tuple[Figures, Figures]:
        held_out, learned = (model.evaluate(self.series, *p) for p in (self.scored, self.learned))
        return held_out, learned

    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        """Neighbouring windows ask for almost the same rows: a stretch has two horizons of them."""
        chosen, scored = (self._losses(model, part)["model"] for part in (self.chosen, self.scored))
        return chosen, scored

    def _losses(self, model: Any, span: tuple[int, int]) -> dict[str, np.ndarray]:
        """Losses of the model, ``naive`` and ``seasonal_naive`` by stretch."""
        w = model.windowing_
        starts = self._windows(model, span).starts
        errors: dict[str, list[np.ndarray]] = {}
        for some in np.split(starts, range(_CHUNK, len(starts), _CHUNK)):
            values = forecast_windows(model.runtime_, Windows(w, self.series, some))
            backtest = Backtest.of(self.series, some + w.context, w.season, values)
            for name, forecasts in backtest.forecasts.items():
                squared = ((forecasts - backtest.truth) / w.scaler.scale) ** 2
                errors.setdefault(name, []).append(squared.mean((1, 2)))
        return {name: self._by_stretch(model, np.concatenate(e)) for name, e in errors.items()}

    def _by_stretch(self, model: Any, errors: np.ndarray) -> np.ndarray:
        return in_blocks(errors, 2 * model.windowing_.horizon)

    def baselines(self, model: Any) -> list[Baseline]:
        """The last value again, the last season again, and a linear map of the context."""
        chosen, scored = (model.evaluate(self.series, *p) for p in (self.chosen, self.scored))
        season = model.windowing_.season
        train, validation, held_out = map(
            self._windows, (model,) * 3, (self.learned, self.chosen, self.scored)
        )
        ridge = Ridge.fit(train, validation)
        losses = self._losses(model, self.scored)
        repeated = {"naive": "value", "seasonal_naive": f"{season} rows"}
        return [
            *(
                Baseline(
                    name=name.replace("_", " "),
                    about=f"the last {what} again",
                    validation=chosen[f"{name}_mse"],
                    held_out=scored[f"{name}_mse"],
                    losses=losses[name],
                )
                for name, what in repeated.items()
            ),
            Baseline(
                name="ridge regression",
                about=f"of the same windows, penalty {ridge.penalty:g}",
                validation=ridge.errors(validation)["mse"],
                held_out=ridge.errors(held_out)["mse"],
                losses=self._by_stretch(model, ridge.squared(held_out)),
                parameters=ridge.parameters,
            ),
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

"""Forecasts that cost little, of the windows that a forecaster reads: repetition and a linear map.

Squared errors are in squared standard deviations of training, as those of the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from tidegate.baselines.baseline import Baseline
from tidegate.data.series.line import MOST_INPUTS, Line, designs, fit_line
from tidegate.data.series.naive import seasonal_naive_forecast
from tidegate.data.series.windowing import Windows, window_rows

_ROWS = 4096  # at once: bounds the memory
_PRODUCTS_A_SECOND = 3e9  # on one core


class Repeated(Baseline):
    """The last ``season`` rows again and again: of one row the naive forecast."""

    parameters = 0

    def __init__(self, season: int) -> None:
        self.season = season
        self.name = "naive" if season == 1 else "seasonal naive"
        self.about = f"the last {'value' if season == 1 else f'{season} rows'} again"

    def losses(self, part: Windows) -> np.ndarray:
        """Mean squared error of each window, over horizon and series, [windows]."""
        return np.concatenate([(errors**2).mean((1, 2)) for errors in self._errors(part)])

    def figures(self, part: Windows) -> dict[str, float]:
        """``mse`` and ``mae``."""
        absolute = [np.abs(errors).mean((1, 2)) for errors in self._errors(part)]
        return {
            "mse": float(self.losses(part).mean()),
            "mae": float(np.concatenate(absolute).mean()),
        }

    def _errors(self, part: Windows) -> Iterator[np.ndarray]:
        """Of windows, which have a season before their targets: [windows, horizon, C]."""
        rows = part.starts + part.windowing.context
        horizon = part.windowing.horizon
        for some in np.split(rows, range(_ROWS, len(rows), _ROWS)):
            past = window_rows(part.values, some - self.season, self.season)
            forecasts = seasonal_naive_forecast(past, horizon, self.season)
            yield forecasts - window_rows(part.values, some, horizon)


@dataclass(frozen=True, eq=False)
class LinearWindows(Baseline):
    """Ridge regression of all that a window has, the same for all windows."""

    line: Line
    name: str = field(default="ridge regression", init=False)

    @classmethod
    def fit(cls, train: Windows, validation: Windows, *, seconds: float = math.inf) -> Self:
        """The map of ``train`` whose penalty has the least squared error on ``validation``.

        Where all windows would take more than about ``seconds``, evenly spaced ones are learned
        from, which are almost as good: neighbours are alike.
        """
        size = train.inputs(np.arange(1)).size
        work = len(train) * size * (size + train.windowing.output_size)
        every = math.ceil(max(1.0, work / (seconds * _PRODUCTS_A_SECOND)))
        train = train if every == 1 else train.at(train.starts[::every])
        w = train.windowing
        return cls(fit_line(train, validation, w.context // w.segment))

    @property
    def about(self) -> str:
        return f"a linear path of the same windows, penalty {self.line.penalty:.3g}"

    @property
    def parameters(self) -> int:
        return self.line.weights.size + self.line.intercept.size

    def figures(self, part: Windows) -> dict[str, float]:
        """``mse`` and ``mae`` over all windows and series, in standard deviations of training."""
        squared = absolute = count = 0.0
        for error in self._errors(part):
            squared, absolute = squared + np.sum(error**2), absolute + np.sum(np.abs(error))
            count += error.size
        return {"mse": float(squared / count), "mae": float(absolute / count)}

    def losses(self, part: Windows) -> np.ndarray:
        """Mean squared error of each window, over horizon and series, [windows]."""
        rows = [(error**2).mean(1) for error in self._errors(part)]
        return np.concatenate(rows).reshape(len(part.starts), -1).mean(1)

    def _errors(self, part: Windows) -> Iterator[np.ndarray]:
        """Of the rows of all windows, [B, outputs]."""
        steps = self.line.weights.shape[1] // part.windowing.input_size
        for _, x, y in designs(part, steps, thinned=False):
            yield self.line(x) - y


def best_of(
    train: Windows, validation: Windows, line: Line | None = None, *, seconds: float = math.inf
) -> Baseline:
    """That of the naive forecasts and the linear map which does best on ``validation``.

    ``line``: the map, where it is fitted already.
    """
    seasons = dict.fromkeys((1, train.windowing.season))  # without one, naive alone
    fitted: list[Baseline] = [Repeated(season) for season in seasons]
    if line is not None:
        fitted.append(LinearWindows(line))
    elif train.inputs(np.arange(1)).size <= min(MOST_INPUTS, _widest(seconds)):
        fitted.append(LinearWindows.fit(train, validation, seconds=seconds))
    return min(fitted, key=lambda one: one.figures(validation)["mse"])


def _widest(seconds: float) -> float:
    """Inputs of a linear map, whose eigenvectors are found within about ``seconds``."""
    return (seconds * _PRODUCTS_A_SECOND) ** (1 / 3)

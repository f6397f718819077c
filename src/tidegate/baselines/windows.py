"""Forecasts that cost little, of the windows that a forecaster reads: repetition and a linear map.

Squared errors are in squared standard deviations of training, as those of the network.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from tidegate.baselines.baseline import Baseline, part_of
from tidegate.data.series.line import MOST_INPUTS, Line, fit_line, stride_of
from tidegate.data.series.naive import mean_known, seasonal_naive_forecast
from tidegate.data.series.windows import Windows

_ROWS = 4096  # at once: bounds the memory
_PRODUCTS_A_SECOND = 3e9  # on one core


class _Unlearned(Baseline):
    """What a window's own rows say, without learning from others."""

    parameters = 0

    @abstractmethod
    def _forecasts(self, part: Windows) -> np.ndarray:
        """Of windows, in their units, [windows, horizon, C] or [windows, 1, C]."""

    def losses(self, part: Windows) -> np.ndarray:
        """Mean squared error of each window, over horizon and series, [windows]."""
        return np.concatenate([mean_known(errors**2, (1, 2)) for errors in self._errors(part)])

    def figures(self, part: Windows) -> dict[str, float]:
        """``mse`` and ``mae``."""
        return _figures(self._errors(part))

    def _errors(self, part: Windows) -> Iterator[np.ndarray]:
        """Of all windows: [windows, horizon, C]."""
        for some in np.split(part.starts, range(_ROWS, len(part.starts), _ROWS)):
            own = part.at(some)
            missed = self._forecasts(own) - own.asked(part.windowing.horizon)
            yield missed / own.units()


class Repeated(_Unlearned):
    """The last ``season`` rows again and again: of one row the naive forecast."""

    def __init__(self, season: int) -> None:
        self.season = season
        self.name = "naive" if season == 1 else "seasonal naive"
        self.about = f"the last {'value' if season == 1 else f'{season} rows'} again"

    def _forecasts(self, part: Windows) -> np.ndarray:
        w = part.windowing
        past = part.asked(self.season, w.context - self.season, filled=True)
        return seasonal_naive_forecast(past, w.horizon, self.season)


class Averaged(_Unlearned):
    """The mean of the last ``rows``, which is the best forecast of noise."""

    name = "mean"

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.about = f"of the last {rows} rows"

    def _forecasts(self, part: Windows) -> np.ndarray:
        past = part.asked(self.rows, part.windowing.context - self.rows, filled=True)
        return past.mean(1, keepdims=True)


@dataclass(frozen=True, eq=False)
class LinearWindows(Baseline):
    """Ridge regression of all that a window has, the same for all windows."""

    line: Line
    part: str = ""
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
        some = train if every == 1 else train.at(train.starts[::every])
        steps = train.windowing.steps
        return cls(fit_line(some, validation, steps), _thinned(some, steps, len(train.starts)))

    @classmethod
    def of(cls, line: Line, train: Windows) -> Self:
        """That of a ``line`` which was fitted to ``train``, of fewer steps where there is no time
        for all.
        """
        w = train.windowing
        steps = line.weights.shape[1] // w.input_size
        rows = max(steps - w.steps_ahead, 0) * w.segment
        part = _thinned(train, steps, len(train.starts))
        if rows < w.context:
            part = f"{part}{' and ' if part else ''}the last {rows:,} of {w.context:,} rows of each"
        return cls(line, part)

    @property
    def about(self) -> str:
        return f"a linear path of the same windows, penalty {self.line.penalty:.3g}"

    @property
    def parameters(self) -> int:
        return self.line.weights.size + self.line.intercept.size

    def figures(self, part: Windows) -> dict[str, float]:
        """``mse`` and ``mae`` over all windows and series, in standard deviations of training."""
        return _figures(self._errors(part))

    def losses(self, part: Windows) -> np.ndarray:
        """Mean squared error of each window, over horizon and series, [windows]."""
        rows = [mean_known(error**2, 1) for error in self._errors(part)]
        return mean_known(np.concatenate(rows).reshape(len(part.starts), -1), 1)

    def _errors(self, part: Windows) -> Iterator[np.ndarray]:
        """Of the rows of all windows, [B, outputs]."""
        steps = self.line.weights.shape[1] // part.windowing.input_size
        rows = np.arange(len(part))
        for some in np.split(rows, range(_ROWS, len(rows), _ROWS)):
            x = part.inputs(some)[-steps:].swapaxes(0, 1).reshape(len(some), -1)
            yield self.line(x.astype(np.float64)) - part.targets(some)


def _thinned(some: Windows, steps: int, count: int) -> str:
    """The ``part`` of a line of so many ``steps``, fitted to ``some`` of ``count`` windows."""
    return part_of(-(-len(some.starts) // stride_of(some, steps)), count, "windows")


def _figures(errors: Iterator[np.ndarray]) -> dict[str, float]:
    """``mse`` and ``mae`` over all errors that are known."""
    squared = absolute = count = 0.0
    for some in errors:
        squared, absolute = squared + np.nansum(some**2), absolute + np.nansum(np.abs(some))
        count += np.isfinite(some).sum()
    return {"mse": float(squared / count), "mae": float(absolute / count)}


def best_of(
    train: Windows, validation: Windows, line: Line | None = None, *, seconds: float = math.inf
) -> Baseline:
    """That of the naive forecasts, the mean and the linear map which does best on ``validation``.

    ``line``: the map, where it is fitted already.
    """
    seasons = dict.fromkeys((1, train.windowing.season))  # without one, naive alone
    fitted: list[Baseline] = [Repeated(season) for season in seasons]
    fitted.append(Averaged(train.windowing.context))
    if line is not None:
        fitted.append(LinearWindows.of(line, train))
    elif train.inputs(np.arange(1)).size <= min(MOST_INPUTS, _widest(seconds)):
        fitted.append(LinearWindows.fit(train, validation, seconds=seconds))
    return min(fitted, key=lambda one: one.figures(validation)["mse"])


def _widest(seconds: float) -> float:
    """Inputs of a linear map, whose eigenvectors are found within about ``seconds``."""
    return (seconds * _PRODUCTS_A_SECOND) ** (1 / 3)

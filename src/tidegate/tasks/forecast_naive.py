"""Forecasts that nothing is learned for: rows that come again, and means of the rows read.

Each is a matrix on the inputs of a line, so that line and network can be weighed against it and the
weights take it in.  A random walk is forecast by its last value, what comes again each week by the
last week, and noise by its mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tidegate.data.series.line import Fold, designs
from tidegate.data.series.windowing import Windowing
from tidegate.data.series.windows import Windows

_STRETCHES = 4  # of a part at least, though they be shorter than a horizon
CLEARLY = 1.64  # standard errors of the gain: by chance one in twenty has as much


@dataclass(frozen=True, eq=False)
class Naive:
    """Outputs are ``weights`` [O, I] on the inputs of a line: a row of them sums to 1.

    ``about`` says which forecast it is; ``season``: after how many rows it repeats, 0: it does not.
    """

    about: str
    season: int
    weights: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The outputs [B, O] of inputs [B, I]."""
        return x @ self.weights.T

    @classmethod
    def mean_of(cls, rows: np.ndarray, w: Windowing, steps: int, about: str, season: int) -> Naive:
        """Means of ``rows`` [horizon, K] of the context, which a line of ``steps`` steps reads."""
        horizon, count = rows.shape
        unread = (w.steps - steps) * w.input_size
        columns = w.places(rows.ravel()).reshape(-1, count) - unread  # [O, K]
        weights = np.zeros((len(columns), steps * w.input_size))
        np.put_along_axis(weights, columns, 1 / count, axis=1)
        return cls(about, season, weights)


def repetitions(w: Windowing, steps: int) -> Iterator[Naive]:
    """The last value and the last season, as far as a line of ``steps`` steps reads it."""
    ahead, read = np.arange(w.horizon)[:, None], _read(w, steps)
    yield Naive.mean_of(0 * ahead + w.context - 1, w, steps, "the last value again", 0)
    for season in (w.season, *w.longer_seasons):
        if 1 < season <= read:
            rows = w.context - season + ahead % season
            yield Naive.mean_of(rows, w, steps, f"the last {season} rows again", season)


def means(w: Windowing, steps: int) -> Iterator[Naive]:
    """The mean of what a line of ``steps`` steps reads, and that of each row of a season."""
    ahead, read = np.arange(w.horizon)[:, None], _read(w, steps)
    seasons = read // w.season
    if seasons * w.season > 1:
        count = seasons * w.season
        rows = w.context - count + np.arange(count)[None] + 0 * ahead
        yield Naive.mean_of(rows, w, steps, f"the mean of the last {count} rows", 0)
    if w.season > 1 and seasons > 1:
        rows = w.context - w.season * np.arange(1, seasons + 1)[None] + ahead % w.season
        about = f"the mean of the last {seasons} times {w.season} rows"
        yield Naive.mean_of(rows, w, steps, about, w.season)


def best_naive(folds: Sequence[Fold], w: Windowing, steps: int, *, wandering: bool) -> Naive:
    """That with the least squared error on the windows that the lines of ``folds`` have not seen.

    Of series that are ``wandering`` like random walks a mean must have it clearly.
    """
    found = [(one, _by_stretch(folds, one, steps)) for one in repetitions(w, steps)]
    best, errors = min(found, key=lambda pair: pair[1].sum())
    for one in means(w, steps):
        others = _by_stretch(folds, one, steps)
        if is_better(errors - others, CLEARLY if wandering else 0.0):
            best, errors = one, others
    return best


def is_better(gains: np.ndarray, clearly: float) -> bool:
    """Whether the mean of gains [N] is more than ``clearly`` times its standard error."""
    error = math.sqrt(gains.var(ddof=1) / len(gains)) if len(gains) > 1 else math.inf
    return bool(gains.mean() > (clearly * error if clearly else 0.0))


def stretches(part: Windows, rows: np.ndarray) -> np.ndarray:
    """The stretch of each row [B]: a series' windows of one horizon, whose errors are alike."""
    w = part.windowing
    window, series = np.divmod(rows, w.rows_per_window)
    length = int(np.clip(len(part.starts) // _STRETCHES, 1, w.horizon))
    return (part.starts[window] // length) * w.rows_per_window + series


def _by_stretch(folds: Sequence[Fold], naive: Naive, steps: int) -> np.ndarray:
    """Squared errors of each stretch of the unseen windows, in the order of their names."""
    names, errors = [], []
    for fold in folds:
        for rows, x, y in designs(fold.unseen, steps):
            names.append(stretches(fold.unseen, rows))
            errors.append(((naive(x) - y) ** 2).sum(1))
    _, number = np.unique(np.concatenate(names), return_inverse=True)
    return np.bincount(number, np.concatenate(errors))


def _read(w: Windowing, steps: int) -> int:
    """How many rows of the context a line of ``steps`` steps reads."""
    return (steps - w.steps_ahead) * w.segment

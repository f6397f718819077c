"""How far forecasts miss: quantiles of their errors on held-out windows, by series and row ahead.

A forecast and a quantile of such errors make a quantile of what comes: split conformal prediction
(Lei et al. 2018, Distribution-free predictive inference for regression, JASA 113; row by row ahead
of series: Stankeviciute et al. 2021, Conformal time-series forecasting, NeurIPS).  Coverage is as
asked as far as later windows are like the held-out ones.  Neighbouring windows are alike, so of few
seasons or horizons of held-out rows the quantiles are rough.  Errors are in units of each window's
own (locally weighted, section 5.2 of the former), so that a series that has become restless, or has
calmed down, gets intervals to match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from tidegate.errors import InputError, shown, written

LEVELS = (0.01, 0.025, 0.05, *(k / 10 for k in range(1, 10)), 0.95, 0.975, 0.99)
_COARSE = (0.1, 0.5, 0.9)  # of thousands of series, in two rows ahead
INTERVAL = (0.1, 0.9)  # the ends of the interval whose coverage is told
_MOST_NUMBERS = 60_000  # in a file
_MOST_ERRORS = 2**24  # in memory
_MOST_WINDOWS = 4096  # a hundredth of them is enough for the outermost level


@dataclass(frozen=True, eq=False)
class ErrorQuantiles:
    """Quantiles of what came less what was forecast, in units of each window's spread.

    That is `Windows.spreads`; unless ``local``, as in older files, standard deviations of the
    training rows.
    ``levels`` rise within (0, 1), from 0.1 or less to 0.9 or more; ``steps`` are rows ahead, from 1
    to the horizon, between which one interpolates; ``values`` float64 [levels, steps, C];
    ``windows``: the number of held-out windows.
    """

    levels: tuple[float, ...]
    steps: tuple[int, ...]
    values: np.ndarray
    windows: int
    local: bool = True

    @classmethod
    def of(cls, errors: np.ndarray, steps: Sequence[int]) -> Self | None:
        """Those of errors [W, steps, C]; None of too few windows for an interval of 80 %.  NaN is
        no error.

        Of n errors the level q < 0.5 is the floor((n + 1) q)-th smallest one, q > 0.5 the
        ceil((n + 1) q)-th, so that the interval is never too narrow for the n.  Levels that would
        need more errors are left out, and most of thousands of series.
        """
        counts = np.isfinite(errors).sum(0)  # [steps, C]
        n = int(counts.min()) if counts.size else 0
        kept = _COARSE if 2 * len(LEVELS) * errors.shape[-1] > _MOST_NUMBERS else LEVELS
        levels = tuple(q for q in kept if round((n + 1) * min(q, 1 - q), 9) >= 1)
        if not levels or levels[0] > INTERVAL[0]:
            return None
        ranked = np.sort(errors, axis=0)  # NaN last
        values = []
        for places in _ranks(counts, levels):
            low, high = (np.take_along_axis(ranked, p[None] - 1, axis=0)[0] for p in places)
            values.append((low + high) / 2)
        return cls(levels, tuple(steps), _rounded(np.stack(values).astype(np.float64)), n)

    def at(self, levels: Sequence[float]) -> np.ndarray:
        """The quantiles of ``levels``, [len(levels), horizon, C].

        Between two known levels they lie as those of a normal distribution do.  Raises InputError
        for a level beyond the known ones.
        """
        for level in levels:
            if not self.levels[0] <= level <= self.levels[-1]:
                raise InputError(
                    f"expected quantiles from {self.levels[0]:g} to {self.levels[-1]:g}, all that "
                    f"{self.windows} held-out windows can tell, got {level:g}; ask for one of "
                    "these, or train with more rows to validate by",
                    option="quantiles",
                )
        normal = NormalDist().inv_cdf
        known, wanted = (np.array([normal(q) for q in some]) for some in (self.levels, levels))
        values = _between(self.values, known, wanted)
        ahead = np.arange(1, self.steps[-1] + 1)
        by_step = _between(values.swapaxes(0, 1), np.array(self.steps), ahead)
        return by_step.swapaxes(0, 1)

    def to_json(self) -> dict[str, Any]:
        return {
            "levels": list(self.levels),
            "steps": list(self.steps),
            "values": self.values.reshape(len(self.levels), -1).tolist(),
            "windows": self.windows,
            **({"local": True} if self.local else {}),
        }

    @classmethod
    def from_json(cls, told: Any, horizon: int, series: int) -> Self:
        """What ``to_json`` gave, ``values`` a list for each level, of each step's C numbers.

        Raises ValueError for keys, types or sizes out of schema.
        """
        keys = {"levels", "steps", "values", "windows"}
        if not isinstance(told, dict) or set(told) - {"local"} != keys:
            raise ValueError(f"error_quantiles: expected exactly the keys {sorted(keys)}")
        if told.get("local", True) is not True:
            raise ValueError("local: expected true, or nothing")
        levels, steps, windows = told["levels"], told["steps"], told["windows"]
        if not _numbers(levels) or not _rise([0, *levels, 1]):
            raise ValueError("levels: expected ever larger numbers between 0 and 1")
        if not levels or levels[0] > INTERVAL[0] or levels[-1] < INTERVAL[1]:
            raise ValueError("levels: expected some from 0.1 or less to 0.9 or more")
        if not isinstance(steps, list) or any(type(step) is not int for step in steps):
            raise ValueError("steps: expected whole numbers")
        if not steps or steps[0] != 1 or steps[-1] != horizon or not _rise(steps):
            raise ValueError(f"steps: expected ever larger ones from 1 to {horizon}")
        if type(windows) is not int or windows < 1:
            raise ValueError(f"windows: expected a whole number from 1, got {shown(windows)}")
        rows = told["values"]
        if not isinstance(rows, list) or len(rows) != len(levels):
            raise ValueError("values: expected a list for each level")
        if not all(_numbers(row) and len(row) == len(steps) * series for row in rows):
            raise ValueError("values: expected a number for each step and series")
        values = np.array(rows, dtype=np.float64)
        if not np.isfinite(values).all() or (np.diff(values, axis=0) < 0).any():
            raise ValueError("values: expected finite numbers that do not fall from level to level")
        return cls(
            tuple(levels),
            tuple(steps),
            values.reshape(len(levels), len(steps), series),
            windows,
            "local" in told,
        )


def steps_kept(horizon: int, series: int) -> np.ndarray:
    """The rows ahead of which quantiles are kept: all, or of many series some, two at least.

    Errors grow fastest at first, so those lie densest.
    """
    most = max(2, _MOST_NUMBERS // (len(LEVELS) * series))
    if horizon <= most:
        return np.arange(1, horizon + 1)
    return np.unique(np.round(np.geomspace(1, horizon, most)).astype(int))


def windows_kept(starts: np.ndarray, horizon: int, series: int) -> np.ndarray:
    """The windows whose errors are counted: all, or of very many some, evenly spaced."""
    each = len(steps_kept(horizon, series)) * series
    most = max(1, min(_MOST_WINDOWS, _MOST_ERRORS // each))
    return starts[np.unique(np.linspace(0, len(starts) - 1, most).astype(np.int64))]


def checked_levels(asked: Any) -> tuple[float, ...]:
    """Quantiles that were asked for, ascending.  Raises InputError for what are none."""
    remedy = f"give some such as {written((0.1, 0.5, 0.9))}"
    if isinstance(asked, str | bytes | Real) or not hasattr(asked, "__iter__"):
        problem = f"expected several numbers between 0 and 1, got {shown(asked, 40)}"
        raise InputError(f"{problem}; {remedy}", option="quantiles")
    levels = list(asked)
    if not levels:
        raise InputError(
            f"expected numbers between 0 and 1, got none; {remedy}", option="quantiles"
        )
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, Real) or not 0 < float(level) < 1:
            problem = f"expected numbers between 0 and 1, got {shown(level, 40)}"
            raise InputError(f"{problem}; {remedy}", option="quantiles")
    found = sorted(float(level) for level in levels)
    if twice := [f"{one:g}" for one, other in pairwise(found) if f"{one:g}" == f"{other:g}"]:
        problem = f"expected each quantile once, to six figures, got {twice[0]} twice"
        raise InputError(f"{problem}; leave one out", option="quantiles")
    return tuple(found)


def _ranks(n: np.ndarray, levels: Sequence[float]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each level the two places among ``n`` errors, from 1, whose mean it is."""
    found = []
    for q in levels:
        place = np.round((n + 1) * q, 9)
        low, high = np.floor(place).astype(int), np.ceil(place).astype(int)
        found.append((low, low) if q < 0.5 else (high, high) if q > 0.5 else (low, high))
    return found


def _between(values: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """``values`` [K, ...], which are those of ``known`` [K], at ``wanted`` [Q]: [Q, ...]."""
    if len(known) == 1:
        return np.repeat(values, len(wanted), axis=0)
    low = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(known) - 2)
    share = (wanted - known[low]) / (known[low + 1] - known[low])
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return values[low] * (1 - share) + values[low + 1] * share


def _rounded(values: np.ndarray) -> np.ndarray:
    """To five figures, as a file has them."""
    return np.array([float(f"{value:.5g}") for value in values.ravel()]).reshape(values.shape)


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) in (int, float) for v in values)


def _rise(values: Sequence[float]) -> bool:
    return all(one < later for one, later in pairwise(values))

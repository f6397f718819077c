"""Rows of series that a forecaster did not expect: errors one row ahead, and which are large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from tidegate.data.series.series import Series
from tidegate.errors import InputError, spelled


@dataclass(frozen=True, eq=False)
class Anomalies:
    """How unexpected each of N rows is, and which are flagged.

    ``scores`` [N]: the largest absolute error of the forecast one row ahead over the series, each
    in units of its mean on the ``calibrated`` rows before.  ``flags`` [N]: scores above
    ``threshold``; of new rows like those at most the asked share has such a score, in the mean.
    """

    series: Series
    scores: np.ndarray
    flags: np.ndarray
    threshold: float
    calibrated: int

    @classmethod
    def of(cls, series: Series, errors: np.ndarray, rate: float) -> Self:
        """Of the errors [R, C] of rows, first those to calibrate by, and then those of ``series``.

        The threshold is the ceil((n + 1) (1 - rate))-th smallest of n scores: split conformal
        prediction (Vovk et al. 2005, Algorithmic Learning in a Random World; Laxhammar & Falkman
        2010).  Its promise holds where rows to calibrate by and new ones are alike.

        Raises InputError for a rate that so few rows cannot tell.
        """
        if not 0 < rate < 1:
            raise InputError(
                f"expected a share between 0 and 1, got {rate:g}; give one such as 0.001",
                option="rate",
            )
        n = len(errors) - len(series)
        place = math.ceil((n + 1) * (1 - rate))
        if n < 1 or place > n:
            needed = math.ceil(1 / rate) - 1
            raise InputError(
                f"expected {needed} rows or more to calibrate by, so that {rate:g} of them can be "
                f"told, got {n}; give more rows, a later {spelled('calibrate_until')}, or a larger "
                f"{spelled('rate')}, such as {2 / (n + 1) if n else 0.01:.2g}",
                option="rate",
            )
        usual = np.abs(errors[:n]).mean(0)
        usual = np.where(usual > 0, usual, np.finfo(float).tiny)
        scores = (np.abs(errors) / usual).max(1)
        threshold = float(np.sort(scores[:n])[place - 1])
        return cls(series, scores[n:], scores[n:] > threshold, threshold, n)

"""Rows of series that a forecaster did not expect: errors one row ahead, and which are large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tidegate.data.series.panel import Panel
from tidegate.errors import InputError, spelled


@dataclass(frozen=True, eq=False)
class Anomalies:
    """How unexpected each of N rows is, and which are flagged.

    ``panel`` holds the rows, of one series or of several by id; the arrays have those of one series
    after the other.  ``scores`` [N]: the largest absolute error of the forecast one row ahead over
    the columns, each in units of its mean on the rows before, by which that series is calibrated;
    there are ``calibrated`` of them in all series.  It is NaN where no value is known.  ``flags``
    [N]: scores above ``threshold``; of new rows like those at most the asked share has such a
    score, in the mean.
    """

    panel: Panel
    scores: np.ndarray
    flags: np.ndarray
    threshold: float
    calibrated: int

    @property
    def times(self) -> np.ndarray:
        """The time of each row, [N]."""
        return np.concatenate([one.times for one in self.panel.series])

    @property
    def ids(self) -> list[Any] | None:
        """The id of the series that each row is of, [N]; None of a series without an id."""
        if self.panel.id_name is None:
            return None
        each = zip(self.panel.ids, self.panel.series, strict=True)
        return [i for i, one in each for _ in range(len(one))]

    @classmethod
    def of(cls, panel: Panel, errors: Sequence[np.ndarray], rate: float) -> Self:
        """Of the errors [R, C] of each series' rows.

        Rows to calibrate by come first, and then those that ``panel`` has.  The threshold is the
        ceil((n + 1) (1 - rate))-th smallest of n scores, of all series together: split conformal
        prediction (Vovk et al. 2005, Algorithmic Learning in a Random World; Laxhammar & Falkman
        2010).  Its promise holds where rows to calibrate by and new ones are alike.

        Raises InputError for a rate that so few rows cannot tell.
        """
        if not 0 < rate < 1:
            raise InputError(
                f"expected a share between 0 and 1, got {rate:g}; give one such as 0.001",
                option="rate",
            )
        usual, new = [], []
        for error, rows in zip(errors, panel.lengths, strict=True):
            size = np.abs(error)
            before = len(size) - rows
            unit = _mean_known(size[:before])
            scores = _largest(size / np.where(unit == 0, np.finfo(float).tiny, unit))
            usual.append(scores[:before])
            new.append(scores[before:])
        scores, known = np.concatenate(new), np.concatenate(usual)
        known = np.sort(known[~np.isnan(known)])
        n = len(known)
        place = math.ceil((n + 1) * (1 - rate))
        if n < 1 or place > n:
            needed = math.ceil(1 / rate) - 1
            raise InputError(
                f"expected {needed} rows or more to calibrate by, so that {rate:g} of them can be "
                f"told, got {n}; give more rows, a later {spelled('calibrate_until')}, or a larger "
                f"{spelled('rate')}, such as {2 / (n + 1) if n else 0.01:.2g}",
                option="rate",
            )
        threshold = float(known[place - 1])
        return cls(panel, scores, scores > threshold, threshold, n)


def _mean_known(sizes: np.ndarray) -> np.ndarray:
    """The mean of each column's known values, [C]; NaN where none is known."""
    known = ~np.isnan(sizes)
    counts = known.sum(0)
    return np.where(known, sizes, 0).sum(0) / np.where(counts, counts, np.nan)


def _largest(scores: np.ndarray) -> np.ndarray:
    """The largest known value of each row, [R]; NaN where none is known."""
    largest = np.where(np.isnan(scores), -np.inf, scores).max(1)
    return np.where(np.isinf(largest), np.nan, largest)


def spans_to_score(
    panel: Panel, least: int, firsts: Sequence[int], calibrate_until: str | int | float | None
) -> dict[int, tuple[int, int, int]]:
    """Of each series that has rows enough: the first to calibrate by, the first to score, the end.

    ``least``: rows that must stand before.  By default as many calibrate as are scored.  Raises
    InputError for a moment beyond the rows.
    """
    found, last = {}, None
    for g, one in enumerate(panel.series):
        first, end = max(firsts[g], least), len(one)
        middle = (first + end) // 2
        if calibrate_until is not None and end - first >= 2:
            middle = one.row_of(calibrate_until, clipped=panel.id_name is not None)
            last = first, middle, end
        if first < middle < end:
            found[g] = first, middle, end
    if last is not None and not found:
        first, middle, end = last
        raise InputError(
            f"expected a moment after row {first} and before the last row, {end - 1}, got row "
            f"{middle}; choose another",
            option="calibrate_until",
        )
    return found

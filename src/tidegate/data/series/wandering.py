"""Whether a series is a random walk as far as its rows tell: its changes are noise."""

from __future__ import annotations

import math

import numpy as np

from tidegate.data.series.panel import Panel

__all__ = ["mostly_wander", "wanders"]

_MOST_LAGS = 50
_LEAST = 20  # changes, below which nothing can be told
_NORMAL = 2.326  # a normal variable is above it once in a hundred times
_NEXT = 2.576  # standard errors of what a change has in common with the next one, either way
_DRIFT = 2.6  # standard errors of the mean change: by chance one series in a hundred has as much
_ASKED = 20  # of many series


def wanders(values: np.ndarray) -> bool:
    """Whether changes from value to value [N] have neither a mean nor anything in common.

    Then the last value is the best forecast there is.  What they have in common is judged by the
    portmanteau of their autocorrelations (Ljung & Box 1978, Biometrika 65), at one in a hundred;
    the quantile of its chi-squared distribution is that of Wilson & Hilferty 1931; and by the first
    of them alone, at as many.  Values that are
    not known are left out.
    """
    changes = np.diff(values[np.isfinite(values)])
    n = len(changes)
    if n < _LEAST or not changes.std() > 0:
        return False
    if abs(changes.mean()) > _DRIFT * changes.std() / math.sqrt(n):
        return False
    lags = min(_MOST_LAGS, n // 5)
    spectrum = np.fft.rfft(changes - changes.mean(), 2 * n)
    sums = np.fft.irfft(np.abs(spectrum) ** 2)[: lags + 1]
    correlations = sums[1:] / sums[0]
    # values about a mean go back after each change: among many lags a few changes do not show it
    if abs(correlations[0]) > _NEXT / math.sqrt(n):
        return False
    in_common = n * (n + 2) * float(np.sum(correlations**2 / (n - np.arange(1, lags + 1))))
    spread = 2 / (9 * lags)
    return in_common < lags * (1 - spread + _NORMAL * math.sqrt(spread)) ** 3


def mostly_wander(panel: Panel) -> bool:
    """Whether more than half of the columns of the longest series do."""
    longest = sorted(panel.series, key=len, reverse=True)[:_ASKED]
    found = [wanders(column) for one in longest for column in one.values.T]
    return 2 * sum(found) > len(found)

"""Ridge regression whose answers to its own training rows are those of a fit without the row.

Hoerl & Kennard 1970.  Leaving one row out costs nothing beside the fit (Allen 1974, PRESS): its
residual is that of the fit, over 1 - h where h is what its own target counts in its prediction.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

__all__ = ["PENALTIES", "Fit", "Ridge"]

# Over the number of features, which are scaled to a variance of 1.
PENALTIES: Final = tuple(10.0**k for k in range(-6, 3))
_FLAT = 1e-6  # a feature of less deviation says nothing


class Fit(NamedTuple):
    """``weights`` float64 [F, O] on features as they were given, ``intercepts`` [O], and what fits
    without each row say of it, ``left_out`` [N, O].
    """

    weights: np.ndarray
    intercepts: np.ndarray
    left_out: np.ndarray


class Ridge:
    """Features [N, F], targets [N, O] and what each row counts, [N], 0 for not at all."""

    def __init__(self, features: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> None:
        self._share = share = counts / counts.sum()
        self._roots = np.sqrt(share * len(share))[:, None]
        self._mean, self._target_mean = share @ features, share @ targets
        self._features = (features - self._mean).astype(np.float32)
        deviation = np.sqrt(share @ self._features**2)
        self._deviation = np.where(deviation > _FLAT, deviation, np.inf)
        self._features /= self._deviation.astype(np.float32)
        self._targets = targets - self._target_mean

    @cached_property
    def _rows(self) -> np.ndarray:
        return self._features * self._roots

    @property
    def _is_wide(self) -> bool:
        return self._features.shape[1] >= len(self._features)

    @cached_property
    def _products(self) -> np.ndarray:
        """Of rows with rows where there are fewer of them, else of features with features."""
        return self._rows @ self._rows.T if self._is_wide else self._rows.T @ self._rows

    def fit(self, penalty: float) -> Fit:
        """The fit whose squared weights are held down by ``penalty`` times the number of features.

        A row that counts nothing is in no fit, and is told as any other.
        """
        penalty *= self._features.shape[1]
        inverse = np.linalg.inv(self._products + penalty * np.eye(len(self._products)))
        if self._is_wide:
            dual = inverse @ (self._roots * self._targets)
            weights = self._rows.T @ dual
            spared = penalty * inverse.diagonal()
            with np.errstate(divide="ignore", invalid="ignore"):
                residual = penalty * dual / self._roots  # small beside the targets, yet exact
        else:
            weights = inverse @ (self._rows.T @ (self._roots * self._targets))
            spared = 1 - np.einsum("nf,nf->n", self._rows @ inverse, self._rows)
            residual = self._targets - self._features @ weights
        none = self._share == 0
        residual[none] = self._targets[none] - self._features[none] @ weights
        residual /= np.maximum(spared - self._share, 1e-9)[:, None]
        weights = weights / self._deviation[:, None]
        return Fit(
            weights,
            self._target_mean - self._mean @ weights,
            self._targets + self._target_mean - residual,
        )

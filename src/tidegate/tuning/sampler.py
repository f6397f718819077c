"""What is drawn for a trial: at first near the defaults, then where good trials were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

_FIRST = 8  # trials, before the estimator of good ones is followed
_KEPT = 0.6  # probability that such a trial keeps a default


class NearDefaults(TPESampler):
    """Optuna's tree-structured Parzen estimator, which begins near ``defaults``.

    Defaults are good: of a dozen options all drawn at random one is often bad, and with it the
    trial.  So the first trials keep more than half of the defaults.  Source of the estimator:
    Bergstra, Bardenet, Bengio & Kegl 2011, "Algorithms for Hyper-Parameter Optimization".
    """

    def __init__(self, seed: int, defaults: Mapping[str, Any]) -> None:
        super().__init__(seed=seed, n_startup_trials=_FIRST)
        self._defaults, self._kept_by = defaults, np.random.default_rng(seed)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The default, or what Optuna draws."""
        first = trial.number <= _FIRST
        if first and param_name in self._defaults and self._kept_by.random() < _KEPT:
            return self._defaults[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)

"""The training loop: one function, ``fit``."""

from __future__ import annotations

from tidegate.training.objective import Objective, StepResult, TrainingError, TrainingResult
from tidegate.training.options import TrainingOptions

__all__ = ["Objective", "StepResult", "TrainingError", "TrainingResult", "fit"]


def fit(objective: Objective, options: TrainingOptions) -> TrainingResult:
    """Train ``objective.network`` and leave the best weights in it."""
    raise NotImplementedError

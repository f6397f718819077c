"""Regression on whole sequences: a number told from each."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate.training.many_to_one import ManyToOne


class Regression(ManyToOne):
    """The objective whose answers are scaled numbers, float32 [N]: mean squared error.

    Figures are in the original unit, of which ``scale`` go into one of the answers'.
    """

    lower_is_better = True

    def __init__(self, *arguments: Any, scale: float, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.scale, self.metric = scale, self.chosen_by("mse")

    def error(self, outputs: Tensor, answers: Tensor, reduction: str = "mean") -> Tensor:
        return F.mse_loss(outputs.squeeze(1), answers, reduction=reduction)

    def figures(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        """Mean squared and mean absolute error, and the part of the variance that is explained."""
        errors = self.scale * (outputs[:, 0] - answers).astype(np.float64)
        variance = self.scale**2 * float(answers.astype(np.float64).var())
        mse = float(np.mean(errors**2))
        r2 = 1 - mse / variance if variance > 0 else float("nan")
        return {"mse": mse, "mae": float(np.mean(np.abs(errors))), "r2": r2}

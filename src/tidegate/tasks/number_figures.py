"""Figures of predicted numbers, beside those of the trivial prediction."""

from __future__ import annotations

import numpy as np


def number_figures(predicted: np.ndarray, truth: np.ndarray, mean: float) -> dict[str, float]:
    """Figures by name, as `Regressor.evaluate` describes them; ``predicted``, ``truth``: [N].

    ``mean``: that of the training part, which is the trivial prediction.
    """
    figures: dict[str, float] = {}
    for prefix, answers in (("", predicted), ("mean_", np.full(len(truth), mean))):
        errors = answers - truth
        variance = float(truth.var())
        mse = float(np.mean(errors**2))
        figures |= {
            f"{prefix}mse": mse,
            f"{prefix}rmse": mse**0.5,
            f"{prefix}mae": float(np.mean(np.abs(errors))),
            f"{prefix}r2": 1 - mse / variance if variance > 0 else float("nan"),
        }
    return figures

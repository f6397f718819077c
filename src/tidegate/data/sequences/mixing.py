"""In which proportion several answers to the same question are best added up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["Loss", "best_mixture", "binary_log_loss", "log_loss", "squared_error"]

# Of a sum of answers [N, O]: the loss of each row [N], its derivative [N, O], and its curvature
# along directions [G, N, O], [G, G, N].
Losses = tuple[np.ndarray, np.ndarray, np.ndarray]
Loss = Callable[[np.ndarray, np.ndarray], Losses]

_STEPS = 100
_HALVINGS = 30
_DAMPING = 1e-9  # of the curvature, where two answers are the same


def best_mixture(answers: np.ndarray, loss: Loss, counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Factors [G] from 0 on answers [G, N, O] whose sum has the least mean loss, and that loss.

    ``counts`` [N]: how much each row counts.  By Newton's method on the factors that are free.
    """
    share = counts / counts.sum()
    factors = np.ones(len(answers))
    value, gradient, curvature = _at(answers, loss, share, factors)
    for _ in range(_STEPS):
        free = (factors > 0) | (gradient < 0)
        if not free.any() or np.abs(gradient[free] * np.maximum(factors[free], 1)).max() < 1e-9:
            break
        inner = curvature[np.ix_(free, free)]
        inner = inner + np.eye(len(inner)) * (_DAMPING * np.trace(inner) + 1e-300)
        step = np.zeros_like(factors)
        step[free] = np.linalg.solve(inner, gradient[free])
        for _ in range(_HALVINGS):
            tried = np.maximum(factors - step, 0)
            found = _at(answers, loss, share, tried)
            if found[0] < value:
                break
            step /= 2
        else:
            break
        factors = tried
        value, gradient, curvature = found
    return factors, value


def _at(
    answers: np.ndarray, loss: Loss, share: np.ndarray, factors: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Mean loss, its gradient [G] and its curvature [G, G]."""
    rows, derivative, curvature = loss(np.tensordot(factors, answers, 1), answers)
    gradient = np.einsum("n,no,gno->g", share, derivative, answers)
    return float(share @ rows), gradient, curvature @ share


def log_loss(truth: np.ndarray) -> Loss:
    """The cross-entropy of logits where the labels ``truth``, int64 [N], were right.

    The right label's probability is aimed at a little below 1, as after one more example that is
    not of any label (Platt 1999): else factors have no end where all rows are told right.
    """

    def of(logits: np.ndarray, directions: np.ndarray) -> Losses:
        n, labels = logits.shape
        aim = np.full_like(logits, 1 / (labels * (n + 1)))
        aim[np.arange(n), truth] += n / (n + 1)
        log_p = logits - logits.max(1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
        p = np.exp(log_p)
        means = np.einsum("no,gno->gn", p, directions)
        squares = np.einsum("no,gno,hno->ghn", p, directions, directions)
        return -(aim * log_p).sum(1), p - aim, squares - means[:, None] * means[None]

    return of


def binary_log_loss(truth: np.ndarray) -> Loss:
    """The sum of the cross-entropies of several answers' log-odds, bool [N, O] being right.

    Probabilities are aimed at as those of ``log_loss`` are.
    """

    def of(logits: np.ndarray, directions: np.ndarray) -> Losses:
        n = len(logits)
        aim = (truth * n + 0.5) / (n + 1)
        p = 1 / (1 + np.exp(-logits.clip(-700, 700)))
        rows = (np.logaddexp(0, logits) - aim * logits).sum(1)
        return rows, p - aim, np.einsum("no,gno,hno->ghn", p * (1 - p), directions, directions)

    return of


def squared_error(truth: np.ndarray) -> Loss:
    """Half the squared error of numbers where ``truth``, float64 [N, O], was right."""

    def of(numbers: np.ndarray, directions: np.ndarray) -> Losses:
        error = numbers - truth
        curvature = np.einsum("gno,hno->ghn", directions, directions)
        return (error**2).sum(1) / 2, error, curvature

    return of

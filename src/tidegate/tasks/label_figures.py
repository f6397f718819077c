"""Figures of predicted labels: what log-probabilities come to where the true labels are known."""

from __future__ import annotations

import math

import numpy as np

_BINS = 15  # of confidences, from 0 to 1


def label_figures(log_p: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Figures by name, as `Classifier.evaluate` describes them.

    log_p: float32 [N, L], N from 1, the log-probability of each label; truth: [N] true labels'
    columns.
    """
    p, predicted = np.exp(log_p), log_p.argmax(1)
    labels = log_p.shape[1]
    shown = np.arange(labels == 2, labels)  # of two labels the second says it all
    return {
        "accuracy": float((predicted == truth).mean()),
        "macro_f1": macro_f1(predicted, truth, labels),
        "auroc": mean_auroc(p[:, shown], truth[:, None] == shown),
        "calibration_error": _calibration_error(p.max(1), predicted == truth),
        "cross_entropy": float(-log_p[np.arange(len(truth)), truth].mean(dtype=np.float64)),
    }


def confusion(predicted: np.ndarray, truth: np.ndarray, labels: int) -> np.ndarray:
    """How often each label (column) was predicted where each (row) was true, int64 [L, L]."""
    matrix = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    return matrix


def macro_f1(predicted: np.ndarray, truth: np.ndarray, labels: int) -> float:
    """Mean over the labels that occur, predicted or true, of 2 TP / (2 TP + FP + FN)."""
    right = np.bincount(truth[predicted == truth], minlength=labels)
    named = np.bincount(predicted, minlength=labels) + np.bincount(truth, minlength=labels)
    return float((2 * right[named > 0] / named[named > 0]).mean())


def mean_auroc(scores: np.ndarray, held: np.ndarray) -> float:
    """The mean over labels of the area under each one's ROC curve; both [N, L], ``held`` bool.

    Labels that no input has, or all have, count in no mean: theirs is undefined.  NaN where that
    is so of all.  Source: Provost & Domingos 2000, Well-trained PETs, without their weights by
    frequency.
    """
    told = held.any(0) & ~held.all(0)
    if not told.any():
        return math.nan
    return float(
        np.mean([_auroc(scores[:, label], held[:, label]) for label in np.flatnonzero(told)])
    )


def _auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The probability that a positive one's score is above a negative one's; equal ones count half.

    Source: Hanley & McNeil 1982, Radiology 143 (the Mann-Whitney statistic).
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(scores) - n)))


def calibration_bins(
    confidences: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of 15 bins of equal width the number of inputs, the share that is right, and the mean
    probability; NaN for those of an empty bin.  A bin holds its lower edge; the last one, 1 too.
    """
    edges = np.linspace(0, 1, _BINS + 1, dtype=np.float32)[1:-1]
    bins = np.searchsorted(edges, confidences, side="right")
    counts = np.bincount(bins, minlength=_BINS)
    sums = [np.bincount(bins, weights=w, minlength=_BINS) for w in (right, confidences)]
    with np.errstate(invalid="ignore"):
        return counts, sums[0] / counts, sums[1] / counts


def _calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Naeini et al. 2015."""
    counts, accuracies, means = calibration_bins(confidences, right)
    gaps = np.abs(accuracies - means)[counts > 0]
    return float((gaps * counts[counts > 0]).sum() / len(right))

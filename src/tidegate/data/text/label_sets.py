"""Sets of labels, of which each text has none, one or several: read, told apart, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from tidegate.data.files.items import Label, as_items, as_labels
from tidegate.errors import InputError, shown

__all__ = [
    "are_label_sets",
    "as_label_sets",
    "binary_losses",
    "f1_figures",
    "held_of",
    "log_odds",
    "thresholds_of",
]

_ENOUGH: Final = 20  # texts with a label that can tell a threshold of its own
_MIDDLE: Final = 0.5


def are_label_sets(labels: Any) -> bool:
    """Whether a collection holds a list of labels for each text, and not a label."""
    if isinstance(labels, str | bytes) or getattr(labels, "shape", (0,))[1:]:
        return False
    return any(_is_several(one) for one in as_items(labels, "labels"))


def as_label_sets(labels: Any) -> list[list[Label]]:
    """The labels of each text, as a user's lists, sets, tuples or arrays have them.

    Raises InputError, with the index, for a text that has no list, and for a label that is no
    label or is there twice.
    """
    found = []
    for i, one in enumerate(as_items(labels, "labels")):
        if not _is_several(one):
            raise InputError(
                f"labels: expected a list of labels for each text, got {shown(one)} at index {i}; "
                "put it into a list, an empty one where there is no label"
            )
        try:
            several = as_labels(sorted(one, key=str) if isinstance(one, set | frozenset) else one)
        except InputError as e:
            raise InputError(f"{e} (of the text at index {i})") from None
        for k, label in enumerate(several):
            if label in several[:k]:
                raise InputError(
                    f"labels: expected different labels in each list, got {label!r} twice at index "
                    f"{i}; of a matrix of zeros and ones give the names of those that are 1"
                )
        found.append(several)
    return found


def _is_several(one: Any) -> bool:
    return isinstance(one, list | tuple | set | frozenset) or len(getattr(one, "shape", ())) == 1


def binary_losses(logits: np.ndarray, held: np.ndarray) -> np.ndarray:
    """-log p of whether each label is held, float64, as ``logits`` and ``held`` 0 or 1, [N, L]."""
    return np.logaddexp(0, np.where(held > 0, -1.0, 1.0) * logits.astype(np.float64))


def log_odds(held: np.ndarray) -> float:
    """Log-odds of a label in texts that hold it or not, bool [N], as after one more of each
    (Laplace).
    """
    return float(np.log((held.sum() + 1) / ((~held).sum() + 1)))


def f1_figures(predicted: np.ndarray, held: np.ndarray) -> dict[str, float]:
    """Figures of predicted sets, bool [N, L] as those that are held.

    ``micro_f1``: 2 TP / (2 TP + FP + FN) of all labels together.  ``macro_f1``: the mean of each
    label's, over those that are predicted or held.  ``subset_accuracy``: the share of texts whose
    labels are all right.  NaN where no label is predicted or held.
    """
    right = (predicted & held).sum(0)
    named = predicted.sum(0) + held.sum(0)
    there = named > 0
    return {
        "micro_f1": float(2 * right.sum() / named.sum()) if there.any() else float("nan"),
        "macro_f1": float((2 * right[there] / named[there]).mean())
        if there.any()
        else float("nan"),
        "subset_accuracy": float((predicted == held).all(1).mean()),
    }


def thresholds_of(p: np.ndarray, held: np.ndarray) -> np.ndarray:
    """From which probability on a label is told, float64 [L]: those with the best F1 on ``p``.

    ``p``, ``held``: [N, L], of texts that were not learned from.  A label that fewer than 20 of
    them hold has the threshold that is best for all labels together, which a few texts cannot
    mislead (Yang 2001, A study of thresholding strategies for text categorization).
    """
    if not held.any():
        return np.full(p.shape[1], _MIDDLE)
    common = _best(p.ravel(), held.ravel())
    enough = held.sum(0) >= _ENOUGH
    return np.array([
        _best(of_label, holds) if own else common
        for of_label, holds, own in zip(p.T, held.T, enough, strict=True)
    ])  # fmt: skip


def _best(p: np.ndarray, held: np.ndarray) -> float:
    """The threshold of the best F1, half way to the next lower probability."""
    order = np.argsort(-p, kind="stable")
    ranked, right = p[order].astype(np.float64), np.cumsum(held[order])
    f1 = 2 * right / (np.arange(1, len(p) + 1) + right[-1])
    f1[:-1][ranked[:-1] == ranked[1:]] = -1  # between equal ones there is no threshold
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(p) else 0.0
    return float((ranked[best] + below) / 2)


def held_of(sets: Sequence[Sequence[Label]], classes: Sequence[Label]) -> np.ndarray:
    """Which of ``classes`` each set has, float32 [N, L], 0 or 1.  Raises KeyError for another."""
    places = {label: i for i, label in enumerate(classes)}
    held = np.zeros((len(sets), len(classes)), np.float32)
    for row, labels in zip(held, sets, strict=True):
        row[[places[label] for label in labels]] = 1
    return held

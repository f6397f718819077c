"""How much each input and each label counts in the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tidegate.data.files.items import as_items
from tidegate.errors import InputError, shown

BALANCED = "balanced"


def sample_weights(given: Any, count: int) -> np.ndarray:
    """How much each of ``count`` inputs counts, float64 [N]; alike where ``given`` is None.

    Raises InputError unless there is a finite number from 0 for each.
    """
    if given is None:
        return np.ones(count)
    items = as_items(given, "sample_weight")
    if len(items) != count:
        problem = f"sample_weight: expected one per input, {count}, got {len(items)}"
        raise InputError(f"{problem}; give one for each")
    return np.array([_weight(item, f"sample_weight: index {i}") for i, item in enumerate(items)])


def check_class_weight(given: Any) -> None:
    """Raise InputError unless it is None, "balanced" or a number from 0 by label."""
    if given is None or (isinstance(given, str) and given == BALANCED):
        return
    if not isinstance(given, Mapping):
        raise InputError(
            f"expected {BALANCED!r}, or in Python a dict of label and weight, got {shown(given)}; "
            "leave it out, or give one of these",
            option="class_weight",
        )
    for label, weight in given.items():
        _weight(weight, f"label {shown(label)}", option="class_weight")


def label_weights(given: Any, classes: list[Any], answers: np.ndarray) -> np.ndarray:
    """How much each label counts, float64 [labels]; of a dict, 1 for those it does not name.

    "balanced" makes all labels together weigh alike among the training ``answers``, int64 [N]:
    N / (labels * inputs of the label), as in scikit-learn (King & Zeng 2001).  Raises InputError
    for a label that is none of ``classes``.
    """
    if given is None:
        return np.ones(len(classes))
    if isinstance(given, str):
        counts = np.bincount(answers, minlength=len(classes))
        return len(answers) / (len(classes) * np.maximum(counts, 1))
    for label in given:
        if label not in classes:
            known = ", ".join(repr(one) for one in classes[:10])
            raise InputError(
                f"expected labels of the training part ({known}), got {label!r}; leave it out",
                option="class_weight",
            )
    return np.array([float(given.get(label, 1.0)) for label in classes])


def presence_weights(given: Any, classes: list[Any], held: np.ndarray) -> np.ndarray | None:
    """How much each of several labels counts where it is held, float64 [L]; None: as where it not.

    "balanced" makes the texts of ``held`` [N, L] that have a label weigh as much as those that
    have it not.  Raises InputError for a label that is none of ``classes``.
    """
    if given is None:
        return None
    if isinstance(given, str):
        count = (held > 0).sum(0)
        return (len(held) - count).clip(1) / count.clip(1)
    return label_weights(given, classes, np.empty(0, np.int64))


def normalised(weights: np.ndarray) -> np.ndarray | None:
    """Weights [N] with a mean of 1, float32; None where all are equal, which changes nothing.

    So neither the learning rate nor the clipping of gradients means something else.  Raises
    InputError where all are 0.
    """
    if not len(weights) or (weights == weights[0]).all() and weights[0] > 0:
        return None
    if not weights.sum() > 0:
        raise InputError(
            "weights: expected some above 0 in the training part, got only 0; give "
            "sample_weight or class_weight some that are"
        )
    return (weights / weights.mean()).astype(np.float32)


def _weight(value: Any, what: str, option: str | None = None) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = np.nan
    if not (np.isfinite(weight) and weight >= 0):
        problem = f"{what}: expected a finite number from 0 as weight, got {shown(value)}"
        raise InputError(f"{problem}; correct it", option=option)
    return weight

"""Figures of labels at every step: of steps, of labels, of entities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tidegate.data.text.entities import Counts, are_entity_labels, counted
from tidegate.runtime.tags import decoded, losses
from tidegate.tasks.label_figures import macro_f1

Array = np.ndarray


def tag_figures(
    outputs: Sequence[Array],
    transitions: Array | None,
    labels: Sequence[Array],
    classes: Sequence[Any],
) -> dict[str, float]:
    """Figures by name, as `TagsSteps.evaluate` describes them, without counts.

    outputs: [T, L] of each sequence; labels: int64 [T] of each, the columns of the true ones, below
    0 for one that is none of ``classes``.
    """
    predicted = decoded(outputs, transitions)
    guess, truth = np.concatenate(predicted), np.concatenate(labels)
    nats = losses(outputs, transitions, labels)
    told = ~np.isnan(nats)
    steps = sum(len(of_one) for of_one, known in zip(labels, told, strict=True) if known)
    figures = {
        "accuracy": float((guess == truth).mean()) if len(truth) else math.nan,
        "cross_entropy": float(nats[told].sum() / steps) if steps else math.nan,
    }
    if are_entity_labels(classes):
        return entity_figures(predicted, labels, classes) | figures
    of_all = math.nan
    if len(truth):  # a label that is not known is one more, never predicted
        of_all = macro_f1(guess, np.where(truth < 0, len(classes), truth), len(classes) + 1)
    return {"accuracy": figures.pop("accuracy"), "macro_f1": of_all, **figures}


def entity_figures(
    predicted: Sequence[Array], labels: Sequence[Array], classes: Sequence[str]
) -> dict[str, float]:
    """``f1``, ``precision`` and ``recall`` of all entities."""
    every = Counts()
    for counts in _by_kind(predicted, labels, classes).values():
        every = every.plus(counts)
    return {"f1": every.f1, "precision": every.precision, "recall": every.recall}


def table_of(
    predicted: Sequence[Array], labels: Sequence[Array], classes: Sequence[Any]
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and how many there are: of each kind of entity, or of each label."""
    if are_entity_labels(classes):
        found = _by_kind(predicted, labels, classes)
    else:
        guess, truth = np.concatenate(predicted), np.concatenate(labels)
        found = {
            str(name): Counts(
                int(((guess == i) & (truth == i)).sum()),
                int((guess == i).sum()),
                int((truth == i).sum()),
            )
            for i, name in enumerate(classes)
        }
    return {
        kind: {"precision": c.precision, "recall": c.recall, "f1": c.f1, "n": c.there}
        for kind, c in sorted(found.items())
    }


def _by_kind(
    predicted: Sequence[Array], labels: Sequence[Array], classes: Sequence[str]
) -> dict[str, Counts]:
    def named(of_one: Sequence[Array]) -> list[list[str]]:
        return [[str(classes[i]) if i >= 0 else "O" for i in one.tolist()] for one in of_one]

    return counted(named(predicted), named(labels))

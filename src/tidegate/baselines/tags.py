"""The most frequent label of each word: what tagging costs nothing, and is hard to beat for it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Self

import numpy as np

from tidegate.baselines.baseline import Baseline
from tidegate.baselines.tagged import Tagged
from tidegate.data.text.entities import Counts, are_entity_labels, counted


class MostFrequentTag(Baseline):
    """Each word's most frequent label of the training part; of an unknown word that of all words.

    Probabilities are the word's shares, to which those of all words are added as if seen once.
    """

    name = "most frequent tag"
    about = "of each word; of an unknown one that of all words"

    def __init__(self, counts: dict[str, Counter[object]], every: Counter[object]) -> None:
        self.classes = sorted(every, key=str)
        total = every.total()
        self._shares = np.array([every[label] / total for label in self.classes])
        self._place = {label: i for i, label in enumerate(self.classes)}
        self._counts = counts
        self._rows: dict[str, np.ndarray] = {}
        self.parameters = sum(map(len, counts.values())) + len(every)

    @classmethod
    def fit(cls, train: Tagged) -> Self:
        counts: dict[str, Counter[object]] = {}
        every: Counter[object] = Counter()
        for tokens, labels in zip(train.inputs, train.labels, strict=True):
            every.update(labels)
            for token, label in zip(tokens, labels, strict=True):
                counts.setdefault(token, Counter())[label] += 1
        return cls(counts, every)

    def predict(self, tokens: Sequence[Sequence[str]]) -> list[list[object]]:
        """The labels of each sentence."""
        return [[self.classes[int(self._row(t).argmax())] for t in one] for one in tokens]

    def losses(self, part: Tagged) -> np.ndarray:
        """-log p of the labels of each sentence, in nats; NaN where one was not in training."""
        return np.array(
            [
                -sum(
                    np.log(self._row(token)[self._place[label]])
                    if label in self._place
                    else math.nan
                    for token, label in zip(tokens, labels, strict=True)
                )
                for tokens, labels in zip(part.inputs, part.labels, strict=True)
            ]
        )

    def figures(self, part: Tagged) -> dict[str, float]:
        """``accuracy``, ``cross_entropy`` in nats; of entities also ``f1``."""
        predicted = self.predict(part.inputs)
        pairs = [
            guess == label
            for of_one, labels in zip(predicted, part.labels, strict=True)
            for guess, label in zip(of_one, labels, strict=True)
        ]
        nats = self.losses(part)
        steps = sum(
            len(one) for one, known in zip(part.inputs, ~np.isnan(nats), strict=True) if known
        )
        figures = {
            "accuracy": float(np.mean(pairs)),
            "cross_entropy": float(np.nansum(nats) / steps) if steps else math.nan,
        }
        if are_entity_labels(self.classes):
            every = Counts()
            for counts in counted(*map(_as_text, (predicted, part.labels))).values():
                every = every.plus(counts)
            figures = {"f1": every.f1} | figures
        return figures

    def _row(self, token: str) -> np.ndarray:
        """The probability of each label."""
        if token not in self._counts:
            return self._shares
        if token not in self._rows:
            seen = self._counts[token]
            counts = np.array([seen[label] for label in self.classes])
            self._rows[token] = (counts + self._shares) / (counts.sum() + 1)
        return self._rows[token]


def _as_text(labels: Sequence[Sequence[object]]) -> list[list[str]]:
    return [[str(label) for label in one] for one in labels]

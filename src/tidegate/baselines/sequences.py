"""Sequences of numbers: the nearest neighbour, ridges on values and on convolutions.

The neighbour and the ridge on values read what the networks read, `SequenceInputs.scaled`, once
every sequence is brought to the same length: the median of the training part.
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from tidegate.baselines.baseline import Answered, Labelling, Valued, part_of, sampled
from tidegate.data.sequences.evidence import MAX_LABELS, learn_evidence
from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.series.scaling import Scaler

_PENALTIES = tuple(10.0**k for k in range(-2, 5))
_TRIED = 1000  # sequences that tell how often the nearest one is right
_VALUES_A_SECOND = 3e8  # multiplied and added, on one core
# Seconds on one core that convolutions take for a step of a sequence, over all kernels, and ridges
# for a sequence: more for each of the first ones, by which penalties are chosen.
_A_STEP, _A_JUDGE, _JUDGES, _A_ROW = 3e-5, 4e-3, 1000, 1e-3
_FEWEST = 20  # sequences that ridges on convolutions are worth fitting on


class Resampled:
    """Sequences [T, C] as features: shapes at ``length`` points, means and magnitudes."""

    def __init__(self, train: list[np.ndarray]) -> None:
        self._inputs = SequenceInputs.fit(train, None)
        self._length = round(float(np.median([len(sequence) for sequence in train])))
        self.size = self._inputs.channels * (self._length + 2)

    def of(self, sequences: list[np.ndarray]) -> np.ndarray:
        """Features float64 [N, F]."""
        return np.stack([self._features(self._inputs.scaled(s)) for s in sequences])

    def _features(self, scaled: np.ndarray) -> np.ndarray:
        channels = self._inputs.channels
        shape, whole = scaled[:, :channels], scaled[0, channels:]
        at = np.linspace(0, len(shape) - 1, self._length)
        points = [np.interp(at, np.arange(len(shape)), channel) for channel in shape.T]
        return np.concatenate([*points, whole])


class NearestNeighbour(Labelling):
    """The label of the nearest training sequence: the archive's own yardstick.

    Source: Dau et al. 2019, The UCR time series archive, arXiv:1810.07758.  It is as sure of a
    label as the nearest other one is right in training.
    """

    name = "1-nearest neighbour"

    def __init__(self, features: Resampled, nearest: Any, sureness: float, part: str) -> None:
        self._features, self._nearest, self._sureness = features, nearest, sureness
        self.classes = nearest.classes_
        self.about, self.part = "Euclidean distance", part

    @classmethod
    def fit(cls, train: Answered, *, asked: int = 0, seconds: float = math.inf) -> Self:
        """Learn by heart; some of ``train`` where it, and being ``asked`` so often, took longer."""
        from sklearn.neighbors import KNeighborsClassifier

        features, count = Resampled(train.inputs), len(train.inputs)
        work = count * (min(count, _TRIED) + asked) * features.size
        some = sampled(train, seconds * _VALUES_A_SECOND / work)
        known = features.of(some.inputs)
        nearest = KNeighborsClassifier(1).fit(known, some.answers)
        tried = np.random.default_rng(0).permutation(len(known))[:_TRIED]
        others = nearest.kneighbors(known[tried], min(2, len(known)))[1]  # itself the first
        right = some.answers[others[:, -1]] == some.answers[tried]
        sureness = (right.sum() + 1) / (len(right) + 2)  # Laplace: never certain
        return cls(features, nearest, sureness, part_of(len(known), count, "sequences"))

    def log_probabilities(self, inputs: list[np.ndarray]) -> np.ndarray:
        chosen = self._nearest.predict(self._features.of(inputs))[:, None] == self.classes
        others = (1 - self._sureness) / max(1, len(self.classes) - 1)
        return np.log(np.where(chosen, self._sureness, others))

    def predict(self, inputs: list[np.ndarray]) -> np.ndarray:
        return self._nearest.predict(self._features.of(inputs))


class _Convolved:
    """What ridges on convolutions and values say, learned from ``answers`` (evidence.py)."""

    name = "ridge on convolutions"
    about = "as MiniRocket has them, and on values"
    part: str
    parameters: int | None = None

    def _learn(self, part: Answered, answers: np.ndarray, labels: int | None) -> None:
        self._inputs = SequenceInputs.fit(part.inputs, None)
        filled = [self._inputs.filled(sequence) for sequence in part.inputs]
        counts = np.ones(len(filled))
        self._evidence, _, self._strength = learn_evidence(filled, answers, counts, labels)
        self.parameters = self._evidence.weights.size + self._evidence.intercepts.size

    def _told(self, sequences: list[np.ndarray]) -> np.ndarray:
        """Logits of labels, or one scaled number, float64 [N, O]."""
        filled = [self._inputs.filled(sequence) for sequence in sequences]
        return self._strength * self._evidence.of(filled).astype(np.float64)


def _share_convolved(train: Answered, asked: int, seconds: float) -> float:
    """What part of ``train`` ridges on convolutions can learn from in about so many seconds."""
    count = len(train.inputs)
    steps = float(np.mean([len(sequence) for sequence in train.inputs]))
    learning = count * (steps * _A_STEP + _A_ROW) + min(count, _JUDGES) * _A_JUDGE
    return max(0.0, seconds - asked * steps * _A_STEP) / learning


class ConvolvedLabels(_Convolved, Labelling):
    """Labels by convolutions and a ridge: Dempster et al. 2021, MiniRocket, arXiv:2012.08791."""

    @classmethod
    def fit(cls, train: Answered, *, share: float = 1.0) -> Self:
        """Learn from this ``share`` of ``train``, or from all."""
        made, some = cls(), sampled(train, share)
        made.classes, positions = np.unique(some.answers, return_inverse=True)
        made._learn(some, positions, len(made.classes))
        made.part = part_of(len(some.inputs), len(train.inputs), "sequences")
        return made

    def log_probabilities(self, inputs: list[np.ndarray]) -> np.ndarray:
        logits = self._told(inputs)
        logits -= logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))


class ConvolvedNumbers(_Convolved, Valued):
    """A number by the same."""

    _scale: Scaler

    @classmethod
    def fit(cls, train: Answered, *, share: float = 1.0) -> Self:
        """Learn from this ``share`` of ``train``, or from all."""
        made, some = cls(), sampled(train, share)
        made._scale = Scaler.fit(some.answers[:, None])
        made._learn(some, made._scale.transform(some.answers[:, None])[:, 0], None)
        made.part = part_of(len(some.inputs), len(train.inputs), "sequences")
        return made

    def predict(self, inputs: list[np.ndarray]) -> np.ndarray:
        return self._scale.inverse(self._told(inputs))[:, 0]


class LinearSequences(Valued):
    """Ridge regression of the resampled values."""

    name = "ridge regression"

    def __init__(self, features: Resampled, linear: Any, part: str) -> None:
        self._features, self._linear = features, linear
        self.about, self.part = f"penalty {linear.alpha_:g}", part
        self.parameters = linear.coef_.size + 1

    @classmethod
    def fit(cls, train: Answered, *, seconds: float = math.inf) -> Self:
        """The map with the penalty that does best where each sequence is left out in turn.

        Some of ``train`` where all would take more than about ``seconds``.
        """
        from sklearn.linear_model import RidgeCV

        features, count = Resampled(train.inputs), len(train.inputs)
        work = count * features.size * min(count, features.size)
        some = sampled(train, seconds * _VALUES_A_SECOND / work)
        linear = RidgeCV(alphas=_PENALTIES).fit(features.of(some.inputs), some.answers)
        return cls(features, linear, part_of(len(some.inputs), count, "sequences"))

    def predict(self, inputs: list[np.ndarray]) -> np.ndarray:
        return self._linear.predict(self._features.of(inputs))


def labels_within(train: Answered, asked: int, seconds: float) -> Labelling:
    """What tells labels best of what takes about ``seconds``, with ``asked`` sequences to tell.

    Ridges on convolutions, of a sample if need be; the nearest neighbour where too few sequences
    could be learned from, or where there are too many labels.
    """
    share = _share_convolved(train, asked, seconds)
    labels = len(np.unique(train.answers))
    enough = share >= 1 or share * len(train.inputs) >= max(_FEWEST, 2 * labels)
    if enough and labels <= MAX_LABELS:
        return ConvolvedLabels.fit(train, share=share)
    return NearestNeighbour.fit(train, asked=asked, seconds=seconds)


def numbers_within(train: Answered, asked: int, seconds: float) -> Valued:
    """The same of numbers: ridges on convolutions, or one on the values."""
    share = _share_convolved(train, asked, seconds)
    if share >= 1 or share * len(train.inputs) >= _FEWEST:
        return ConvolvedNumbers.fit(train, share=share)
    return LinearSequences.fit(train, seconds=seconds)

"""Labels of steps by the values that stand around each: the nearest such window, and a linear map.

A window holds so many steps before and behind the one to label, and repeats the first or the last
value beyond an end.  Values are filled and scaled as those that the network reads.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline, part_of, sampled
from tidegate.baselines.tagged import Tagged
from tidegate.data.sequences.inputs import SequenceInputs

_REACHES = (0, 2, 5, 10)  # steps on each side of the one to label
_PENALTIES = (0.01, 0.1, 1.0, 10.0)  # as scikit-learn has them, the inverse C
_TRIED = 1000  # steps that tell how often the nearest window is right
_MOST = 20_000  # steps that a window is compared with, or a linear map is fitted to
_VALUES_A_SECOND = 1e9  # that windows are compared by, on one core
_FITS_A_SECOND = 5e6  # steps times values times labels that one fit of the linear map takes


class Windows:
    """Sequences [T, C] as the values around each step, float64 [T, (2 reach + 1) C]."""

    def __init__(self, inputs: SequenceInputs, reach: int) -> None:
        self._inputs, self.reach = inputs, reach

    def of(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Those of all steps, one sequence after the other."""
        return np.concatenate([self._of_one(sequence) for sequence in sequences])

    def _of_one(self, sequence: np.ndarray) -> np.ndarray:
        padded = np.pad(self._inputs.filled(sequence), ((self.reach,) * 2, (0, 0)), mode="edge")
        width = 2 * self.reach + 1
        return np.concatenate([padded[k : k + len(sequence)] for k in range(width)], axis=1)


class _Labelled(Baseline):
    """What the two share: figures of labels that the windows of all steps are given."""

    classes: np.ndarray
    _windows: Windows

    @abstractmethod
    def _log_probabilities(self, windows: np.ndarray) -> np.ndarray:
        """The logarithm of each label's probability, float64 [N, L]."""

    def losses(self, part: Tagged) -> np.ndarray:
        """-log p of the labels of each sequence, in nats; NaN where one was not in training."""
        nats = self._nats(self._told(part), _flat(part))
        ends = np.cumsum([0, *map(len, part.labels)])
        return np.array([nats[a:b].sum() for a, b in zip(ends, ends[1:], strict=False)])

    def figures(self, part: Tagged) -> dict[str, float]:
        """``accuracy``, ``cross_entropy`` in nats, of steps whose label was in training."""
        log_p, truth = self._told(part), _flat(part)
        nats = self._nats(log_p, truth)
        known = ~np.isnan(nats)
        return {
            "accuracy": float((self.classes[log_p.argmax(1)] == truth).mean()),
            "cross_entropy": float(nats[known].mean()) if known.any() else math.nan,
        }

    def _told(self, part: Tagged) -> np.ndarray:
        return self._log_probabilities(self._windows.of(part.inputs))

    def _nats(self, log_p: np.ndarray, truth: np.ndarray) -> np.ndarray:
        places = np.minimum(np.searchsorted(self.classes, truth), len(self.classes) - 1)
        nats = -log_p[np.arange(len(truth)), places]
        return np.where(self.classes[places] == truth, nats, np.nan)


class NearestSteps(_Labelled):
    """The label of the training step with the most similar window.

    The reach is the one with which most steps of sequences that are left out are right; it is as
    sure of a label as these are right.
    """

    name = "1-nearest window"

    def __init__(self, windows: Windows, nearest: Any, sureness: float, part: str) -> None:
        self._windows, self._nearest, self._sureness = windows, nearest, sureness
        self.classes = nearest.classes_
        self.about = f"Euclidean distance, {windows.reach} steps on each side"
        self.part = part

    @classmethod
    def fit(
        cls, train: Tagged, *, asked: int = 0, seconds: float = math.inf, most: int = _MOST
    ) -> Self:
        """Learn steps of ``train`` by heart: so many at ``most``, and fewer where these, and being
        ``asked`` so often, would take more than about ``seconds``.
        """
        from sklearn.neighbors import KNeighborsClassifier

        inputs, labels = SequenceInputs.fit(list(train.inputs), 1, own_scale=False), _flat(train)
        owner = np.repeat(np.arange(len(train.labels)), [len(one) for one in train.labels])
        widths = [inputs.channels * (2 * reach + 1) for reach in _REACHES]
        work = _TRIED * sum(widths) + asked * max(widths)  # of each step that is known
        rows = _some(labels, min(most, seconds * _VALUES_A_SECOND / work))
        tried = np.random.default_rng(0).permutation(rows)[:_TRIED]
        out = np.unique(owner[tried])[::2]  # every second sequence is left out
        inside = rows[~np.isin(owner[rows], out)]
        left_out = tried[np.isin(owner[tried], out)]
        if not len(inside):  # of a single sequence
            inside, left_out = rows, tried
        best = (-1.0, Windows(inputs, 0))
        for reach in _REACHES:
            windows = Windows(inputs, reach)
            values = windows.of(train.inputs)
            nearest = KNeighborsClassifier(1).fit(values[inside], labels[inside])
            right = nearest.predict(values[left_out]) == labels[left_out]
            told = (right.sum() + 1) / (len(right) + 2)  # Laplace: never certain
            best = max(best, (float(told), windows), key=lambda one: one[0])
        sureness, windows = best
        nearest = KNeighborsClassifier(1).fit(windows.of(train.inputs)[rows], labels[rows])
        return cls(windows, nearest, sureness, part_of(len(rows), len(labels), "steps"))

    def _log_probabilities(self, windows: np.ndarray) -> np.ndarray:
        chosen = self._nearest.predict(windows)[:, None] == self.classes
        others = (1 - self._sureness) / max(1, len(self.classes) - 1)
        return np.log(np.where(chosen, self._sureness, others))


class LinearSteps(_Labelled):
    """Logistic regression of the window; reach and penalty do best on the validation part."""

    name = "logistic regression"

    def __init__(self, windows: Windows, linear: Any, part: str) -> None:
        self._windows, self._linear = windows, linear
        self.classes = linear.classes_
        self.parameters = linear.coef_.size + linear.intercept_.size
        self.about = f"of {windows.reach} steps on each side, penalty {1 / linear.C:g}"
        self.part = part

    @classmethod
    def fit(cls, train: Tagged, validation: Tagged | None, seconds: float = math.inf) -> Self:
        """The map that does best on ``validation``, or without it the widest, of penalty 1.

        Some of ``train`` where all would take more than about ``seconds``; at most 20,000 steps.
        """
        from sklearn.linear_model import LogisticRegression

        inputs, labels = SequenceInputs.fit(list(train.inputs), 1, own_scale=False), _flat(train)
        choices = [(reach, penalty) for reach in _REACHES for penalty in _PENALTIES]
        if validation is None or not validation.steps:
            choices = [(_REACHES[-1], 1.0)]
        values = sum(inputs.channels * (2 * reach + 1) for reach, _ in choices)
        a_step = values * len(np.unique(labels)) / _FITS_A_SECOND
        rows = _some(labels, min(_MOST, seconds / a_step))
        part = part_of(len(rows), len(labels), "steps")
        best: tuple[float, Self] | None = None
        windows, features = None, np.empty(0)
        for reach, penalty in choices:
            if windows is None or windows.reach != reach:
                windows = Windows(inputs, reach)
                features = windows.of(train.inputs)[rows]
            linear = LogisticRegression(C=1 / penalty, max_iter=200).fit(features, labels[rows])
            made = cls(windows, linear, part)
            score = 0.0
            if validation is not None and validation.steps:
                score = made.figures(validation)["cross_entropy"]
            if best is None or score < best[0]:
                best = score, made
        assert best is not None  # there is a choice
        return best[1]

    def _log_probabilities(self, windows: np.ndarray) -> np.ndarray:
        shares = self._linear.predict_proba(windows)
        return np.log(np.maximum(shares, np.finfo(float).tiny))


def steps_within(train: Tagged, validation: Tagged, asked: int, seconds: float) -> Baseline:
    """What does better on ``validation`` of the two, each of which takes half of ``seconds``.

    Without that part, the nearest window.  ``asked``: steps to tell of all parts together.
    """
    nearest = NearestSteps.fit(train, asked=asked, seconds=seconds / 2)
    if not validation.steps:
        return nearest
    fitted = [nearest, LinearSteps.fit(train, validation, seconds / 2)]
    return min(fitted, key=lambda one: one.figures(validation)["cross_entropy"])


def _flat(part: Tagged) -> np.ndarray:
    """All labels, one sequence after the other."""
    return np.array([label for of_one in part.labels for label in of_one])


def _some(labels: np.ndarray, most: float) -> np.ndarray:
    """Row numbers of at most about so many, one of each label among them."""
    numbered = Answered(list(range(len(labels))), labels)
    return np.sort(sampled(numbered, most / len(labels)).inputs)

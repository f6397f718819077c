"""What all baselines have in common, and those that answer with a label, labels or a number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self

import numpy as np

from tidegate.data.text.label_sets import binary_losses, f1_figures


class Baseline(ABC):
    """A fitted method that costs little; ``about`` says in a few words which it is.

    ``fit`` of each learns from the training part alone; a penalty, or another one number, is the
    one that does best on the validation part.  ``part``: what of the training part it learned from,
    where that is not all of it, such as "904 of 18,539 texts".
    """

    name: str
    about: str
    part: str = ""
    parameters: int | None = None

    @property
    def told(self) -> str:
        """``about``, with the part that it learned from."""
        return f"{self.about}, of {self.part}" if self.part else self.about

    @abstractmethod
    def losses(self, part: Any) -> np.ndarray:
        """Loss on each of N examples of a part, float64 [N]: nats, or a squared error."""

    @abstractmethod
    def figures(self, part: Any) -> dict[str, float]:
        """Figures on a part, by the names that the task's ``evaluate`` has for them."""


class Answered(NamedTuple):
    """Inputs, N of them, and an answer to each, [N], or of sets of labels [N, L], 0 or 1."""

    inputs: list[Any]
    answers: np.ndarray

    def rows(self, rows: np.ndarray) -> Self:
        return type(self)([self.inputs[i] for i in rows], self.answers[rows])


def sampled(part: Answered, share: float) -> Answered:
    """About ``share`` of the rows, drawn at random but always the same; all from 1 on."""
    count = len(part.inputs)
    if share >= 1:
        return part
    rows = np.random.default_rng(0).permutation(count)[: max(1, int(share * count))]
    # of every answer that is a label one, or it could never be given
    if part.answers.ndim == 2:
        first = [int(held.argmax()) for held in part.answers.T]
    elif part.answers.dtype.kind != "f":
        first = np.unique(part.answers, return_index=True)[1]
    else:
        first = []
    return part.rows(np.union1d(rows, np.asarray(first, int)))


def part_of(kept: int, count: int, what: str) -> str:
    """The ``part`` of a baseline that has learned from so many of ``count`` examples."""
    return "" if kept == count else f"{kept:,} of {count:,} {what}"


def caveat(part: str) -> str:
    """What a comparison adds in which a network is not behind a baseline of such a ``part``."""
    return "; nothing is known of one that learns from all" if part else ""


class Labelling(Baseline):
    """A baseline that gives each label of the training part, ``classes`` [C], a probability."""

    classes: np.ndarray

    @abstractmethod
    def log_probabilities(self, inputs: list[Any]) -> np.ndarray:
        """The logarithm of each label's probability, float64 [N, C], in the order of classes."""

    def predict(self, inputs: list[Any]) -> np.ndarray:
        """The most likely label of each input, [N]."""
        return self.classes[self.log_probabilities(inputs).argmax(1)]

    def losses(self, part: Answered) -> np.ndarray:
        return self._losses(self.log_probabilities(part.inputs), part.answers)

    def figures(self, part: Answered) -> dict[str, float]:
        """``accuracy``, and ``cross_entropy`` in nats."""
        log_p = self.log_probabilities(part.inputs)
        right = self.classes[log_p.argmax(1)] == part.answers
        losses = self._losses(log_p, part.answers)
        return {"accuracy": float(right.mean()), "cross_entropy": float(losses.mean())}

    def _losses(self, log_p: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """-log p of the answers, all of which the training part has."""
        return -log_p[np.arange(len(answers)), np.searchsorted(self.classes, answers)]


class Holding(Baseline):
    """A baseline that tells of each of L labels how likely an input has it.

    ``thresholds`` [L]: from which probability on it is said to.
    """

    thresholds: np.ndarray

    @abstractmethod
    def logits(self, inputs: list[Any]) -> np.ndarray:
        """Log-odds of each label, float64 [N, L]."""

    def losses(self, part: Answered) -> np.ndarray:
        return binary_losses(self.logits(part.inputs), part.answers).sum(1)

    def figures(self, part: Answered) -> dict[str, float]:
        """``cross_entropy`` in nats per input, ``micro_f1``, ``macro_f1``, ``subset_accuracy``."""
        logits = self.logits(part.inputs)
        told = 1 / (1 + np.exp(-logits)) > self.thresholds
        entropy = float(binary_losses(logits, part.answers).sum(1).mean())
        return {"cross_entropy": entropy, **f1_figures(told, part.answers > 0)}


class Valued(Baseline):
    """A baseline that answers with a number."""

    @abstractmethod
    def predict(self, inputs: list[Any]) -> np.ndarray:
        """A number for each input, float64 [N]."""

    def losses(self, part: Answered) -> np.ndarray:
        return (self.predict(part.inputs) - part.answers) ** 2

    def figures(self, part: Answered) -> dict[str, float]:
        """``mse``, ``mae``, and ``r2``, NaN where all answers are alike."""
        errors, variance = self.predict(part.inputs) - part.answers, float(part.answers.var())
        mse = float(np.mean(errors**2))
        r2 = 1 - mse / variance if variance > 0 else float("nan")
        return {"mse": mse, "mae": float(np.abs(errors).mean()), "r2": r2}

"""One label for each text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered
from tidegate.baselines.constants import Frequencies
from tidegate.baselines.texts import LinearTexts
from tidegate.data.sequences.mixing import Loss, log_loss
from tidegate.data.text.evidence import answers_of_labels
from tidegate.runtime.probabilities import log_softmax
from tidegate.tasks.kinds.kind import FEW, FOLDS, Kind
from tidegate.tasks.label_figures import confusion, label_figures

if TYPE_CHECKING:
    from tidegate.runtime.stepping import Stepping
    from tidegate.training.many_to_one import ManyToOne


class OneLabel(Kind):
    """Answers are positions in ``classes`` [L], int64 [N]; outputs are logits of a softmax."""

    FIGURES: ClassVar[tuple[str, ...]] = ("accuracy", "cross_entropy", "calibration_error")

    def __init__(self, classes: np.ndarray) -> None:
        self.classes, self.outputs = classes, len(classes)

    def held(self, answers: np.ndarray) -> np.ndarray:
        return answers_of_labels(answers, self.outputs)

    def folds(self, answers: np.ndarray, seed: int) -> np.ndarray | None:
        """Each label in all folds alike; None, too, where a label has fewer texts than folds."""
        _, counts = np.unique(answers, return_counts=True)
        if len(answers) >= FEW or counts.min() < FOLDS:
            return None
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(answers))
        order = order[np.argsort(answers[order], kind="stable")]
        folds = np.empty(len(answers), np.int64)
        folds[order] = np.arange(len(answers)) % FOLDS
        return folds

    def baseline(
        self, part: Answered, judge: Answered, *, lowercase: bool, seconds: float
    ) -> LinearTexts:
        return LinearTexts.fit(part, judge, lowercase=lowercase, seconds=seconds)

    def constant(self, part: Answered) -> Frequencies:
        return Frequencies.fit(part)

    def objective(self, *arguments: Any, **more: Any) -> ManyToOne:
        from tidegate.training.classification import Classification

        by = "cross_entropy" if more["prefix"] else "accuracy"
        return Classification(*arguments, by=by, **more)

    def losses(self, outputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return -_log_p(outputs)[np.arange(len(answers)), answers]

    def sum_loss(self, answers: np.ndarray) -> Loss:
        return log_loss(answers)

    def hedged_loss(self, outputs: np.ndarray, answers: np.ndarray) -> float:
        """The right label's probability is aimed at a little below 1, as after one more example
        that is not of any label (Platt 1999): else there is no end where all are told right.
        """
        n, log_p = len(outputs), log_softmax(outputs)
        return float(-(n * log_p[np.arange(n), answers] + log_p.mean(1)).sum()) / (n * (n + 1))

    def figures(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        return label_figures(log_softmax(outputs.astype(np.float32)), answers)

    def values(self, outputs: np.ndarray) -> np.ndarray:
        return np.exp(log_softmax(outputs).astype(np.float64))

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        log_p = _log_p(outputs)
        others = np.stack(
            [np.logaddexp.reduce(np.delete(log_p, i, 1), axis=1) for i in range(self.outputs)], 1
        )
        return log_p - others

    def names(self, outputs: np.ndarray) -> list[tuple[str, int]]:
        best = int(outputs.argmax())
        return [(str(self.classes[best]), best)]

    def streamed(self, net: Stepping) -> np.ndarray:
        return net.probabilities()

    def targets(self, answers: np.ndarray) -> np.ndarray:
        return answers

    def same(self, other: Kind) -> bool:
        return isinstance(other, OneLabel) and self.classes.tolist() == other.classes.tolist()

    def given(self, answers: np.ndarray) -> np.ndarray:
        return self.classes[answers]

    def log_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Logarithms of the labels' probabilities, [N, L], whose sum is 1."""
        return log_softmax(outputs)

    def read(self, outputs: np.ndarray) -> np.ndarray:
        """The likeliest label of each text, [N]."""
        return self.classes[log_softmax(outputs).argmax(1)]

    def confusion(self, outputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """How often each label (column) was told where each (row) was true, int64 [L, L]."""
        return confusion(log_softmax(outputs).argmax(1), answers, self.outputs)


def _log_p(outputs: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities, float64 [N, L]."""
    exact: Any = outputs.astype(np.float64)
    return log_softmax(exact)

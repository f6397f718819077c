"""Several labels for each text, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered
from tidegate.baselines.constants import SetFrequencies
from tidegate.baselines.texts import LinearLabelSets
from tidegate.data.files.items import Label
from tidegate.data.sequences.mixing import Loss, binary_log_loss
from tidegate.data.text.label_sets import binary_losses, f1_figures, held_of, thresholds_of
from tidegate.tasks.kinds.kind import Kind
from tidegate.tasks.label_figures import mean_auroc

if TYPE_CHECKING:
    from tidegate.training.many_to_one import ManyToOne


class LabelSets(Kind):
    """Answers say which of ``classes`` [L] a text has, float32 [N, L], 0 or 1; outputs are logits.

    A label is told where its probability, the sigmoid of its output, is above its threshold:
    ``thresholds``, float64 [L].  ``presence`` [L]: how much a label counts in the loss where it is
    held; None: all alike.
    """

    FIGURES: ClassVar[tuple[str, ...]] = (
        *("micro_f1", "macro_f1", "subset_accuracy"),
        *("cross_entropy", "auroc"),
    )
    SETTLES: ClassVar[bool] = True

    def __init__(self, classes: np.ndarray, thresholds: np.ndarray | None = None) -> None:
        self.classes, self.outputs = classes, len(classes)
        self.thresholds = np.full(len(classes), 0.5) if thresholds is None else thresholds
        self.presence: np.ndarray | None = None

    def held(self, answers: np.ndarray) -> np.ndarray:
        return answers > 0

    def baseline(
        self, part: Answered, judge: Answered, *, lowercase: bool, seconds: float
    ) -> LinearLabelSets:
        return LinearLabelSets.fit(part, judge, lowercase=lowercase, seconds=seconds)

    def constant(self, part: Answered) -> SetFrequencies:
        return SetFrequencies.fit(part)

    def objective(self, *arguments: Any, **more: Any) -> ManyToOne:
        from tidegate.training.multi_label import MultiLabel

        return MultiLabel(*arguments, presence=self.presence, **more)

    def losses(self, outputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return binary_losses(outputs, answers).sum(1)

    def sum_loss(self, answers: np.ndarray) -> Loss:
        return binary_log_loss(answers > 0)

    def hedged_loss(self, outputs: np.ndarray, answers: np.ndarray) -> float:
        """As after one more example that has half of each label (Platt 1999)."""
        n = len(outputs)
        either = (binary_losses(outputs, answers) + binary_losses(outputs, 1 - answers)) / 2
        own = binary_losses(outputs, answers)
        return float((n * own + either).sum()) / (n * (n + 1))

    def figures(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        figures = f1_figures(self._told(outputs), answers > 0)
        return {
            **figures,
            "auroc": mean_auroc(outputs, answers > 0),
            "cross_entropy": float(self.losses(outputs, answers).mean()),
        }

    def values(self, outputs: np.ndarray) -> np.ndarray:
        return np.exp(-np.logaddexp(0, -outputs.astype(np.float64)))

    def targets(self, answers: np.ndarray) -> np.ndarray:
        return answers > 0

    def same(self, other: Kind) -> bool:
        return isinstance(other, LabelSets) and self.classes.tolist() == other.classes.tolist()

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        return outputs.astype(np.float64)

    def names(self, outputs: np.ndarray) -> list[tuple[str, int]]:
        """The labels that are told; the likeliest one where there is none."""
        told = np.flatnonzero(self._told(outputs[None])[0])
        columns = told.tolist() or [int(outputs.argmax())]
        return [(str(self.classes[column]), column) for column in columns]

    def given(self, answers: np.ndarray) -> list[list[Label]]:
        return [self.classes[row > 0].tolist() for row in answers]

    def translated(self, outputs: np.ndarray, other: LabelSets) -> np.ndarray:
        """A label that the other one has not met is as unlikely as one more text makes it."""
        places = {label: i for i, label in enumerate(self.classes.tolist())}
        found = np.full((len(outputs), self.outputs), -np.log(len(outputs) + 1.0))
        found[:, [places[label] for label in other.classes.tolist()]] = outputs
        return found

    def settle(self, outputs: np.ndarray, answers: np.ndarray) -> None:
        """Choose the thresholds."""
        self.thresholds = thresholds_of(self.values(outputs), answers > 0)

    def log_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """The logarithm of each label's probability, [N, L]."""
        return -np.logaddexp(0, -outputs)

    def read(self, outputs: np.ndarray) -> list[list[Label]]:
        """The labels of each text, in the order of ``classes``."""
        return self.given(self._told(outputs))

    def confusion(self, outputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Of each label how often it was told (column 1) where it is held (row 1), [L, 2, 2]."""
        told, held = self._told(outputs).astype(int), (answers > 0).astype(int)
        matrix = np.zeros((self.outputs, 2, 2), np.int64)
        for i in range(self.outputs):
            np.add.at(matrix[i], (held[:, i], told[:, i]), 1)
        return matrix

    def indices(self, sets: list[list[Label]]) -> np.ndarray:
        """Answers of sets of labels.  Raises KeyError for a label that is none of the classes."""
        return held_of(sets, self.classes.tolist())

    def _told(self, outputs: np.ndarray) -> np.ndarray:
        return self.values(outputs) > self.thresholds

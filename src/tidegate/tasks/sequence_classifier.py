"""Classification of sequences of numbers: gestures, outlines, appliances, heartbeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.constants import Frequencies
from tidegate.baselines.sequences import labels_within
from tidegate.runtime.probabilities import log_softmax
from tidegate.tasks.classification import Classifier
from tidegate.tasks.sequence_estimator import SequenceEstimator
from tidegate.tasks.weights import label_weights
from tidegate.training.options import documented

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class SequenceClassifier(SequenceEstimator, Classifier):
    """Predicts the label of a sequence of numbers, with recurrent layers and pooling.

    X is a list of N arrays [T, C] or [T], or one array [N, T, C] or [N, T], with T time steps of C
    channels; NaN means a missing value.  Of a frame with a row for each step, X is
    ``[rows[["x", "y"]] for _, rows in frame.groupby("id")]``.  ``classes_`` holds the labels in
    order, which is the order of the columns of ``predict_proba``.  ``inputs_`` turns sequences into
    inputs; their scale is learned from the training part only.  `fit` raises InputError for options
    or data that cannot be used.

    >>> import numpy as np, tidegate as tg
    >>> rising = np.linspace(0, 1, 30) + np.arange(20)[:, None]  # [N, T]
    >>> X, y = [*rising, *rising[:, ::-1]], ["up"] * 20 + ["down"] * 20
    >>> model = tg.SequenceClassifier(max_steps=80, verbose=0).fit(X, y)
    >>> model.predict([np.linspace(5, 6, 30), np.linspace(6, 5, 30)]).tolist()
    ['up', 'down']
    """

    TASK: ClassVar[str] = "series-classifier"

    def fit(
        self,
        X: Any,
        y: Any,
        validation: tuple[Any, Any] | None = None,
        *,
        sample_weight: Any = None,
    ) -> Self:
        """Train on N sequences ``X`` and their N labels ``y``.

        ``validation``: sequences and labels that choose the best weights; by default
        ``validation_fraction`` of ``X`` is held out for this.  ``sample_weight`` [N]: how much each
        sequence counts in the loss; 0 means not at all.

        Raises InputError for options or data that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        train, held_out, test, (counts, others) = self._begin(X, y, validation, sample_weight)
        self._stand_beside_on(train, held_out, test, labels_within, Frequencies.fit)

        of_labels = label_weights(self.class_weight, self.classes_.tolist(), train[1])

        from tidegate.training.classification import Classification

        def weights_of_all() -> np.ndarray | None:
            assert others is not None
            answers = np.concatenate([train[1], held_out[1]])
            return self._weights(answers, held_out[1], np.concatenate([counts, others]))[0]

        self._learn(
            Classification,
            train,
            held_out,
            output_size=self._answer_size,
            counts=(
                of_labels[train[1]] * counts,
                None if others is None else of_labels[held_out[1]] * others,
            ),
            weights=self._weights(train[1], held_out[1], counts),
            weights_of_all=None if others is None else weights_of_all,
            tested=len(test[0]),
            by="cross_entropy",
        )
        figures = self.evaluate(test[0], self.classes_[test[1]]) if len(test[0]) else {}
        return self._conclude(figures)

    @property
    def _answer_size(self) -> int:
        return len(self.classes_)

    def _learn_answers(self, sequences: list[np.ndarray], y: Any) -> np.ndarray:
        labels = self._labels(sequences, y)
        self._learn_classes(labels)
        return self._indices(labels)

    def _answers(self, sequences: list[np.ndarray], y: Any) -> np.ndarray:
        return self._indices(self._labels(sequences, y))

    def _known(self, inputs: Any) -> list[np.ndarray]:
        return self._sequences(inputs, self.inputs_.channels)

    def _log_probabilities(self, inputs: Any) -> np.ndarray:
        return log_softmax(self._outputs(inputs))

    def _learned(self) -> dict[str, Any]:
        return Classifier._learned(self) | SequenceEstimator._learned(self)

    def _restore(self, model: ModelFile) -> None:
        Classifier._restore(self, model)
        SequenceEstimator._restore(self, model)

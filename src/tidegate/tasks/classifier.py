"""Classification of texts: sentiment, topics, language, or any labels a text can carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.data.text.label_sets import are_label_sets, as_label_sets
from tidegate.errors import InputError
from tidegate.tasks.classification import Classifier
from tidegate.tasks.kinds.label_sets import LabelSets
from tidegate.tasks.kinds.one_label import OneLabel
from tidegate.tasks.measured import Measured
from tidegate.tasks.text_estimator import TextEstimator, Told
from tidegate.tasks.weights import presence_weights, sample_weights
from tidegate.training.options import documented

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.training.many_to_one import Weights


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class TextClassifier(TextEstimator, Classifier):
    """Predicts the label of a text, such as its topic or sentiment, or several labels of each.

    The network has an embedding, recurrent layers, pooling and a dense layer.  ``classes_`` holds
    the labels in order, which is the order of the columns of ``predict_proba``.  Where the labels
    given to ``fit`` are lists, a text has one label, several or none: each has a probability of its
    own, and is predicted where that is above its threshold, which held-out texts choose
    (``thresholds_``).  ``encoder_`` holds the vocabulary, which is learned from the training texts
    only.  ``init_from`` takes a text classifier, a language model, or two language models.  The
    second of two must be trained with ``reverse``; it starts the reverse direction.  With one
    language model, the reverse direction starts with random weights.  `fit` raises InputError for
    options or data that cannot be used.

    >>> import tidegate as tg
    >>> texts, labels = ["a good film", "a bad film"] * 20, ["good", "bad"] * 20
    >>> model = tg.TextClassifier(max_steps=60, verbose=0).fit(texts, labels)
    >>> model.predict(["a bad film", "a good film"]).tolist()
    ['bad', 'good']
    >>> several = [["film", "good"], ["film"]] * 20
    >>> model = tg.TextClassifier(max_steps=60, verbose=0).fit(texts, several)
    >>> model.predict(["a bad film", "a good film"])
    [['film'], ['film', 'good']]
    """

    TASK: ClassVar[str] = "text-classifier"

    def fit(
        self,
        texts: Any,
        labels: Any,
        validation: Told | None = None,
        *,
        conditions: Sequence[str] = (),
        sample_weight: Any = None,
    ) -> Self:
        """Train on N texts and their N labels, or N lists of labels.

        ``validation``: texts and labels that choose the best weights; by default a random part of
        ``texts`` is held out for this.  Fewer than 400 texts are all learned from instead; then
        ``metrics_`` are those of five-fold cross-validation, which takes five times as long again.
        ``sample_weight`` [N]: how much each text counts in the loss; 0 means not at all.

        ``texts`` may be a frame or a dict of several columns, which are read one after another.
        Those that ``conditions`` names are no texts: categories, or numbers, which stand beside the
        text; a missing cell is unknown.  What is asked later has columns of the same names.

        Raises InputError for options or data that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        return self._conclude(self._fit(texts, labels, validation, conditions, sample_weight))

    def predict(self, texts: Any) -> Any:
        """Predict the most likely label of each text, [N], or a list of N lists of labels."""
        return self.kind_.read(self._outputs(texts))

    def score(self, texts: Any, labels: Any, sample_weight: Any = None) -> float:
        """Measure the accuracy: the fraction of texts whose label, or labels, are all right.

        ``sample_weight`` [N]: how much each text counts (default: all the same).  Raises
        InputError as ``evaluate``, and if no weight is above 0.
        """
        if isinstance(self.kind_, OneLabel):
            return super().score(texts, labels, sample_weight)
        known = self._known(texts)
        truth, weights = self._answers(known, labels), sample_weights(sample_weight, len(known))
        if not weights.any():
            raise InputError("sample_weight: expected some above 0, got only 0; raise some")
        told = self.kind_.given(truth)
        right = [a == b for a, b in zip(self.predict(known), told, strict=True)]
        return float(np.average(right, weights=weights))

    def evaluate(self, texts: Any, labels: Any) -> dict[str, float]:
        """Measure figures on labelled texts, by name.

        Of one label each those of `Classifier.evaluate`: ``accuracy``, ``macro_f1``, ``auroc``,
        ``cross_entropy``, ``calibration_error``.  Of several ``micro_f1``: 2 TP / (2 TP + FP + FN)
        of all labels together.  ``macro_f1``: mean of the labels' own F1, every label counting the
        same.  ``subset_accuracy``: fraction of texts whose labels are all right.  ``auroc``: mean
        over labels of the area under the ROC curve.  ``cross_entropy``: mean over texts of the sum
        of -log p of whether each label is held, in nats.  ``n``: number of texts.
        """
        known = self._known(texts)
        truth = self._answers(known, labels)
        return Measured(self.kind_.figures(self._outputs(known), truth) | {"n": len(truth)})

    def confusion_matrix(self, texts: Any, labels: Any) -> np.ndarray:
        """Count texts by true label (row) and predicted label (column), as in ``classes_``.

        Of several labels each: [labels, 2, 2], whether each is held (row) and predicted (column).
        """
        known = self._known(texts)
        return self.kind_.confusion(self._outputs(known), self._answers(known, labels))

    def judged(self, texts: Any, labels: Any) -> tuple[np.ndarray, ...]:
        """As `Classifier.judged`.  Raises InputError of texts with several labels each."""
        if not isinstance(self.kind_, OneLabel):
            raise InputError(
                "expected a model of one label for each text to draw, got one of several; take the "
                "figures of evaluate"
            )
        return super().judged(texts, labels)

    @property
    def thresholds_(self) -> np.ndarray:
        """From which probability on each label is predicted, where texts have several, [labels]."""
        return self.kind_.thresholds  # pyright: ignore[reportAttributeAccessIssue]

    def _log_probabilities(self, inputs: Any) -> np.ndarray:
        return self.kind_.log_probabilities(self._outputs(inputs))

    def _learn_answers(self, texts: list[str], answers: Any) -> np.ndarray:
        if not are_label_sets(answers):
            labels = self._labels(texts, answers)
            self._learn_classes(labels)
            self.kind_ = OneLabel(self.classes_)
            return self._indices(labels)
        sets = as_label_sets(answers)
        self._check_count(texts, sets)
        self._learn_classes([label for of_text in sets for label in of_text], least=1)
        self.kind_ = LabelSets(self.classes_)
        return self.kind_.indices(sets)

    def _answers(self, texts: list[str], answers: Any) -> np.ndarray:
        if isinstance(self.kind_, OneLabel):
            return self._indices(self._labels(texts, answers))
        sets = as_label_sets(answers)
        self._check_count(texts, sets)
        for of_text in sets:
            self._indices(of_text)
        return self.kind_.indices(sets)

    def _weigh(self, train: np.ndarray, judged: np.ndarray, of_samples: np.ndarray) -> Weights:
        if isinstance(self.kind_, OneLabel):
            return self._weights(train, judged, of_samples)
        self.kind_.presence = presence_weights(self.class_weight, self.classes_.tolist(), train)
        return super()._weigh(train, judged, of_samples)

    def _learned(self) -> dict[str, Any]:
        learned = super()._learned()
        if isinstance(self.kind_, LabelSets):
            learned["scaling"] = {"thresholds": self.kind_.thresholds.tolist()}
        return learned

    def _restore(self, model: ModelFile) -> None:
        super()._restore(model)
        self.kind_ = OneLabel(self.classes_)
        if model.scaling is not None:
            self.kind_ = LabelSets(self.classes_, np.array(model.scaling["thresholds"], float))

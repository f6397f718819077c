"""What classifiers share, whatever they read: labels, predictions and their figures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.data.files.items import Label, as_labels, look_alikes
from tidegate.errors import InputError
from tidegate.tasks.estimator import Estimator
from tidegate.tasks.label_figures import confusion, label_figures
from tidegate.tasks.measured import Measured
from tidegate.tasks.weights import check_class_weight, label_weights, normalised, sample_weights
from tidegate.terminal import say
from tidegate.training.options import option

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tidegate.model.checkpoint import ModelFile


@cache
def _say_once(text: str) -> None:
    """As Python's warnings are: a comparison fits many models to the same labels."""
    say(text)


@dataclass(kw_only=True, eq=False, repr=False)
class Classifier(Estimator):
    """Predicts one of the labels of the training data for each input.

    Labels are all str, all int, all float or all bool; the model file keeps their type.
    ``classes_`` holds the labels in order, which is the order of the columns of ``predict_proba``.
    ``INPUTS`` is what a subclass classifies, in the plural.
    """

    INPUTS: ClassVar[str]

    class_weight: str | Mapping[Label, float] | None = option(
        None,
        "how much each label counts in the loss. balanced: rare labels count as much as frequent "
        "ones. In Python also a dict from label to weight (default: every input counts the same)",
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        check_class_weight(self.class_weight)
        super().check()

    def to_json(self) -> dict[str, Any]:
        """Every option by name; a dict of weights as a list of label, weight, label, ..."""
        values, given = super().to_json(), self.class_weight
        if isinstance(given, Mapping):
            labels = as_labels(list(given))
            pairs = zip(labels, map(float, given.values()), strict=True)
            values["class_weight"] = [one for pair in pairs for one in pair]
        return values

    @classmethod
    def options_from_json(cls, values: dict[str, Any]) -> dict[str, Any]:
        options = super().options_from_json(values)
        given = options.get("class_weight")
        if isinstance(given, tuple):
            options["class_weight"] = dict(zip(given[::2], given[1::2], strict=True))
        return options

    def predict(self, inputs: Any) -> np.ndarray:
        """Predict the most likely label of each input, [N]."""
        return self.classes_[self._log_probabilities(inputs).argmax(1)]

    def predict_proba(self, inputs: Any) -> np.ndarray:
        """Predict the probability of each label, [N, labels], in the order of ``classes_``."""
        return np.exp(self.predict_log_proba(inputs))

    def predict_log_proba(self, inputs: Any) -> np.ndarray:
        """Predict the natural logarithm of ``predict_proba``, [N, labels]."""
        return self._log_probabilities(inputs).astype(np.float64)

    def score(self, inputs: Any, labels: Any, sample_weight: Any = None) -> float:
        """Measure the accuracy: the fraction of inputs whose label is predicted, 0 to 1.

        ``sample_weight`` [N]: how much each input counts (default: all the same).  A label that
        was not in the training data counts as not predicted.  Raises InputError if none of the
        labels was in the training data, or if no weight is above 0.
        """
        known = self._known(inputs)
        truth = self._labels(known, labels)
        if set(truth).isdisjoint(self.classes_.tolist()):
            self._indices(truth)
        weights = sample_weights(sample_weight, len(known))
        if not weights.any():
            raise InputError("sample_weight: expected some above 0, got only 0; raise some")
        predicted = self.predict(known).tolist()
        right = [p == t for p, t in zip(predicted, truth, strict=True)]
        return float(np.average(right, weights=weights))

    def evaluate(self, inputs: Any, labels: Any) -> dict[str, float]:
        """Measure figures on labelled inputs, by name.

        ``accuracy``: fraction of inputs whose label is predicted.  ``macro_f1``: mean of the
        labels' F1, every label counting the same.  ``auroc``: area under the ROC curve; of more
        than two labels, the mean over those that occur of each against all others; NaN if one
        label alone occurs.  ``cross_entropy``: mean of -log p of the true label, in nats: a proper
        score, least where probabilities are those by which labels occur.  ``calibration_error``:
        the mean over inputs of |confidence - accuracy| of their bin, 15 bins of equal width of the
        largest probability (Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv:1706.04599).  ``n``:
        number of inputs.
        """
        log_p, truth = self.judged(inputs, labels)
        return Measured(label_figures(log_p, truth) | {"n": len(truth)})

    def confusion_matrix(self, inputs: Any, labels: Any) -> np.ndarray:
        """Count inputs by true label (row) and predicted label (column), as in ``classes_``."""
        log_p, truth = self.judged(inputs, labels)
        return confusion(log_p.argmax(1), truth, len(self.classes_))

    def plot_confusion_matrix(self, inputs: Any, labels: Any, *, ax: Axes | None = None) -> Axes:
        """Draw ``confusion_matrix``, coloured by shares of rows, on ``ax`` or a new figure.

        A notebook shows the picture.  Raises InputError as ``evaluate``, of inputs with several
        labels each, and where there is no matplotlib.
        """
        from tidegate.tasks.label_plot import draw_confusion

        log_p, truth = self.judged(inputs, labels)
        matrix = confusion(log_p.argmax(1), truth, len(self.classes_))
        return draw_confusion(matrix, self.classes_.tolist(), ax, shown=True)

    def plot_calibration(self, inputs: Any, labels: Any, *, ax: Axes | None = None) -> Axes:
        """Draw how often predicted labels are right by their probability (`calibration_error`).

        As ``plot_confusion_matrix``.
        """
        from tidegate.tasks.label_plot import draw_calibration

        log_p, truth = self.judged(inputs, labels)
        return draw_calibration(log_p, truth, ax, shown=True)

    @abstractmethod
    def _log_probabilities(self, inputs: Any) -> np.ndarray:
        """Log-probability of each label, float32 [N, labels].  Raises InputError."""

    @abstractmethod
    def _known(self, inputs: Any) -> list[Any]:
        """The inputs as a list, [N].  Raises InputError."""

    def judged(self, inputs: Any, labels: Any) -> tuple[np.ndarray, ...]:
        """Log-probabilities [N, labels], and positions of the true labels in ``classes_`` [N]."""
        known = self._known(inputs)
        truth = self._indices(self._labels(known, labels))
        return self._log_probabilities(known), truth

    def _labels(self, inputs: Sequence[Any], labels: Any) -> list[Label]:
        """The labels, [N].  Raises InputError unless there is one per input."""
        truth = as_labels(labels)
        self._check_count(inputs, truth)
        return truth

    def _check_count(self, inputs: Sequence[Any], truth: Sequence[Any]) -> None:
        """Raise InputError unless there is an answer per input, and one at least."""
        what = self.INPUTS
        if len(truth) != len(inputs):
            raise InputError(
                f"labels: expected one per {what.removesuffix('s')}, {len(inputs)}, got "
                f"{len(truth)}; give one for each"
            )
        if not len(truth):
            raise InputError(f"{what}: expected at least one, got none; give some")

    def _learn_classes(self, labels: Sequence[Label], *, least: int = 2) -> None:
        """Set ``classes_``, and say which look alike.

        Raises InputError for fewer than ``least``, and for labels of two types.
        """
        for i, label in enumerate(labels):
            if type(label) is not type(labels[0]):
                first, other = (type(one).__name__ for one in (labels[0], label))
                remedy = "str" if "str" in (first, other) else f"{first} or all str"
                raise InputError(
                    f"labels: expected all of one type, got {first} {labels[0]!r} at index 0 and "
                    f"{other} {label!r} at index {i}; make them all {remedy}"
                )
        classes = sorted(set(labels))
        if len(classes) < least:
            got = f"only {classes[0]!r}" if classes else "none"
            expected = "at least two different ones" if least == 2 else "a label or more"
            raise InputError(f"labels: expected {expected}, got {got}; give inputs of another, too")
        self.classes_ = np.array(classes)
        if self.speaks and (told := look_alikes(labels)) is not None:
            _say_once(told)

    def _indices(self, labels: Sequence[Label]) -> np.ndarray:
        """Position of each label in ``classes_``, int64 [N]; equal numbers are equal labels."""
        positions = {label: i for i, label in enumerate(self.classes_.tolist())}
        try:
            return np.array([positions[label] for label in labels], dtype=np.int64)
        except KeyError as e:
            known = ", ".join(repr(label) for label in self.classes_[:10].tolist())
            raise InputError(
                f"labels: expected those of the training {self.INPUTS} ({known}), got "
                f"{e.args[0]!r}; mend the label, or train with it"
            ) from None

    def _weights(
        self, train: np.ndarray, validation: np.ndarray, of_samples: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """How much training and validation inputs count, by their labels' positions, int64 [N].

        ``of_samples`` [N] are the training inputs' own weights.
        """
        of_labels = label_weights(self.class_weight, self.classes_.tolist(), train)
        learned, judged = of_labels[train] * of_samples, of_labels[validation]
        return normalised(learned), normalised(judged) if judged.any() else None

    def _learned(self) -> dict[str, Any]:
        return {"labels": self.classes_.tolist()}

    def _restore(self, model: ModelFile) -> None:
        assert model.labels is not None  # held by the file's schema
        self.classes_ = np.array(model.labels)

"""Regression on sequences of numbers: one number told from each whole sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.sequences import numbers_within
from tidegate.data.files.items import as_items
from tidegate.data.sequences.inputs import as_sequences
from tidegate.data.series.scaling import Scaler
from tidegate.errors import InputError
from tidegate.tasks.sequence_estimator import SequenceEstimator
from tidegate.tasks.weights import normalised
from tidegate.training.options import documented, option

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile

_LARGEST = 1e150  # a number whose squared errors can be added up


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class SequenceRegressor(SequenceEstimator):
    """Predicts one number from a sequence of numbers, with recurrent layers and pooling.

    X is a list of N arrays [T, C] or [T], or one array [N, T, C] or [N, T], with T time steps of C
    channels; NaN means a missing value.  Of a frame with a row for each step, X is
    ``[rows[["x", "y"]] for _, rows in frame.groupby("id")]``.  ``inputs_`` turns sequences into
    inputs, and ``target_`` holds the mean and scale of the numbers; both are learned from the
    training part only.  `fit` raises InputError for options or data that cannot be used.

    >>> import numpy as np, tidegate as tg
    >>> X = np.random.default_rng(0).normal(size=(40, 30))  # [N, T]
    >>> model = tg.SequenceRegressor(max_steps=20, verbose=0).fit(X, X.mean(axis=1))
    >>> model.predict(X[:2]).shape
    (2,)
    """

    TASK: ClassVar[str] = "series-regressor"
    SCALING_PARTS: ClassVar[frozenset[str]] = frozenset({"inputs", "target"})

    crop: float = option(
        0.0,
        "cut off up to this fraction of each training sequence, at random; use it only if the ends "
        "of a sequence do not matter",
        at_least=0,
        below=1,
    )

    def fit(
        self,
        X: Any,
        y: Any,
        validation: tuple[Any, Any] | None = None,
        *,
        sample_weight: Any = None,
    ) -> Self:
        """Train on N sequences ``X`` and their N numbers ``y``.

        ``validation``: sequences and numbers that choose the best weights; by default
        ``validation_fraction`` of ``X`` is held out for this.  ``sample_weight`` [N]: how much each
        sequence counts in the loss; 0 means not at all.

        Raises InputError for options or data that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        train, held_out, test, (counts, others) = self._begin(X, y, validation, sample_weight)
        self.target_ = Scaler.fit(train[1][:, None])
        self._stand_beside_on(train, held_out, test, numbers_within)

        from tidegate.training.regression import Regression

        self._learn(
            Regression,
            *((part, self._scaled(numbers)) for part, numbers in (train, held_out)),
            output_size=1,
            counts=(counts, others),
            weights=(normalised(counts), None),
            weights_of_all=None
            if others is None
            else lambda: normalised(np.concatenate([counts, others])),
            tested=len(test[0]),
            scale=float(self.target_.scale[0]),
        )
        return self._conclude(self.evaluate(*test) if len(test[0]) else {})

    def predict(self, X: Any) -> np.ndarray:
        """Predict the number of each sequence, float64 [N], in units of ``y``."""
        return self.target_.inverse(self._outputs(X).astype(np.float64))[:, 0]

    def score(self, X: Any, y: Any) -> float:
        """Measure R squared: 1 is perfect, 0 is no better than always predicting the mean of y."""
        return self.evaluate(X, y)["r2"]

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        """Measure figures on sequences whose numbers are known, by name.

        ``mse``: mean squared error, in squared units of ``y``.  ``mae``: mean absolute error, in
        units of ``y``.  ``r2``: the part of the variance of ``y`` that is explained, NaN if the
        variance is 0.  ``mean_mse``, ``mean_mae``, ``mean_r2``: the same figures of the trivial
        prediction, which is the mean of the training part.  ``n``: number of sequences.
        """
        sequences = as_sequences(X, self.inputs_.channels)
        truth = self._answers(sequences, y)
        trivial = np.full(len(truth), self.target_.mean[0])
        figures: dict[str, float] = {}
        for prefix, predicted in (("", self.predict(sequences)), ("mean_", trivial)):
            errors = predicted - truth
            variance = float(truth.var())
            mse = float(np.mean(errors**2))
            figures |= {
                f"{prefix}mse": mse,
                f"{prefix}mae": float(np.mean(np.abs(errors))),
                f"{prefix}r2": 1 - mse / variance if variance > 0 else float("nan"),
            }
        return figures | {"n": len(truth)}

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        tags.target_tags.required = True
        return tags

    def _answers(self, sequences: list[np.ndarray], y: Any) -> np.ndarray:
        return _numbers(sequences, y)

    def _scaled(self, numbers: np.ndarray) -> np.ndarray:
        return self.target_.transform(numbers[:, None])[:, 0].astype(np.float32)

    def _learned(self) -> dict[str, Any]:
        learned = super()._learned()
        learned["scaling"]["target"] = self.target_.to_json()
        return learned

    def _restore(self, model: ModelFile) -> None:
        super()._restore(model)
        assert model.scaling is not None  # held by the file's schema
        self.target_ = Scaler.from_json(model.scaling["target"])
        if (len(self.target_.mean), model.architecture.output_size) != (1, 1):
            raise ValueError("target: expected the scale of one number, and one output")


def _numbers(sequences: list[np.ndarray], y: Any) -> np.ndarray:
    """``y`` as float64 [N].  Raises InputError unless it is a finite number per sequence."""
    items = as_items(y, "y")
    numbers = np.empty(len(items))
    for i, item in enumerate(items):
        try:
            numbers[i] = item
        except (TypeError, ValueError):
            kind = type(item).__name__
            problem = f"y: expected numbers, got {kind} at index {i}; make it a float"
            raise InputError(problem) from None
        if not np.isfinite(numbers[i]):
            raise InputError(
                f"y: expected finite numbers, got {item} at index {i}; "
                "fill it in, or leave out that sequence and its number"
            )
    if len(numbers) != len(sequences):
        expected = f"one number per sequence, {len(sequences)}"
        raise InputError(f"y: expected {expected}, got {len(numbers)}; give one for each")
    if not len(numbers):
        raise InputError("y: expected one number or more, got none; give some")
    if np.abs(numbers).max() > _LARGEST:
        problem = f"y: expected numbers up to {_LARGEST:g}, got {np.abs(numbers).max():g}"
        raise InputError(f"{problem}; divide all by a power of ten")
    return numbers

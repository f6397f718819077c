"""What regressors share, whatever they read: numbers, predictions and their figures."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.data.files.items import as_items
from tidegate.data.series.scaling import Scaler
from tidegate.errors import InputError
from tidegate.tasks.estimator import Estimator
from tidegate.tasks.measured import Measured
from tidegate.tasks.number_figures import number_figures
from tidegate.tasks.weights import sample_weights

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile

_LARGEST = 1e150  # a number whose squared errors can be added up


@dataclass(kw_only=True, eq=False, repr=False)
class Regressor(Estimator):
    """Predicts a number for each input.

    ``target_`` holds the mean and scale of the numbers, which are learned from the training part
    only.  ``INPUTS`` is what a subclass reads, in the plural.
    """

    INPUTS: ClassVar[str]

    def predict(self, X: Any) -> np.ndarray:
        """Predict the number of each input, float64 [N], in units of ``y``."""
        return self.target_.inverse(self._outputs(X).astype(np.float64))[:, 0]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Measure R squared: 1 is perfect, 0 is no better than always predicting the mean of y.

        ``sample_weight`` [N]: how much each input counts (default: all the same).
        """
        known = self._known(X)
        truth, weights = self._numbers(known, y), sample_weights(sample_weight, len(known))
        if not weights.any():
            raise InputError("sample_weight: expected some above 0, got only 0; raise some")
        variance = np.average((truth - np.average(truth, weights=weights)) ** 2, weights=weights)
        mse = np.average((self.predict(known) - truth) ** 2, weights=weights)
        return float(1 - mse / variance) if variance > 0 else float("nan")

    def evaluate(self, X: Any, y: Any) -> dict[str, float]:
        """Measure figures on inputs whose numbers are known, by name.

        ``mse``: mean squared error, in squared units of ``y``.  ``rmse``: its root, and ``mae``:
        mean absolute error, both in units of ``y``.  ``r2``: the part of the variance of ``y`` that
        is explained, NaN if the variance is 0.  ``mean_mse``, ``mean_rmse``, ``mean_mae``,
        ``mean_r2``: the same figures of the trivial prediction, which is the mean of the training
        part.  ``n``: number of inputs.
        """
        known = self._known(X)
        truth = self._numbers(known, y)
        figures = number_figures(self.predict(known), truth, float(self.target_.mean[0]))
        return Measured(figures | {"n": len(truth)})

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags

        tags = super().__sklearn_tags__()
        tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        tags.target_tags.required = True
        return tags

    @abstractmethod
    def _outputs(self, inputs: Any) -> np.ndarray:
        """The network's outputs, float32 [N, 1].  Raises InputError."""

    @abstractmethod
    def _known(self, inputs: Any) -> Any:
        """The inputs as a list, [N].  Raises InputError."""

    def _numbers(self, inputs: Any, y: Any) -> np.ndarray:
        """``y`` as float64 [N].  Raises InputError unless it is a finite number per input."""
        one = self.INPUTS.removesuffix("s")
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
                    f"fill it in, or leave out that {one} and its number"
                )
        if len(numbers) != len(inputs):
            expected = f"one number per {one}, {len(inputs)}"
            raise InputError(f"y: expected {expected}, got {len(numbers)}; give one for each")
        if not len(numbers):
            raise InputError("y: expected one number or more, got none; give some")
        if np.abs(numbers).max() > _LARGEST:
            problem = f"y: expected numbers up to {_LARGEST:g}, got {np.abs(numbers).max():g}"
            raise InputError(f"{problem}; divide all by a power of ten")
        return numbers

    def _learned(self) -> dict[str, Any]:
        return {"scaling": {"target": self.target_.to_json()}}

    def _restore(self, model: ModelFile) -> None:
        assert model.scaling is not None  # held by the file's schema
        self.target_ = target = Scaler.from_json(model.scaling["target"])
        if (len(target.mean), model.architecture.output_size) != (1, 1):
            raise ValueError("target: expected the scale of one number, and one output")

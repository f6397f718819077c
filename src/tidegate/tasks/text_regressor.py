"""Regression on texts: stars, prices, grades, or any number that a text tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.data.series.scaling import Scaler
from tidegate.tasks.kinds.number import Number
from tidegate.tasks.regression import Regressor
from tidegate.tasks.text_estimator import TextEstimator, Told
from tidegate.training.options import documented

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class TextRegressor(TextEstimator, Regressor):
    """Predicts a number from a text, such as the stars of a review, a price or a grade.

    The network has an embedding, recurrent layers, pooling and a dense layer.  ``target_`` holds
    the mean and scale of the numbers, and ``encoder_`` the vocabulary; both are learned from the
    training part only.  ``init_from`` is as of `TextClassifier`, with a text
    regressor for the classifier.  `fit` raises InputError for options or data that cannot be used.

    >>> import tidegate as tg
    >>> texts, stars = ["a good film", "a bad film"] * 20, [5, 1] * 20
    >>> model = tg.TextRegressor(max_steps=60, verbose=0).fit(texts, stars)
    >>> model.predict(["a bad film", "a good film"]).round().tolist()
    [1.0, 5.0]
    """

    TASK: ClassVar[str] = "text-regressor"

    def fit(
        self,
        texts: Any,
        y: Any,
        validation: Told | None = None,
        *,
        conditions: Sequence[str] = (),
        sample_weight: Any = None,
    ) -> Self:
        """Train on N texts and their N numbers ``y``.

        ``validation``: texts and numbers that choose the best weights; by default a random part of
        ``texts`` is held out for this.  Fewer than 400 texts are all learned from instead; then
        ``metrics_`` are those of five-fold cross-validation, which takes five times as long again.
        ``sample_weight`` [N]: how much each text counts in the loss; 0 means not at all.

        ``texts`` may be a frame or a dict of several columns, which are read one after another.
        Those that ``conditions`` names are no texts: categories, or numbers, which stand beside the
        text; a missing cell is unknown.  What is asked later has columns of the same names.

        Raises InputError for options or data that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        return self._conclude(self._fit(texts, y, validation, conditions, sample_weight))

    @property
    def target_(self) -> Scaler:
        """Mean and scale of the numbers of the training part."""
        return self.kind_.scaler

    @target_.setter
    def target_(self, scaler: Scaler) -> None:
        self.kind_ = Number()
        self.kind_.scaler = scaler

    def _learn_answers(self, texts: list[str], answers: Any) -> np.ndarray:
        self.kind_ = Number()
        return self._numbers(texts, answers)

    def _answers(self, texts: list[str], answers: Any) -> np.ndarray:
        return self._numbers(texts, answers)

    def _restore(self, model: ModelFile) -> None:
        super()._restore(model)
        if set(model.scaling or {}) != {"target"}:
            raise ValueError("scaling: expected exactly the key target")

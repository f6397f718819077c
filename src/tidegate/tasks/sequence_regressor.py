"""Regression on sequences of numbers: one number told from each whole sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.constants import Mean
from tidegate.baselines.sequences import numbers_within
from tidegate.data.series.scaling import Scaler
from tidegate.tasks.regression import Regressor
from tidegate.tasks.sequence_estimator import SequenceEstimator
from tidegate.tasks.weights import normalised
from tidegate.training.options import documented, option

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class SequenceRegressor(SequenceEstimator, Regressor):
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
        self._stand_beside_on(train, held_out, test, numbers_within, Mean.fit)

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

    def _known(self, inputs: Any) -> list[np.ndarray]:
        return self._sequences(inputs, self.inputs_.channels)

    def _answers(self, sequences: list[np.ndarray], y: Any) -> np.ndarray:
        return self._numbers(sequences, y)

    def _scaled(self, numbers: np.ndarray) -> np.ndarray:
        return self.target_.transform(numbers[:, None])[:, 0].astype(np.float32)

    def _learned(self) -> dict[str, Any]:
        learned = SequenceEstimator._learned(self)
        learned["scaling"] |= Regressor._learned(self)["scaling"]
        return learned

    def _restore(self, model: ModelFile) -> None:
        SequenceEstimator._restore(self, model)
        Regressor._restore(self, model)

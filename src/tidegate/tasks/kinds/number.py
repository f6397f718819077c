"""One number for each text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered
from tidegate.baselines.constants import Mean
from tidegate.baselines.texts import RidgeTexts
from tidegate.data.series.scaling import Scaler
from tidegate.tasks.kinds.kind import Kind
from tidegate.tasks.number_figures import number_figures

if TYPE_CHECKING:
    from tidegate.training.many_to_one import ManyToOne

_QUANTILES = (0.25, 0.5, 0.75)


class Number(Kind):
    """Answers are numbers, float64 [N]; outputs are these by the scale of the training part."""

    FIGURES: ClassVar[tuple[str, ...]] = ("mse", "rmse", "mae", "r2")
    LABELS: ClassVar[bool] = False
    outputs = 1

    scaler: Scaler

    def learn(self, answers: np.ndarray) -> None:
        """Mean and scale of the numbers."""
        self.scaler = Scaler.fit(answers[:, None])

    def held(self, answers: np.ndarray) -> np.ndarray:
        """Whether a number lies above each quartile that parts the training numbers."""
        bounds = np.unique(np.quantile(answers, _QUANTILES, method="lower"))
        above = answers[:, None] > bounds
        return above[:, above.any(0)]

    def baseline(
        self, part: Answered, judge: Answered, *, lowercase: bool, seconds: float
    ) -> RidgeTexts:
        return RidgeTexts.fit(part, judge, lowercase=lowercase, seconds=seconds)

    def constant(self, part: Answered) -> Mean:
        return Mean.fit(part)

    def objective(self, network: Any, train: Any, validation: Any, **more: Any) -> ManyToOne:
        from tidegate.training.regression import Regression

        scaled = [(texts, self._scaled(answers)) for texts, answers in (train, validation)]
        return Regression(network, *scaled, scale=float(self.scaler.scale[0]), **more)

    def losses(self, outputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return (self.values(outputs) - answers) ** 2

    def figures(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        return number_figures(self.values(outputs), answers, float(self.scaler.mean[0]))

    def targets(self, answers: np.ndarray) -> np.ndarray:
        return self._scaled(answers)[:, None]

    def same(self, other: Kind) -> bool:
        return isinstance(other, Number)

    def scores(self, outputs: np.ndarray) -> np.ndarray:
        return self.values(outputs)[:, None]

    def names(self, outputs: np.ndarray) -> list[tuple[str, int]]:
        return [(f"{self.values(outputs[None])[0]:.4g}", 0)]

    def given(self, answers: np.ndarray) -> np.ndarray:
        return answers

    def translated(self, outputs: np.ndarray, other: Number) -> np.ndarray:
        return self._scaled(other.values(outputs))[:, None]

    def values(self, outputs: np.ndarray) -> np.ndarray:
        return self.scaler.inverse(outputs.astype(np.float64))[:, 0]

    def _scaled(self, answers: np.ndarray) -> np.ndarray:
        return self.scaler.transform(answers[:, None])[:, 0].astype(np.float32)

"""What every kind of answer is to a task on texts: how it is learned, judged and told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.data.sequences.mixing import Loss

if TYPE_CHECKING:
    from tidegate.runtime.stepping import Stepping
    from tidegate.training.many_to_one import ManyToOne

FEW = 400  # examples; of more, a tenth is enough to choose by
FOLDS = 5


class Kind(ABC):
    """The answers to texts, as arrays [N, ...], and a network's outputs for them, [N, ``outputs``].

    ``FIGURES``: those that folds of few texts tell.  ``SETTLES``: whether there is something to
    choose after training, by outputs for the held-out part; ``LABELS``: whether answers are such.
    """

    FIGURES: ClassVar[tuple[str, ...]]
    SETTLES: ClassVar[bool] = False
    LABELS: ClassVar[bool] = True
    outputs: int

    @abstractmethod
    def held(self, answers: np.ndarray) -> np.ndarray:
        """What evidence is counted by, bool [N, C]: which of C answers each text has."""

    def folds(self, answers: np.ndarray, seed: int) -> np.ndarray | None:
        """Of each of N texts its fold, [N]; None where there are many, or too few for folds."""
        count = len(answers)
        if count >= FEW or count < 2 * FOLDS:
            return None
        return np.random.default_rng(seed).permutation(count) % FOLDS

    @abstractmethod
    def baseline(
        self, part: Answered, judge: Answered, *, lowercase: bool, seconds: float
    ) -> Baseline:
        """A cheap method fitted to ``part``, whose penalty does best on ``judge``."""

    @abstractmethod
    def constant(self, part: Answered) -> Baseline:
        """What answers without reading, fitted to ``part``."""

    @abstractmethod
    def objective(self, *arguments: Any, **more: Any) -> ManyToOne:
        """What training asks, made of what `ManyToOne` takes."""

    @abstractmethod
    def losses(self, outputs: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The proper score of each text, float64 [N]; less is better."""

    def sum_loss(self, answers: np.ndarray) -> Loss | None:  # noqa: ARG002
        """By what the sum of a network's outputs and a line's log-odds of ``held`` is judged; None:
        such log-odds are no outputs.
        """
        return None

    def hedged_loss(self, outputs: np.ndarray, answers: np.ndarray) -> float:
        """The mean loss by which a temperature is chosen."""
        return float(self.losses(outputs, answers).mean())

    @abstractmethod
    def figures(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        """What outputs come to, by name, without the number of texts."""

    @abstractmethod
    def values(self, outputs: np.ndarray) -> np.ndarray:
        """What outputs say: the probability of each label, float64 [N, L], or a number, [N]."""

    @abstractmethod
    def scores(self, outputs: np.ndarray) -> np.ndarray:
        """What words add to: the log-odds of each label, float64 [N, L], or the number, [N, 1]."""

    @abstractmethod
    def names(self, outputs: np.ndarray) -> list[tuple[str, int]]:
        """What the outputs [O] for a text told, each in words and as the column of its score."""

    def streamed(self, net: Stepping) -> np.ndarray:
        """The same of a stream, as of now."""
        return self.values(net.outputs())

    def learn(self, answers: np.ndarray) -> None:  # noqa: ARG002, B027  of labels there is nothing
        """Learn of the training part's answers what the kind depends on."""

    @abstractmethod
    def given(self, answers: np.ndarray) -> Any:
        """Answers as a user gives them to ``fit``."""

    @abstractmethod
    def targets(self, answers: np.ndarray) -> np.ndarray:
        """What outputs are held against: positions int64 [N], bool [N, L], or numbers [N, 1]."""

    @abstractmethod
    def same(self, other: Kind) -> bool:
        """Whether a dense layer of the ``other`` kind answers as one of this would."""

    def translated(self, outputs: np.ndarray, other: Any) -> np.ndarray:  # noqa: ARG002
        """Outputs of a network whose answers are of the ``other`` kind, as this one's."""
        return outputs

    def settle(self, outputs: np.ndarray, answers: np.ndarray) -> None:  # noqa: ARG002, B027
        """Choose, by texts that were not learned from, what is chosen after training."""

"""What the training loop asks of a task, and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from tidegate.nn.network import Inputs, SequenceNetwork


class TrainingError(RuntimeError):
    """A run that cannot go on; what it had saved in its run folder is untouched."""


class StepResult(NamedTuple):
    """The loss of one batch: a mean over ``count`` units (tokens, texts, windows).

    ``carry`` is handed to the next step of the same epoch (a recurrent state): nested tuples and
    lists of detached tensors, or None.
    """

    loss: Tensor
    count: int
    carry: Any = None


# Sequences as the network reads them, their lengths [B], 1 or more, and the answer at the last step
# of each: classes int64 [B], numbers float [B, O], or which are held, bool [B, O].
LastAnswers = tuple[Inputs, Tensor, Tensor]


class Objective(Protocol):
    """A network, its data and its measure of success.

    The loop sets the seed of torch's generator before each step and each evaluation; an objective
    that draws random numbers elsewhere must draw them from (seed, epoch, step).
    """

    metric: str  # name of the validation figure that chooses the best weights
    lower_is_better: bool
    unit: str  # what ``count`` counts, in the plural: "tokens"

    @property
    def network(self) -> nn.Module: ...

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass over the data, the same in every epoch and process."""
        ...

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Batches ``first``, ``first`` + 1, ... of an epoch, a function of its arguments alone.

        Each is the share of process ``rank`` of ``world``, any nesting of tensors in tuples,
        lists and dicts (the loop moves them to the device); None where that share is empty, which
        process 0's never is.
        """
        ...

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        """Mean loss over this process's share; ``carry`` is None at the start of an epoch."""
        ...

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Validation figures, ``metric`` among them.  Runs in process 0, in evaluation mode.

        ``validation_loss`` is training's loss on the validation part; missing where there is none.
        """
        ...

    def validation_batches(self) -> Iterator[Any]:
        """Batches of the part that is evaluated, as ``loss`` takes them; the same at each call."""
        ...

    def sizes(self) -> tuple[int, int]:
        """How many units the training part has, and the part that is evaluated."""
        ...

    def evaluate_share(self, share: float) -> None:
        """From now on ``evaluate`` measures a fixed part, the same in every run, of this share."""
        ...

    def last_answers(self) -> LastAnswers | None:
        """Some sequences and the answers at their last steps; None where there is no such thing."""
        ...

    def at_step(self, step: int, network: nn.Module) -> str | None:
        """Text to print after optimiser step ``step`` (from 1), such as a sample; mostly None."""
        ...

    def describe(self) -> dict[str, Any]:
        """What is trained on what, for config.json; a run is resumed only if it is the same."""
        ...

    def fingerprint(self) -> str:
        """A digest of the training data; a run is resumed only if it is the same."""
        ...


class TaskObjective(ABC):
    """What the objectives of all tasks share: a sequence network and two parts of the data.

    One part is learned from, the other one chooses the best weights.
    """

    network: SequenceNetwork
    unit: str

    @abstractmethod
    def sizes(self) -> tuple[int, int]:
        """How many units the training part has, and the validation part."""

    @abstractmethod
    def evaluate_share(self, share: float) -> None:
        """From now on ``evaluate`` measures a fixed part, the same in every run, of this share."""

    @abstractmethod
    def arrays(self) -> Iterator[np.ndarray]:
        """All that the two parts hold."""

    def last_answers(self) -> LastAnswers | None:
        return None

    def at_step(self, step: int, network: nn.Module) -> str | None:  # noqa: ARG002
        return None

    def describe(self) -> dict[str, Any]:
        train, validation = self.sizes()
        return {
            f"train_{self.unit}": train,
            f"validation_{self.unit}": validation,
            "architecture": self.network.architecture.to_json(),
        }

    def fingerprint(self) -> str:
        digest = sha256()
        for array in self.arrays():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class TrainingResult:
    """What a run came to; the network already holds the best weights.

    ``history`` has a row per evaluation: step, epoch, seconds, learning_rate, train_loss,
    validation_loss (where a part is held out) and the validation figures, on ``share`` of that
    part.  ``metrics`` are those of ``best_step``.  ``epochs`` counts a part of one, too.
    ``stopped`` names the limit reached: epochs, fewest_steps, max_steps, max_minutes or patience.
    After that, all data were learned from for ``refit_steps``; ``judged`` are the weights from
    before, by name, whose figures these are.  ``precision`` is that of the products: float32,
    bfloat16, or bfloat16 until step N.  ``gradients``: `GradientWatch.rows`, if any.
    """

    history: list[dict[str, float]]
    metrics: dict[str, float]
    best_step: int
    steps: int
    epochs: float
    seconds: float
    stopped: str
    judged: dict[str, Tensor]
    share: float = 1.0
    refit_steps: int = 0
    precision: str = "float32"
    gradients: tuple[dict[str, float], ...] = ()

"""What every cell and seed is given alike: one task's data, parted once, and how to score on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from tidegate.baselines.baseline import caveat

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from tidegate.baselines.baseline import Baseline
    from tidegate.nn.network import Inputs

# Of the held-out part, whose gradients are looked at: so many, and the last steps of each.
MOST_SEQUENCES = 64
MOST_STEPS = 256

Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The loss that cells of a task are compared by, less is better; ``label`` with its unit.

    It is a proper score: in the mean nobody does better than who tells what they believe (Gneiting
    & Raftery 2007, J. Am. Stat. Assoc. 102).  Of labels that is the cross-entropy.  Where a
    baseline has no probabilities it is an error; ``drawn``, with its ``axis``, is then what curves
    show, since training measures that alone.
    """

    name: str
    label: str
    drawn: str | None = None
    axis: str = ""


@dataclass(frozen=True, kw_only=True)
class BaselineScores:
    """What a baseline comes to on the same parts; ``about`` says in a few words which it is.

    ``part``: what of the training part it learned from, where that is not all of it.
    ``losses`` are those on each example of the held-out part, as ``Experiment.losses`` gives them;
    ``accuracy`` is there where answers are labels.
    """

    name: str
    about: str
    validation: float
    held_out: float
    losses: np.ndarray
    parameters: int | None = None
    accuracy: float | None = None
    part: str = ""

    @classmethod
    def of(
        cls, fitted: Baseline, metric: Metric, validation: Any, scored: Any, losses: np.ndarray
    ) -> Self:
        """Those of a fitted one on the two parts, as it reads them."""
        held_out = fitted.figures(scored)
        return cls(
            name=fitted.name,
            about=fitted.told,
            validation=fitted.figures(validation)[metric.name],
            held_out=held_out[metric.name],
            losses=losses,
            parameters=fitted.parameters,
            accuracy=held_out.get("accuracy"),
            part=fitted.part,
        )

    @property
    def caveat(self) -> str:
        """What a comparison adds in which a network is not behind it."""
        return caveat(self.part)

    def to_json(self) -> dict[str, Any]:
        """Every field by name but for the losses."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "losses"}


class Batch(NamedTuple):
    """Held-out sequences as the network reads them: the arguments of ``gradient_reach``."""

    inputs: Inputs
    lengths: Tensor
    targets: Tensor


class Experiment(ABC):
    """The data of a task, parted once by the seed of the model that all runs are copies of.

    ``held_out`` says where the figures come from: the ``test`` part if there is one, else the
    ``validation`` part, which also chose the best weights; ``size`` of it, in ``unit``.
    ``examples`` is what losses are counted by, in the plural.
    """

    metric: ClassVar[Metric]
    unit: str
    held_out: str
    size: int
    examples: str

    @classmethod
    def held_back(cls, model: Any, share: float) -> dict[str, Any]:
        """Options with which this share is held out to test; those of ``model`` if it tells."""
        told = getattr(model, "test_fraction", None)
        return {} if told is None else {"test_fraction": told or share}

    @abstractmethod
    def fit(self, model: Any) -> None:
        """Train ``model``, of whichever cell and seed, on the training part."""

    @abstractmethod
    def score(self, model: Any) -> tuple[Figures, Figures]:
        """Figures of a fitted model: on the held-out part, and on the training part."""

    @abstractmethod
    def losses(self, model: Any) -> tuple[np.ndarray, np.ndarray]:
        """Losses [N] of a fitted model on the examples of the validation and the held-out part.

        Their mean is the metric.  Examples are such
        that one says next to nothing of another: stretches of what has an order in time.
        """

    def held_out_losses(self, model: Any) -> np.ndarray:
        """The second of ``losses`` alone."""
        return self.losses(model)[1]

    @abstractmethod
    def baselines(self, model: Any) -> list[BaselineScores]:
        """Other methods on the same parts; any fitted ``model`` tells how these are read."""

    @abstractmethod
    def batch(self, model: Any) -> Batch:
        """Some sequences of the held-out part."""

    def reader(self, network: Any) -> Any:
        """What of a model's network reads them."""
        return network


def padded(sequences: list[np.ndarray], targets: np.ndarray) -> Batch:
    """Sequences, tokens [T] or values [T, I], as one batch; empty ones are left out."""
    import torch

    from tidegate.data.sequences.sequences import last_steps, pad_sequences
    from tidegate.training.judging import network_inputs

    inputs, lengths = pad_sequences([last_steps(s, MOST_STEPS) for s in sequences if len(s)])
    answered = targets[[len(s) > 0 for s in sequences]]
    return Batch(network_inputs(inputs), torch.from_numpy(lengths), torch.from_numpy(answered))

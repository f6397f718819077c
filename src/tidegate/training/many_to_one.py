"""Many to one: one answer to a whole sequence, learned in batches of similar length."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.nn.network import SequenceNetwork
from tidegate.runtime.batches import outputs_of
from tidegate.training.judging import as_function, network_inputs
from tidegate.training.objective import LastAnswers, StepResult, TaskObjective

# Another form of a sequence with the same answer, drawn anew whenever it is learned from.
Variation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


# Sequences, tokens int32 [T] or values float32 [T, I], and the answer to each, [N].
Answered = tuple[Sequence[np.ndarray], np.ndarray]


# How much each training and each validation sequence counts in the loss, float32 [N] with a mean
# of 1; None: all alike.
Weights = tuple[np.ndarray | None, np.ndarray | None]


class ManyToOne(TaskObjective):
    """An objective whose batches are sequences and their answers.

    ``unit`` is what the sequences are, in the plural.  With ``vary``, what is learned from are
    variations of the training sequences; those to validate are as the network reads them.  Where
    these are the training sequences themselves, ``prefix`` says so in the names of their figures.
    """

    metric: str
    lower_is_better: bool

    def __init__(
        self,
        network: SequenceNetwork,
        train: Answered,
        validation: Answered,
        *,
        unit: str,
        batch_size: int,
        seed: int,
        vary: Variation | None = None,
        prefix: str = "",
        weights: Weights = (None, None),
    ) -> None:
        self.network, self.train, self.validation, self.unit = network, train, validation, unit
        self.judged = np.arange(len(validation[0]))  # of the validation part, what is evaluated
        self.batch_size, self.seed, self.vary, self.prefix = batch_size, seed, vary, prefix
        self.weights = weights
        self.loss_name = f"{prefix or 'validation_'}loss"
        self.lengths = np.array([len(sequence) for sequence in train[0]])

    @abstractmethod
    def error(self, outputs: Tensor, answers: Tensor, reduction: str = "mean") -> Tensor:
        """Loss of outputs [B, O] where answers [B] were right: its mean, or [B] for "none"."""

    @abstractmethod
    def figures(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        """What the outputs [N, O] come to, that which chooses the best weights among them."""

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass over the sequences."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Inputs [T, B] or [T, B, I], lengths [B], answers [B], and weights [B] where there are."""
        all_sequences = self.train[0]
        drawn_by = np.random.default_rng((self.seed, epoch))
        of_epoch = batches_of_like_lengths(self.lengths, self.batch_size, drawn_by)
        for number, drawn in enumerate(of_epoch[first:], first):
            rows = drawn[rank::world]
            if len(rows) == 0:
                yield None
                continue
            sequences = [all_sequences[i] for i in rows]
            if self.vary is not None:
                # by the place in the batch, so that several processes see what one would
                for k in range(len(rows)):
                    place = np.random.default_rng((self.seed, epoch, number, rank + k * world))
                    sequences[k] = self.vary(sequences[k], place)
            yield _batch(sequences, rows, self.train[1], self.weights[0])

    def validation_batches(self) -> Iterator[Any]:
        sequences, answers = self.validation
        order = np.random.default_rng(self.seed).permutation(len(sequences))
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            yield _batch([sequences[i] for i in rows], rows, answers, self.weights[1])

    def last_answers(self) -> LastAnswers | None:
        for inputs, lengths, answers, *_ in self.validation_batches():
            if not (lengths > 0).all():
                continue
            if answers.is_floating_point() and answers.dim() == 1:
                answers = answers[:, None]
            return inputs, lengths, answers
        return None

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
        inputs, lengths, answers, *weights = batch
        outputs, _ = network(inputs, lengths)
        return StepResult(self._mean_error(outputs, answers, *weights), len(answers))

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, SequenceNetwork)
        sequences, answers = self.validation
        width = network.architecture.output_size
        outputs = outputs_of(as_function(network), sequences, width)
        figures = self.figures(outputs, answers)
        told = {f"{self.prefix}{name}": value for name, value in figures.items()}
        if self.prefix and self.weights[1] is None:  # nothing is held out
            return told
        given = [a for a in (outputs, answers, self.weights[1]) if a is not None]
        loss = self._mean_error(*map(torch.from_numpy, given)).item()
        return {self.loss_name: loss, **told}

    def chosen_by(self, figure: str) -> str:
        """What chooses the best weights: the loss where inputs do not count alike, else a figure.

        Figures count all alike, and would choose weights that have not learned the heavier inputs.
        """
        return f"{self.prefix}{figure}" if self.weights[1] is None else self.loss_name

    def _mean_error(
        self, outputs: Tensor, answers: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Mean of the losses times their weights: these have a mean of 1 over the whole part.

        Not over each batch: there a weight would count for less the fewer others stand beside it.
        """
        if weights is None:
            return self.error(outputs, answers)
        return (weights * self.error(outputs, answers, "none")).mean()

    def sizes(self) -> tuple[int, int]:
        return len(self.train[0]), len(self.validation[0])

    def evaluate_share(self, share: float) -> None:
        """Of sequences, some that are drawn by the seed."""
        sequences, answers = self.validation
        count = max(1, round(share * len(sequences)))
        kept = np.sort(np.random.default_rng(self.seed).permutation(len(sequences))[:count])
        self.validation = [sequences[i] for i in kept], answers[kept]
        self.judged = self.judged[kept]
        if (weights := self.weights[1]) is not None:
            self.weights = self.weights[0], weights[kept]

    def arrays(self) -> Iterator[np.ndarray]:
        for sequences, answers in (self.train, self.validation):
            yield np.array([len(s) for s in sequences])
            yield np.concatenate(sequences)
            yield answers
        yield from (weights for weights in self.weights if weights is not None)


def batches_of_like_lengths(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Row numbers of every batch of one pass over sequences of these lengths, [N].

    Sequences are shuffled, then sorted by length within pools of 64 batches, so that a batch holds
    like lengths and little padding yet differs from epoch to epoch; batches are read in random
    order.
    """
    order = rng.permutation(len(lengths))
    pool = 64 * batch_size
    pools = [order[i : i + pool] for i in range(0, len(order), pool)]
    order = np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in pools])
    starts = rng.permutation(-(-len(lengths) // batch_size)) * batch_size
    return [order[start : start + batch_size] for start in starts]


def _batch(
    sequences: list[np.ndarray], rows: np.ndarray, answers: np.ndarray, weights: np.ndarray | None
) -> tuple[Any, ...]:
    """The sequences, and what answers and weights have in these rows."""
    padded, lengths = pad_sequences(sequences)
    batch = network_inputs(padded), *map(torch.from_numpy, (lengths, answers[rows]))
    return batch if weights is None else (*batch, torch.from_numpy(weights[rows]))

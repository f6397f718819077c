"""Many to many, aligned: a label at every step, learned in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.nn.crf import negative_log_likelihood
from tidegate.nn.network import SequenceNetwork
from tidegate.runtime.batches import step_outputs
from tidegate.training.judging import as_function, network_inputs
from tidegate.training.many_to_one import Variation, batches_of_like_lengths
from tidegate.training.objective import LastAnswers, StepResult, TaskObjective

# Sequences, [T] or [T, I] each, and the labels of their steps, int64 [T] each.
Tagged = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]
# Figures of the outputs of each sequence, [T, L], the transitions or None, and the true labels.
Measure = Callable[[list[np.ndarray], np.ndarray | None, Sequence[np.ndarray]], dict[str, float]]

IGNORED = -100  # a label that is not learned from, as torch's cross_entropy has it


class Tagging(TaskObjective):
    """The objective whose answers are positions of labels, at every step.

    The mean loss is over steps: the cross-entropy of the right label, or with a CRF that of all of
    a sequence's labels together.  ``measure`` gives figures, ``cross_entropy`` among them; that
    named ``by`` chooses the best weights.  ``vary``: another form of a sequence with the same
    labels, drawn anew whenever it is learned from.  Sequences of no step are left out.  ``unit`` is
    what steps are, in the plural.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        train: Tagged,
        validation: Tagged,
        *,
        unit: str,
        measure: Measure,
        by: str,
        batch_size: int,
        seed: int,
        vary: Variation | None = None,
        prefix: str = "",
    ) -> None:
        self.network, self.unit = network, unit
        self.train, self.validation = _with_steps(train), _with_steps(validation)
        self.measure, self.batch_size, self.seed, self.vary = measure, batch_size, seed, vary
        self.prefix, self.metric = prefix, f"{prefix}{by}"
        self.lower_is_better = by == "cross_entropy"
        self.lengths = np.array([len(sequence) for sequence in self.train[0]])

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass over the sequences."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Inputs [T, B] or [T, B, I], lengths [B], labels int64 [T, B]."""
        drawn_by = np.random.default_rng((self.seed, epoch))
        of_epoch = batches_of_like_lengths(self.lengths, self.batch_size, drawn_by)
        for number, drawn in enumerate(of_epoch[first:], first):
            rows = drawn[rank::world]
            if len(rows) == 0:
                yield None
                continue
            sequences = [self.train[0][i] for i in rows]
            if self.vary is not None:
                # by the place in the batch, so that several processes see what one would
                for k in range(len(rows)):
                    place = np.random.default_rng((self.seed, epoch, number, rank + k * world))
                    sequences[k] = self.vary(sequences[k], place)
            yield _batch(sequences, [self.train[1][i] for i in rows])

    def validation_batches(self) -> Iterator[Any]:
        sequences, labels = self.validation
        order = np.random.default_rng(self.seed).permutation(len(sequences))
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            yield _batch([sequences[i] for i in rows], [labels[i] for i in rows])

    def last_answers(self) -> LastAnswers | None:
        for inputs, lengths, labels in self.validation_batches():
            if (lengths > 0).all():
                return inputs, lengths, labels[lengths - 1, torch.arange(len(lengths))]
        return None

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
        inputs, lengths, labels = batch
        outputs, _ = network(inputs, lengths)
        count = int((labels != IGNORED).sum())
        return StepResult(self._summed(network, outputs, lengths, labels) / max(count, 1), count)

    def _summed(
        self, network: nn.Module, outputs: Tensor, lengths: Tensor, labels: Tensor
    ) -> Tensor:
        assert isinstance(network, SequenceNetwork)
        if network.transitions is None:
            return F.cross_entropy(
                outputs.flatten(0, 1), labels.flatten(), reduction="sum", ignore_index=IGNORED
            )
        known = labels.clamp(min=0)
        return negative_log_likelihood(outputs, network.transitions.weight, known, lengths).sum()

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, SequenceNetwork)
        sequences, labels = self.validation
        width = network.architecture.output_size
        outputs = step_outputs(as_function(network), sequences, width)
        moves = network.transitions
        transitions = None if moves is None else moves.weight.detach().cpu().numpy()
        figures = self.measure(outputs, transitions, labels)
        told = {f"{self.prefix}{name}": value for name, value in figures.items()}
        if self.prefix:  # nothing is held out
            return told
        return {"validation_loss": figures["cross_entropy"], **told}

    def sizes(self) -> tuple[int, int]:
        return tuple(sum(map(len, part[1])) for part in (self.train, self.validation))  # pyright: ignore

    def evaluate_share(self, share: float) -> None:
        """Of sequences, some that are drawn by the seed."""
        sequences, labels = self.validation
        count = max(1, round(share * len(sequences)))
        kept = np.sort(np.random.default_rng(self.seed).permutation(len(sequences))[:count])
        self.validation = [sequences[i] for i in kept], [labels[i] for i in kept]

    def arrays(self) -> Iterator[np.ndarray]:
        for sequences, labels in (self.train, self.validation):
            yield np.array([len(s) for s in sequences])
            yield np.concatenate(sequences)
            yield np.concatenate(labels)


def _with_steps(part: Tagged) -> Tagged:
    pairs = [(s, labels) for s, labels in zip(*part, strict=True) if len(s)]
    return [s for s, _ in pairs], [labels for _, labels in pairs]


def _batch(sequences: list[np.ndarray], labels: list[np.ndarray]) -> tuple[Any, ...]:
    padded, lengths = pad_sequences(sequences)
    answers = np.full(padded.shape[:2], IGNORED, np.int64)
    for column, of_sequence in enumerate(labels):
        answers[: len(of_sequence), column] = of_sequence
    return network_inputs(padded), torch.from_numpy(lengths), torch.from_numpy(answers)

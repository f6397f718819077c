"""Language models of texts that each begin and end by themselves, with conditions.

A batch holds texts of like lengths, and gradients flow over all of a text.  In part of all epochs a
condition is not told, so that zeros come to mean that it is not known.  What all texts together
have but once is read and predicted as unknown now and then, as `LanguageModelling` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tidegate.data.sequences.sequences import with_condition
from tidegate.nn.network import SequenceNetwork
from tidegate.runtime.scoring import TextsAndConditions, padded_texts, text_nats, total
from tidegate.training.judging import TorchReader, nats, network_inputs
from tidegate.training.language_modelling import seen_once
from tidegate.training.many_to_one import batches_of_like_lengths
from tidegate.training.objective import StepResult
from tidegate.training.writing import WritingObjective, figures_of

UNTOLD = 0.05  # of the conditions of what is learned from


class TextModelling(WritingObjective):
    """The objective: predict each token of a text after its first, which opens it.

    train, validation: tokens int32 [T] of each text, framed, and the conditions, float32 [N, C].
    ``columns``: which of several conditions each of the C numbers belongs to.
    """

    unit = "texts"

    def __init__(
        self,
        network: SequenceNetwork,
        train: TextsAndConditions,
        validation: TextsAndConditions,
        *,
        columns: np.ndarray,
        batch_size: int,
        seed: int,
        opening: int,
        unknown: int | None,
        sample_steps: tuple[int, ...],
        sample: Callable[[SequenceNetwork, int], str],
    ) -> None:
        super().__init__(sample_steps, sample)
        self.network, self.train, self.validation = network, train, validation
        self.columns, self.batch_size, self.seed = columns, batch_size, seed
        self.lengths = np.array([len(text) for text in train[0]])
        self.ends = np.cumsum(self.lengths)
        self.text = np.concatenate(train[0])
        self.unknown, (self.once, self.taken) = unknown, seen_once(self.text, opening)

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass over the texts."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Inputs and targets, [T, B] each."""
        random = np.random.default_rng((self.seed, epoch))
        of_epoch = batches_of_like_lengths(self.lengths, self.batch_size, random)
        told = random.random((len(self.lengths), int(self.columns.max(initial=0)) + 1)) >= UNTOLD
        conditions = self.train[1] * told[:, self.columns]
        text = self.text
        if self.unknown is not None and len(self.once):
            text = text.copy()
            text[self.once[random.random(len(self.once)) < self.taken]] = self.unknown
        for drawn in of_epoch[first:]:
            rows = drawn[rank::world]
            if len(rows) == 0:
                yield None
                continue
            texts = [text[self.ends[i] - self.lengths[i] : self.ends[i]] for i in rows]
            yield _batch(texts, conditions[rows])

    def validation_batches(self) -> Iterator[Any]:
        texts, conditions = self.validation
        order = np.random.default_rng(self.seed).permutation(len(texts))
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            yield _batch([texts[i] for i in rows], conditions[rows])

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
        inputs, targets = batch
        assert isinstance(network, SequenceNetwork)
        features, _ = network.features(inputs)
        lost, count = nats(network, features, targets)
        return StepResult(lost / max(count, 1), count)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Cross-entropy (nats per token) and perplexity on the validation texts."""
        assert isinstance(network, SequenceNetwork)
        scored = text_nats(TorchReader(network), *self.validation)
        return figures_of(total(np.concatenate(scored)).cross_entropy)

    def sizes(self) -> tuple[int, int]:
        """Tokens of both parts."""
        return len(self.text), sum(map(len, self.validation[0]))

    def evaluate_share(self, share: float) -> None:
        """Of texts, some that are drawn by the seed."""
        texts, conditions = self.validation
        kept = judged_rows(len(texts), self.seed, share)
        self.validation = [texts[i] for i in kept], conditions[kept]

    def arrays(self) -> Iterator[np.ndarray]:
        for texts, conditions in (self.train, self.validation):
            yield np.array([len(text) for text in texts])
            yield np.concatenate(texts)
            yield conditions


def judged_rows(count: int, seed: int, share: float) -> np.ndarray:
    """Which texts of the validation part are evaluated, where a ``share`` of them is."""
    kept = max(1, round(share * count))
    return np.sort(np.random.default_rng(seed).permutation(count)[:kept])


def _batch(texts: Sequence[np.ndarray], conditions: np.ndarray) -> tuple[Any, ...]:
    inputs, targets = padded_texts(texts)
    return network_inputs(with_condition(inputs, conditions)), torch.from_numpy(targets)

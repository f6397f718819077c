"""Language models: truncated back-propagation through time over contiguous streams.

A text of N tokens is laid out as B streams that run side by side; each optimiser step reads the
next ``bptt`` tokens of every stream from the state in which the step before left it, and gradients
stop at its beginning (Williams & Peng 1990; Mikolov et al. 2010).  Now and then a stream starts
afresh, from zeros, as a prompt and a held-out text do: a network that has hardly seen that state
may be led by it to where it never finds back from.  (Melis et al. 2018, arXiv:1707.05589, do the
same: from memory.)

What the text has but once is read and predicted as unknown in part of all epochs.  Otherwise a
vocabulary of all words that were seen teaches that no word is ever new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tidegate.nn.network import SequenceNetwork, detach_state
from tidegate.runtime.scoring import IGNORED, score
from tidegate.training.judging import TorchReader, forgotten, nats
from tidegate.training.objective import LastAnswers, StepResult
from tidegate.training.writing import WritingObjective, figures_of

_FRESH_STARTS = 0.05  # of a stream's steps, those before which its state is forgotten


class LanguageModelling(WritingObjective):
    """The objective: predict each next token; ``never_target`` (a sentence's start) is not scored.

    train, validation: int32 token numbers.
    """

    unit = "tokens"

    def __init__(
        self,
        network: SequenceNetwork,
        train: np.ndarray,
        validation: np.ndarray,
        *,
        batch_size: int,
        bptt: int,
        seed: int,
        never_target: int | None,
        unknown: int | None,
        sample_steps: tuple[int, ...],
        sample: Callable[[SequenceNetwork, int], str],
    ) -> None:
        super().__init__(sample_steps, sample)
        self.network, self.train, self.validation = network, train, validation
        # a short text gives fewer and shorter streams rather than none
        self.streams = max(1, min(batch_size, len(train) // (2 * bptt)))
        self.bptt = max(1, min(bptt, len(train) // self.streams - 1))
        self.seed, self.never_target = seed, never_target
        self.unknown, self.once, self.taken = unknown, *seen_once(train, never_target)

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass."""
        return (len(self.train) // self.streams - 1) // self.bptt

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Inputs, targets [bptt, streams of this process], and which streams start afresh.

        Every epoch cuts elsewhere.
        """
        random = np.random.default_rng((self.seed, epoch))
        offset = int(random.integers(self.bptt))
        fresh = random.random((self.steps_in_epoch(), self.streams)) < _FRESH_STARTS
        steps = self.steps_in_epoch() * self.bptt + 1
        length = len(self.train) // self.streams
        start = min(offset, length - steps) + length * np.arange(self.streams)
        mine = start[rank::world]
        text = self._with_unknown(random)
        for k in range(first, self.steps_in_epoch()):
            if len(mine) == 0:
                yield None
                continue
            positions = mine + k * self.bptt + np.arange(self.bptt + 1)[:, None]
            tokens = torch.from_numpy(text[positions].astype(np.int64))
            yield tokens[:-1], self._targets(tokens[1:]), torch.from_numpy(fresh[k, rank::world])

    def validation_batches(self) -> Iterator[Any]:
        """One piece after another, each laid out as streams that start afresh."""
        piece = min(self.bptt, len(self.validation) - 1)
        streams = max(1, min(self.streams, (len(self.validation) - 1) // piece))
        starts, places = piece * np.arange(streams), np.arange(piece + 1)[:, None]
        for first in range(0, len(self.validation) - streams * piece, streams * piece):
            tokens = torch.from_numpy(self.validation[first + starts + places].astype(np.int64))
            fresh = torch.ones(streams, dtype=torch.bool)
            yield tokens[:-1], self._targets(tokens[1:]), fresh

    def last_answers(self) -> LastAnswers | None:
        for inputs, targets, _ in self.validation_batches():
            return inputs, torch.full((inputs.shape[1],), len(inputs)), targets[-1]
        return None

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        inputs, targets, fresh = batch
        assert isinstance(network, SequenceNetwork)
        if carry is not None and fresh.any():
            carry = forgotten(carry, fresh)
        features, state = network.features(inputs, state=carry)
        lost, count = nats(network, features, targets)
        return StepResult(lost / max(count, 1), count, detach_state(state))

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Cross-entropy (nats per token) and perplexity on the validation text."""
        assert isinstance(network, SequenceNetwork)
        reader = TorchReader(network)
        return figures_of(score(reader, self.validation, self.never_target).cross_entropy)

    def sizes(self) -> tuple[int, int]:
        return len(self.train), len(self.validation)

    def evaluate_share(self, share: float) -> None:
        """Of a text, its beginning."""
        self.validation = self.validation[: max(2, round(share * len(self.validation)))]

    def arrays(self) -> Iterator[np.ndarray]:
        yield from (self.train, self.validation)

    def _with_unknown(self, random: np.random.Generator) -> np.ndarray:
        """The training text, some of the tokens that it has but once being unknown in it."""
        if self.unknown is None or not len(self.once):
            return self.train
        text = self.train.copy()
        text[self.once[random.random(len(self.once)) < self.taken]] = self.unknown
        return text

    def _targets(self, tokens: Tensor) -> Tensor:
        if self.never_target is None:
            return tokens
        return tokens.masked_fill(tokens == self.never_target, IGNORED)


def seen_once(tokens: np.ndarray, never: int | None) -> tuple[np.ndarray, float]:
    """Where the tokens stand that occur but once, and which part of them is as good as unknown.

    Of n1 tokens seen once and n2 seen twice, n1 events in as many tokens are expected to be new,
    and 2 n2 of those seen once (Good 1953): n1 / (n1 + 2 n2) of these are to be had for the first.
    """
    counts = np.bincount(tokens, minlength=1 + (never or 0))
    if never is not None:
        counts[never] = 0
    (once,) = np.nonzero(counts[tokens] == 1)
    twice = int((counts == 2).sum())
    return once, len(once) / max(1, len(once) + 2 * twice)

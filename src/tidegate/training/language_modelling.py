"""Language models: truncated back-propagation through time over contiguous streams.

A text of N tokens is laid out as B streams that run side by side; each optimiser step reads the
next ``bptt`` tokens of every stream from the state in which the step before left it, and gradients
stop at its beginning (Williams & Peng 1990; Mikolov et al. 2010).  Now and then a stream starts
afresh, from zeros, as a prompt and a held-out text do: a network that has hardly seen that state
may be led by it to where it never finds back from.  (Melis et al. 2018, arXiv:1707.05589, do the
same: from memory.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tidegate.nn.chunked_softmax import summed_cross_entropy
from tidegate.nn.network import NetworkState, SequenceNetwork, detach_state
from tidegate.training.objective import StepResult, TaskObjective

_IGNORED = -100  # target of a step that is not scored
_FRESH_STARTS = 0.05  # of a stream's steps, those before which its state is forgotten
_SCORED_STEPS = 200  # of a text at a time; bounds the memory for their states


class Score(NamedTuple):
    """Sum of -log p over ``tokens`` scored tokens, in nats."""

    nats: float
    tokens: int

    @property
    def cross_entropy(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens if self.tokens else math.nan


class LanguageModelling(TaskObjective):
    """The objective: predict each next token; ``never_target`` (a sentence's start) is not scored.

    train, validation: int32 token numbers.  ``sample(network, step)`` gives the text to print
    after the optimiser steps in ``sample_steps``.
    """

    metric = "cross_entropy"
    lower_is_better = True
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
        sample_steps: tuple[int, ...],
        sample: Callable[[SequenceNetwork, int], str],
    ) -> None:
        self.network, self.train, self.validation = network, train, validation
        # a short text gives fewer and shorter streams rather than none
        self.streams = max(1, min(batch_size, len(train) // (2 * bptt)))
        self.bptt = max(1, min(bptt, len(train) // self.streams - 1))
        self.seed, self.never_target = seed, never_target
        self.sample_steps, self.sample = frozenset(sample_steps), sample

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
        for k in range(first, self.steps_in_epoch()):
            if len(mine) == 0:
                yield None
                continue
            positions = mine + k * self.bptt + np.arange(self.bptt + 1)[:, None]
            tokens = torch.from_numpy(self.train[positions].astype(np.int64))
            yield tokens[:-1], self._targets(tokens[1:]), torch.from_numpy(fresh[k, rank::world])

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        inputs, targets, fresh = batch
        assert isinstance(network, SequenceNetwork)
        if carry is not None and fresh.any():
            carry = _forget(carry, fresh)
        features, state = network.features(inputs, state=carry)
        nats, count = _nats(network, features, targets)
        return StepResult(nats / max(count, 1), count, detach_state(state))

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Cross-entropy (nats per token) and perplexity on the validation text."""
        assert isinstance(network, SequenceNetwork)
        entropy = score(network, self.validation, self.never_target).cross_entropy
        told = {"validation_loss": entropy, "cross_entropy": entropy}
        return told | {"perplexity": math.exp(min(entropy, 700.0))}

    def at_step(self, step: int, network: nn.Module) -> str | None:
        """A sample of what the network would write by now, at the chosen steps."""
        if step not in self.sample_steps:
            return None
        assert isinstance(network, SequenceNetwork)
        training = network.training
        network.eval()
        text = self.sample(network, step)
        network.train(training)
        return text

    def sizes(self) -> tuple[int, int]:
        return len(self.train), len(self.validation)

    def arrays(self) -> Iterator[np.ndarray]:
        yield from (self.train, self.validation)

    def _targets(self, tokens: Tensor) -> Tensor:
        if self.never_target is None:
            return tokens
        return tokens.masked_fill(tokens == self.never_target, _IGNORED)


@torch.no_grad()
def score(
    network: SequenceNetwork,
    tokens: np.ndarray,
    never_target: int | None = None,
    streams: int = 64,
    warm_up: int = 512,
) -> Score:
    """Score every token of a text but the first, each exactly once, given all before it.

    A long text is read in parallel stretches.  Each is entered ``warm_up`` tokens early, unscored,
    so that its state has forgotten where it began; a text too short for that is one stretch.
    """
    nats = 0.0
    scored = 0
    for _, features, targets in _read(network, tokens, never_target, streams, warm_up):
        some_nats, count = _nats(network, features, targets)
        nats += some_nats.item()
        scored += count
    return Score(nats, scored)


@torch.no_grad()
def stretches(
    network: SequenceNetwork, tokens: np.ndarray, never_target: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same by stretches of up to 200 tokens that follow one another: each one's first token's
    position, its nats, and how many of its tokens are scored, [S] each.

    A stretch scores the tokens that come after those from its first to the next one's.
    """
    rows = []
    for begins, features, targets in _read(network, tokens, never_target, 64, 512):
        for k, begin in enumerate(begins):
            if begin < len(tokens) - 1:
                nats, count = _nats(network, features[:, k : k + 1], targets[:, k])
                rows.append((begin, nats.item(), count))
    first, nats, counts = zip(*sorted(rows), strict=True) if rows else ((), (), ())
    return np.array(first, np.int64), np.array(nats, np.float64), np.array(counts, np.int64)


def _read(
    network: SequenceNetwork,
    tokens: np.ndarray,
    never_target: int | None,
    streams: int,
    warm_up: int,
) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """For some steps at a time of all streams: where they begin in the text, [B], the features,
    [T, B, F], and the targets, [T, B], of which those not to be scored are ``_IGNORED``.
    """
    total = len(tokens) - 1
    if total < 1:
        return
    streams = max(1, min(streams, total // (4 * warm_up)))
    span = -(-total // streams)
    warm_up = warm_up if streams > 1 else 0
    device = network.device
    first = span * np.arange(streams)  # position of each stretch's first input
    state: NetworkState | None = None
    for begin in [*range(-warm_up, 0, _SCORED_STEPS), *range(0, span, _SCORED_STEPS)]:
        end = min(begin + _SCORED_STEPS, 0 if begin < 0 else span)
        if begin == 0 and state is not None:
            # nothing stands before the text's first token
            state = _forget(state, torch.arange(streams, device=device) == 0)
        positions = first + np.arange(begin, end)[:, None]
        inputs = torch.from_numpy(tokens[positions.clip(0, total)].astype(np.int64)).to(device)
        features, state = network.features(inputs, state=state)
        if begin < 0:
            continue
        following = positions + 1
        inside = (following <= total) & (positions < first + span)
        targets = np.where(inside, tokens[following.clip(0, total)], _IGNORED).astype(np.int64)
        if never_target is not None:
            targets[targets == never_target] = _IGNORED
        yield positions[0], features, torch.from_numpy(targets).to(device)


def _nats(network: SequenceNetwork, features: Tensor, targets: Tensor) -> tuple[Tensor, int]:
    """Sum of -log p over the targets that are scored, and their number."""
    features, targets = features.flatten(0, 1), targets.flatten()
    if (targets == _IGNORED).any():
        scored = (targets != _IGNORED).nonzero().squeeze(1)
        features, targets = features[scored], targets[scored]
    nats = summed_cross_entropy(features, network.output_weight, network.dense.bias, targets)
    return nats, len(targets)


def _forget(state: NetworkState, streams: Tensor) -> NetworkState:
    """Zeros for ``streams`` [B] that are true, the others as they are."""
    kept = ~streams[:, None]
    return [tuple(part * kept for part in layer) for layer in state]

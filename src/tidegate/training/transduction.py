"""Sequence to sequence: a whole target is predicted from its source, each token from those before.

The decoder reads the true tokens (teacher forcing; Williams & Zipser 1989).  With scheduled
sampling (Bengio et al. 2015, arXiv:1506.03099) some of those are replaced by what the network
itself holds for the likeliest there, given the true ones before: a first pass over the whole target
finds these, a second one learns (as Mihaylova & Martins 2019, arXiv:1906.07651, do), so that both
are one call of the decoder.

A token that is learned as unknown and stands in the source, too, teaches the attention where: its
loss is that of a pointer, -log of the weight there, beside the token's own (Gulcehre et al. 2016,
arXiv:1603.08148, point to unknown words in another way).  Else attention may look anywhere, since
every row of the memory has read the whole source, and what is copied would be the wrong word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.data.text.pairs import Pairs
from tidegate.nn.chunked_softmax import cross_entropies, summed_cross_entropy
from tidegate.nn.encoder_decoder import EncoderDecoderNetwork
from tidegate.runtime.scoring import IGNORED
from tidegate.training.objective import StepResult, TaskObjective

_LEAST = 1e-6  # weight of attention whose logarithm is taken
_EPOCHS = 3.0  # in which the share of the network's own tokens rises to 63 % of what it will be


class Rare(NamedTuple):
    """Tokens of each side that the training part has but once, and how often they are unknown.

    ``share``: of the pairs in which they stand, those in which they are learned as unknown, both
    sides' alike: so that the network learns what to do with a token that it does not know.
    """

    sources: np.ndarray
    targets: np.ndarray
    unknown: int
    share: float


class Transduction(TaskObjective):
    """The objective: predict each target's tokens and its end.

    ``sampling``: of the decoder's inputs, the share that is the network's own at last.  ``copies``:
    of training pairs by number, where in the source each of the target's tokens stands (-1: not).
    """

    network: EncoderDecoderNetwork  # pyright: ignore[reportIncompatibleVariableOverride]
    metric = "cross_entropy"
    lower_is_better = True
    unit = "pairs"

    def __init__(
        self,
        network: EncoderDecoderNetwork,
        train: Pairs,
        validation: Pairs,
        *,
        batch_size: int,
        seed: int,
        sampling: float,
        rare: Rare | None,
        copies: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        self.network, self.train, self.validation = network, train, validation
        self.batch_size, self.seed, self.sampling, self.rare = batch_size, seed, sampling, rare
        self.copies = copies or {}
        self.lengths = np.array([len(s) + len(t) for s, t in zip(*train, strict=True)])

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass over the pairs."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Sources, lengths, what the decoder reads and predicts, steps, places and a share.

        Pairs are shuffled, then sorted by length within pools of 64 batches, and batches are read
        in random order.  The share is that of the network's own tokens.
        """
        rng = np.random.default_rng((self.seed, epoch))
        share = self.sampling * (1 - math.exp(-epoch / _EPOCHS)) if self.sampling else 0.0
        for number, drawn in enumerate(self._pass(rng)[first:], first):
            rows = drawn[rank::world]
            if len(rows) == 0:
                yield None
                continue
            own = np.random.default_rng((self.seed, epoch, number, rank))
            yield (*self._batch(self.train, rows, own), torch.tensor(share))

    def validation_batches(self) -> Iterator[Any]:
        order = np.random.default_rng(self.seed).permutation(len(self.validation.sources))
        for first in range(0, len(order), self.batch_size):
            rows = order[first : first + self.batch_size]
            yield (*self._batch(self.validation, rows, None), torch.tensor(0.0))

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
        sources, lengths, read, targets, steps, places, share = batch
        assert isinstance(network, EncoderDecoderNetwork)
        memory, start = network.encoded(sources, lengths)
        if share > 0:
            read = _sampled(network, (memory, start, lengths, read, steps), targets, share)
        features, weights = network.attended(memory, start, lengths, read, steps)
        scored = targets != IGNORED
        total = summed_cross_entropy(
            features[scored],
            network.target.output_weight,
            network.target.dense.bias,
            targets[scored],
        )
        if (pointed := places >= 0).any():
            row, token = pointed.T.nonzero(as_tuple=True)
            total = total - weights[row, token, places[token, row]].clamp(min=_LEAST).log().sum()
        count = int(scored.sum())
        return StepResult(total / max(count, 1), count)

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Cross-entropy (nats per token, ends counted) and perplexity; shares of what is right.

        ``exact_match``: of the targets, those whose every token is the likeliest after the true
        ones before.  Just these are answered without a fault where each likeliest token is taken.
        """
        assert isinstance(network, EncoderDecoderNetwork)
        nats = tokens = right = exact = 0.0
        count = len(self.validation.sources)
        order = np.argsort([len(s) for s in self.validation.sources], kind="stable")
        for first in range(0, count, self.batch_size):
            rows = order[first : first + self.batch_size]
            *inputs, targets, steps, _ = self._batch(self.validation, rows, None)
            sources, lengths, read, targets, steps = (
                t.to(network.target.device) for t in (*inputs, targets, steps)
            )
            features = network.features(sources, lengths, read, steps)
            scored = targets != IGNORED
            weight, bias = network.target.output_weight, network.target.dense.bias
            nats += cross_entropies(features[scored], weight, bias, targets[scored]).sum().item()
            tokens += int(scored.sum())
            hits = (_likeliest(network, features) == targets) & scored
            right += int(hits.sum())
            exact += int((hits.sum(0) == scored.sum(0)).sum())
        entropy = nats / max(tokens, 1)
        return {
            "validation_loss": entropy,
            "cross_entropy": entropy,
            "perplexity": math.exp(min(entropy, 700.0)),
            "token_accuracy": right / max(tokens, 1),
            "exact_match": exact / max(count, 1),
        }

    def sizes(self) -> tuple[int, int]:
        return len(self.train.sources), len(self.validation.sources)

    def evaluate_share(self, share: float) -> None:
        """Of pairs, some that are drawn by the seed."""
        sources, targets = self.validation
        count = max(1, round(share * len(sources)))
        kept = np.sort(np.random.default_rng(self.seed).permutation(len(sources))[:count])
        self.validation = Pairs([sources[i] for i in kept], [targets[i] for i in kept])

    def arrays(self) -> Iterator[np.ndarray]:
        for part in (self.train, self.validation):
            for side in part:
                yield np.array([len(tokens) for tokens in side])
                yield np.concatenate(side) if len(side) else np.zeros(0, np.int32)

    def _pass(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Row numbers of every batch of one pass over the data."""
        order = rng.permutation(len(self.lengths))
        pool = 64 * self.batch_size
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        order = np.concatenate([p[np.argsort(self.lengths[p], kind="stable")] for p in pools])
        starts = rng.permutation(self.steps_in_epoch()) * self.batch_size
        return [order[start : start + self.batch_size] for start in starts]

    def _batch(
        self, part: Pairs, rows: np.ndarray, rng: np.random.Generator | None
    ) -> tuple[Tensor, ...]:
        """Sources [S, B], lengths [B], decoder's inputs and targets [T, B], and steps [B].

        Last the places in the source of unknown tokens of the target [T, B], -1 where there is none
        and for tokens that are known.
        """
        sources = [part.sources[i] for i in rows]
        targets = [part.targets[i] for i in rows]
        if rng is not None and self.rare is not None:
            rare = self.rare
            for k in np.flatnonzero(rng.random(len(rows)) < rare.share):
                sources[k] = _with_unknown(sources[k], rare.sources, rare.unknown)
                targets[k] = _with_unknown(targets[k], rare.targets, rare.unknown)
        x, lengths = pad_sequences(sources)
        y, steps = pad_sequences(targets)
        end = self.network.architecture.output_size - 1
        read = np.concatenate([np.full((1, len(rows)), end, y.dtype), y[:-1]])
        y = np.where(np.arange(len(y))[:, None] < steps, y, IGNORED)
        places = np.full(y.shape, -1)
        if rng is not None and self.rare is not None:
            for k, i in enumerate(rows):
                if (of_pair := self.copies.get(int(i))) is not None:
                    places[: len(of_pair), k] = of_pair
            places[y != self.rare.unknown] = -1
        arrays = x.astype(np.int64), lengths, read.astype(np.int64), y.astype(np.int64), steps
        arrays = (*arrays, places)
        return tuple(map(torch.from_numpy, arrays))


def seen_once(train: Pairs, sizes: tuple[int, int], unknown: int | None) -> Rare | None:
    """What ``Transduction`` is to learn as unknown; None where there is nothing.

    The share is Good's (1953): of n1 tokens seen once and n2 seen twice, n1 events in as many
    tokens are to be new, and 2 n2 of those seen once.
    """
    if unknown is None:
        return None
    once, share = [], []
    for side, size in zip(train, sizes, strict=True):
        counts = np.bincount(np.concatenate(side), minlength=size)
        counts[[unknown, size - 1]] = 0
        rare, twice = counts == 1, int((counts == 2).sum())
        once.append(rare)
        share.append(int(rare.sum()) / max(1, int(rare.sum()) + 2 * twice))
    is_there = any((tokens == unknown).any() for tokens in train.targets)
    if not is_there and not any(rare.any() for rare in once):
        return None
    return Rare(once[0], once[1], unknown, max(share))


def pairs_to_copy(train: Pairs, rare: Rare) -> Iterator[int]:
    """Numbers of the pairs in whose targets a token is unknown, or may be."""
    for i, target in enumerate(train.targets):
        if (rare.targets[target] | (target == rare.unknown)).any():
            yield i


def _with_unknown(tokens: np.ndarray, rare: np.ndarray, unknown: int) -> np.ndarray:
    return np.where(rare[tokens], np.int32(unknown), tokens)


@torch.no_grad()
def _likeliest(network: EncoderDecoderNetwork, features: Tensor) -> Tensor:
    return network.target.output(features).argmax(-1)


@torch.no_grad()
def _sampled(
    network: EncoderDecoderNetwork, given: tuple[Any, ...], targets: Tensor, share: Tensor
) -> Tensor:
    """What the decoder reads, in part what it would have written itself."""
    memory, start, lengths, read, steps = given
    features, _ = network.attended(memory, start, lengths, read, steps)
    likeliest = _likeliest(network, features)
    own = torch.cat([read[:1], likeliest[:-1]])
    replaced = torch.rand(read.shape, device=read.device) < share
    replaced[0] = False  # every target begins with the end of another
    return torch.where(replaced & (targets != IGNORED), own, read)

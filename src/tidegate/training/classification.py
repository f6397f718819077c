"""Classification of token sequences: many to one, in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tidegate.data.text import pad_tokens
from tidegate.nn.network import SequenceNetwork
from tidegate.training.objective import StepResult

_FEWEST_STEPS = 50  # in an epoch: a small set is passed over several times in one
_EVALUATION_TOKENS = 50_000  # in one batch, padding included


class Classification:
    """The objective: cross-entropy of the right label.

    train, validation: token sequences (int32) and the index of each one's label (int64 [N]).
    """

    metric = "accuracy"
    lower_is_better = False
    unit = "texts"

    def __init__(
        self,
        network: SequenceNetwork,
        train: tuple[list[np.ndarray], np.ndarray],
        validation: tuple[list[np.ndarray], np.ndarray],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self.network, self.train, self.validation = network, train, validation
        self.batch_size, self.seed = batch_size, seed
        self.lengths = np.array([len(s) for s in train[0]])
        self.steps_in_pass = -(-len(self.lengths) // batch_size)
        self.passes = -(-_FEWEST_STEPS // self.steps_in_pass)

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one epoch: one pass, or several over a small set."""
        return self.passes * self.steps_in_pass

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Tokens [T, B], lengths [B] and labels [B].

        Sequences are shuffled, then sorted by length within pools of 64 batches, so that a batch
        holds like lengths and little padding yet differs from epoch to epoch; batches are read in
        random order.
        """
        rng = np.random.default_rng((self.seed, epoch))
        sequences, labels = self.train
        for batch in [b for _ in range(self.passes) for b in self._pass(rng)][first:]:
            rows = batch[rank::world]
            if len(rows) == 0:
                yield None
                continue
            tokens, lengths = pad_tokens([sequences[i] for i in rows])
            yield tuple(torch.from_numpy(a) for a in (tokens, lengths, labels[rows]))

    def _pass(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Row numbers of every batch of one pass over the data."""
        order = rng.permutation(len(self.lengths))
        pool = 64 * self.batch_size
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        order = np.concatenate([p[np.argsort(self.lengths[p], kind="stable")] for p in pools])
        starts = rng.permutation(self.steps_in_pass) * self.batch_size
        return [order[start : start + self.batch_size] for start in starts]

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
        tokens, lengths, labels = batch
        outputs, _ = network(tokens, lengths)
        return StepResult(F.cross_entropy(outputs, labels), len(labels))

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Accuracy and cross-entropy (nats per text) on the validation texts."""
        assert isinstance(network, SequenceNetwork)
        sequences, labels = self.validation
        log_p = log_probabilities(network, sequences)
        return {
            "accuracy": float((log_p.argmax(1) == labels).mean()),
            "cross_entropy": float(-log_p[np.arange(len(labels)), labels].mean()),
        }

    def at_step(self, step: int, network: nn.Module) -> str | None:  # noqa: ARG002
        return None

    def describe(self) -> dict[str, Any]:
        return {
            "task": "text-classifier",
            "train_texts": len(self.train[0]),
            "validation_texts": len(self.validation[0]),
            "architecture": self.network.architecture.to_json(),
        }

    def fingerprint(self) -> str:
        digest = sha256()
        for sequences, labels in (self.train, self.validation):
            digest.update(np.array([len(s) for s in sequences]).tobytes())
            digest.update(np.concatenate(sequences).tobytes())
            digest.update(labels.tobytes())
        return digest.hexdigest()


@torch.no_grad()
def log_probabilities(network: SequenceNetwork, sequences: list[np.ndarray]) -> np.ndarray:
    """Log-probability of each label, [N, labels]; a row does not depend on its neighbours."""
    result = np.empty((len(sequences), network.architecture.output_size), np.float32)
    device = network.device
    order = np.argsort([len(s) for s in sequences], kind="stable")
    while len(order):
        longest = max(1, len(sequences[order[-1]]))
        rows, order = np.split(order[::-1], [max(1, _EVALUATION_TOKENS // longest)])
        order = order[::-1]
        tokens, lengths = pad_tokens([sequences[i] for i in rows])
        outputs, _ = network(torch.from_numpy(tokens).to(device), torch.from_numpy(lengths))
        result[rows] = F.log_softmax(outputs, dim=1).cpu().numpy()
    return result

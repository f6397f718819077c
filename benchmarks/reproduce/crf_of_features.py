"""A linear-chain CRF on features that are written down: what tagging was before networks.

Words, endings, beginnings and shapes of a token and of its neighbours are features, each with a
weight for each label, and so is each pair of labels (Lafferty et al. 2001; the features are those
of sklearn-crfsuite's tutorial, with endings of four letters and the neighbours' endings beside).
Weights are learned by Adagrad with an L2 penalty.
"""

from __future__ import annotations

from typing import Self
from zlib import crc32

import numpy as np
import torch

from tidegate.data.text.entities import Counts, counted
from tidegate.nn.crf import negative_log_likelihood
from tidegate.runtime.tags import decoded

BUCKETS = 1 << 18
BATCH, PASSES, RATE, PENALTY = 32, 12, 0.2, 1e-6
Tagged = tuple[list[list[str]], list[list[str]]]


def shape(token: str) -> str:
    """Xxx as Xx, 1,000 as d,d: runs of one kind as one letter."""
    found = ""
    for c in token:
        kind = "X" if c.isupper() else "x" if c.islower() else "d" if c.isdigit() else c
        found += kind if not found.endswith(kind) else ""
    return found


def features(tokens: list[str]) -> list[list[int]]:
    """The buckets of each token's features, 24 of each."""
    low = ["<s>", "<s>", *(token.lower() for token in tokens), "</s>", "</s>"]
    found = []
    for i, token in enumerate(tokens):
        before, last, own, following, behind = low[i : i + 5]
        told = [f"w{own}", f"W{token}", f"b{last}", f"f{following}", f"bb{before}", f"ff{behind}"]
        told += [f"bo{last} {own}", f"of{own} {following}", f"s{shape(token)}"]
        told += [f"e{k}{own[-k:]}" for k in (1, 2, 3, 4)]
        told += [f"p{k}{own[:k]}" for k in (1, 2, 3)]
        for name, at in (("b", i - 1), ("f", i + 1)):
            inside = 0 <= at < len(tokens)
            told.append(f"{name}s{shape(tokens[at]) if inside else '-'}")
            told.append(f"{name}e{tokens[at][-3:].lower() if inside else '-'}")
        told += [f"first{i == 0}", f"digits{token.isdigit()}"]
        told += [f"upper{token.isupper()}", f"title{token.istitle()}"]
        found.append([crc32(one.encode()) % BUCKETS for one in told])
    return found


class FeatureCrf:
    """``classes`` and weights; ``passes`` over the training part, as many as did best."""

    def __init__(self, classes: list[str]) -> None:
        self.classes, self.passes = classes, 0
        self._weights = torch.nn.EmbeddingBag(BUCKETS, len(classes), mode="sum", sparse=True)
        torch.nn.init.zeros_(self._weights.weight)
        self._moves = torch.zeros(len(classes) + 1, len(classes) + 1, requires_grad=True)

    @classmethod
    def fit(cls, train: Tagged, dev: Tagged) -> Self:
        """Learn from ``train``; keep the weights whose entities' F1 on ``dev`` is the best."""
        model = cls(sorted({label for of_one in train[1] for label in of_one}))
        place = {label: i for i, label in enumerate(model.classes)}
        read = [torch.tensor(features(tokens)) for tokens in train[0]]
        truth = [torch.tensor([place[label] for label in of_one]) for of_one in train[1]]
        optimizer = torch.optim.Adagrad([*model._weights.parameters(), model._moves], lr=RATE)
        rng, best = np.random.default_rng(0), (-1.0, 0, {})
        for number in range(1, PASSES + 1):
            order = np.argsort([len(tokens) for tokens in read], kind="stable")
            batches = np.array_split(order, -(-len(order) // BATCH))
            for k in rng.permutation(len(batches)):
                rows = [i for i in batches[k] if len(read[i])]
                weights, lengths = model._batch([read[i] for i in rows])
                labels = torch.nn.utils.rnn.pad_sequence([truth[i] for i in rows])
                loss = negative_log_likelihood(weights, model._moves, labels, lengths).sum()
                optimizer.zero_grad()
                (loss / BATCH + PENALTY * weights.square().sum()).backward()
                with torch.sparse.check_sparse_tensor_invariants(enable=False):  # torch's own
                    optimizer.step()
            every = Counts()
            for counts in counted(model.predict(dev[0]), dev[1]).values():
                every = every.plus(counts)
            if every.f1 > best[0]:
                kept = model._weights.weight.detach().clone(), model._moves.detach().clone()
                best = every.f1, number, kept
        model.passes = best[1]
        with torch.no_grad():
            model._weights.weight.copy_(best[2][0])
            model._moves.copy_(best[2][1])
        return model

    @torch.no_grad()
    def predict(self, sentences: list[list[str]]) -> list[list[str]]:
        outputs = [
            self._weights(torch.tensor(features(tokens))).numpy()
            if tokens
            else np.zeros((0, len(self.classes)), np.float32)
            for tokens in sentences
        ]
        found = decoded(outputs, self._moves.numpy())
        return [[self.classes[i] for i in of_one.tolist()] for of_one in found]

    def _batch(self, read: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights [T, B, L] of sentences, and their lengths."""
        lengths = torch.tensor([len(one) for one in read])
        told = self._weights(torch.cat(read)).split(lengths.tolist())
        return torch.nn.utils.rnn.pad_sequence(list(told)), lengths

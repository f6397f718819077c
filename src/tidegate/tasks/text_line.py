"""A straight line beside a network that reads texts: what their words and pairs of words add up to.

A logistic regression on which of them a text holds, each in units of its log-odds (Wang & Manning
2012, "Baselines and Bigrams"), weighs all of them against each other at once, which a network that
reads a text word by word learns from far more texts.  The two err on different texts.  So they
learn apart, and the answer is their sum in the proportion that does best on held-out texts; where
all of these gain less than a nat for each of the two factors (Akaike 1974), the network answers
alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from tidegate.data.sequences.mixing import Loss, best_mixture
from tidegate.data.text.evidence import Evidence
from tidegate.runtime.network import Network

FEWEST = 40  # held-out texts that can tell: a tenth of so many as are not judged by folds
_INVERSE_PENALTY = 0.3  # from 0.1 to 1 does as well on reviews and on single sentences
_STEPS = 200
_LEAST = 0.01  # of what the network says, so that its gradients are never nothing

Trust = tuple[float, float]  # factors on what line and network say


def words_held(evidence: Evidence, texts: Sequence[Sequence[str]]) -> Any:
    """Which words and pairs of the evidence each text holds, sparse [N, F] of zeros and ones."""
    from scipy.sparse import csr_matrix

    numbers, places = evidence.held(texts)
    shape = len(texts), len(evidence.buckets)
    return csr_matrix((np.ones(len(places), np.float32), (numbers, places)), shape=shape)


@dataclass(frozen=True, eq=False)
class TextLine:
    """``weights`` float32 [F, C] of what ``words_held`` tells, and ``intercept`` [C]."""

    weights: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(cls, evidence: Evidence, held: Any, answers: np.ndarray, counts: np.ndarray) -> Self:
        """Of texts that are held [N, F], the log-odds of each of their answers, bool [N, C].

        ``counts`` [N]: how much each text counts.  An answer of all texts, or of none, has zeros.
        """
        from scipy.sparse import diags
        from sklearn.linear_model import LogisticRegression

        weights, intercept = np.zeros_like(evidence.log_odds), np.zeros(answers.shape[1])
        for c, given in enumerate(answers.T):
            if given.all() or not given.any():
                continue
            unit = evidence.log_odds[:, c]
            linear = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_STEPS, tol=1e-3)
            linear.fit((held @ diags(unit)).tocsr(), given, sample_weight=counts)
            weights[:, c] = linear.coef_[0] * unit
            (intercept[c],) = np.ravel(linear.intercept_)
        return cls(weights, intercept)

    def __call__(self, held: Any) -> np.ndarray:
        """The log-odds of the answers of texts that are held [N, F], [N, C]."""
        return held @ self.weights + self.intercept


class LineBeside:
    """A line fitted to training texts, and what it takes to fit another to all that are known.

    ``words``: of the training texts and of those held out; ``answers``: bool [N, C] of each text;
    ``counts`` [N]: how much each counts, of those held out as an attribute.  ``seconds``: what it
    took.
    """

    def __init__(
        self,
        evidence: Evidence,
        words: Sequence[Sequence[Sequence[str]]],
        answers: Sequence[np.ndarray],
        counts: Sequence[np.ndarray],
    ) -> None:
        began = time.monotonic()
        self._evidence, self._answers, self._counts = evidence, answers, counts
        self.counts = counts[-1]
        self._held = [words_held(evidence, of_part) for of_part in words]
        self.line = TextLine.fit(evidence, self._held[0], answers[0], counts[0])
        self.seconds = time.monotonic() - began

    def said(self) -> np.ndarray:
        """What it says of the texts held out, [N, C]."""
        return self.line(self._held[1])

    def of_all(self) -> TextLine:
        """A line fitted to the texts held out, too."""
        from scipy.sparse import vstack

        held = vstack(self._held, format="csr")
        parts = np.concatenate(self._answers), np.concatenate(self._counts)
        return TextLine.fit(self._evidence, held, *parts)


def lifted(answers: np.ndarray, outputs: int) -> np.ndarray:
    """What log-odds [..., C] add to a network's outputs [..., O]; of two labels C is the second."""
    return answers @ _lift(answers.shape[-1], outputs)


def trust(line: np.ndarray, own: np.ndarray, loss: Loss, counts: np.ndarray) -> Trust | None:
    """By what line and network say of held-out texts, outputs [N, O] of both; None: leave it out.

    ``counts`` [N]: how much each text counts.
    """
    both = np.stack([line, own]).astype(np.float64)
    factors, joined = best_mixture(both, loss, counts)
    alone = float(loss(both[1], both)[0] @ (counts / counts.sum()))
    if not len(own) * (alone - joined) > len(both):
        return None
    return float(factors[0]), max(float(factors[1]), _LEAST)


def with_line(network: Network, intercept: np.ndarray, trusted: Trust) -> Network:
    """The network and a line with this intercept [C], both as they are trusted.

    Beside a token it reads C numbers more, behind what was counted: what the line adds up to.
    """
    a, tensors, answers = network.architecture, dict(network.tensors), len(intercept)
    lined = replace(a, linear_steps=1, evidence_size=a.evidence_size + answers)
    of_line, of_network = trusted
    place = np.full(answers, lined.of_line.start)
    tensors["evidence.weight"] = np.insert(tensors["evidence.weight"], place, 0, axis=1)
    line = np.zeros(lined.tensor_shapes()["linear.weight"], np.float32)
    line[:, lined.of_line] = of_line * _lift(answers, a.output_size).T
    bias = of_network * tensors["dense.bias"] + of_line * lifted(intercept, a.output_size)
    tensors["dense.weight"] = np.float32(of_network) * tensors["dense.weight"]
    tensors |= {"linear.weight": line, "dense.bias": bias.astype(np.float32)}
    return Network(lined, tensors)


def _lift(answers: int, outputs: int) -> np.ndarray:
    return np.eye(outputs, dtype=np.float32)[outputs - answers :]

"""Classification of sequences: cross-entropy of the right label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate.nn.network import SequenceNetwork
from tidegate.training.many_to_one import ManyToOne, network_outputs


class Classification(ManyToOne):
    """The objective whose answers are the positions of labels, int64 [N].

    The best weights are chosen ``by`` accuracy or cross_entropy on the validation part.
    """

    def __init__(self, *arguments: Any, by: str = "accuracy", **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.metric = self.chosen_by(by)
        self.lower_is_better = not self.metric.endswith("accuracy")

    def error(self, outputs: Tensor, answers: Tensor, reduction: str = "mean") -> Tensor:
        return F.cross_entropy(outputs, answers, reduction=reduction)

    def figures(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        """Accuracy, and cross-entropy in nats per sequence."""
        log_p = log_softmax(outputs)
        return {
            "accuracy": float((log_p.argmax(1) == answers).mean()),
            "cross_entropy": float(-log_p[np.arange(len(answers)), answers].mean()),
        }


def log_probabilities(network: SequenceNetwork, sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Log-probability of each label, float32 [N, labels]."""
    return log_softmax(network_outputs(network, sequences))


def log_softmax(outputs: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax over the last axis."""
    return F.log_softmax(torch.from_numpy(outputs), dim=-1).numpy()

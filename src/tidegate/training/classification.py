"""Classification of sequences: cross-entropy of the right label."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate.runtime.probabilities import log_softmax
from tidegate.training.many_to_one import ManyToOne


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

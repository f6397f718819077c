"""Several labels at a time: whether a sequence has each, apart from the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate.data.text.label_sets import binary_losses, f1_figures
from tidegate.training.many_to_one import ManyToOne


class MultiLabel(ManyToOne):
    """The objective whose answers say of each label whether it is held, float32 [N, L], 0 or 1.

    The loss of a sequence is the sum of its labels' binary cross-entropies.  ``presence`` [L]: how
    much each label counts where it is held.
    """

    lower_is_better = True

    def __init__(self, *arguments: Any, presence: np.ndarray | None = None, **more: Any) -> None:
        super().__init__(*arguments, **more)
        weights = None if presence is None else torch.from_numpy(presence.astype(np.float32))
        self.presence, self.metric = weights, self.chosen_by("cross_entropy")
        if weights is not None and not self.prefix:
            self.metric = self.loss_name  # figures count all labels alike

    def error(self, outputs: Tensor, answers: Tensor, reduction: str = "mean") -> Tensor:
        presence = None if self.presence is None else self.presence.to(outputs.device)
        losses = F.binary_cross_entropy_with_logits(
            outputs, answers, pos_weight=presence, reduction="none"
        ).sum(1)
        return losses if reduction == "none" else losses.mean()

    def figures(self, outputs: np.ndarray, answers: np.ndarray) -> dict[str, float]:
        """Cross-entropy in nats per sequence; F1 and exact sets with thresholds of a half."""
        found = {"cross_entropy": float(binary_losses(outputs, answers).sum(1).mean())}
        return found | f1_figures(outputs > 0, answers > 0)

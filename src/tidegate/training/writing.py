"""What objectives of networks that write text share: perplexity, and samples at chosen steps."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from tidegate.nn.network import SequenceNetwork
from tidegate.training.objective import TaskObjective


class WritingObjective(TaskObjective):
    """Predict each next token.

    ``sample(network, step)`` gives the text to print after the optimiser steps in ``sample_steps``.
    """

    metric = "cross_entropy"
    lower_is_better = True

    def __init__(
        self, sample_steps: tuple[int, ...], sample: Callable[[SequenceNetwork, int], str]
    ) -> None:
        self._sample_steps, self._sample = frozenset(sample_steps), sample

    def at_step(self, step: int, network: nn.Module) -> str | None:
        """A sample of what the network would write by now, at the chosen steps."""
        if step not in self._sample_steps:
            return None
        assert isinstance(network, SequenceNetwork)
        training = network.training
        network.eval()
        text = self._sample(network, step)
        network.train(training)
        return text


def figures_of(entropy: float) -> dict[str, float]:
    """Validation figures by the cross-entropy of the validation part, nats per token."""
    told = {"validation_loss": entropy, "cross_entropy": entropy}
    return told | {"perplexity": math.exp(min(entropy, 700.0))}

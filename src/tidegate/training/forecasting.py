"""Forecasting: the values of a horizon at once, from the windows before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from tidegate.data.series.windows import Windows
from tidegate.nn.network import SequenceNetwork
from tidegate.runtime.batches import Run, window_outputs
from tidegate.training.judging import as_function
from tidegate.training.objective import LastAnswers, StepResult, TaskObjective

LOSSES = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


class Forecasting(TaskObjective):
    """The objective: ``loss`` between outputs and targets, in standard deviations."""

    metric = "mse"
    lower_is_better = True
    unit = "windows"

    def __init__(
        self,
        network: SequenceNetwork,
        train: Windows,
        validation: Windows,
        *,
        loss: str,
        batch_size: int,
        seed: int,
    ) -> None:
        self.network, self.train, self.validation = network, train, validation
        self.loss_name, self.batch_size, self.seed = loss, batch_size, seed

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass over the windows."""
        return -(-len(self.train.answered) // self.batch_size)

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Inputs [T, B, I] and targets [B, O], rows drawn in random order."""
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(self.train.answered)
        for step in range(first, self.steps_in_epoch()):
            rows = order[step * self.batch_size :][: self.batch_size][rank::world]
            if len(rows) == 0:
                yield None
                continue
            yield _batch(self.train, rows)

    def validation_batches(self) -> Iterator[Any]:
        order = np.random.default_rng(self.seed).permutation(self.validation.answered)
        for first in range(0, len(order), self.batch_size):
            yield _batch(self.validation, order[first : first + self.batch_size])

    def last_answers(self) -> LastAnswers | None:
        for inputs, targets in self.validation_batches():
            lengths = torch.full((inputs.shape[1],), len(inputs))
            return inputs, lengths, targets.nan_to_num()
        return None

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
        inputs, targets = batch
        outputs, _ = network(inputs)
        if self.train.has_gaps:
            known = torch.isfinite(targets)
            outputs, targets = outputs[known], targets[known]
        return StepResult(LOSSES[self.loss_name](outputs, targets), inputs.shape[1])

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Errors on the validation windows, in standard deviations of the training span."""
        assert isinstance(network, SequenceNetwork)
        return errors_of(as_function(network), self.validation, self.loss_name)

    def sizes(self) -> tuple[int, int]:
        return len(self.train.starts), len(self.validation.starts)

    def evaluate_share(self, share: float) -> None:
        """Of windows, some that are evenly spaced."""
        starts = self.validation.starts
        kept = np.linspace(0, len(starts) - 1, max(1, round(share * len(starts)))).astype(np.int64)
        self.validation = self.validation.at(starts[kept])

    def arrays(self) -> Iterator[np.ndarray]:
        for windows in (self.train, self.validation):
            yield from windows.arrays()

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"windowing": self.train.windowing.to_json()}


def _batch(windows: Windows, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(windows.inputs(rows)), torch.from_numpy(windows.targets(rows))


def errors_of(run: Run, validation: Windows, loss_name: str) -> dict[str, float]:
    """``validation_loss``, ``mse`` and ``mae`` of a network, in standard deviations."""
    loss = LOSSES[loss_name]
    squared = absolute = lost = count = 0.0
    for rows, outputs in window_outputs(run, validation):
        targets = validation.targets(rows)
        known = np.isfinite(targets)
        if not known.all():
            outputs, targets = outputs[known], targets[known]
        errors = (outputs - targets).astype(np.float64)
        if not errors.size:
            continue
        lost += errors.size * loss(*map(torch.from_numpy, (outputs, targets))).item()
        squared, absolute = squared + np.sum(errors**2), absolute + np.sum(np.abs(errors))
        count += errors.size
    return {"validation_loss": lost / count, "mse": squared / count, "mae": absolute / count}

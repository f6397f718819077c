"""Series to series: every step of an answer is predicted from its source and from where it stands.

See `runtime/series_answers.py` for what the decoder reads, and what the last output is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.data.series.scaling import Scaler
from tidegate.nn.encoder_decoder import EncoderDecoderNetwork
from tidegate.runtime.series_answers import ReadPairs, outputs_to, places, series_figures
from tidegate.training.many_to_one import batches_of_like_lengths
from tidegate.training.objective import StepResult, TaskObjective


class SeriesTransduction(TaskObjective):
    """The objective: squared errors of steps in the ``scaler``'s units, and how long answers are.

    ``shortest``: the length from which an answer may end; None where all are of one length.
    """

    network: EncoderDecoderNetwork  # pyright: ignore[reportIncompatibleVariableOverride]
    metric = "scaled_mse"
    lower_is_better = True
    unit = "pairs"

    def __init__(
        self,
        network: EncoderDecoderNetwork,
        train: ReadPairs,
        validation: ReadPairs,
        *,
        scaler: Scaler,
        shortest: int | None,
        batch_size: int,
        seed: int,
    ) -> None:
        self.network, self.train, self.validation = network, train, validation
        self.scaler, self.shortest = scaler, shortest
        self.batch_size, self.seed = batch_size, seed
        self.lengths = np.array([len(s) + len(t) for s, t in zip(*train, strict=True)])

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass over the pairs."""
        return -(-len(self.lengths) // self.batch_size)

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Sources [T, B, I], lengths [B], places and targets, [U, B, ...], their lengths [B]."""
        rng = np.random.default_rng((self.seed, epoch))
        for drawn in batches_of_like_lengths(self.lengths, self.batch_size, rng)[first:]:
            rows = drawn[rank::world]
            yield self._batch(self.train, rows) if len(rows) else None

    def validation_batches(self) -> Iterator[Any]:
        order = np.random.default_rng(self.seed).permutation(len(self.validation.sources))
        for first in range(0, len(order), self.batch_size):
            yield self._batch(self.validation, order[first : first + self.batch_size])

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
        sources, lengths, read, targets, steps = batch
        outputs = network(sources, lengths, read)
        inside = torch.arange(len(read), device=outputs.device)[:, None] < steps
        told = outputs[..., : targets.shape[2]]
        lost = ((told - targets) ** 2).mean(2)
        if self.shortest is not None:
            last = torch.arange(len(read), device=outputs.device)[:, None] == steps - 1
            over = F.binary_cross_entropy_with_logits(
                outputs[..., -1], last.to(outputs), reduction="none"
            )
            over[: self.shortest - 1] = 0.0  # no answer ends there
            lost = lost + over
        count = int(steps.sum())
        return StepResult((lost * inside).sum() / max(count, 1), count)

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Figures as `SeriesToSeries.evaluate` has them, on the validation part."""
        assert isinstance(network, EncoderDecoderNetwork)
        device, a = network.target.device, network.architecture

        def run(sources: np.ndarray, lengths: np.ndarray, read: np.ndarray) -> np.ndarray:
            given = (torch.from_numpy(array).to(device) for array in (sources, lengths, read))
            return network(*given).cpu().numpy()

        sources, targets = self.validation
        steps = [len(t) if self.shortest is None else a.longest for t in targets]
        outputs = outputs_to(run, sources, steps, a.target.input_size or 0)
        figures = series_figures(outputs, targets, self.scaler, self.shortest)
        return {"validation_loss": figures["scaled_mse"], **figures}

    def sizes(self) -> tuple[int, int]:
        return len(self.train.sources), len(self.validation.sources)

    def evaluate_share(self, share: float) -> None:
        """Of pairs, some that are drawn by the seed."""
        count = len(self.validation.sources)
        kept = np.random.default_rng(self.seed).permutation(count)[: max(1, round(share * count))]
        rows = np.sort(kept).tolist()
        self.validation = ReadPairs(*([side[i] for i in rows] for side in self.validation))

    def arrays(self) -> Iterator[np.ndarray]:
        for part in (self.train, self.validation):
            for side in part:
                yield np.array([len(steps) for steps in side])
                yield from side

    def _batch(self, part: ReadPairs, rows: np.ndarray) -> tuple[Tensor, ...]:
        sources, lengths = pad_sequences([part.sources[i] for i in rows])
        targets, steps = pad_sequences([part.targets[i] for i in rows])
        width = self.network.architecture.target.input_size or 0
        read = np.repeat(places(len(targets), width)[:, None], len(rows), axis=1)
        return tuple(map(torch.from_numpy, (sources, lengths, read, targets, steps)))

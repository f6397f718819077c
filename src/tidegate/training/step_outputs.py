"""Many binary outputs a step: each step predicted from those before it.

Source of the loss: Boulanger-Lewandowski, Bengio & Vincent 2012, arXiv:1206.6392; Chung et al.
2014, arXiv:1412.3555, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.nn.network import SequenceNetwork
from tidegate.runtime.repeats import Reading
from tidegate.runtime.rolls import RollsAndConditions, outputs_by_step, roll_figures
from tidegate.training.judging import as_function
from tidegate.training.objective import LastAnswers, StepResult, TaskObjective
from tidegate.training.text_modelling import UNTOLD

_POOL = 16  # batches among which sequences of like lengths are brought together


class _Stretch(NamedTuple):
    """Steps ``begin`` to ``end`` of the training roll ``roll``."""

    roll: int
    begin: int
    end: int


class StepOutputs(TaskObjective):
    """The objective: binary cross-entropies summed over the outputs, in the mean over all steps.

    ``reading`` says what the network reads of a roll.  A roll longer than ``bptt`` steps is cut
    into stretches, each epoch elsewhere.  In training a whole roll moves up or down by up to
    ``transpose`` outputs, and each number that is read is left out with probability
    ``input_dropout``.  ``columns``: which of several conditions each of the C numbers belongs to;
    one is not told now and then, so that zeros come to mean that it is not known.
    """

    metric = "nats_per_step"
    lower_is_better = True
    unit = "steps"

    def __init__(
        self,
        network: SequenceNetwork,
        train: RollsAndConditions,
        validation: RollsAndConditions,
        *,
        columns: np.ndarray,
        reading: Reading,
        batch_size: int,
        bptt: int,
        transpose: int,
        input_dropout: float,
        seed: int,
    ) -> None:
        self.network, self.columns = network, columns
        (self.train, self.conditions), (self.validation, self._judged_conditions) = (
            train,
            validation,
        )
        self.reading, self.batch_size, self.bptt, self.seed = reading, batch_size, bptt, seed
        self.transpose, self.input_dropout = transpose, input_dropout
        self.parts = [-(-len(roll) // bptt) for roll in self.train]  # stretches of each roll
        self.read = [reading.before(roll) for roll in self.train]
        self.judged_by = [reading.all_before(*told) for told in zip(*validation, strict=True)]

    def steps_in_epoch(self) -> int:
        """Optimiser steps in one pass over the stretches."""
        return -(-sum(self.parts) // self.batch_size)

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        """Inputs [T, B, I], lengths [B], targets uint8 [T, B, O]."""
        rng = np.random.default_rng((self.seed, epoch))
        for number, drawn in enumerate(self._pass(rng)[first:], first):
            mine = drawn[rank::world]
            if not mine:
                yield None
                continue
            # by the place in the batch, so that several processes see what one would
            places = [rank + k * world for k in range(len(mine))]
            draw = [np.random.default_rng((self.seed, epoch, number, place)) for place in places]
            yield _batch([self._drawn(s, rng) for s, rng in zip(mine, draw, strict=True)])

    def _pass(self, rng: np.random.Generator) -> list[list[_Stretch]]:
        """The stretches of every batch of one pass over the data."""
        found = []
        for row, (roll, parts) in enumerate(zip(self.train, self.parts, strict=True)):
            cuts = np.arange(parts + 1) * len(roll) // parts
            if parts > 1:  # a quarter of a stretch to either side
                most = len(roll) // (4 * parts)
                cuts[1:-1] += rng.integers(-most, most + 1, parts - 1)
            found += [_Stretch(row, *map(int, cut)) for cut in zip(cuts, cuts[1:], strict=False)]
        order = rng.permutation(len(found))
        lengths = np.array([stretch.end - stretch.begin for stretch in found])
        pool = _POOL * self.batch_size
        pools = [order[i : i + pool] for i in range(0, len(order), pool)]
        order = np.concatenate([p[np.argsort(lengths[p], kind="stable")] for p in pools])
        starts = rng.permutation(self.steps_in_epoch()) * self.batch_size
        size = self.batch_size
        return [[found[i] for i in order[start : start + size]] for start in starts]

    def _drawn(self, stretch: _Stretch, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What is read and what is to be predicted, both varied at random."""
        part = slice(stretch.begin, stretch.end)
        roll, read = self.train[stretch.roll][part], self.read[stretch.roll][part]
        if self.transpose:
            by = int(rng.integers(-self.transpose, self.transpose + 1))
            roll, read = _moved(self.train[stretch.roll], roll, read, by)
        condition = self.conditions[stretch.roll]
        if len(condition):
            told = rng.random(int(self.columns.max()) + 1) >= UNTOLD
            condition = condition * told[self.columns]
        values = self.reading.values(read, condition)
        if self.input_dropout:
            own = values[:, : values.shape[1] - len(condition)]
            own *= rng.random(own.shape, np.float32) >= self.input_dropout
        return values, roll

    def validation_batches(self) -> Iterator[Any]:
        for first in range(0, len(self.validation), self.batch_size):
            rows = range(first, min(first + self.batch_size, len(self.validation)))
            yield _batch([(self.judged_by[i], self.validation[i]) for i in rows])

    def last_answers(self) -> LastAnswers | None:
        for inputs, lengths, targets in self.validation_batches():
            if (lengths > 0).all():
                last = targets[lengths - 1, torch.arange(len(lengths))]
                return inputs, lengths, last > 0
        return None

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
        inputs, lengths, targets = batch
        outputs, _ = network(inputs, lengths)
        lost = F.binary_cross_entropy_with_logits(outputs, targets.to(outputs), reduction="none")
        steps = torch.arange(len(inputs), device=outputs.device)[:, None]
        inside = steps < lengths.to(outputs.device)
        count = int(lengths.sum())
        return StepResult((lost.sum(2) * inside).sum() / max(count, 1), count)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """``nats_per_step`` and ``frame_accuracy`` on the validation rolls."""
        assert isinstance(network, SequenceNetwork)
        width = network.architecture.output_size
        outputs = outputs_by_step(as_function(network), self.judged_by, width)
        figures = roll_figures(outputs, self.validation)
        told = {name: figures[name] for name in ("nats_per_step", "frame_accuracy")}
        return {"validation_loss": figures["nats_per_step"], **told}

    def sizes(self) -> tuple[int, int]:
        return sum(map(len, self.train)), sum(map(len, self.validation))

    def evaluate_share(self, share: float) -> None:
        """Of rolls, the first ones."""
        count = max(1, round(share * len(self.validation)))
        self.validation, self.judged_by = self.validation[:count], self.judged_by[:count]

    def arrays(self) -> Iterator[np.ndarray]:
        for part in (self.train, self.validation):
            yield np.array([len(roll) for roll in part])
            yield from part
        if len(self.columns):
            yield from (self.conditions, self._judged_conditions)


def _moved(
    whole: np.ndarray, roll: np.ndarray, read: np.ndarray, by: int
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a roll, and what is read of it, moved by so many outputs, as far as none that is on
    in the ``whole`` roll [T, O] would be lost.
    """
    (on,) = np.nonzero(whole.any(0))
    by = int(np.clip(by, -on[0], whole.shape[1] - 1 - on[-1])) if len(on) else 0
    if not by:
        return roll, read
    width = whole.shape[1]
    moved, columns = read.copy(), read.shape[1] // width * width
    parts = read[:, :columns].reshape(len(read), -1, width)
    moved[:, :columns] = np.roll(parts, by, axis=2).reshape(len(read), -1)
    return np.roll(roll, by, axis=1), moved


def _batch(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor, Tensor]:
    inputs, lengths = pad_sequences([read for read, _ in pairs])
    targets, _ = pad_sequences([roll for _, roll in pairs])
    return torch.from_numpy(inputs), torch.from_numpy(lengths), torch.from_numpy(targets)

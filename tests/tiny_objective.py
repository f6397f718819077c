"""A small recurrent objective for the tests of training, and a program that trains it.

``python tiny_objective.py '[{"options": {...}, "objective": {...}, "weights": PATH}, ...]'`` calls
``fit`` for each and writes the final weights; with ``kill_at_step`` it kills itself in the middle
of that step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tidegate.training.loop import StepResult, fit
from tidegate.training.options import TrainingOptions


class TinyNetwork(nn.Module):
    """GRU with carried state, batch norm and dropout: everything that has a state of its own."""

    def __init__(self, dropout: float, batch_norm: bool) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4)
        self.norm = nn.BatchNorm1d(4) if batch_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(4, 2)

    def forward(self, x: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:  # x: [T, B, 3]
        y, last = self.gru(x, h)
        y = self.norm(y.flatten(0, 1)).view_as(y)
        return self.dense(self.dropout(y)), last


class TinyObjective:
    """Streams of random numbers whose running mean is learnt; ``rows`` per batch, all processes."""

    metric = "error"
    lower_is_better = True
    unit = "steps"

    def __init__(
        self,
        *,
        steps: int = 7,
        rows: int = 6,
        dropout: float = 0.3,
        batch_norm: bool = True,
        dtype: torch.dtype = torch.float32,
        ragged: bool = False,
        data: int = 1,
        nan_at_step: int | None = None,
        kill_at_step: int | None = None,
        fail_at_step: int | None = None,
        interrupt_at_step: int | None = None,
    ) -> None:
        torch.manual_seed(11)
        self.network: nn.Module = TinyNetwork(dropout, batch_norm).to(dtype)
        self.steps, self.rows, self.dtype, self.ragged, self.data = steps, rows, dtype, ragged, data
        self.nan_at_step, self.kill_at_step, self.fail_at_step = (
            nan_at_step,
            kill_at_step,
            fail_at_step,
        )
        self.interrupt_at_step = interrupt_at_step
        self.share = 1.0  # of the validation part
        self.seen: list[tuple[int, int]] = []  # (epoch, batch) of every batch handed out

    def steps_in_epoch(self) -> int:
        return self.steps

    def _batch(self, epoch: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.data * 10_000 + epoch * 100 + batch)
        x = torch.randn(5, self.rows, 3, generator=generator, dtype=self.dtype)
        target = x.cumsum(0)[..., :2] / 5
        lengths = torch.full((self.rows,), 5)
        if self.ragged:
            lengths = torch.randint(1, 6, (self.rows,), generator=generator)
        return x, target, lengths

    def batches(self, epoch: int, first: int, rank: int, world: int) -> Iterator[Any]:
        for batch in range(first, self.steps):
            self.seen.append((epoch, batch))
            step = epoch * self.steps + batch + 1
            if step == self.kill_at_step:
                os.kill(os.getpid(), signal.SIGKILL)
            if step == self.fail_at_step:
                raise KeyboardInterrupt
            if step == self.interrupt_at_step:
                signal.raise_signal(signal.SIGINT)
            x, target, lengths = self._batch(epoch, batch)
            if step == self.nan_at_step:
                x = x * float("nan")
            share = -(-self.rows // world)
            rows = slice(rank * share, (rank + 1) * share)
            x, target, lengths = x[:, rows], target[:, rows], lengths[rows]
            yield (x, target, lengths) if len(lengths) else None

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        x, target, lengths = batch
        y, h = network(x, None if carry is None else carry[0][0])
        mask = torch.arange(5)[:, None] < lengths
        count = int(lengths.sum())
        loss = ((y - target).square().mean(-1) * mask).sum() / count
        return StepResult(loss, count, ([h.detach()],))

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        x, target, _ = self._batch(99, 0)
        y, _ = network(x, None)
        return {"error": (y - target).square().mean().item(), "largest": y.abs().max().item()}

    def validation_batches(self) -> Iterator[Any]:
        yield self._batch(99, 0)

    def last_answers(self) -> None:
        """None: its answers have no last step."""

    def at_step(self, step: int, network: nn.Module) -> str | None:  # noqa: ARG002
        return None

    def sizes(self) -> tuple[int, int]:
        return self.steps * self.rows * 5, self.rows * 5

    def evaluate_share(self, share: float) -> None:
        self.share = share

    def describe(self) -> dict[str, Any]:
        return {"steps": self.steps, "rows": self.rows}

    def fingerprint(self) -> str:
        return f"data {self.data}"


def everything_of(objective: TinyObjective, **more: Any) -> Callable[[], TinyObjective]:
    """All data: twice as many batches of the same network."""

    def make() -> TinyObjective:
        everything = TinyObjective(steps=2 * objective.steps, **more)
        everything.network = objective.network
        return everything

    return make


def main() -> None:
    torch.set_num_threads(1)
    for job in json.loads(sys.argv[1]):
        job["options"]["run_folder"] = Path(job["options"]["run_folder"])
        if job["objective"].pop("double", False):
            job["objective"]["dtype"] = torch.float64
        objective = TinyObjective(**job["objective"])
        more = job.get("everything")
        everything = None if more is None else everything_of(objective, **more)
        fit(objective, TrainingOptions(**job["options"]), everything=everything)
        if int(os.environ.get("RANK", "0")) == 0:
            save_file(objective.network.state_dict(), job["weights"])


if __name__ == "__main__":
    main()

"""What a step changes: a network, its optimiser, its running average, the state carried on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from tidegate.training.objective import Objective
from tidegate.training.optimizers import (
    WeightAverage,
    build_optimizer,
    gradient_norm,
    optimizer_tensors,
    restore_optimizer,
)
from tidegate.training.options import TrainingOptions
from tidegate.training.processes import Processes
from tidegate.training.resuming import check_tensors, restored_carry
from tidegate.training.state import TrainingState, flatten


class Learner:
    """A network in training, the same in every process; ``best`` are the best weights so far."""

    def __init__(self, network: nn.Module, options: TrainingOptions, processes: Processes) -> None:
        self.options, self.processes = options, processes
        self.network = network.to(processes.device)
        processes.share(self.network)
        self.named_parameters = list(self.network.named_parameters())
        self._trained = [p for p in self.network.parameters() if p.requires_grad]
        self._buffers = [b for b in self.network.buffers() if b.is_floating_point()]
        self._optimizer = build_optimizer(options.optimizer, self.named_parameters, options)
        self._average = WeightAverage(self.network, options.average) if options.average else None
        self.size = sum(p.numel() for p in self.network.parameters())
        self.averages = self._average is not None  # whether its average is what is evaluated
        self.carry: Any = None
        self.best: dict[str, Tensor] | None = None

    def differentiate(
        self, objective: Objective, batch: Any, clock: Callable[[], float]
    ) -> tuple[float, float, float, Tensor]:
        """Mean loss, number of units and the clock of process 0, over all processes; the norm of
        the gradient, which is left in the weights.
        """
        result = None
        for parameter in self._trained:  # Optimizer.zero_grad takes 40 µs for the same
            parameter.grad = None
        if batch is not None:
            batch = self.processes.to_device(batch)
            result = objective.loss(self.network, batch, self.carry)
            result.loss.backward()
        if self.processes.world == 1:
            assert result is not None  # process 0 has rows in every batch
            loss, count = result.loss.item(), result.count
            seconds = clock()
        else:
            loss, count = (0.0, 0) if result is None else (result.loss.item(), result.count)
            loss, count, seconds = self.processes.sum_gradients(
                self._trained, self._buffers, loss, count, clock()
            )
        self.carry = result.carry if result is not None else None
        norm = gradient_norm([p.grad for p in self._trained if p.grad is not None])
        return loss, count, seconds, norm

    def move(self, rate: float, norm: Tensor, length: float, step: int) -> None:
        """One step of the optimiser along the gradient, whose norm is ``length``."""
        longest = self.options.clip_norm
        if longest is not None and length > longest:
            clip_grads_with_norm_(self._trained, longest, norm)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        if self._average is not None:
            self._average.update(step)

    def judged(self) -> AbstractContextManager[None]:
        """Inside, the network has the weights that are evaluated: its own, or their average."""
        return self._average.applied() if self._average and self.averages else nullcontext()

    def keep(self) -> None:
        """The weights that are evaluated are the best so far."""
        self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}

    def go_back(self) -> None:
        """To the best weights, for steps whose rate falls to 0; the optimiser keeps what it knows.

        Such steps average by themselves, and a running average would lag behind them.
        """
        assert self.best is not None
        self.network.load_state_dict(self.best)
        self.averages, self.carry = False, None

    def go_on(self) -> None:
        """From the best weights, as before they were learned on with a falling rate."""
        self.go_back()
        assert self.best is not None
        if self._average is not None:
            self._average.load(self.best)
            self.averages = True

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that goes into a training state but the carry, by kind and name."""
        return {
            "weights": self.network.state_dict(),
            "optimizer": optimizer_tensors(self._optimizer),
            "best": self.best or {},
            "average": self._named_average(),
        }

    def carried(self) -> tuple[list[Any], dict[str, Any]]:
        """The nesting of each process's carry, and the arrays; every process takes part."""
        nesting, leaves = flatten(self.carry)
        gathered = self.processes.gather((nesting, [as_array(leaf) for leaf in leaves]))
        arrays = {
            f"carry.{rank}.{i}": array
            for rank, (_, own) in enumerate(gathered)
            for i, array in enumerate(own)
        }
        return [nesting for nesting, _ in gathered], arrays

    def restore(self, state: TrainingState, objective: Objective) -> None:
        """Take over a state.  Raises ValueError for one that is of another network."""
        check_tensors(state, self.network, self.options, self._named_average())
        self.network.load_state_dict(state.under("weights"))
        self.carry = restored_carry(state, objective, self.network, self.processes)
        restore_optimizer(self._optimizer, state.under("optimizer"))
        if self._average is not None:
            self._average.load(state.under("average"))
        at = state.position
        self.averages = self.averages and not (at.tail_from or at.refit_from)
        if at.best_step:
            device = self.processes.device
            self.best = {name: t.to(device) for name, t in state.under("best").items()}

    def _named_average(self) -> dict[str, Tensor]:
        return {} if self._average is None else self._average.named()


def as_array(tensor: Tensor) -> Any:
    """The tensor as it goes into a file."""
    return tensor.detach().cpu().numpy()

"""Whether a training state is one of this run: every tensor is checked before it is used.

A fused optimiser reads moments with the shape of their weights, whatever shape they have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tidegate.errors import shown
from tidegate.training.objective import Objective
from tidegate.training.optimizers import NEVER_NEGATIVE, build_optimizer, optimizer_tensors
from tidegate.training.options import TrainingOptions
from tidegate.training.processes import Processes
from tidegate.training.state import TrainingState, flatten, unflatten


def check_position(
    state: TrainingState, steps_in_epoch: int, columns: Iterable[str], metric: str
) -> None:
    """ValueError unless the run can have come to ``state.position``.

    ``columns`` are those with which each row of the history begins; ``metric`` follows them.
    """
    at = state.position
    expected = divmod(at.step - at.refit_from, steps_in_epoch)  # of these data
    if (at.epoch, at.batch) != expected:
        raise ValueError(
            f"position: expected epoch {expected[0]}, batch {expected[1]} after step {at.step}, "
            f"got {at.epoch}, {at.batch}"
        )
    begin = list(columns)
    for row in at.history[:1]:  # all rows have the same
        if list(row)[: len(begin)] != begin or metric not in list(row)[len(begin) :]:
            raise ValueError(f"history: expected the columns {', '.join(begin)} and {metric}")


def check_tensors(
    state: TrainingState,
    network: nn.Module,
    options: TrainingOptions,
    average: Mapping[str, Tensor],
) -> None:
    """ValueError unless the tensors are those of ``network`` and its optimiser, all finite.

    Their names, shapes and types are taken from ``network``, from ``average``, and from a fresh
    optimiser after a step.
    """
    weights = network.state_dict()
    expected = {f"weights.{name}": tensor for name, tensor in weights.items()}
    expected |= {f"average.{name}": tensor for name, tensor in average.items()}
    if state.position.best_step:
        expected |= {f"best.{name}": tensor for name, tensor in weights.items()}
    if state.position.step:
        expected |= _optimizer_like(network, options)
    found = {n: array for n, array in state.tensors.items() if not n.startswith("carry.")}
    if different := sorted(set(expected) ^ set(found)):
        raise ValueError(f"expected exactly its tensors, got or missed {shown(different[0])}")
    for name, like in expected.items():
        _check_tensor(name, found[name], like)
    for name, array in found.items():
        if name.startswith("optimizer.") and name.endswith("/step"):
            steps = float(array)
            if not (0 <= steps <= state.position.step and steps % 1 == 0):
                raise ValueError(f"tensor {name!r}: expected 0 to {state.position.step} steps")


def restored_carry(
    state: TrainingState, objective: Objective, network: nn.Module, processes: Processes
) -> Any:
    """The carry of this process.  ValueError unless a step of this run hands on such a one.

    That is found out by such a step: ``network`` is left in evaluation mode.
    """
    at, rank = state.position, processes.rank
    nesting = state.carries[rank]
    if nesting is None:
        return None
    batch = None
    if at.batch:  # an epoch begins without one
        batch = next(objective.batches(at.epoch, at.batch, rank, processes.world))
    like: tuple[Any, list[Tensor]] = None, []
    if batch is not None:
        network.eval()  # batch norm must not take up this batch's statistics
        with torch.no_grad():
            like = flatten(objective.loss(network, processes.to_device(batch), None).carry)
    if nesting != like[0]:
        raise ValueError("carry: expected the nesting of a step's, got another")
    leaves = state.under(f"carry.{rank}")
    for i, tensor in enumerate(like[1]):
        _check_tensor(f"carry.{rank}.{i}", leaves[str(i)].numpy(), tensor)
    return unflatten(nesting, (leaves[str(i)].to(processes.device) for i in range(len(leaves))))


def _optimizer_like(network: nn.Module, options: TrainingOptions) -> dict[str, Tensor]:
    """Tensors as the optimiser has them after a step: every trained weight has been moved."""
    blank: list[tuple[str, nn.Parameter]] = []
    for name, weight in network.named_parameters():
        zeros = nn.Parameter(torch.zeros_like(weight), requires_grad=weight.requires_grad)
        zeros.grad = torch.zeros_like(weight)
        blank.append((name, zeros))
    optimizer = build_optimizer(options.optimizer, blank, options)
    optimizer.step()
    return {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(optimizer).items()}


def _check_tensor(name: str, array: np.ndarray, like: Tensor) -> None:
    expected = like.detach().cpu().numpy()
    if (array.shape, array.dtype) != (expected.shape, expected.dtype):
        raise ValueError(
            f"tensor {name!r}: expected {expected.dtype} {list(expected.shape)}, got "
            f"{array.dtype} {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"tensor {name!r}: expected finite values, got NaN or infinity")
    if name.rpartition("/")[2].rpartition(".")[2] in NEVER_NEGATIVE and (array < 0).any():
        raise ValueError(f"tensor {name!r}: expected no value below 0, got {array.min():.3g}")

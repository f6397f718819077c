"""The processes that train together, and the device of this one.

Several processes are told from their environment, as torchrun and ``accelerate launch`` set it;
Accelerate then picks the device and the backend (gloo, nccl).  Gradients are summed by the loop
itself and not by DistributedDataParallel, which would give a rank's mean over few tokens the same
weight as another's over many, and cannot average what a rank without rows did not compute.
"""

from __future__ import annotations

import atexit
import importlib
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tidegate.errors import InputError


class Processes:
    """``rank`` of ``world`` processes, computing on ``device``.  Process 0 alone writes."""

    def __init__(self, device: str) -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank: int = 0
        self.device: torch.device = _device(device)
        if self.world == 1:
            # without Accelerate, whose choice of device holds for the life of the interpreter
            return
        from accelerate import PartialState

        if device not in ("auto", "cpu", "cuda"):
            raise InputError(
                f"expected auto, cpu or cuda with {self.world} processes, "
                f"got {device!r}; give one of these: each process takes its own of them",
                option="device",
            )
        # torch's first optimiser step imports this module, whose default arguments would then hold
        # the process group for good, so that nothing could end its threads
        importlib.import_module("torch.distributed.nn")
        state = PartialState(cpu=self.device.type == "cpu")
        own: Any = state.device
        if own.type != self.device.type:
            raise InputError(
                f"expected {own.type}, as when these processes were joined, "
                f"got {device!r}; start them anew",
                option="device",
            )
        self.rank, self.device = state.process_index, own
        if own.type == "cpu":
            # an interpreter that ends while gloo's threads are at work is now and then aborted
            atexit.register(state.destroy_process_group)

    def first(self, act: Callable[[], Any]) -> Any:
        """What ``act`` gives in process 0, in all of them; an exception of its, too."""
        if self.world == 1:
            return act()
        from accelerate.utils import broadcast_object_list

        outcome: list[Any] = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = act()
            except Exception as e:
                outcome[1] = e
        broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's ``value``, by rank."""
        if self.world == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def sum(self, tensor: Tensor) -> Tensor:
        if self.world == 1:
            return tensor
        from accelerate.utils import reduce

        return reduce(tensor, reduction="sum")  # pyright: ignore[reportReturnType]

    def sum_gradients(
        self,
        parameters: list[nn.Parameter],
        buffers: list[Tensor],
        loss: float,
        units: float,
        seconds: float,
    ) -> tuple[float, float, float]:
        """Give every process the gradient of the whole batch, in one collective operation.

        Each process counts by its ``units``, over which its ``loss`` is a mean.  Batch norm's
        running statistics (``buffers``) travel along, so that the processes stay alike, and so
        does the clock of process 0, by which all stop and save.  Returns loss, units, seconds.
        """
        sources = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        sources += buffers
        flat = torch.cat([source.reshape(-1) for source in sources]) * units
        clock = seconds if self.rank == 0 else 0.0
        total = self.sum(torch.cat([flat, flat.new_tensor([loss * units, units, clock])]))
        loss_sum, units, seconds = total[-3:].tolist()
        total /= units
        pieces = total[:-3].split([source.numel() for source in sources])
        for parameter, piece in zip(parameters, pieces, strict=False):
            parameter.grad = piece.view_as(parameter)
        for buffer, piece in zip(buffers, pieces[len(parameters) :], strict=True):
            buffer.copy_(piece.view_as(buffer))
        return loss_sum / units, units, seconds

    def share(self, module: nn.Module) -> None:
        """Give every process the weights and buffers of process 0."""
        if self.world == 1:
            return
        from accelerate.utils import broadcast

        for tensor in module.state_dict().values():
            tensor.copy_(broadcast(tensor.clone()))

    def to_device(self, batch: Any) -> Any:
        if self.device.type == "cpu":
            return batch
        from accelerate.utils import send_to_device

        return send_to_device(batch, self.device, non_blocking=True)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    present = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        usable = [kind for kind, there in present.items() if there]
        raise InputError(
            f"expected auto or one of {', '.join(usable)}, got {name!r}, which this machine, or "
            "this build of torch, has not; leave it out",
            option="device",
        )
    return device

"""Which products a run's steps make: of bfloat16 factors or of float32's, and until when."""

from __future__ import annotations

import math
from contextlib import ExitStack
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tidegate.nn.products import rounding_pays
from tidegate.training.objective import Objective
from tidegate.training.optimizers import gradient_norm
from tidegate.training.options import TrainingOptions
from tidegate.training.processes import Processes
from tidegate.training.progress import Progress
from tidegate.training.randomness import products_of
from tidegate.training.state import Position

_BATCHES = 4  # of the validation part, on which both kinds of products are compared ...
_LONG = 300  # ... and one in runs of fewer steps so far ...
_FEWEST = 40  # ... of which so many cost more than comparing does
_MOST_OF_LOSS = 1e-3  # change of the loss, as a part of it
_LEAST_COSINE = 0.99  # of the gradients


class Precision:
    """The precision of a run that stands ``at`` a position, whose ``exact_from`` keeps it."""

    def __init__(self, options: TrainingOptions, processes: Processes, at: Position) -> None:
        self._options, self._processes, self._at = options, processes, at
        # process 0 decides: the weights of all are the same
        self._usable = processes.first(self._is_usable)
        if at.exact_from is None and not self._usable:
            at.exact_from = at.step

    def begin(self, stack: ExitStack, progress: Progress) -> None:
        """From here on products are as they should be, until ``stack`` ends; say if that is not
        what was asked for.
        """
        self._stack, self._progress = stack, progress
        stack.enter_context(products_of("bfloat16" if self._rounds else "float32"))
        if self._options.precision != "bfloat16" or self._rounds or not self._options.speaks:
            return
        if self._usable:
            why = f"the run that goes on left bfloat16 after step {self._at.exact_from}"
        elif self._processes.device.type == "cpu":
            why = "bfloat16 is no faster on this processor"
        else:
            why = "bfloat16 is chosen on a CPU alone"
        progress.say(f"precision bfloat16: {why}, so float32 is used")

    def objection(self, objective: Objective, network: nn.Module) -> str | None:
        """What speaks against rounded products, by the validation part; None if nothing does.

        For process 0, with the network in evaluation mode.  The first evaluation is one that
        compares, then the second, fourth, eighth and so on, so that this costs little in the end;
        none is after so few steps that it would cost much.
        """
        at, number = self._at, len(self._at.history) + 1
        checks = self._options.precision == "auto" and self._rounds
        if not checks or number & (number - 1) or at.step < _FEWEST:
            return None
        return compare(objective, network, _BATCHES if at.step >= _LONG else 1).objection()

    def heed(self, objection: str | None) -> None:
        """If there is one, make exact products from now on."""
        if objection is None:
            return
        self._at.exact_from = self._at.step
        self._stack.enter_context(products_of("float32"))
        if self._options.speaks:
            self._progress.say(f"bfloat16 {objection}: products are float32 from here on")

    def told(self) -> str:
        """bfloat16, float32, or bfloat16 until step N."""
        exact_from = self._at.exact_from
        if exact_from is None:
            return "bfloat16"
        return f"bfloat16 until step {exact_from}" if exact_from else "float32"

    @property
    def _rounds(self) -> bool:
        return self._at.exact_from is None

    def _is_usable(self) -> bool:
        wanted, on_cpu = self._options.precision, self._processes.device.type == "cpu"
        if wanted == "auto":
            return on_cpu and rounding_pays()
        return wanted == "bfloat16" and (not on_cpu or rounding_pays())


class Difference(NamedTuple):
    """What rounded products change, with the same weights: ``loss`` relatively to the exact one,
    and ``cosine`` of the angle between the gradients.
    """

    loss: float
    cosine: float

    def objection(self) -> str | None:
        """The limits are ten and a hundred times what rounding does where it does no harm, and the
        first is still below what two seeds differ by (docs/notebook/training-steps.md).
        """
        if not self.loss <= _MOST_OF_LOSS:  # NaN is none
            most = f"{_MOST_OF_LOSS:.1%} is allowed"
            return f"changes the validation loss by {self.loss:.2%} ({most})"
        if not self.cosine >= _LEAST_COSINE:
            least = f"{_LEAST_COSINE:g} is the least"
            return f"turns the gradient, to a cosine of {self.cosine:.3f} ({least})"
        return None


def compare(objective: Objective, network: nn.Module, batches: int = _BATCHES) -> Difference:
    """Rounded and exact products on so many batches of the validation part, by training's kernels.

    What evaluates does not round in the recurrent layers; what is differentiated does.
    """
    exact, gradient = _differentiated(objective, network, "float32", batches)
    rounded, turned = _differentiated(objective, network, "bfloat16", batches)
    change = abs(rounded - exact)
    relative = change / abs(exact) if exact else math.inf
    lengths = (gradient_norm(gradient) * gradient_norm(turned)).item()
    product = sum(
        torch.dot(a.flatten(), b.flatten()) for a, b in zip(gradient, turned, strict=True)
    )
    cosine = float(product) / lengths if lengths else 1.0
    return Difference(relative if change else 0.0, cosine)


def _differentiated(
    objective: Objective, network: nn.Module, precision: str, batches: int
) -> tuple[float, list[Tensor]]:
    """The mean loss over the batches, and the first one's gradient."""
    weights = [p for p in network.parameters() if p.requires_grad]
    lost, units = 0.0, 0
    gradient: list[Tensor] = []
    with torch.enable_grad(), products_of(precision):
        for batch in islice(objective.validation_batches(), batches):
            loss, count, _ = objective.loss(network, batch, None)
            if not gradient:
                found = torch.autograd.grad(loss, weights, allow_unused=True)
                gradient = [g for g in found if g is not None]
            lost, units = lost + loss.item() * count, units + count
    return lost / max(units, 1), gradient

"""What figures say of a run: whether its weights are the best so far, and whether it can go on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import nn

from tidegate.errors import spelled
from tidegate.training.objective import TrainingError
from tidegate.training.state import Position


def is_better(at: Position, value: float, loss: float | None, *, lower_is_better: bool) -> bool:
    """Than the best so far; of equal figures, such as accuracies, that with the lower loss."""
    best = at.best_value
    if best is None or math.isnan(best):
        return True
    if value == best and loss is not None:
        row = next(row for row in at.history if row["step"] == at.best_step)
        return loss < row.get("validation_loss", math.inf)
    return value < best if lower_is_better else value > best


def is_lowest(at: Position, loss: float | None) -> bool:
    """The validation loss, of all so far: while it falls, patience waits for better figures."""
    return loss is not None and all(loss < row["validation_loss"] for row in at.history)


def overfits(then: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """Whether from one evaluation to another the training loss fell and the validation loss rose.

    Not where no part is held out.
    """
    rose = now.get("validation_loss", -math.inf) > then.get("validation_loss", math.inf)
    return rose and now["train_loss"] < then["train_loss"]


def not_finite(
    at: Position,
    loss: float,
    parameters: Iterable[tuple[str, nn.Parameter]],
    folder: Path | None,
    saved_step: int,
) -> TrainingError:
    """The error for a loss or a gradient that is not finite.

    ``folder``: the one that holds the state of ``saved_step``, or None.
    """
    where = f"step {at.step + 1} (epoch {at.epoch + 1}, batch {at.batch + 1})"
    what = f"the loss is {loss:.4g}"
    for name, parameter in parameters:
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            what += f" and the gradient of {name} is not finite"
            break
    kept = "" if folder is None else f"; {folder} holds the state of step {saved_step}"
    return TrainingError(
        f"{where}: {what}; lower {spelled('learning_rate')} or {spelled('clip_norm')}, or check "
        f"that batch's data{kept}"
    )

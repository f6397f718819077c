"""When a run ends: after its epochs, steps or minutes, or out of patience, whichever is first."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate.training.options import TrainingOptions
from tidegate.training.state import Position


@dataclass(frozen=True)
class Limits:
    """The limits that ``options`` set to a run with so many optimiser steps in an epoch."""

    options: TrainingOptions
    steps_in_epoch: int

    def fraction(self, at: Position, steps: float) -> float:
        """The part of the run that is done after ``steps`` steps: of the nearest limit."""
        return max(self._used(at, steps).values())

    def reached(self, at: Position) -> str | None:
        """The option that ends the run at this position, or None."""
        for name, fraction in self._used(at, at.step).items():
            if fraction >= 1:
                return name
        patience = self.options.resolved_patience()
        return "patience" if patience is not None and at.waited >= patience else None

    def _used(self, at: Position, steps: float) -> dict[str, float]:
        """What fraction of each limit is used after ``steps`` steps."""
        options, used = self.options, {}
        if (limit := options.step_limit(self.steps_in_epoch)) is not None:
            epochs = options.epoch_limit() or 0
            name = "fewest_steps" if limit > epochs * self.steps_in_epoch else "epochs"
            used[name] = steps / limit
        if options.max_steps is not None:
            used["max_steps"] = steps / options.max_steps
        if options.max_minutes is not None:
            used["max_minutes"] = at.seconds / (60 * options.max_minutes)
        return used

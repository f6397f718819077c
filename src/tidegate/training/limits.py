"""When a run ends, and its learning rate until then: by epochs, steps, minutes or patience."""

from __future__ import annotations

import math

from tidegate.training.budget import Budget
from tidegate.training.options import TrainingOptions
from tidegate.training.schedules import learning_rate_factor
from tidegate.training.state import Position

_TAIL = 0.2  # of the steps so far: in so many more the learning rate falls to 0


class Limits:
    """The limits that ``options`` set to a run with so many optimiser steps in an epoch."""

    def __init__(self, options: TrainingOptions, steps_in_epoch: int, budget: Budget) -> None:
        self.options, self.steps_in_epoch, self.budget = options, steps_in_epoch, budget

    def fraction(self, at: Position, steps: float) -> float:
        """The part of the run that is done after ``steps`` steps: of the nearest limit."""
        return max(self._used(at, steps).values())

    def reached(self, at: Position) -> str | None:
        """The option that ends the run at this position, or None; one step is always made."""
        if at.step == 0:
            return None
        for name, fraction in self._used(at, at.step).items():
            if fraction >= 1:
                return name
        return None

    def learning_rate(self, at: Position) -> float:
        """Of the next step."""
        middle = at.step + 0.5  # of it: neither the first nor the last step has a factor of 0
        if at.tail_from:
            best = next(row for row in at.history if row["step"] == at.best_step)
            gone = (middle - at.tail_from) / at.tail_steps
            return best["learning_rate"] * max(0.0, 1 - gone)
        options = self.options
        done = self.fraction(at, middle)
        factor = learning_rate_factor(options.schedule, done, options.warmup)
        return options.resolved_learning_rate() * factor

    def begin_tail(self, at: Position) -> None:
        """The learning rate falls to 0 from now on, in as many steps as the limits leave."""
        done = self.fraction(at, at.step)
        left = at.step * (1 - done) / done if done > 0 else math.inf
        at.tail_from = at.step
        at.tail_steps = max(1, round(min(_TAIL * at.step, left)))

    def out_of_patience(self, at: Position) -> bool:
        patience = self.options.resolved_patience()
        return not at.tail_from and patience is not None and at.waited >= patience

    def _used(self, at: Position, steps: float) -> dict[str, float]:
        """What fraction of each limit is used after ``steps`` steps."""
        options, used = self.options, {}
        if at.tail_from:
            used["patience"] = (steps - at.tail_from) / at.tail_steps
        if (limit := options.step_limit(self.steps_in_epoch)) is not None:
            epochs = options.epoch_limit() or 0
            name = "fewest_steps" if limit > epochs * self.steps_in_epoch else "epochs"
            used[name] = steps / limit
        if options.max_steps is not None:
            used["max_steps"] = steps / options.max_steps
        if options.max_minutes is not None:
            ahead = (steps - at.step) * self.budget.step_s
            used["max_minutes"] = self.budget.used(at.seconds + ahead)
        return used

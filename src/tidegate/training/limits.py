"""When a run ends, and its learning rate until then: by epochs, steps, minutes or patience."""

from __future__ import annotations

import math

from tidegate.training.budget import REFIT, Budget
from tidegate.training.options import PATIENCE, PATIENT_PART, PATIENT_STEPS, TrainingOptions
from tidegate.training.schedules import learning_rate_factor
from tidegate.training.state import Position
from tidegate.training.verdicts import overfits

_LONGEST_REFIT = 1.5  # times as many steps as are set aside, if there is time for them
_TAIL = 0.2  # of the steps so far: in so many more the learning rate falls to 0


class Limits:
    """The limits that ``options`` set to a run with so many optimiser steps in an epoch."""

    def __init__(self, options: TrainingOptions, steps_in_epoch: int, budget: Budget) -> None:
        self.options, self.steps_in_epoch, self.budget = options, steps_in_epoch, budget

    def fraction(self, at: Position, steps: float) -> float:
        """The part of the run that is done after ``steps`` steps: of the nearest limit."""
        if at.refit_from:
            return (steps - at.refit_from) / at.refit_steps
        return max(self._used(at, steps).values())

    def reached(self, at: Position) -> str | None:
        """The option that ends the run at this position, or None; one step is always made.

        Of a run that learns from all data by now, the option that has ended it before.
        """
        if at.stopped or at.step == 0:
            return at.stopped or None
        for name, fraction in self._used(at, at.refit_from or at.step).items():
            if fraction >= 1:
                return name
        return None

    def ended(self, at: Position) -> bool:
        """Whether what goes on is over: the run itself, or learning from all data after it."""
        if at.refit_from:
            return at.step >= at.refit_from + at.refit_steps
        return self.reached(at) is not None

    def refits(self, at: Position) -> bool:
        """Whether learning from all data is of use: once those to train on have all been read.

        Before that, the part held out is no worse unread than the rest.
        """
        if at.refit_from > 0:
            return True
        steps = self.budget.refit * at.best_step
        return at.best_step >= self.steps_in_epoch and self.budget.refits(at.seconds, steps)

    def go_on(self, at: Position) -> None:
        """Learn from the training part again, as if all data had not been learned from."""
        at.refit_from = at.refit_steps = 0
        at.epoch, at.batch = divmod(at.step, self.steps_in_epoch)

    def begin_refit(self, at: Position, more: float) -> None:
        """All data, ``more`` times as many as were learned from, are learned from now on."""
        at.refit_from, at.refit_steps = at.step, max(1, round(REFIT * more * at.best_step))
        at.epoch = at.batch = 0
        self.fit_refit(at)

    def fit_refit(self, at: Position) -> None:
        """Let learning from all data end with the minutes, where these are what ends the run.

        What was set aside for it is used up, also if the best weights came earlier.
        """
        done = at.step - at.refit_from
        steps = done + self.budget.steps_left(at.seconds)
        most = at.refit_steps
        if at.stopped == "max_minutes":
            most = _LONGEST_REFIT * self.budget.refit * at.refit_from
        at.refit_steps = max(1, done, round(min(steps, most)))

    def learning_rate(self, at: Position) -> float:
        """Of the next step."""
        middle = at.step + 0.5  # of it: neither the first nor the last step has a factor of 0
        if at.refit_from:
            return self.options.resolved_learning_rate() * (1 - self.fraction(at, middle))
        if at.tail_from:
            begun_with = next(
                r["learning_rate"] for r in at.history if r["step"] == at.went_back_to
            )
            return begun_with * max(0.0, 1 - (middle - at.tail_from) / at.tail_steps)
        options = self.options
        done = self.fraction(at, middle)
        factor = learning_rate_factor(options.schedule, done, options.warmup)
        return options.resolved_learning_rate() * factor

    def begin_tail(self, at: Position) -> None:
        """The learning rate falls to 0 from now on, in as many steps as the limits leave."""
        done = self.fraction(at, at.step)
        left = at.step * (1 - done) / done if done > 0 else math.inf
        at.tail_from, at.went_back_to = at.step, at.best_step
        at.tail_steps = max(1, round(min(_TAIL * at.step, left)))

    def out_of_patience(self, at: Position) -> bool:
        """Whether the run should go back to its best weights, and end with a falling rate.

        Unless it was told a patience, only a run that overfits is: others may yet find the way, as
        networks do that learn long memories.
        """
        if at.tail_from:
            return False
        if self.options.patience is not None:
            return at.waited >= self.options.patience
        if at.waited < PATIENCE:
            return False
        better, last = at.history[-1 - at.waited], at.history[-1]
        steps = last["step"] - better["step"]
        long = steps >= max(PATIENT_STEPS, PATIENT_PART * last["step"])
        return long and overfits(better, last)

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

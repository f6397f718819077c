"""When a run is evaluated, and what comes of it: a row of figures, the best weights, a plan."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from tidegate.training.budget import bought
from tidegate.training.gradient_watch import GradientWatch
from tidegate.training.keeping import Keeper
from tidegate.training.learner import Learner
from tidegate.training.limits import Limits
from tidegate.training.objective import Objective
from tidegate.training.options import TrainingOptions
from tidegate.training.precision import Precision
from tidegate.training.processes import Processes
from tidegate.training.progress import Progress
from tidegate.training.randomness import products_of, seed_step
from tidegate.training.state import Position
from tidegate.training.verdicts import is_better, is_lowest
from tidegate.training.watching import present_watcher


class Evaluations:
    """The evaluations of a run that stands ``at`` a position.

    ``clock``: seconds since the training began; ``slowness``: seconds on it for each that the
    processor worked; ``prepared_s``: seconds that preparing took before.
    """

    def __init__(
        self,
        objective: Objective,
        options: TrainingOptions,
        processes: Processes,
        learner: Learner,
        keeper: Keeper,
        precision: Precision,
        limits: Limits,
        at: Position,
        *,
        clock: Callable[[], float],
        slowness: Callable[[], float],
        prepared_s: float,
        gradients: GradientWatch | None = None,
    ) -> None:
        self.objective, self.options, self.processes = objective, options, processes
        self.learner, self.keeper, self.precision = learner, keeper, precision
        self.limits, self.budget, self.position = limits, limits.budget, at
        self.evaluate_every = options.steps_between_evaluations(limits.steps_in_epoch)
        self.planned, self.sampling_s, self.prepared_s = False, 0.0, prepared_s
        self.watcher = present_watcher()
        self._clock, self._slowness, self._gradients = clock, slowness, gradients

    def after_step(self, progress: Progress) -> None:
        """What is due after a step: to plan, to evaluate, to sample."""
        if self.budget.known and not self.planned:
            self._plan(progress)
        if self._evaluation_due():
            self.evaluate(progress)
        self._sample(progress)

    def evaluate(self, progress: Progress) -> None:
        """Add a row to the history, and keep the weights if they are the best so far."""
        if not self.planned:
            self._plan(progress)
        at, name = self.position, self.objective.metric
        with torch.no_grad(), self.learner.judged():
            metrics, took, at.seconds, save, objection = self.processes.first(self._measure)
            value = metrics[name]
            lower = self.objective.lower_is_better
            better = is_better(at, value, metrics.get("validation_loss"), lower_is_better=lower)
            if better:
                self.learner.keep()
        self.budget.evaluated(took, at.seconds)
        self.precision.heed(objection)
        if better:
            at.best_step, at.best_value = at.step, value
        at.waited = 0 if better or is_lowest(at, metrics.get("validation_loss")) else at.waited + 1
        row = {
            "step": at.step,
            "epoch": math.ceil(at.step / self.limits.steps_in_epoch),
            "seconds": round(at.seconds, 3),
            "learning_rate": at.learning_rate,
            "train_loss": at.loss_sum / at.units if at.units else math.nan,
            **metrics,
        }
        at.history.append(row)
        at.loss_sum = at.units = 0.0
        progress.evaluated(row, name)
        if save:
            self.keeper.save(at, self.learner)
            self.budget.saving_s = self.keeper.saving_s
        self.budget.slowness = self.processes.first(self._slowness)
        self.keeper.add_row(at)
        if self._gradients is not None:
            progress.say(self._gradients.evaluated(at.step))
        if self.watcher is not None:
            self.watcher.evaluated(self.limits.fraction(at, at.step), row)

    def _plan(self, progress: Progress) -> None:
        """What the run's length is enough for: which part is evaluated, what the minutes buy."""
        at, options, budget = self.position, self.options, self.budget
        self.planned = True
        budget.slowness = self.processes.first(self._slowness)
        if not at.history:  # else its rows are of one part, which stays
            short = options.max_steps if options.evaluate_every is None else None
            at.share = budget.affordable_share(short)
            if at.share < 1 and options.speaks:
                progress.say(
                    f"evaluating takes long: a fixed {at.share:.1%} of the validation "
                    f"{self.objective.unit} choose the best weights"
                )
        if at.share < 1:
            self.objective.evaluate_share(at.share)
        budget.evaluate_share(at.share)
        if options.max_minutes is not None and options.speaks and budget.step_s:
            steps = budget.steps_bought()
            passes = steps / self.limits.steps_in_epoch
            progress.say(bought(options.max_minutes, self.prepared_s, steps, passes))

    def _measure(self) -> tuple[dict[str, float], float, float, bool, str | None]:
        """Validation figures, the seconds that took, the time, whether to save now, and what
        speaks against rounded products.
        """
        began, network = self._clock(), self.learner.network
        seed_step(self.options.seed, self.position.step, 0, 1, self.processes.device)
        network.eval()
        with products_of("float32"):  # figures are exact
            metrics = {k: float(v) for k, v in self.objective.evaluate(network).items()}
        took = self._clock() - began
        objection = None
        if self.limits.reached(self.position) is None:  # else there is no step to be another
            objection = self.precision.objection(self.objective, network)
        network.train()
        now = self._clock()
        # saving must not become the main work of a run that evaluates often
        return metrics, took, now, self.keeper.may_save(now), objection

    def _sample(self, progress: Progress) -> None:
        """What the objective says at this step, if the minutes leave time for it."""
        at, network = self.position, self.learner.network
        if self.processes.rank or not self.budget.may_sample(at.seconds, self.sampling_s):
            return
        began = self._clock()
        with torch.no_grad():
            text = self.objective.at_step(at.step, network)
        if text is not None:
            progress.say(text)
            self.sampling_s += self._clock() - began
        if not network.training:
            network.train()

    def _evaluation_due(self) -> bool:
        at = self.position
        if self.options.evaluate_every is None and self.budget.must_evaluate(at.seconds):
            return True
        if at.step % self.evaluate_every == 0:
            free = self.budget.total_s is None or self.options.evaluate_every is not None
        elif self.watcher is None or not self.planned:
            return False
        elif self.watcher.wants_figures(self.limits.fraction(at, at.step)):
            free = self.budget.total_s is None
        else:
            return False
        return free or self.budget.may_evaluate(at.seconds)

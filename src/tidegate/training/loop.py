"""The training loop: one function, ``fit``."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import torch

from tidegate.errors import InputError
from tidegate.nn.recurrent_layer import slow_on_gpu
from tidegate.training.budget import REFIT, Budget, Closing, ending_s
from tidegate.training.curve import COLUMNS, as_columns, hindsight, went_back
from tidegate.training.evaluating import Evaluations
from tidegate.training.gradient_watch import GradientWatch
from tidegate.training.interruption import interruption_noted
from tidegate.training.keeping import Keeper
from tidegate.training.learner import Learner
from tidegate.training.limits import Limits
from tidegate.training.objective import Objective, StepResult, TrainingError, TrainingResult
from tidegate.training.options import TrainingOptions
from tidegate.training.precision import Precision
from tidegate.training.preparation import Preparation
from tidegate.training.processes import Processes
from tidegate.training.progress import Progress
from tidegate.training.randomness import denormals_flushed, seed_step
from tidegate.training.run_folder import RunFolder
from tidegate.training.verdicts import not_finite

__all__ = ["Objective", "StepResult", "TrainingError", "TrainingResult", "fit"]


def fit(
    objective: Objective,
    options: TrainingOptions,
    *,
    everything: Callable[[], Objective] | None = None,
    closing: Closing | None = None,
    preparation: Preparation | None = None,
) -> TrainingResult:
    """Train ``objective.network`` within the limits of ``options``; leave the best weights in it.

    ``everything``: the same task with the validation part learned from, too, on which the best
    weights are trained on for some steps at the end (refit); all figures are those from before.
    ``closing``: what comes after it, in the units of ``objective``: time is set aside for it.
    ``preparation``: with which ``max_minutes`` began (None: now), and what was decided by it.

    With a run folder, a run that was killed goes on with ``resume``: limited by ``epochs`` and
    ``max_steps`` alone, on the CPU with the same number of threads, it ends with the bits of a run
    that was never stopped.  ``max_minutes`` depends on the clock and promises no such thing.

    Raises InputError for options that cannot be used, a folder that holds another run, and a
    ``resume`` without one or with other options or data; TrainingError where a loss or gradient
    is not finite.  torch's random state is as before when it returns.
    """
    options.check()
    preparation = preparation or Preparation(options, time.monotonic())
    slow = slow_on_gpu(objective.network)
    avoids_gpu = slow is not None and options.device == "auto"
    processes = Processes("cpu" if avoids_gpu else options.device)
    devices = [processes.device] if processes.device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(denormals_flushed())
        folder = None
        # only process 0 has a folder: on several machines the others need not see its disk
        if options.run_folder is not None and processes.rank == 0:
            folder = stack.enter_context(RunFolder(options.run_folder, options.force))
        run = _Run(objective, everything, options, processes, folder, preparation)
        run.limit(closing or Closing())
        progress = stack.enter_context(
            Progress(options.verbose if options.speaks else 0, objective.unit)
        )
        run.precision.begin(stack, progress)
        if avoids_gpu and torch.cuda.is_available() and options.speaks:
            progress.say(f"a GPU would run the layers step by step, so the CPU is used: {slow}")
        elif slow and processes.device.type != "cpu" and options.speaks:
            progress.say(f"the GPU runs the layers step by step, which is slow: {slow}")
        return run.to_the_end(progress)


class _Run:
    """A run: when it steps, evaluates, saves and ends, and where it stands."""

    def __init__(
        self,
        objective: Objective,
        everything: Callable[[], Objective] | None,
        options: TrainingOptions,
        processes: Processes,
        folder: RunFolder | None,
        preparation: Preparation,
    ) -> None:
        self.objective, self.everything = objective, everything
        self.options, self.processes = options, processes
        self.steps_in_epoch = objective.steps_in_epoch()
        if self.steps_in_epoch < 1:
            raise InputError("expected training data for at least one step, got none; give more")
        self.keeper = Keeper(objective, options, processes, folder, preparation.decided)
        self.learner = Learner(objective.network, options, processes)
        self.position = self.keeper.restore(self.learner, objective, everything)
        self.precision = Precision(options, processes, self.position)
        self.resumed, self.worked_before = time.monotonic(), time.process_time()
        self.gradients = None
        if options.gradient_norms and processes.rank == 0:
            path = None if folder is None else folder.path
            named = self.learner.named_parameters
            self.gradients = GradientWatch(objective, named, path, self.position.step)
        self.began = self.resumed - self.position.seconds
        self.prepared_s = self.resumed - preparation.began

    def limit(self, closing: Closing) -> None:
        """Set the limits of the run, ``closing`` and what went by of its minutes heeded."""
        objective, options = self.objective, self.options
        trained, validation = objective.sizes()
        in_step = trained / self.steps_in_epoch  # units
        minutes = options.max_minutes
        total_s = None
        if minutes is not None:
            total_s = self.processes.first(lambda: 60 * minutes - self.prepared_s)
        self.budget = Budget(
            total_s,
            validation / in_step,
            replace(closing, tested=closing.tested / in_step),
            ending_s=ending_s(self.learner.size, draws=options.run_folder is not None),
            refit=0.0 if self.everything is None else REFIT * (1 + validation / trained),
            epoch=self.steps_in_epoch,
            done=self.position.step,
        )
        self.limits = Limits(options, self.steps_in_epoch, self.budget)
        self.evaluations = Evaluations(
            objective,
            options,
            self.processes,
            self.learner,
            self.keeper,
            self.precision,
            self.limits,
            self.position,
            clock=self._clock,
            slowness=self._slowness,
            prepared_s=self.prepared_s,
            gradients=self.gradients,
        )

    def to_the_end(self, progress: Progress) -> TrainingResult:
        self.learner.network.train()
        if self.position.refit_from and self.limits.reached(self.position) is None:  # now further
            self.learner.go_on()
            self.limits.go_on(self.position)
        # several processes are not interrupted at the same step, and can only save together
        alone = self.processes.world == 1 and self.options.run_folder is not None
        with interruption_noted() if alone else nullcontext(lambda: 0) as interrupted:
            at = self.position
            while not at.refit_from and not self.limits.ended(at):
                self._train_epoch(self.objective, progress, interrupted)
            at.stopped = self.limits.reached(at) or ""
            if not at.history or at.history[-1]["step"] < (at.refit_from or at.step):
                self.evaluations.evaluate(progress)
            if self.everything is not None and self.limits.refits(at):
                self._refit(self.everything(), progress, interrupted)
        self.keeper.save(self.position, self.learner)
        self.keeper.draw(self.position)
        return self._result(progress)

    def _refit(
        self, everything: Objective, progress: Progress, interrupted: Callable[[], int]
    ) -> None:
        """Let the best weights learn from all data."""
        at = self.position
        if not at.refit_from:
            self.learner.go_back()
            self.limits.begin_refit(at, everything.sizes()[0] / self.objective.sizes()[0])
        while not self.limits.ended(at):
            self._train_epoch(everything, progress, interrupted)

    def _result(self, progress: Progress) -> TrainingResult:
        at, network = self.position, self.learner.network
        assert self.learner.best is not None  # the first evaluation is the best so far
        if not at.refit_from:
            network.load_state_dict(self.learner.best)
        network.eval()
        history, metric = as_columns(at.history), self.objective.metric
        if at.tail_from:
            told = went_back(history, at.went_back_to, at.tail_from, at.best_step, metric)
        else:
            told = hindsight(history, at.best_step, metric)
        if told is not None and self.options.speaks:
            progress.say(told)
        if at.refit_steps and self.options.speaks:
            progress.say(
                f"then {at.refit_steps} steps from all {self.objective.unit}, those held out, too; "
                "the figures are those from before"
            )
        best_row = next(row for row in at.history if row["step"] == at.best_step)
        return TrainingResult(
            history=at.history,
            metrics={k: v for k, v in best_row.items() if k not in COLUMNS},
            best_step=at.best_step,
            steps=at.refit_from or at.step,
            epochs=(at.refit_from or at.step) / self.steps_in_epoch,
            seconds=at.seconds,
            stopped=at.stopped,
            judged=self.learner.best,
            share=at.share,
            refit_steps=at.refit_steps,
            precision=self.precision.told(),
            gradients=() if self.gradients is None else tuple(self.gradients.rows),
        )

    def _train_epoch(
        self, objective: Objective, progress: Progress, interrupted: Callable[[], int]
    ) -> None:
        """The rest of the epoch over the objective's data, or of the run if that is shorter."""
        at, processes = self.position, self.processes
        epoch, steps_in_epoch = at.epoch, objective.steps_in_epoch()
        batches = objective.batches(epoch, at.batch, processes.rank, processes.world)
        for batch in batches:
            if not at.refit_from and self.limits.out_of_patience(at):
                self.learner.go_back()
                self.limits.begin_tail(at)
            loss, count = self._train_step(objective, batch)
            if at.batch == steps_in_epoch:
                at.epoch, at.batch, self.learner.carry = at.epoch + 1, 0, None
            progress.step(self.limits.fraction(at, at.step), epoch, loss, count)
            if at.refit_from:
                self.limits.fit_refit(at)
            else:
                self.evaluations.after_step(progress)
            if self.keeper.save_due(at):
                self.keeper.save(at, self.learner)
            if number := interrupted():
                self.keeper.save(at, self.learner)
                signal.raise_signal(number)  # the second one interrupts
                raise KeyboardInterrupt
            if at.epoch > epoch or self.limits.ended(at):
                return
        problem = f"expected {steps_in_epoch} batches in epoch {epoch + 1}, got {at.batch}"
        raise RuntimeError(problem)

    def _train_step(self, objective: Objective, batch: Any) -> tuple[float, float]:
        """One optimiser step; the mean loss and the number of units, over all processes."""
        at, options, learner = self.position, self.options, self.learner
        seed_step(options.seed, at.step, self.processes.rank, 0, self.processes.device)
        loss, count, seconds, norm = learner.differentiate(objective, batch, self._clock)
        length = norm.item()
        if not (math.isfinite(loss) and math.isfinite(length)):
            saved_step = self.keeper.saved_step
            folder = options.run_folder if saved_step else None
            raise not_finite(at, loss, learner.named_parameters, folder, saved_step)
        if self.gradients is not None and not at.refit_from:
            self.gradients.stepped()
        at.learning_rate = self.limits.learning_rate(at)
        learner.move(at.learning_rate, norm, length, at.step + 1)

        self.budget.stepped(seconds - at.seconds)
        at.step += 1
        at.batch += 1
        at.seconds = seconds
        at.loss_sum += loss * count
        at.units += count
        return loss, count

    def _slowness(self) -> float:
        """Seconds on the clock for each second that the processor worked for this process."""
        worked = time.process_time() - self.worked_before
        return max(1.0, (time.monotonic() - self.resumed) / max(worked, 1e-3))

    def _clock(self) -> float:
        """Seconds since the training began."""
        return time.monotonic() - self.began

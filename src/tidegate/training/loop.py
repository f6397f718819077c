"""The training loop: one function, ``fit``."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_

from tidegate.errors import InputError
from tidegate.model.container import ModelFileError
from tidegate.nn.recurrent_layer import slow_on_gpu
from tidegate.training.curve import COLUMNS, FIRST_COLUMNS, as_columns, hindsight
from tidegate.training.interruption import interruption_noted
from tidegate.training.limits import Limits
from tidegate.training.objective import Objective, StepResult, TrainingError, TrainingResult
from tidegate.training.optimizers import (
    WeightAverage,
    build_optimizer,
    gradient_norm,
    optimizer_tensors,
    restore_optimizer,
)
from tidegate.training.options import TrainingOptions
from tidegate.training.processes import Processes
from tidegate.training.progress import Progress
from tidegate.training.randomness import (
    denormals_flushed,
    precision_of_use,
    products_of,
    seed_step,
)
from tidegate.training.resuming import check_position, check_tensors, restored_carry
from tidegate.training.run_folder import RunFolder
from tidegate.training.schedules import learning_rate_factor
from tidegate.training.state import Position, TrainingState, flatten, remedy
from tidegate.training.verdicts import is_better, not_finite

_DRAW_EVERY_S = 30.0

__all__ = ["Objective", "StepResult", "TrainingError", "TrainingResult", "fit"]


def fit(objective: Objective, options: TrainingOptions) -> TrainingResult:
    """Train ``objective.network`` within the limits of ``options``; leave the best weights in it.

    With a run folder, a run that was killed goes on with ``resume``: limited by ``epochs`` and
    ``max_steps`` alone, on the CPU with the same number of threads, it ends with the bits of a run
    that was never stopped.  ``max_minutes`` depends on the clock and promises no such thing.

    Raises InputError for options that cannot be used, a folder that holds another run, and a
    ``resume`` without one or with other options or data; TrainingError where a loss or gradient
    is not finite.  torch's random state is as before when it returns.
    """
    options.check()
    slow = slow_on_gpu(objective.network)
    avoids_gpu = slow is not None and options.device == "auto"
    processes = Processes("cpu" if avoids_gpu else options.device)
    devices = [processes.device] if processes.device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices))
        stack.enter_context(denormals_flushed())
        precision = precision_of_use(options.precision, processes.device)
        stack.enter_context(products_of(precision))
        folder = None
        # only process 0 has a folder: on several machines the others need not see its disk
        if options.run_folder is not None and processes.rank == 0:
            folder = stack.enter_context(RunFolder(options.run_folder, options.force))
        run = _Run(objective, options, processes, folder)
        progress = stack.enter_context(
            Progress(options.verbose if options.speaks else 0, objective.unit)
        )
        if precision != options.precision and options.speaks:
            progress.say(
                f"precision {options.precision} is no faster on this processor: {precision} is used"
            )
        if avoids_gpu and torch.cuda.is_available() and options.speaks:
            progress.say(f"a GPU would run the layers step by step, so the CPU is used: {slow}")
        elif slow and processes.device.type != "cpu" and options.speaks:
            progress.say(f"the GPU runs the layers step by step, which is slow: {slow}")
        return run.to_the_end(progress)


class _Run:
    """Everything that changes while a network is trained."""

    def __init__(
        self,
        objective: Objective,
        options: TrainingOptions,
        processes: Processes,
        folder: RunFolder | None,
    ) -> None:
        self.objective, self.options, self.processes = objective, options, processes
        self.steps_in_epoch = objective.steps_in_epoch()
        if self.steps_in_epoch < 1:
            raise InputError("expected training data for at least one step, got none; give more")
        self.limits = Limits(options, self.steps_in_epoch)
        self.evaluate_every = options.steps_between_evaluations(self.steps_in_epoch)
        self.position = Position()
        self.carry: Any = None
        self.best: dict[str, Tensor] | None = None
        self.settings = self._settings()
        self.folder = folder
        state = processes.first(self._open_folder)

        self.network = objective.network.to(processes.device)
        processes.share(self.network)
        self.named_parameters = list(self.network.named_parameters())
        self.trained = [p for p in self.network.parameters() if p.requires_grad]
        self.buffers = [b for b in self.network.buffers() if b.is_floating_point()]
        self.optimizer = build_optimizer(options.optimizer, self.named_parameters, options)
        self.learning_rate = options.resolved_learning_rate()
        self.average = WeightAverage(self.network, options.average) if options.average else None
        if state is not None:
            self._restore(state)
            if self.folder is not None:
                self.folder.went_on(self.settings, self.position.history)
        self.began = time.monotonic() - self.position.seconds
        self.saved_at = self.drawn_at = self.position.seconds
        self.saved_step, self.save_cost_s = self.position.step, 0.0

    def to_the_end(self, progress: Progress) -> TrainingResult:
        self.network.train()
        # several processes are not interrupted at the same step, and can only save together
        alone = self.processes.world == 1 and self.folder is not None
        with interruption_noted() if alone else nullcontext(lambda: 0) as interrupted:
            while self.limits.reached(self.position) is None:
                self._train_epoch(progress, interrupted)
        if self._evaluated_step() != self.position.step:
            self._evaluate(progress)
        if self.position.step != self.saved_step:
            self._save()
        if self.folder is not None:
            self._draw()
        assert self.best is not None  # the first evaluation is the best so far
        self.network.load_state_dict(self.best)
        self.network.eval()
        at = self.position
        told = hindsight(as_columns(at.history), at.best_step, self.objective.metric)
        if told is not None and self.options.speaks:
            progress.say(told)
        best_row = next(row for row in at.history if row["step"] == at.best_step)
        return TrainingResult(
            history=at.history,
            metrics={k: v for k, v in best_row.items() if k not in COLUMNS},
            best_step=at.best_step,
            steps=at.step,
            epochs=at.step / self.steps_in_epoch,
            seconds=at.seconds,
            stopped=self.limits.reached(at) or "",
        )

    def _train_epoch(self, progress: Progress, interrupted: Callable[[], int]) -> None:
        """The rest of the epoch, or of the run if that is shorter."""
        at, objective, processes = self.position, self.objective, self.processes
        epoch = at.epoch
        batches = objective.batches(epoch, at.batch, processes.rank, processes.world)
        for batch in batches:
            loss, count = self._train_step(batch)
            progress.step(self.limits.fraction(at, at.step), epoch, loss, count)
            if self._evaluation_due():
                self._evaluate(progress)
            if processes.rank == 0:
                with torch.no_grad():
                    text = objective.at_step(at.step, self.network)
                if text is not None:
                    progress.say(text)
                if not self.network.training:
                    self.network.train()
            if at.seconds - self.saved_at >= self.options.checkpoint_seconds:
                self._save()
            if number := interrupted():
                if self.saved_step != at.step:
                    self._save()
                signal.raise_signal(number)  # the second one interrupts
                raise KeyboardInterrupt
            if at.epoch > epoch or self.limits.reached(at) is not None:
                return
        raise RuntimeError(
            f"expected {self.steps_in_epoch} batches in epoch {epoch + 1}, got {at.batch}"
        )

    def _train_step(self, batch: Any) -> tuple[float, float]:
        """One optimiser step; the mean loss and the number of units, over all processes."""
        at, options = self.position, self.options
        seed_step(options.seed, at.step, self.processes.rank, 0, self.processes.device)
        result = None
        for parameter in self.trained:  # Optimizer.zero_grad takes 40 µs for the same
            parameter.grad = None
        if batch is not None:
            batch = self.processes.to_device(batch)
            result = self.objective.loss(self.network, batch, self.carry)
            result.loss.backward()
        if self.processes.world == 1:
            assert result is not None  # process 0 has rows in every batch
            loss, count = result.loss.item(), result.count
            seconds = time.monotonic() - self.began
        else:
            loss, count = (0.0, 0) if result is None else (result.loss.item(), result.count)
            loss, count, seconds = self.processes.sum_gradients(
                self.trained, self.buffers, loss, count, time.monotonic() - self.began
            )
        gradients = [p.grad for p in self.trained if p.grad is not None]
        norm = gradient_norm(gradients)
        length = norm.item()
        if not (math.isfinite(loss) and math.isfinite(length)):
            folder = self.options.run_folder if self.saved_step else None
            raise not_finite(at, loss, self.named_parameters, folder, self.saved_step)
        if options.clip_norm is not None and length > options.clip_norm:
            clip_grads_with_norm_(self.trained, options.clip_norm, norm)
        # the middle of the step: neither the first nor the last has a factor of 0
        progress = self.limits.fraction(at, at.step + 0.5)
        factor = learning_rate_factor(options.schedule, progress, options.warmup)
        at.learning_rate = self.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = at.learning_rate
        self.optimizer.step()

        at.step += 1
        at.batch += 1
        at.seconds = seconds
        at.loss_sum += loss * count
        at.units += count
        self.carry = result.carry if result is not None else None
        if at.batch == self.steps_in_epoch:
            at.epoch, at.batch, self.carry = at.epoch + 1, 0, None
        if self.average is not None:
            self.average.update(at.step)
        return loss, count

    def _evaluate(self, progress: Progress) -> None:
        """Add a row to the history, and keep the weights if they are the best so far."""
        at, name = self.position, self.objective.metric
        with torch.no_grad(), self.average.applied() if self.average else nullcontext():
            metrics, at.seconds, save = self.processes.first(self._measure)
            value = metrics[name]
            lower = self.objective.lower_is_better
            better = is_better(at, value, metrics.get("validation_loss"), lower_is_better=lower)
            if better:
                self.best = {n: t.clone() for n, t in self.network.state_dict().items()}
        if better:
            at.best_step, at.best_value, at.waited = at.step, value, 0
        else:
            at.waited += 1
        row = {
            "step": at.step,
            "epoch": math.ceil(at.step / self.steps_in_epoch),
            "seconds": round(at.seconds, 3),
            "learning_rate": at.learning_rate,
            "train_loss": at.loss_sum / at.units if at.units else math.nan,
            **metrics,
        }
        at.history.append(row)
        at.loss_sum = at.units = 0.0
        progress.evaluated(row, name)
        if save:
            self._save()
        if self.folder is not None:
            with self.folder.writing():
                self.folder.append_metrics(row)
            if at.seconds - self.drawn_at >= _DRAW_EVERY_S:
                self._draw()

    def _measure(self) -> tuple[dict[str, float], float, bool]:
        """Validation figures, the time, and whether to save the state now."""
        seed_step(self.options.seed, self.position.step, 0, 1, self.processes.device)
        self.network.eval()
        with products_of("float32"):  # figures are exact
            metrics = {k: float(v) for k, v in self.objective.evaluate(self.network).items()}
        self.network.train()
        seconds = time.monotonic() - self.began
        # saving must not become the main work of a run that evaluates often
        return metrics, seconds, seconds - self.saved_at >= 20 * self.save_cost_s

    def _evaluation_due(self) -> bool:
        return self.position.step % self.evaluate_every == 0

    def _evaluated_step(self) -> float:
        history = self.position.history
        return history[-1]["step"] if history else 0

    def _settings(self) -> dict[str, Any]:
        settings = {
            "options": self.options.to_json(),
            "objective": self.objective.describe(),
            "fingerprint": self.objective.fingerprint(),
            "processes": self.processes.world,
        }
        return json.loads(json.dumps(settings))  # tuples become lists, as in a saved state

    def _open_folder(self) -> TrainingState | None:
        if self.folder is None:
            return None
        if self.options.resume:
            return self.folder.go_on(self.settings)
        self.folder.begin(self.settings)
        return None

    def _restore(self, state: TrainingState) -> None:
        average = {} if self.average is None else self.average.named()
        try:
            check_position(state, self.steps_in_epoch, FIRST_COLUMNS, self.objective.metric)
            check_tensors(state, self.network, self.options, average)
            self.network.load_state_dict(state.under("weights"))
            self.carry = restored_carry(state, self.objective, self.network, self.processes)
        except ValueError as e:
            problem = f"expected the training state of this network, got another's: {e}; {remedy()}"
            raise ModelFileError(problem, file=self.options.run_folder) from e
        restore_optimizer(self.optimizer, state.under("optimizer"))
        if self.average is not None:
            self.average.load(state.under("average"))
        if state.position.best_step:
            device = self.processes.device
            self.best = {name: t.to(device) for name, t in state.under("best").items()}
        self.position = state.position

    def _save(self) -> None:
        """Write the training state; every process takes part."""
        self.saved_at, self.saved_step = self.position.seconds, self.position.step
        if self.options.run_folder is None:
            return
        nesting, leaves = flatten(self.carry)
        carries = self.processes.gather((nesting, [_array(leaf) for leaf in leaves]))
        if self.folder is None:
            return
        began = time.monotonic()
        groups: dict[str, dict[str, Tensor]] = {
            "weights": self.network.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer),
            "best": self.best or {},
            "average": self.average.named() if self.average is not None else {},
        }
        tensors = {f"{g}.{n}": _array(t) for g, group in groups.items() for n, t in group.items()}
        for rank, (_, arrays) in enumerate(carries):
            tensors |= {f"carry.{rank}.{i}": array for i, array in enumerate(arrays)}
        nestings = [nesting for nesting, _ in carries]
        with self.folder.writing():
            self.folder.save(TrainingState(self.position, nestings, self.settings, tensors))
        self.save_cost_s = time.monotonic() - began

    def _draw(self) -> None:
        assert self.folder is not None
        at = self.position
        with self.folder.writing():
            self.folder.draw_curve(at.history, at.best_step)
        self.drawn_at = at.seconds


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()

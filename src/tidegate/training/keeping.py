"""What a run leaves in its folder as it goes: states, rows and curves, and when it writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tidegate.model.container import ModelFileError
from tidegate.training.curve import FIRST_COLUMNS
from tidegate.training.learner import Learner, as_array
from tidegate.training.objective import Objective
from tidegate.training.options import TrainingOptions
from tidegate.training.processes import Processes
from tidegate.training.resuming import check_position
from tidegate.training.run_folder import RunFolder
from tidegate.training.state import LIMITS, Position, TrainingState, remedy

_DRAW_EVERY_S = 30.0
_SAVING = 20  # times as long as a save takes lies between two


class Keeper:
    """Keeps the run of ``objective`` in ``folder``; process 0 alone has one, and writes.

    ``prepared``: what was decided by the clock before the run (`Preparation`).
    """

    def __init__(
        self,
        objective: Objective,
        options: TrainingOptions,
        processes: Processes,
        folder: RunFolder | None,
        prepared: dict[str, float],
    ) -> None:
        self._options, self._processes, self._folder = options, processes, folder
        settings = {
            "options": options.to_json(),
            "objective": objective.describe() | prepared,
            "fingerprint": objective.fingerprint(),
            "processes": processes.world,
        }
        self._settings = json.loads(json.dumps(settings))  # tuples become lists, as when saved
        self._state: TrainingState | None = processes.first(self._open)
        self.saved_step, self.saving_s = 0, 0.0  # the step of the last save, and what it took
        self._saved_at = self._drawn_at = 0.0
        self._reached: tuple[int, ...] = ()  # of the last save

    def restore(
        self, learner: Learner, objective: Objective, everything: Callable[[], Objective] | None
    ) -> Position:
        """Where the run stands; the learner is as it was there.  Raises ModelFileError."""
        state, self._state = self._state, None
        if state is None:
            return Position()
        try:
            learned = objective
            if state.position.refit_from:
                if everything is None:
                    raise ValueError("position refit_from: expected 0, since nothing is held out")
                learned = everything()
            check_position(state, learned.steps_in_epoch(), FIRST_COLUMNS, objective.metric)
            learner.restore(state, learned)
        except ValueError as e:
            problem = f"expected the training state of this network, got another's: {e}; {remedy()}"
            raise ModelFileError(problem, file=self._options.run_folder) from e
        then, now = (s["options"] for s in (state.settings, self._settings))
        if any(then.get(name) != now[name] for name in LIMITS):
            state.position.stopped = ""  # it may go on
        if self._folder is not None:
            self._folder.went_on(self._settings, state.position.history)
        at = state.position
        self.saved_step, self._reached = at.step, _reached(at)
        self._saved_at = self._drawn_at = at.seconds
        return at

    def may_save(self, seconds: float) -> bool:
        """Whether saving at this moment would not become the main work of the run."""
        return seconds - self._saved_at >= _SAVING * self.saving_s

    def save_due(self, at: Position) -> bool:
        return at.seconds - self._saved_at >= self._options.checkpoint_seconds

    def save(self, at: Position, learner: Learner) -> None:
        """Write the training state, unless it is there; every process takes part."""
        self._saved_at, self.saved_step = at.seconds, at.step
        if _reached(at) == self._reached:
            return
        self._reached = _reached(at)
        if self._options.run_folder is None:
            return
        nestings, carries = learner.carried()
        self.saving_s = self._processes.first(lambda: self._write(at, nestings, carries, learner))

    def _write(
        self, at: Position, nestings: list[Any], carries: dict[str, Any], learner: Learner
    ) -> float:
        assert self._folder is not None
        began = time.monotonic()
        groups = learner.tensors().items()
        tensors = {f"{g}.{n}": as_array(t) for g, group in groups for n, t in group.items()}
        with self._folder.writing():
            self._folder.save(TrainingState(at, nestings, self._settings, tensors | carries))
        return time.monotonic() - began

    def add_row(self, at: Position) -> None:
        """The last row of the history, and now and then the curve."""
        if self._folder is None:
            return
        with self._folder.writing():
            self._folder.append_metrics(at.history[-1])
        if at.seconds - self._drawn_at >= _DRAW_EVERY_S:
            self.draw(at)

    def draw(self, at: Position) -> None:
        if self._folder is None:
            return
        with self._folder.writing():
            self._folder.draw_curve(at.history, at.best_step)
        self._drawn_at = at.seconds

    def _open(self) -> TrainingState | None:
        if self._folder is None:
            return None
        if self._options.resume:
            return self._folder.go_on(self._settings)
        self._folder.begin(self._settings)
        return None


def _reached(at: Position) -> tuple[int, ...]:
    """What tells one state of a run from another."""
    return at.step, len(at.history), at.tail_from, at.refit_from, len(at.stopped)

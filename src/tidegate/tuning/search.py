"""The trials of a search, one after the other, each watched and ended early where it is behind."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate.comparison.experiments.experiment import Experiment
from tidegate.comparison.runs.runs import copy_of
from tidegate.errors import InputError
from tidegate.tasks.estimator import Estimator
from tidegate.training.clock import counting_from
from tidegate.training.watching import watched_by
from tidegate.tuning.progress import TuningProgress
from tidegate.tuning.space import Space, resolved
from tidegate.tuning.study import TENTHS, defaults_of, keep_defaults, next_trial

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

_MOST_FAILURES = 10  # trials that fail one after another
_MARGIN = 1.1  # a trial may take so many times as long as those before it ...
_MOST_OF_LIMIT = 1.2  # ... and so many times as long as its minutes


class _Behind(Exception):
    """A trial is behind others at the same part of their runs."""


class _OutOfTime(Exception):
    """The search has no more time."""


@dataclass
class Watch:
    """One run, looked at after each tenth of it.

    ``trial``: is told the figures, and says when the run is behind; None: it is only looked at.
    ``metric``: the figure, of which less is better.  ``until``: by ``time.monotonic``.  ``curve``:
    the best figure by the end of each tenth.
    """

    metric: str
    trial: Trial | None
    until: float
    moved: Callable[[float], None]
    curve: dict[int, float] = field(default_factory=dict)
    _best: float = math.inf

    def wants_figures(self, fraction: float) -> bool:
        self.moved(fraction)
        if time.monotonic() > self.until:
            raise _OutOfTime
        return _tenths(fraction) > max(self.curve, default=0)

    def evaluated(self, fraction: float, row: Mapping[str, float]) -> None:
        """A tenth that no evaluation fell in has the figure of the next evaluation."""
        value = row.get(self.metric, row.get("validation_loss", math.nan))
        if math.isfinite(value):
            self._best = min(self._best, value)
        if not math.isfinite(self._best):
            return
        for tenth in range(max(self.curve, default=0) + 1, _tenths(fraction) + 1):
            self.curve[tenth] = self._best
            if self.trial is not None:
                self.trial.report(self._best, tenth)
        if self.trial is not None and fraction < 1 and self.trial.should_prune():
            raise _Behind


def _tenths(fraction: float) -> int:
    """Those that are over; a run that is slower than it seemed may be beyond its end."""
    return int(TENTHS * min(fraction, 1.0))


@dataclass
class Search:
    """A search of ``model``'s options in ``space``, whose trials ``study`` keeps.

    ``deadline``: the moment, by ``time.monotonic``, by which all is over (infinite: whenever), also
    the ``runs_after`` the search; ``trials``: how many at most (infinite: any number).
    """

    experiment: Experiment
    model: Estimator
    space: Space
    study: Study
    deadline: float
    runs_after: int
    trials: float
    progress: TuningProgress
    scoring_s: float = 0.0  # seconds that figures on the held-out part take
    _seconds: list[float] = field(default_factory=list)  # of each run

    def go(self) -> None:
        """Run trials within the limits.

        Raises InputError where the defaults cannot be trained, or trial after trial fails.
        """
        defaults = defaults_of(self.study)
        if defaults is None:
            defaults = self._run_defaults()
            self.trials -= 1
        done = failed = 0
        self._seconds.append(defaults["seconds"])
        self.scoring_s = defaults["scoring_seconds"]
        self.progress.best = defaults["value"]
        while done < self.trials and time.monotonic() + self._run_s < self._until:
            problem = self._run_trial(done)
            done += 1
            failed = 0 if problem is None else failed + 1
            if failed == _MOST_FAILURES:
                raise InputError(
                    f"expected trials that can be trained, got {failed} that failed one after "
                    f"another, the last one since {problem}; narrow the space"
                )

    @property
    def _until(self) -> float:
        """The moment by which the search is over: what comes after it is runs, too."""
        return self.deadline - self.runs_after * (self._run_s + _MARGIN * self.scoring_s)

    @property
    def _run_s(self) -> float:
        """Seconds that a run of full length takes, and a little more."""
        seconds = _MARGIN * statistics.median(self._seconds)
        minutes = self.model.max_minutes  # the first run, which also loads, may take longer
        return seconds if minutes is None else min(seconds, _MOST_OF_LIMIT * 60 * minutes)

    def _run_defaults(self) -> dict[str, Any]:
        self.progress.begin("defaults", 0.0)
        model = copy_of(self.model)
        watch = Watch(self.experiment.metric.name, None, math.inf, self.progress.moved)
        began = time.monotonic()
        with watched_by(watch), counting_from(began):
            self.experiment.fit(model)
        value = model.metrics_[self.experiment.metric.name]
        if not math.isfinite(value):
            raise InputError(
                f"expected a {self.experiment.metric.label} of the defaults that is a number, got "
                f"{value}; look at the data"
            )
        seconds = time.monotonic() - began
        if self.runs_after:  # the figures are not looked at: only how long they take
            self.experiment.held_out_losses(model)
        about = {
            "value": value,
            "curve": watch.curve,
            "seconds": seconds,
            "scoring_seconds": time.monotonic() - began - seconds,
            "parameters": model.runtime_.architecture.parameter_count(),
        }
        options = {name: resolved(model, name) for name in model.get_params()}
        keep_defaults(self.study, self.space, options, about)
        self.progress.done(f"defaults: {self._told(value)}, {seconds:.1f} s")
        return about

    def _run_trial(self, done: int) -> str | None:
        """One trial; what it failed by, or None."""
        from optuna.trial import TrialState

        trial, drawn = next_trial(self.study, self.space, self.model.seed)
        self.progress.begin(f"trial {trial.number}", done / self.trials)
        metric = self.experiment.metric.name
        watch = Watch(metric, trial, self._until, self.progress.moved)
        began, value, problem = time.monotonic(), None, None
        state, ended = TrialState.FAIL, ""
        try:
            model = copy_of(self.model, **self.space.options(drawn))
            with watched_by(watch), counting_from(began):
                self.experiment.fit(model)
            value = model.metrics_[metric]
            if math.isfinite(value):
                state, ended = TrialState.COMPLETE, self._told(value)
                trial.set_user_attr("parameters", model.runtime_.architecture.parameter_count())
            else:
                problem = f"its {metric} is {value}"
        except _Behind:
            state, ended = TrialState.PRUNED, "stopped, as it was behind others"
        except _OutOfTime:
            problem, ended = None, "stopped at the end of the time"
        except KeyboardInterrupt:
            self.study.tell(trial, state=TrialState.FAIL)
            raise
        except Exception as e:  # of these options: others may do
            problem = str(e) if isinstance(e, InputError) else f"{type(e).__name__}: {e}"
        if problem is not None:
            ended = f"failed: {problem}"
            trial.set_user_attr("problem", problem)
        seconds = time.monotonic() - began
        if state is TrialState.COMPLETE:
            self._seconds.append(seconds)
        trial.set_user_attr("seconds", seconds)
        self.study.tell(trial, value if state is TrialState.COMPLETE else None, state=state)
        if state is TrialState.COMPLETE and value is not None:
            self.progress.best = min(self.progress.best, value)
        self.progress.done(f"trial {trial.number}: {ended}, {seconds:.1f} s")
        return problem

    def _told(self, value: float) -> str:
        return f"validation {self.experiment.metric.label} {value:.4g}"

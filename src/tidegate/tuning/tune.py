"""``tune``: options searched on one's own data within a time, and what that gained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tidegate.comparison.experiments.experiment import Experiment
from tidegate.comparison.experiments.of_tasks import experiment_of, held_back
from tidegate.comparison.runs.runs import copy_of
from tidegate.errors import InputError, shown, spelled
from tidegate.tasks.estimator import Estimator
from tidegate.training.clock import work_began
from tidegate.training.option_values import check_value, plain
from tidegate.tuning.fingerprint import fingerprint
from tidegate.tuning.gain import Gain, measured
from tidegate.tuning.progress import TuningProgress
from tidegate.tuning.result import Tried, Tuning
from tidegate.tuning.search import Search
from tidegate.tuning.space import Space, Told, space_of
from tidegate.tuning.study import (
    PRUNERS,
    defaults_of,
    hidden_password,
    importances_of,
    is_defaults,
    open_study,
    trial_minutes_of,
)

if TYPE_CHECKING:
    from optuna.study import Study

SHARE = 0.2  # of the data that the search never sees
TRIALS = 10  # runs of full length for which the minutes are enough, beside those of the gain


class SearchInterrupted(KeyboardInterrupt):
    """The search was interrupted; ``result`` is what is done so far, None before any trial."""

    def __init__(self, result: Tuning | None) -> None:
        super().__init__()
        self.result = result


def tune(
    model: Estimator,
    *data: Any,
    minutes: float | None = None,
    trials: int | None = None,
    fix: Sequence[str] = (),
    space: Mapping[str, Told] | None = None,
    seeds: int = 3,
    validation: Any = None,
    test: Any = None,
    pruner: str = "median",
    storage: str | None = None,
    study: str | None = None,
    resume: bool = False,
    command: Callable[[Mapping[str, Any]], str] | None = None,
    **told: Any,
) -> Tuning:
    """Search the options of ``model`` on ``data``, what its ``fit`` takes, for ``minutes``.

    ``told`` is what ``fit`` takes by name, such as ``time="date"`` of a forecaster.

    Searched are the options that say how, such as the learning rate, hidden sizes and the cell, if
    they are at their defaults; those in ``fix`` are not.  ``space`` says what is drawn instead, by
    name: ``{"learning_rate": (1e-4, 1e-2), "units": [64, 128], "cell": ["gru", "lstm"]}``; names
    are those of options, and ``units`` and ``layers`` of ``hidden_sizes``.

    The data are parted once, by the model's seed: to train, to validate by, and a part that the
    search never sees, ``test`` or a fifth.  Every trial trains with the limits of ``model``, such
    as ``max_minutes``; without any, with its defaults, and in a part of ``minutes``.  A trial that
    is behind others is stopped (``pruner``: median, hyperband or none).  At the end the defaults
    and the winner are trained with ``seeds`` new seeds each and measured on the part held out, with
    the paired test of ``compare``; 0: they are not.  ``trials``: stop after so many trials, the
    defaults among them.

    ``storage``: the URL of a database, such as ``sqlite:///study.db``, that keeps the trials under
    the name ``study``; several processes and machines may work on one study.  With ``resume``
    trials are added to one that is there; other data or other options are refused.  ``command``
    makes of the winner's options the line that trains it.

    >>> import tidegate as tg
    >>> texts, labels = ["a good film", "a bad film"] * 20, ["good", "bad"] * 20
    >>> model = tg.TextClassifier(hidden_sizes=(8,), max_steps=5, verbose=0)
    >>> result = tg.tune(model, texts, labels, trials=3, seeds=1, space={"cell": ["gru", "mgu"]})
    >>> len(result.trials), result.options["cell"] in ("gru", "mgu")
    (3, True)

    Needs Optuna, as ``pip install 'tidegate[tune]'`` brings it.  Raises InputError for options,
    data or a study that cannot be used, and TypeError for what ``fit`` does not take; an
    interruption is a KeyboardInterrupt with ``result``.
    """
    began = work_began()
    import optuna  # noqa: F401  where one of them is missing, say so before the search
    import scipy  # noqa: F401

    from tidegate.training import loop  # noqa: F401  now: the first run must not look slow for it

    _check(minutes, trials, seeds, pruner)
    given, speaks = model, model.speaks
    model = copy_of(model, run_folder=None, resume=False, refit=False, baseline=False)
    model.set_params(verbose=0, **_silent(model))
    model.check()
    searched = space_of(model, fix, space)
    name = study or f"{model.TASK}"
    kept = trial_minutes_of(storage, name) if resume else None
    model.set_params(**limits_of(model, minutes, seeds, kept))
    experiment = _experiment(model, data, told, validation, test)
    opened = open_study(storage, name, pruner, _agreed(model, searched, experiment), resume=resume)
    deadline = math.inf if minutes is None else began + 60 * minutes
    outcome = _Outcome(given, model, searched, experiment, opened, name, storage, command)
    with TuningProgress(speaks, began, deadline) as progress:
        search = Search(
            experiment=experiment,
            model=model,
            space=searched,
            study=opened,
            deadline=deadline,
            runs_after=2 * seeds,
            trials=math.inf if trials is None else trials,
            progress=progress,
        )
        try:
            search.go()
            gain, fitted = None, None
            winner = outcome.best
            if seeds and not winner.defaults:
                chosen = copy_of(model, **winner.options)
                gain, fitted = measured(
                    experiment, model, chosen, seeds, deadline, search.scoring_s, progress
                )
        except KeyboardInterrupt:
            done = defaults_of(opened) is not None
            raise SearchInterrupted(outcome.result(None, None) if done else None) from None
    return outcome.result(gain, fitted)


class _Outcome:
    """What a study holds, as a result."""

    def __init__(
        self,
        given: Estimator,
        model: Estimator,
        space: Space,
        experiment: Experiment,
        study: Study,
        name: str,
        storage: str | None,
        command: Callable[[Mapping[str, Any]], str] | None,
    ) -> None:
        self.given, self.model = given, model
        self.space, self.experiment = space, experiment
        self.study, self.name, self.storage, self.command = study, name, storage, command

    @property
    def trials(self) -> list[Tried]:
        """Those that have ended; the defaults first where they are none of the study's trials."""
        found = []
        for t in self.study.get_trials(deepcopy=False):
            if not t.state.is_finished():
                continue
            complete = t.state.name == "COMPLETE"
            drawn = {n: t.params[n] for n in self.space.dimensions if n in t.params}
            whole = len(drawn) == len(self.space.dimensions)
            found.append(
                Tried(
                    number=t.number,
                    state=t.state.name.lower(),
                    value=t.value if complete else None,
                    seconds=t.user_attrs.get("seconds", 0.0),
                    drawn=drawn,
                    options={} if is_defaults(t) or not whole else self.space.options(drawn),
                    defaults=is_defaults(t),
                    parameters=t.user_attrs.get("parameters"),
                )
            )
        defaults = defaults_of(self.study)
        if defaults is not None and not any(t.defaults for t in found):
            found.insert(0, _defaults(defaults, None))
        return found

    @property
    def best(self) -> Tried:
        return min((t for t in self.trials if t.value is not None), key=lambda t: t.value or 0.0)

    def result(self, gain: Gain | None, fitted: Any) -> Tuning:
        best, e = self.best, self.experiment
        options = {**self._limits(), **best.options}
        return Tuning(
            task=self.model.TASK,
            metric=e.metric,
            held_out=e.size,
            unit=e.unit,
            study=self.name,
            storage=hidden_password(self.storage),
            trials=self.trials,
            best=best,
            importances=importances_of(self.study),
            gain=gain,
            estimator=copy_of(self.given, **options),
            model=fitted,
            limits=_told(self.model),
            command=None if self.command is None else self.command(options),
        )

    def _limits(self) -> dict[str, Any]:
        """Those of a trial that the task does not have by itself."""
        names = ("epochs", "fewest_steps", "max_steps", "max_minutes")
        limits = {name: getattr(self.model, name) for name in names}
        return {name: v for name, v in limits.items() if v is not None}


def _defaults(about: Mapping[str, Any], number: int | None) -> Tried:
    return Tried(
        number=number,
        state="complete",
        value=about["value"],
        seconds=about["seconds"],
        drawn={},
        options={},
        defaults=True,
        parameters=about["parameters"],
    )


def limits_of(
    model: Any, minutes: float | None, seeds: int, kept: float | None = None
) -> dict[str, Any]:
    """The limits of a trial: the model's own, else its defaults and a share of ``minutes``.

    ``kept``: the minutes of a trial that the study was begun with.
    """
    limits = {}
    if model.max_minutes is None:
        share = None if minutes is None else minutes / (TRIALS + 2 * seeds)
        share = share if kept is None else kept
        if share is not None:
            limits["max_minutes"] = float(f"{share:.3g}")
    if model.is_unlimited:
        limits["epochs"] = model.DEFAULT_EPOCHS
        if model.fewest_steps is None and model.DEFAULT_STEPS:
            limits["fewest_steps"] = model.DEFAULT_STEPS
    return limits


def _check(minutes: float | None, trials: int | None, seeds: int, pruner: str) -> None:
    if minutes is None and trials is None:
        raise InputError(
            f"expected {spelled('minutes')} or {spelled('trials')}, got neither; say how long to "
            "search"
        )
    check_value("minutes", plain(minutes), float | None, {"bounds": {"above": 0}})
    check_value("trials", plain(trials), int | None, {"bounds": {"at least": 1}})
    check_value("seeds", plain(seeds), int, {"bounds": {"at least": 0}})
    if pruner not in PRUNERS:
        raise InputError(
            f"expected one of {', '.join(PRUNERS)}, got {shown(pruner)}; choose one",
            option="pruner",
        )


def _silent(model: Any) -> dict[str, Any]:
    """A language model writes no samples in trials."""
    return {"sample_steps": ()} if hasattr(model, "sample_steps") else {}


def _experiment(
    model: Any, data: tuple[Any, ...], told: Mapping[str, Any], validation: Any, test: Any
) -> Experiment:
    """The data, parted once; a part is held out that the search never sees."""
    parted = model
    if test is None:
        parted = copy_of(model, **held_back(model, SHARE))
        model.set_params(**held_back(model, SHARE))
    experiment = experiment_of(parted, data, validation, test, **told)
    if experiment.held_out != "test":
        raise InputError(
            "expected data of which a part can be held out, which the search never sees, got too "
            "few; give more, or data to test by"
        )
    return experiment


def _agreed(model: Any, space: Space, experiment: Experiment) -> dict[str, Any]:
    """What all trials of a study have in common, by what it is called in a message."""
    searched = space.options_searched
    options = {
        name: str(value)
        for name, value in model.get_params().items()
        if name not in searched and name not in ("max_minutes", "verbose", "device", "force")
    }
    defaults = type(model)().get_params()
    changed = {n: v for n, v in options.items() if v != str(defaults[n])}
    return {
        "task": model.TASK,
        "data": fingerprint(vars(experiment)),
        "space": space.to_json(),
        "options": changed,
        "minutes of a trial": model.max_minutes,
    }


def _told(model: Any) -> str:
    """The limits of a trial in words."""
    limits = {
        "epochs": model.epochs,
        "steps": model.max_steps,
        "minutes": model.max_minutes,
    }
    given = " or ".join(f"{n:g} {what}" for what, n in limits.items() if n is not None)
    return f"trained for at most {given}"

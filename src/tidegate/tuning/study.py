"""Trials in Optuna's storage, which several processes and machines may share.

Source: Akiba, Sano, Yanase, Ohta & Koyama 2019, "Optuna: A Next-generation Hyperparameter
Optimization Framework", arXiv:1907.10902.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.errors import InputError, shown, spelled
from tidegate.training.search_space import Dimension
from tidegate.tuning.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

PRUNERS = ("median", "hyperband", "none")
TENTHS = 10  # of a run, after each of which its figure so far is held against those of others

_KEPT = "tidegate"  # of a study: what all of its trials have in common
_DEFAULTS = "defaults"  # of a study: what the defaults came to
_WAIT_S = 60  # for another process that writes to the same file of SQLite


def open_study(
    storage: str | None, name: str, pruner: str, agreed: Mapping[str, Any], *, resume: bool
) -> Study:
    """The study ``name``: a new one, or with ``resume`` the one that is there.

    ``storage``: a URL as SQLAlchemy takes it, or None: in this process alone.  ``agreed``: what all
    trials have in common, in JSON's types.  Raises InputError where the storage cannot be used,
    and for a study that is there, or is not there, or is about something else.
    """
    import optuna
    from optuna.exceptions import DuplicatedStudyError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    if resume and storage is None:
        problem = f"expected a {spelled('storage')} with the study to go on with, got none; name it"
        raise InputError(problem, option="resume")
    try:
        with _quiet():
            kept: Any = None if storage is None else _storage(storage)
            about = {"storage": kept, "study_name": name, "pruner": _pruner(pruner)}
            if resume:
                study = optuna.load_study(**about)
            else:
                study = optuna.create_study(**about, direction="minimize")
                study.set_user_attr(_KEPT, json.dumps(agreed))
    except DuplicatedStudyError:
        raise InputError(
            f"expected a study that is not there yet, got {shown(name)}, which is; add trials to "
            f"it with {spelled('resume', True)}, or name another with {spelled('study')}",
            option="study",
        ) from None
    except KeyError:
        raise InputError(
            f"expected a study to go on with, got none that is called {shown(name)}; leave it out "
            "to begin one, or name the study and the storage that were begun with",
            option="resume",
        ) from None
    except (ArgumentError, ImportError, SQLAlchemyError, ValueError, RuntimeError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise InputError(
            "expected the URL of a database that can be used, such as sqlite:///study.db, got "
            f"{hidden_password(storage)}: {reason}; correct it, or install its driver",
            option="storage",
        ) from e
    if resume:
        _refuse_others(study, agreed)
    return study


def trial_minutes_of(storage: str | None, name: str) -> float | None:
    """The minutes of a trial that a study was begun with; None where there is no such study."""
    import optuna

    if storage is None:
        return None
    try:
        with _quiet():
            study = optuna.load_study(study_name=name, storage=_storage(storage))
            return json.loads(study.user_attrs[_KEPT])["minutes of a trial"]
    except Exception:  # open_study says what is wrong
        return None


def hidden_password(storage: str | None) -> str:
    """A storage as it may be shown."""
    if storage is None:
        return "none"
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(storage).render_as_string(hide_password=True)
    except ArgumentError:
        return shown(storage)


def next_trial(study: Study, space: Space, seed: int) -> tuple[Trial, dict[str, Any]]:
    """A new trial, and what is drawn for it.

    It follows from the seed, the trial's number and the trials before it, so that a study that is
    resumed asks what one that was never stopped would have asked, and no two machines ask the same.
    """
    from tidegate.tuning.sampler import NearDefaults

    trial = study.ask()
    own = int(np.random.SeedSequence([seed % 2**32, trial.number]).generate_state(1)[0])
    study.sampler = NearDefaults(own, (defaults_of(study) or {}).get("drawn", {}))
    return trial, {name: _drawn(trial, d) for name, d in space.dimensions.items()}


def keep_defaults(study: Study, space: Space, options: Mapping[str, Any], about: Any) -> None:
    """Note what the defaults came to: ``value``, ``curve``, ``seconds``, ``parameters``.

    ``options``: their values; where these are in the space, the defaults are a trial like others.
    """
    import optuna

    drawn = space.drawn(options)
    study.set_user_attr(_DEFAULTS, json.dumps({**about, "drawn": drawn}))
    if len(drawn) < len(space.dimensions):
        return
    study.add_trial(
        optuna.create_trial(
            params=drawn,
            distributions=_distributions(space),
            value=about["value"],
            intermediate_values={int(k): v for k, v in about["curve"].items()},
            user_attrs={_DEFAULTS: True} | {n: about[n] for n in ("seconds", "parameters")},
        )
    )


def defaults_of(study: Study) -> dict[str, Any] | None:
    """What ``keep_defaults`` noted; None before that."""
    text = study.user_attrs.get(_DEFAULTS)
    return None if text is None else json.loads(text)


def is_defaults(trial: FrozenTrial) -> bool:
    """Whether a trial is what ``keep_defaults`` added."""
    return bool(trial.user_attrs.get(_DEFAULTS))


def importances_of(study: Study) -> dict[str, float]:
    """How much of the differences between good trials and others each dimension accounts for.

    The most important first; nothing where fewer than four trials came to their end.  Source:
    Watanabe, Bansal & Hutter 2023, "PED-ANOVA", arXiv:2304.10255, which is Optuna's own evaluator.
    """
    import optuna

    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(done) < 4 or len({t.value for t in done}) < 2:
        return {}
    with _quiet():
        found = optuna.importance.get_param_importances(study)
    return {name: float(share) for name, share in found.items()}


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    made: dict[str, BaseDistribution] = {}
    for name, d in space.dimensions.items():
        if d.choices:
            made[name] = CategoricalDistribution(d.choices)
        elif d.whole:
            made[name] = IntDistribution(int(d.low), int(d.high), log=d.log)
        else:
            made[name] = FloatDistribution(d.low, d.high, log=d.log)
    return made


def _drawn(trial: Trial, d: Dimension) -> Any:
    if d.choices:
        return trial.suggest_categorical(d.name, d.choices)
    if d.whole:
        return trial.suggest_int(d.name, int(d.low), int(d.high), log=d.log)
    return trial.suggest_float(d.name, d.low, d.high, log=d.log)


def _pruner(name: str) -> Any:
    from optuna import pruners

    if name == "median":
        return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=1, max_resource=TENTHS)
    return pruners.NopPruner()


def _storage(url: str) -> Any:
    from optuna.storages import RDBStorage

    waits = {"connect_args": {"timeout": _WAIT_S}} if url.startswith("sqlite") else {}
    return RDBStorage(url, engine_kwargs=waits)


def _refuse_others(study: Study, agreed: Mapping[str, Any]) -> None:
    """Raise InputError where the study has other data, options or limits than ``agreed``."""
    text = study.user_attrs.get(_KEPT)
    if text is None:
        problem = "expected a study of tidegate tune, got one of another program; name another"
        raise InputError(problem, option="study")
    then, now = json.loads(text), json.loads(json.dumps(agreed))
    for name in now:
        if then.get(name) != now[name]:
            before, after = _apart(then.get(name), now[name])
            raise InputError(
                f"expected the {name} that the study was begun with, {before}, got {after}; give "
                "the same, or begin another study without it",
                option="resume",
            )


def _apart(before: Any, after: Any) -> tuple[str, str]:
    """Two different values in words; of two tables only what differs."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return str(before), str(after)
    names = [n for n in {**before, **after} if before.get(n) != after.get(n)]
    told = [", ".join(f"{n} {of[n]}" for n in names if n in of) for of in (before, after)]
    return told[0] or "without", told[1] or f"without {', '.join(names)}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says nothing on its own but for warnings."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)

"""A search of options: which trials there are, what stops them, and what is kept."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from searches import SPACE, classifier, database, fails_after, searched, texts

import tidegate as tg
from tidegate.comparison.experiments.answered import AnsweredExperiment
from tidegate.comparison.experiments.experiment import Metric
from tidegate.errors import InputError
from tidegate.training.watching import watched_by
from tidegate.tuning import search as searching
from tidegate.tuning import tune as tuning
from tidegate.tuning.fingerprint import fingerprint
from tidegate.tuning.progress import TuningProgress
from tidegate.tuning.search import Watch, _Behind
from tidegate.tuning.space import space_of
from tidegate.tuning.study import open_study
from tidegate.tuning.tune import SearchInterrupted

# trials


def test_the_defaults_come_first_and_are_a_trial_where_they_are_in_the_space() -> None:
    result = searched(model=classifier(hidden_sizes=(6,), embedding_size=6), space={})
    assert [t.defaults for t in result.trials] == [True, False, False]
    assert result.trials[0].drawn["cell"] == "gru"
    result = searched()  # 128 units are not
    assert [t.defaults for t in result.trials] == [True, False, False]
    assert result.trials[0].drawn == {}


def test_the_first_trials_keep_more_than_half_of_the_defaults() -> None:
    result = searched(model=classifier(hidden_sizes=(6,), embedding_size=6), space={}, trials=7)
    defaults, *others = (t.drawn for t in result.trials)
    kept = [drawn[name] == defaults[name] for drawn in others for name in drawn]
    assert 0.45 < np.mean(kept) < 0.9


def test_the_best_is_the_least_figure_and_its_estimator_has_the_options() -> None:
    result = searched(trials=4)
    assert result.best.value == min(t.value for t in result.trials)
    for name, value in result.options.items():
        assert getattr(result.estimator, name) == value
    assert result.estimator.max_steps == 10
    assert result.estimator.refit
    assert result.estimator.test_fraction == 0


def test_the_search_never_sees_the_part_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its answers turned round, every trial has the same figure."""
    before = searched()
    known: Any = AnsweredExperiment.__init__

    def turned(self: Any, *args: Any, **kwargs: Any) -> None:
        known(self, *args, **kwargs)
        self.scored = self.scored._replace(answers=self.scored.answers[::-1].copy())

    monkeypatch.setattr(AnsweredExperiment, "__init__", turned)
    assert [t.value for t in searched().trials] == [t.value for t in before.trials]


def test_a_trial_that_fails_is_noted_and_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fails_after(monkeypatch, 2, RuntimeError("no memory"), times=1)
    result = searched(trials=4)
    assert [t.state for t in result.trials] == ["complete", "complete", "fail", "complete"]


def test_a_search_whose_trials_all_fail_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_after(monkeypatch, 1, RuntimeError("no memory"), times=99)
    with pytest.raises(InputError, match="10 that failed .*RuntimeError: no memory; narrow the"):
        searched(trials=50)


# stopped early


class Recorder:
    """Looks on, and asks for figures after each tenth or not at all."""

    def __init__(self, asks: bool = False) -> None:
        self.asks, self.rows, self.tenth = asks, [], 0

    def wants_figures(self, fraction: float) -> bool:
        if self.asks and int(10 * fraction) > self.tenth:
            self.tenth = int(10 * fraction)
            return True
        return False

    def evaluated(self, fraction: float, row: Any) -> None:
        self.rows.append((fraction, row["step"]))


def test_a_watcher_is_given_the_figures_that_it_asks_for() -> None:
    some = Recorder(asks=True)
    with watched_by(some):
        classifier(max_steps=20, refit=False).fit(*texts(), validation=texts(8))
    assert [step for _, step in some.rows] == [4, 6, 8, 10, 12, 14, 16, 18, 20]  # the pace is known
    assert some.rows[-1][0] == 1


def test_a_run_that_is_watched_ends_with_the_same_bits() -> None:
    alone = classifier().fit(*texts(), validation=texts(8))
    with watched_by(Recorder()):
        watched = classifier().fit(*texts(), validation=texts(8))
    some, others = alone.runtime_.tensors, watched.runtime_.tensors
    assert all((some[name] == others[name]).all() for name in some)


def test_a_run_that_is_behind_others_is_stopped() -> None:
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(4, 2))
    watch = None
    for value in (1.0, 1.1, 1.2, 1.3, 5.0):
        watch = Watch("loss", study.ask(), math.inf, lambda _: None)
        for tenth in range(1, 11):
            if value == 5.0 and tenth == 2:  # the first in which others are looked at
                with pytest.raises(_Behind):
                    watch.evaluated(tenth / 10, {"loss": value})
                break
            watch.evaluated(tenth / 10, {"loss": value})
        else:
            study.tell(watch.trial, value)
    assert watch is not None
    assert watch.curve == {1: 5.0, 2: 5.0}


def test_tenths_without_figures_have_those_of_the_next_evaluation_and_the_best_so_far() -> None:
    watch = Watch("loss", None, math.inf, lambda _: None)
    watch.evaluated(0.25, {"loss": 2.0})
    watch.evaluated(0.45, {"validation_loss": 3.0})
    watch.evaluated(math.inf, {"loss": 1.0})
    assert watch.curve == {1: 2.0, 2: 2.0, 3: 2.0, 4: 2.0} | dict.fromkeys(range(5, 11), 1.0)


def test_trials_of_a_search_are_stopped_when_they_are_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whose figures are those of others and 9 more."""
    from tidegate.training.classification import Classification

    evaluate, runs = Classification.evaluate, [0]

    def worse(self: Any, network: Any) -> dict[str, float]:
        figures = evaluate(self, network)
        return {n: v + (9 if runs[0] > 5 and "entropy" in n else 0) for n, v in figures.items()}

    fit = tg.TextClassifier.fit

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        runs[0] += 1
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Classification, "evaluate", worse)
    monkeypatch.setattr(tg.TextClassifier, "fit", counted)
    result = searched(trials=7)
    assert [t.state for t in result.trials] == ["complete"] * 5 + ["pruned"] * 2


# kept, shared, resumed


def test_a_resumed_study_tries_what_one_that_never_stopped_tries(tmp_path: Any) -> None:
    whole = searched(trials=5)
    how = {"storage": database(tmp_path), "study": "one"}
    searched(trials=2, **how)
    resumed = searched(trials=3, resume=True, **how)
    drawn = [[(t.drawn, t.value) for t in r.trials] for r in (whole, resumed)]
    assert drawn[0] == drawn[1]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with a study "one"."""
    url = database(tmp_path_factory.mktemp("begun"))
    searched(storage=url, study="one", trials=1)
    return url


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"data": texts(64)}, "expected the data that the study was begun with"),
        ({"space": {**SPACE, "units": (4, 9)}}, "the space .*begun with, units 4 to 8.*units 4 to"),
        ({"model": classifier(bidirectional=False)}, "expected the space .*without bidirectional"),
        ({"model": classifier(max_steps=11)}, "the options .*, max_steps 10, got max_steps 11"),
        ({"model": classifier(seed=1)}, "expected the data"),
        ({"study": "two"}, "option resume: expected a study to go on with, got none .*'two'"),
        ({"resume": False}, "option study: expected a study that is not there yet.*resume=True"),
    ],
)
def test_a_study_about_something_else_is_refused(
    begun: str, other: dict[str, Any], said: str
) -> None:
    how = {"storage": begun, "study": "one", "trials": 1}
    data = other.pop("data", texts())
    with pytest.raises(InputError, match=said):
        searched(*data, **{**how, "resume": True, **other})


def test_a_study_of_another_program_is_refused(tmp_path: Any) -> None:
    optuna.create_study(storage=database(tmp_path), study_name="one")
    with pytest.raises(InputError, match="expected a study of tidegate tune, got one of another"):
        searched(storage=database(tmp_path), study="one", resume=True)


HELPER = """
import sys
sys.path.insert(0, {tests!r})
from test_tuning import searched
searched(trials=3, storage={url!r}, study="shared", resume=True)
"""


def test_two_processes_share_a_study(tmp_path: Any) -> None:
    url = database(tmp_path)
    searched(trials=1, storage=url, study="shared")
    tests = __file__.rpartition("/")[0]
    with subprocess.Popen([sys.executable, "-c", HELPER.format(tests=tests, url=url)]) as helper:
        searched(trials=3, storage=url, study="shared", resume=True)
    assert helper.returncode == 0
    kept = optuna.load_study(study_name="shared", storage=url).trials
    assert len(kept) == 6
    drawn = [json.dumps(t.params, sort_keys=True) for t in kept]
    assert len(set(drawn)) == 6


def test_what_is_done_is_kept_when_the_search_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    fails_after(monkeypatch, 2, KeyboardInterrupt(), times=1)
    how = {"storage": database(tmp_path), "study": "one"}
    with pytest.raises(SearchInterrupted) as e:
        searched(trials=4, **how)
    assert e.value.result is not None
    assert [t.state for t in e.value.result.trials] == ["complete", "complete", "fail"]
    assert len(searched(trials=1, resume=True, **how).trials) == 4


def test_a_fingerprint_is_of_values_alone() -> None:
    data = {"a": ["x", "y"], "b": np.arange(3), "c": (1.5, None)}
    assert fingerprint(data) == fingerprint({**data, "b": np.arange(6)[:3].copy()})
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
    assert fingerprint(np.zeros((2, 3))) != fingerprint(np.zeros((3, 2)))
    assert fingerprint([["a"], []]) != fingerprint([[], ["a"]])


# the time


def test_limits_of_a_trial_are_the_models_own_or_a_share_of_the_minutes() -> None:
    own = tg.TextClassifier(max_steps=10)
    assert tuning.limits_of(own, None, 3) == {}
    assert tuning.limits_of(own, 32.0, 3) == {"max_minutes": 2.0}
    assert tuning.limits_of(own, 32.0, 3, kept=1.5) == {"max_minutes": 1.5}
    assert tuning.limits_of(tg.TextClassifier(max_minutes=1), 32.0, 3) == {}
    assert tuning.limits_of(tg.Forecaster(), 32.0, 3) == {
        "max_minutes": 2.0,
        "epochs": tg.Forecaster.DEFAULT_EPOCHS,
        "fewest_steps": tg.Forecaster.DEFAULT_STEPS,
    }


class Clock:
    """Stands in for the module time: a run takes 10 seconds, its figures held out 1."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    metric = Metric(name="loss", label="loss")

    def fit(self, model: Any) -> None:
        self.now += 10
        model.metrics_ = {"loss": 1.0}
        model.runtime_ = SimpleNamespace(architecture=SimpleNamespace(parameter_count=lambda: 1))

    def held_out_losses(self, model: Any) -> np.ndarray:  # noqa: ARG002
        self.now += 1
        return np.ones(3)


def test_a_search_leaves_the_time_that_the_gain_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Any = Clock()
    monkeypatch.setattr(searching, "time", clock)
    search = searching.Search(
        experiment=clock,
        model=classifier(),
        space=space_of(classifier()),
        study=open_study(None, "one", "none", {}, resume=False),
        deadline=160.0,
        runs_after=6,
        trials=math.inf,
        progress=TuningProgress(False, 0.0, math.inf),
    )
    search.go()
    assert clock.now == 11 + 7 * 10  # the next would end 6 * (1.1 * 10 + 1.1 * 1) before 160
    assert search.scoring_s == 1


def test_a_trial_is_stopped_at_the_end_of_the_time() -> None:
    watch = Watch("loss", None, time.monotonic() - 1, lambda _: None)
    with pytest.raises(searching._OutOfTime):
        watch.wants_figures(0.5)

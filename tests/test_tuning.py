"""A search of options: what is drawn, kept, stopped, and what is said of the gain."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from command_line import LEARN, TINY, Tidegate

import tidegate as tg
from tidegate.comparison.experiments.answered import AnsweredExperiment
from tidegate.comparison.experiments.experiment import Metric
from tidegate.comparison.report.advice import Scores, margin
from tidegate.errors import InputError
from tidegate.tasks import TASKS, task_class
from tidegate.training.options import option
from tidegate.training.search_space import Span, search_of
from tidegate.training.watching import watched_by
from tidegate.tuning import search as searching
from tidegate.tuning import tune as tuning
from tidegate.tuning.fingerprint import fingerprint
from tidegate.tuning.gain import Gain
from tidegate.tuning.progress import TuningProgress
from tidegate.tuning.search import Watch, _Behind
from tidegate.tuning.space import space_of
from tidegate.tuning.study import open_study
from tidegate.tuning.tune import SearchInterrupted

SPACE: Any = {"cell": ["gru", "mgu"], "units": (4, 8), "layers": [1], "embedding_size": (4, 8)}


def texts(count: int = 60) -> tuple[list[str], list[str]]:
    words = ["lovely", "dreadful"]
    said = [f"{words[i % 2]} film number {i}" for i in range(count)]
    return said, [words[i % 2] for i in range(count)]


def classifier(**options: Any) -> tg.TextClassifier:
    return tg.TextClassifier(**{"verbose": 0, "max_steps": 10, "evidence": False, **options})


def searched(*data: Any, **how: Any) -> Any:
    how = {"trials": 3, "seeds": 0, "space": SPACE, **how}
    return tg.tune(how.pop("model", classifier()), *(data or texts()), **how)


def database(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/study.db"


# the space


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_is_searched(task: str) -> None:
    common = {"cell", "units", "layers", "learning_rate", "weight_decay", "batch_size", "dropout"}
    assert common <= set(space_of(task_class(task)()).dimensions)


def test_an_option_that_says_how_it_is_searched_takes_part_without_more() -> None:
    @dataclass(kw_only=True, eq=False, repr=False)
    class Other(tg.SequenceRegressor):
        width: float = option(1.0, "a width", above=0, search=Span(0.5, 2.0))

    assert space_of(Other()).to_json()["width"] == "0.5 to 2"


def test_an_option_that_a_task_lists_again_is_searched_as_before() -> None:
    (own,) = (f for f in fields(tg.TextClassifier) if f.name == "learning_rate")
    assert own.metadata["search"] is None
    assert search_of(tg.TextClassifier, "learning_rate") is not None
    assert str(space_of(tg.TextClassifier()).dimensions["learning_rate"]).startswith("0.0001 to")


def test_the_learning_rate_follows_the_optimizer() -> None:
    rates = space_of(tg.Forecaster(optimizer="sgd")).dimensions["learning_rate"]
    assert (rates.low, rates.high) == (pytest.approx(0.02), pytest.approx(2.0))


def test_what_was_given_is_not_searched() -> None:
    names = set(space_of(classifier(cell="lstm"), ["dropout"]).dimensions)
    assert not {"cell", "dropout"} & names
    assert {"units", "learning_rate"} <= names
    sizes = set(space_of(classifier(hidden_sizes=(8,))).dimensions)
    assert not {"units", "layers"} & sizes


def test_weights_that_are_taken_over_leave_sizes_and_cell_alone() -> None:
    names = set(space_of(classifier(init_from="some.safetensors")).dimensions)
    assert not {"cell", "units", "layers", "embedding_size"} & names
    assert {"dropout", "learning_rate"} <= names


def test_numbers_have_three_digits_so_that_the_command_is_exact() -> None:
    others = [f.name for f in fields(tg.TextClassifier) if f.name != "learning_rate"]
    space = space_of(classifier(), others)
    assert space.options({"learning_rate": 0.00123456}) == {"learning_rate": 0.00123}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"colour": (1, 2)}, "expected one of .*units.*, got 'colour'; correct its name"),
        ({"units": (64, 16)}, "least value of units before the largest, got 64:16; turn them"),
        ({"units": (1.5, 3.5)}, "whole numbers at least 1.*give other values for units"),
        ({"units": (0, 16)}, "at least 1.*, got .*; give other values for units"),
        ({"dropout": (0.1, 1.0)}, "below 1, got 1.0.*; give other values for dropout"),
        ({"cell": ["gru", "tree"]}, "expected a cell.*got 'tree'.*; give other values for cell"),
        ({"cell": []}, "expected values for cell, got none; give one or more"),
        ({"learning_rate": ["fast"]}, "expected numbers for learning_rate, got"),
    ],
)
def test_a_wrong_space_is_told_in_one_line(space: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"^option space: .*{said}"):
        space_of(classifier(), (), space)


def test_an_option_cannot_be_fixed_and_searched() -> None:
    with pytest.raises(InputError, match="expected no cell, since cell is fixed"):
        space_of(classifier(), ["cell"], {"cell": ["gru", "lstm"]})


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"trials": None}, "expected minutes or trials, got neither; say how long"),
        ({"trials": 0}, "option trials: expected .*at least 1, got 0"),
        ({"minutes": -1.0}, "option minutes: expected .*above 0, got -1"),
        ({"seeds": -1}, "option seeds: expected .*at least 0"),
        ({"pruner": "rose"}, "option pruner: expected one of median, hyperband, none, got 'rose'"),
        ({"fix": ["colour"]}, "option fix: expected options of TextClassifier, got 'colour'"),
        ({"resume": True}, "option resume: expected a storage .*got none; name it"),
        ({"storage": "nonsense"}, "option storage: expected the URL .*sqlite:///.*got 'nonsense'"),
        ({"storage": "sqlite:////none/x.db"}, "option storage: .*unable to open database file"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(how: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        searched(**how)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(InputError) as e:
        searched(storage="postgresql+none://me:secret@host/studies")
    assert "secret" not in str(e.value)
    assert "me:***@host" in str(e.value)


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


def fails_after(monkeypatch: pytest.MonkeyPatch, runs: int, error: Any, times: int) -> None:
    fit, count = tg.TextClassifier.fit, [0]

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if runs < count[0] <= runs + times:
            raise error
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(tg.TextClassifier, "fit", failing)


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


# the gain


def scores(mean: float, seed: int, seeds: int, examples: int) -> Scores:
    losses = mean + 0.01 * np.random.default_rng(seed).standard_normal((seeds, examples))
    return Scores([float(one.mean()) for one in losses], losses)


def gain(winner: float, defaults: float, seeds: int = 3, examples: int = 100) -> Gain:
    mine, theirs = (scores(m, k, seeds, examples) for k, m in enumerate((winner, defaults)))
    found = margin("winner", mine, "defaults", theirs, "test")
    return Gain(
        defaults=defaults, winner=winner, seeds=seeds, examples="texts", label="loss", margin=found
    )


def test_a_gain_beyond_noise_is_told_with_its_size() -> None:
    said = str(gain(0.5, 0.6))
    assert said.startswith("Gain: loss: defaults 0.6, winner 0.5, 17 % lower than the defaults'")
    assert "p < 0.001 on the same 100 held-out texts" in said


@pytest.mark.parametrize(
    ("winner", "defaults", "examples", "said"),
    [
        (0.6, 0.5, 100, "No gain: the winner of the search is no better on the part held out."),
        (0.5, 0.5001, 100, "No gain beyond noise: the difference may be chance."),
        (0.5, 0.5001, 8, "No gain beyond noise: .*and 8 texts are few to tell by."),
    ],
)
def test_no_gain_is_said_where_there_is_none(
    winner: float, defaults: float, examples: int, said: str
) -> None:
    assert re.match(said, str(gain(winner, defaults, examples=examples)))


def test_no_gain_is_said_on_pure_noise() -> None:
    rng = np.random.default_rng(3)
    inputs = [" ".join(rng.choice(list("abcdefgh"), 6)) for _ in range(80)]
    labels = rng.choice(["x", "y"], 80).tolist()
    result = searched(inputs, labels, trials=4, seeds=2)
    assert result.verdict.startswith("No gain")
    assert result.gain is None or not result.gain.beyond_noise


def test_defaults_and_winner_are_measured_alike() -> None:
    fast = {"space": {**SPACE, "learning_rate": (0.05, 0.1)}, "model": classifier(max_steps=3)}
    result = searched(trials=3, seeds=2, **fast)
    assert result.gain is not None, "no trial was better"
    assert result.gain.seeds == 2
    assert result.gain.margin.part == "test"
    assert result.gain.margin.examples == 12 == result.held_out
    assert result.model.cell == result.best.options["cell"]
    assert result.model.seed in (1, 2)
    assert result.model.max_steps == 3


# the command


@pytest.mark.parametrize("about", TASKS.values(), ids=lambda about: about.command)
def test_the_command_that_trains_the_winner_runs(tidegate: Tidegate, about: Any) -> None:
    tiny = TINY[about.command].replace("--validate-until 0.9", "")
    file, _, columns = LEARN[about.command].partition(" ")
    line = f"tune {about.command} {file} {columns} {tiny} --trials 2 --seeds 1 --json --verbose 0"
    told = tidegate(line)
    assert told.code == 0, told.err
    found = told.json
    assert found["task"] == next(name for name, one in TASKS.items() if one is about)
    assert sum(found["trials"].values()) == 2
    assert found["command"].startswith(f"tidegate train {about.command} {file} ")
    trained = tidegate(f"{shlex.join(shlex.split(found['command'])[1:])} --json -o w.safetensors")
    assert trained.code == 0, trained.err
    model = tg.load("w.safetensors")
    for name, value in found["best"]["options"].items():
        kept = getattr(model, name)
        assert (list(kept) if isinstance(kept, tuple) else kept) == value


LINE = f"tune classifier reviews.csv --text review --label sentiment {TINY['classifier']}"


def test_a_search_ends_with_table_picture_and_command(tidegate: Tidegate, tmp_path: Any) -> None:
    told = tidegate(f"{LINE} --trials 3 --seeds 1 --verbose 0 --space learning_rate=1e-2:1e-1")
    assert told.code == 0, told.err
    assert "trial" in told.out
    assert "\nTrain the winner with:\ntidegate train classifier reviews.csv" in told.out
    folder = tmp_path / "reviews-text-classifier-tuning"
    assert (folder / "study.db").stat().st_size > 0
    assert b"made by tidegate" in (folder / "importances.png").read_bytes()
    more = tidegate(f"{LINE} --trials 1 --seeds 0 --verbose 0 --space learning_rate=1e-2:1e-1")
    assert more.code == 2
    assert "add trials to it with --resume" in more.err
    line = f"{LINE} --trials 2 --seeds 0 --space learning_rate=1e-2:1e-1 --resume"
    resumed = tidegate(f"{line} --json")
    assert resumed.json["trials"] == {"complete": 5}
    assert set(resumed.json["importances"]) == set(resumed.json["table"][0]["drawn"])


def test_an_interrupted_search_says_what_is_done_and_how_to_go_on(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_after(monkeypatch, 2, KeyboardInterrupt(), times=1)
    told = tidegate(f"{LINE} --trials 4")
    assert told.code == 130
    assert "Train the winner with:" in told.out
    assert told.err.startswith("interrupted; go on with: tidegate tune classifier reviews.csv")
    assert told.err.rstrip().endswith("--trials 4 --resume")


def test_the_space_is_shown_without_a_file(tidegate: Tidegate) -> None:
    told = tidegate("tune forecaster --show-space --fix cell=lstm --space units=16:64")
    assert told.code == 0, told.err
    assert "units of hidden_sizes   16 to 64, logarithmic" in told.out
    assert "\ncell " not in told.out
    assert "loss                    mse, mae, huber" in told.out


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("", "expected --max-minutes or --trials, got neither; say how long to search"),
        ("--max-minutes 0", "option --max-minutes: expected a number above 0, got 0.0"),
        ("--trials 1 --fix cell", "option --fix: expected OPTION=VALUE, got 'cell'; write it so"),
        ("--trials 1 --fix hue=3", "option --fix: expected an option of the network .*got 'hue'"),
        ("--trials 1 --fix bidirectional=2", "option --bidirectional: expected yes or no, got '2'"),
        ("--trials 1 --fix dropout=2", "option --dropout: expected a number at least 0 and below"),
        ("--trials 1 --space units", "option --space: expected NAME=LOW:HIGH or NAME=A,B,C, got"),
        ("--trials 1 --space dropout=a:b", "option --space: expected numbers for dropout, got 'a'"),
        ("--trials 1 --dropout 0.1 --space dropout=0:0.2", "expected no dropout, since --dropout"),
        ("--trials 1 --pruner x", "option --pruner: expected one of median, hyperband, none"),
        ("--trials 1 --resume", "option --resume: expected a study to go on with, got none"),
        ("--trials 1 --storage x", "option --storage: expected the URL of a database"),
        ("--trials 1 -o a%b", "a folder whose name a URL can hold.*name another with -o"),
        ("--trials 1 -o reviews.csv", "expected a folder to write to, got the file"),
    ],
)
def test_a_wrong_line_is_told_in_one_line(tidegate: Tidegate, typed: str, advice: str) -> None:
    told = tidegate(f"{LINE} {typed}")
    assert told.code == 2
    assert re.search(advice, told.err), told.err
    assert told.err.count("\n") == 1


def test_without_a_file_the_command_says_so(tidegate: Tidegate) -> None:
    told = tidegate("tune classifier --text review --label sentiment --trials 1")
    assert told.code == 2
    assert "FILE" in told.err

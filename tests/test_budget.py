"""What a run does with its minutes: it ends in time, whatever evaluating and preparing cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_objective import TinyObjective
from torch import nn

import tidegate as tg
from tidegate.training.budget import Closing, bought
from tidegate.training.clock import counting_from
from tidegate.training.loop import TrainingResult, fit
from tidegate.training.objective import StepResult
from tidegate.training.options import TrainingOptions
from tidegate.training.preparation import Preparation

MINUTES = 1
SECONDS = 60 * MINUTES
ALLOWED = 5  # seconds from the minutes asked


class FakeTime:
    """A clock that moves when it is told to; others take ``slowness`` - 1 of it."""

    def __init__(self) -> None:
        self.now, self.slowness = 1000.0, 1.0

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.now / self.slowness

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    torch.set_num_threads(1)
    fake = FakeTime()
    monkeypatch.setattr("tidegate.training.loop.time", fake)
    monkeypatch.setattr("tidegate.training.preparation.time", fake)
    Slow.clock = fake
    return fake


class Slow(TinyObjective):
    """A step takes ``step_s`` seconds, evaluating all of the validation part ``evaluation_s``."""

    clock: FakeTime

    def __init__(self, step_s: float, evaluation_s: float, **options: Any) -> None:
        super().__init__(**options)
        self.step_s, self.evaluation_s = step_s, evaluation_s
        self.evaluated = 0

    def sizes(self) -> tuple[int, int]:
        validation = 2 * self.evaluation_s / self.step_s  # in steps; half of a step's cost a unit
        return 1000 * self.steps, round(1000 * validation)

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        self.clock.sleep(self.step_s)
        return super().loss(network, batch, carry)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        self.evaluated += 1
        self.clock.sleep(self.evaluation_s * self.share)
        return super().evaluate(network)


def run(
    objective: Slow, everything: Slow | None = None, closing: Closing | None = None, **options: Any
) -> tuple[TrainingResult, float]:
    began = objective.clock.now
    options = {"verbose": 0, "max_minutes": MINUTES, "device": "cpu", **options}
    all_data = None if everything is None else lambda: everything
    if everything is not None:
        everything.network = objective.network
    result = fit(objective, TrainingOptions(**options), everything=all_data, closing=closing)
    return result, objective.clock.now - began


def test_a_run_ends_in_time_though_evaluating_would_take_longer_than_its_minutes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    objective = Slow(0.5, 150.0)
    result, seconds = run(objective, verbose=1)
    assert -ALLOWED < seconds - SECONDS <= 0.5
    assert result.steps * 0.5 > 0.75 * SECONDS  # most of the time is for learning
    assert 0 < result.share < 0.05
    assert result.share == objective.share
    said = capsys.readouterr().out
    assert f"a fixed {result.share:.1%} of the validation steps choose the best weights" in said


def test_evaluating_stays_the_lesser_part_of_the_work() -> None:
    objective = Slow(0.4, 1.0)
    _, seconds = run(objective)
    assert -ALLOWED < seconds - SECONDS <= 0.4
    # at most a tenth, and one at the end; at every epoch's end it would be a quarter
    assert objective.evaluated * 1.0 < 0.1 * SECONDS + 2.0
    told = Slow(0.4, 1.0)
    run(told, evaluate_every=7)
    assert told.evaluated > objective.evaluated  # who says how often is obeyed


@pytest.mark.parametrize(("minutes", "step_s"), [(0.5, 0.5), (1, 1.5), (10, 6.0)])
@pytest.mark.parametrize(
    # in steps: what is evaluated, what is tested; how often the first is read again; refit
    ("evaluated", "tested", "again", "refits"),
    [(3, 0, 0, False), (40, 20, 2, False), (400, 30, 1, False), (2, 3, 1, True), (4, 0, 2, True)],
)
@pytest.mark.parametrize("cost", [0.3, 0.8])
def test_a_run_ends_within_seconds_of_its_minutes_whatever_comes_at_its_end(
    minutes: float,
    step_s: float,
    evaluated: int,
    tested: int,
    again: int,
    refits: bool,
    cost: float,
) -> None:
    """Reading costs less or more than is guessed before it is timed."""

    class Costly(Slow):
        def sizes(self) -> tuple[int, int]:
            return 1000 * self.steps, 1000 * evaluated

    objective = Costly(step_s, cost * evaluated * step_s)
    everything = Costly(step_s, 0.0) if refits else None
    closing = Closing(tested=1000 * tested, again=again, seconds=1.5)
    result, seconds = run(objective, everything, closing, max_minutes=minutes)
    read = again * result.share * objective.evaluation_s + tested * cost * step_s
    ends = seconds + read + 1.5
    assert abs(ends - 60 * minutes) <= ALLOWED
    assert (result.refit_steps > 0) == refits


def test_minutes_set_aside_for_all_data_are_used_where_no_pass_is_made() -> None:
    objective = Slow(0.5, 0.5, steps=1000)
    result, seconds = run(objective, Slow(0.5, 0.0, steps=1000))
    assert result.refit_steps == 0
    assert -ALLOWED < seconds - SECONDS <= 0.5


def test_learning_from_all_data_ends_in_time_though_the_pace_changes(clock: FakeTime) -> None:
    class Slower(Slow):
        def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
            self.step_s = 1.2 if clock.now > 1000 + 0.9 * SECONDS else 0.4
            return super().loss(network, batch, carry)

    result, seconds = run(Slow(0.4, 0.4), Slower(0.4, 0.0))
    assert result.refit_steps > 5
    assert abs(seconds - SECONDS) <= 2


def test_neighbours_that_take_the_processor_leave_the_end_where_it_was(clock: FakeTime) -> None:
    clock.slowness = 4.0
    _, seconds = run(Slow(0.5, 2.0), closing=Closing(again=1, seconds=1.0))
    assert -ALLOWED < seconds + 2.0 + 1.0 - SECONDS <= 0.5


def test_what_came_before_the_training_counts(clock: FakeTime) -> None:
    objective = Slow(0.4, 0.5)
    began = clock.now - SECONDS / 2  # a vocabulary was built
    options = TrainingOptions(verbose=0, max_minutes=MINUTES)
    fit(objective, options, preparation=Preparation(options, began))
    assert -ALLOWED < clock.now - began - SECONDS <= 0.4


def test_preparing_that_took_all_the_minutes_leaves_one_step(clock: FakeTime) -> None:
    objective = Slow(0.1, 0.1)
    options = TrainingOptions(verbose=0, max_minutes=MINUTES)
    result = fit(objective, options, preparation=Preparation(options, clock.now - 100))
    assert (result.steps, result.best_step, result.stopped) == (1, 1, "max_minutes")


def test_an_estimators_minutes_begin_with_the_work_of_who_calls_it(clock: FakeTime) -> None:
    model = tg.LanguageModel(hidden_sizes=(8,), bptt=8, max_minutes=MINUTES, verbose=0)
    with counting_from(clock.now - 100):
        model.fit("one two three four. " * 100)
    assert model.provenance_["steps"] == 1


@pytest.mark.parametrize("slower_after", [10, 30])
def test_the_learning_rate_comes_to_its_end_though_the_pace_changes(slower_after: int) -> None:
    class Slower(Slow):
        def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
            self.done = getattr(self, "done", 0) + 1
            self.step_s = 0.5 if self.done > slower_after else 0.1
            return super().loss(network, batch, carry)

    result, seconds = run(Slower(0.1, 0.1), evaluate_every=10**6)
    assert -ALLOWED < seconds - SECONDS <= 0.5
    assert result.history[-1]["learning_rate"] < 0.05 * TrainingOptions().resolved_learning_rate()


def test_a_run_of_few_steps_evaluates_a_part_that_depends_on_no_clock() -> None:
    """Nor may it take minutes to judge one step."""
    shares = set()
    for step_s in (0.0, 0.01):
        objective = Slow(0.01, 1.0)
        objective.step_s = step_s
        objective.sizes = lambda: (7000, 300_000)  # type: ignore[method-assign]
        objective.evaluation_s = 0.0
        shares.add(run(objective, max_minutes=None, max_steps=3)[0].share)
    assert shares == {0.1}  # of 300 steps' worth: 30
    whole = Slow(0.0, 0.0)
    whole.sizes = lambda: (7000, 300_000)  # type: ignore[method-assign]
    assert run(whole, max_minutes=None, max_steps=3, evaluate_every=1)[0].share == 1


def test_the_part_that_is_evaluated_is_named_in_the_provenance() -> None:
    text = "one two three four. " * 4000
    model = tg.LanguageModel(hidden_sizes=(8,), bptt=4, batch_size=4, max_steps=2, verbose=0)
    model.fit(text)
    share = model.provenance_["validation_share"]
    assert share == pytest.approx(30 * 16 / model.provenance_["validation_tokens"], rel=0.1)
    assert "validation_share" not in model.set_params(evaluate_every=1).fit(text).provenance_


def test_what_the_minutes_buy_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    run(Slow(0.5, 0.1), verbose=1)
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "buy" in x]
    assert line.startswith(f"{MINUTES:g} minutes buy about ")
    assert bought(10, 3.0, 40_000, 812.4) == (
        "10 minutes buy about 40,000 steps at this speed, 810 passes over the training data"
    )
    few = bought(10, 200.0, 1234, 0.7)
    assert "10 minutes, of which preparing took 200 s, buy about" in few
    assert "1,200 steps at this speed, 0.7 of a pass over the training data; give more" in few


def test_a_run_that_used_its_minutes_has_ended_unless_it_is_given_more(tmp_path: Path) -> None:
    first, told = Slow(1.0, 1.0), dict[str, Any](run_folder=tmp_path)
    result, _ = run(first, **told)
    again, _ = run(Slow(1.0, 1.0), **told, resume=True)
    assert (again.steps, again.stopped) == (result.steps, "max_minutes")
    more, _ = run(Slow(1.0, 1.0), **told, resume=True, max_minutes=2 * MINUTES)
    assert more.steps > result.steps

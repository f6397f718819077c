"""What a run does with its minutes: it ends in time, whatever evaluating and preparing cost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_objective import TinyObjective
from torch import nn

import tidegate as tg
from tidegate.training.budget import bought
from tidegate.training.clock import counting_from
from tidegate.training.loop import TrainingResult, fit
from tidegate.training.objective import StepResult
from tidegate.training.options import TrainingOptions

MINUTES = 0.02
SECONDS = 60 * MINUTES
LATE = 0.6  # seconds: of a machine that does other things, too


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Slow(TinyObjective):
    """A step takes ``step_s`` seconds, evaluating all of the validation part ``evaluation_s``."""

    def __init__(self, step_s: float, evaluation_s: float) -> None:
        super().__init__()
        self.step_s, self.evaluation_s = step_s, evaluation_s
        self.evaluated = 0

    def sizes(self) -> tuple[int, int]:
        validation = 2 * self.evaluation_s / self.step_s  # in steps; half of a step's cost a unit
        return 1000 * self.steps, round(1000 * validation)

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        time.sleep(self.step_s)
        return super().loss(network, batch, carry)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        self.evaluated += 1
        time.sleep(self.evaluation_s * self.share)
        return super().evaluate(network)


def run(objective: Slow, **options: Any) -> tuple[TrainingResult, float]:
    began = time.monotonic()
    result = fit(objective, TrainingOptions(**{"verbose": 0, "max_minutes": MINUTES, **options}))
    return result, time.monotonic() - began


def test_a_run_ends_in_time_though_evaluating_would_take_longer_than_its_minutes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    objective = Slow(0.005, 3.0)
    result, seconds = run(objective, verbose=1)
    assert seconds < SECONDS + LATE
    assert result.steps > 10  # much of the time is for learning
    assert 0 < result.share < 0.05
    assert result.share == objective.share
    said = capsys.readouterr().out
    assert f"a fixed {result.share:.1%} of the validation steps choose the best weights" in said


def test_evaluating_stays_the_lesser_part_of_the_work() -> None:
    objective = Slow(0.004, 0.01)
    result, seconds = run(objective)
    assert seconds < SECONDS + LATE
    # at most a tenth, and one at the end; at every epoch's end it would be a quarter
    assert objective.evaluated * 0.01 < 0.15 * SECONDS + 0.01
    told = Slow(0.004, 0.01)
    run(told, evaluate_every=7)
    assert told.evaluated > objective.evaluated  # who says how often is obeyed


def test_what_came_before_the_training_and_what_comes_after_it_count() -> None:
    objective = Slow(0.005, 0.02)
    began = time.monotonic() - SECONDS / 2  # a vocabulary was built
    options = TrainingOptions(verbose=0, max_minutes=MINUTES)
    validation = objective.sizes()[1]
    fit(objective, options, began=began, tested=5 * validation)
    assert time.monotonic() - began < SECONDS - 5 * 0.02 + LATE


def test_preparing_that_took_all_the_minutes_leaves_one_step() -> None:
    objective = Slow(0.001, 0.001)
    options = TrainingOptions(verbose=0, max_minutes=MINUTES)
    result = fit(objective, options, began=time.monotonic() - 10)
    assert (result.steps, result.best_step, result.stopped) == (1, 1, "max_minutes")


def test_an_estimators_minutes_begin_with_the_work_of_who_calls_it() -> None:
    model = tg.LanguageModel(hidden_sizes=(8,), bptt=8, max_minutes=MINUTES, verbose=0)
    with counting_from(time.monotonic() - 10):
        model.fit("one two three four. " * 100)
    assert model.provenance_["steps"] == 1
    assert model.fit("one two three four. " * 100).provenance_["steps"] > 1


@pytest.mark.parametrize("slower_after", [10, 30])
def test_the_learning_rate_comes_to_its_end_though_the_pace_changes(slower_after: int) -> None:
    class Slower(Slow):
        def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
            self.done = getattr(self, "done", 0) + 1
            self.step_s = 0.02 if self.done > slower_after else 0.004
            return super().loss(network, batch, carry)

    result, seconds = run(Slower(0.004, 0.004), evaluate_every=10**6)
    assert seconds < SECONDS + LATE
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
    run(Slow(0.005, 0.001), verbose=1)
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "buy" in x]
    assert line.startswith(f"{MINUTES:g} minutes buy about ")
    assert bought(10, 40_000, 812.4) == (
        "10 minutes buy about 40,000 steps at this speed, 810 passes over the training data"
    )
    few = bought(10, 1234, 0.7)
    assert "1,200 steps at this speed, 0.7 of a pass over the training data; give more" in few


def test_a_run_that_used_its_minutes_has_ended_unless_it_is_given_more(tmp_path: Path) -> None:
    first, told = Slow(0.002, 0.002), {"run_folder": tmp_path}
    result, _ = run(first, **told)
    again, _ = run(Slow(0.002, 0.002), **told, resume=True)
    assert (again.steps, again.stopped) == (result.steps, "max_minutes")
    more, _ = run(Slow(0.002, 0.002), **told, resume=True, max_minutes=2 * MINUTES)
    assert more.steps > result.steps

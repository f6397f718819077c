"""In the end the best weights learn from all data; the figures are those from before."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_resume import PROGRAM, end_of
from tides import small, tides
from tiny_objective import TinyObjective, everything_of
from torch import nn

import tidegate as tg
from tidegate.training.loop import TrainingResult, fit
from tidegate.training.objective import StepResult
from tidegate.training.options import TrainingOptions
from tidegate.training.state import read_state

OPTIONS: dict[str, Any] = {"epochs": 6, "learning_rate": 0.02, "verbose": 0}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Followed(TinyObjective):
    """Notes the weights with which each step begins."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.begun_with: list[dict[str, torch.Tensor]] = []

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        self.begun_with.append({n: t.clone() for n, t in network.state_dict().items()})
        return super().loss(network, batch, carry)


def refitted(**options: Any) -> tuple[TinyObjective, Followed, TrainingResult]:
    """A run, the objective over all of its data, and what it came to."""
    objective, everything = TinyObjective(), Followed(steps=14)
    everything.network = objective.network
    settings = TrainingOptions(**OPTIONS | options)
    return objective, everything, fit(objective, settings, everything=lambda: everything)


def test_the_best_weights_learn_from_all_data_and_no_figure_changes() -> None:
    objective, everything, result = refitted()
    alone = TinyObjective()
    plain = fit(alone, TrainingOptions(**OPTIONS))
    strip = [{n: v for n, v in row.items() if n != "seconds"} for row in result.history]
    assert strip == [{n: v for n, v in row.items() if n != "seconds"} for row in plain.history]
    for name in ("metrics", "best_step", "steps", "epochs", "stopped"):
        assert getattr(result, name) == getattr(plain, name), name

    begun_with = everything.begun_with[0]
    for name, best in alone.network.state_dict().items():
        assert torch.equal(begun_with[name], best), name
    kept = objective.network.state_dict()
    assert not torch.equal(kept["dense.weight"], begun_with["dense.weight"])
    assert not objective.network.training
    assert len(everything.seen) == result.refit_steps
    assert (0, 0) in everything.seen


def test_the_average_of_weights_is_what_all_data_are_learned_on() -> None:
    _, everything, _ = refitted(average=0.9)
    alone = TinyObjective()
    fit(alone, TrainingOptions(**OPTIONS, average=0.9))
    for name, best in alone.network.state_dict().items():
        assert torch.equal(everything.begun_with[0][name], best), name


def test_a_run_that_has_not_read_its_data_once_learns_from_no_more() -> None:
    """What is held out is no worse unread than the rest."""
    _, everything, result = refitted(epochs=None, max_steps=6)
    assert (result.steps, result.refit_steps, everything.seen) == (6, 0, [])


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("kill_at", ["first", "later"])
def test_a_run_killed_while_it_learns_from_all_data_resumes_bit_for_bit(
    tmp_path: Path, kill_at: str, average: float
) -> None:
    options = {**OPTIONS, "average": average, "checkpoint_seconds": 0}
    whole = TinyObjective()
    told = TrainingOptions(run_folder=tmp_path / "whole", **options)
    steps = fit(whole, told, everything=everything_of(whole)).refit_steps
    assert steps > 3
    job = {
        "options": {**options, "run_folder": str(tmp_path / "killed")},
        "objective": {},
        "everything": {"kill_at_step": 1 if kill_at == "first" else steps - 1},
    }
    killed = subprocess.run([sys.executable, PROGRAM, json.dumps([job])], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    at = read_state(tmp_path / "killed" / "state.safetensors").position
    assert at.step == (42 if kill_at == "first" else 42 + steps - 2)

    resumed = TinyObjective()
    again = TrainingOptions(run_folder=tmp_path / "killed", resume=True, **options)
    fit(resumed, again, everything=everything_of(resumed))
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor), name
    assert end_of(tmp_path / "killed") == end_of(tmp_path / "whole")


def test_a_finished_run_resumes_to_its_weights(tmp_path: Path) -> None:
    first = TinyObjective()
    fit(first, TrainingOptions(run_folder=tmp_path, **OPTIONS), everything=everything_of(first))
    again = TinyObjective()
    told = TrainingOptions(run_folder=tmp_path, resume=True, **OPTIONS)
    fit(again, told, everything=everything_of(again))
    assert again.seen == []
    for name, tensor in first.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_where_limits_are_raised_the_run_goes_on_and_learns_from_all_data_anew(
    tmp_path: Path, average: float
) -> None:
    first = TinyObjective()
    options = {**OPTIONS, "run_folder": tmp_path, "average": average}
    short = fit(first, TrainingOptions(**options), everything=everything_of(first))
    longer = TinyObjective()
    told = TrainingOptions(**options | {"epochs": 9, "resume": True})
    result = fit(longer, told, everything=everything_of(longer))
    assert (short.steps, result.steps) == (42, 63)
    assert result.history[: len(short.history)] == short.history
    assert longer.seen[0] == divmod(42 + short.refit_steps, 7)
    assert result.refit_steps > 0


# the tasks

RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(["good", "bad", "film", "book"], 5)) for _ in range(40)]
LABELS = RNG.integers(0, 2, 40)
NUMBERS = RNG.normal(size=(40, 12))
QUIET: dict[str, Any] = {"verbose": 0, "hidden_sizes": (4,), "epochs": 2, "fewest_steps": 0}
STORY = "one two three four. " * 30


def text_classifier(**more: Any) -> Any:
    held = {"validation_fraction": 0.1, **more}
    model = tg.TextClassifier(**QUIET, embedding_size=4, class_weight="balanced", **held)
    return model.fit(TEXTS, LABELS, sample_weight=np.arange(1, 41))


def language_model(**more: Any) -> Any:
    return tg.LanguageModel(**QUIET, bptt=8, batch_size=2, **more).fit(STORY)


def forecaster(**more: Any) -> Any:
    return small(max_steps=None, epochs=2, **more).fit(tides())


def sequence_classifier(**more: Any) -> Any:
    model = tg.SequenceClassifier(**QUIET, validation_fraction=0.2, evidence=False, **more)
    return model.fit(NUMBERS, LABELS, sample_weight=np.arange(1, 41))


def sequence_regressor(**more: Any) -> Any:
    model = tg.SequenceRegressor(**QUIET, validation_fraction=0.2, evidence=False, **more)
    return model.fit(NUMBERS, NUMBERS[:, 0])


TASKS = [text_classifier, language_model, forecaster, sequence_classifier, sequence_regressor]


@pytest.fixture
def objectives(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Of each run that follows its objective, and the one over all data or None."""
    seen: list[Any] = []

    def watched(objective: Any, options: Any, *, everything: Any = None, **more: Any) -> Any:
        seen.append((objective, None if everything is None else everything()))
        return fit(objective, options, everything=everything, **more)

    monkeypatch.setattr("tidegate.training.loop.fit", watched)
    return seen


@pytest.mark.parametrize("task", TASKS)
def test_every_task_learns_from_what_it_held_out(task: Any, objectives: list[Any]) -> None:
    model, plain = task(), task(refit=False)
    (objective, everything), (_, none) = objectives
    assert none is None
    train, validation = objective.sizes()
    assert everything.sizes()[0] >= train + validation  # windows lie across the border, too
    assert model.provenance_["refit_steps"] > 0
    assert "refit_steps" not in plain.provenance_
    figures, same = (
        {n: v for n, v in m.metrics_.items() if not n.startswith("test_")} for m in (model, plain)
    )
    assert figures == same  # the test figures are those of the weights that are kept
    names = set(plain.runtime_.tensors)
    assert any((model.runtime_.tensors[n] != plain.runtime_.tensors[n]).any() for n in names)


def test_a_text_goes_on_into_what_was_held_out_also_backwards(objectives: list[Any]) -> None:
    for reverse in (False, True):
        model = language_model(reverse=reverse)
        read = model.encoder_.encode(STORY)
        assert (objectives[-1][1].train == (read[::-1] if reverse else read)).all()


def test_weights_of_inputs_hold_for_all_of_them(objectives: list[Any]) -> None:
    text_classifier()
    sequence_classifier()
    for objective, everything in objectives:
        learned, judged = objective.sizes()
        weights = everything.weights[0]
        assert len(weights) == learned + judged
        ratio = weights[:learned] / objective.weights[0]  # alike but for the mean, and the labels'
        assert ratio.std() < 0.2 * ratio.mean()


def test_what_was_given_to_validate_with_is_not_learned_from(objectives: list[Any]) -> None:
    tg.LanguageModel(**QUIET, bptt=8, batch_size=2).fit(STORY, validation=STORY)
    tg.TextClassifier(**QUIET, embedding_size=4).fit(TEXTS, LABELS, validation=(TEXTS, LABELS))
    model = tg.SequenceClassifier(**QUIET)
    model.fit(NUMBERS, LABELS, validation=(NUMBERS, LABELS))
    assert [everything for _, everything in objectives] == [None] * 3


def test_of_many_data_the_part_held_out_is_left(
    objectives: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tg.LanguageModel, "FEW", 100)
    language_model()
    assert objectives[0][1] is None


def test_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    model = tg.LanguageModel(**QUIET | {"verbose": 1}, bptt=8, batch_size=2).fit(STORY)
    assert (
        f"then {model.provenance_['refit_steps']} steps from all tokens, those held out, too; the "
        "figures are those from before\n"
    ) in capsys.readouterr().out

"""A run killed and resumed ends with the bits of one never stopped."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_objective import TinyObjective

from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError
from tidegate.model.container import pack
from tidegate.training.loop import TrainingResult, fit
from tidegate.training.options import LEARNING_RATES, TrainingOptions
from tidegate.training.state import flatten, read_state, unflatten

PROGRAM = Path(__file__).with_name("tiny_objective.py")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def end_of(folder: Path) -> dict[str, Any]:
    """All that a run came to, but the times."""
    state = read_state(folder / "state.safetensors")
    position = asdict(state.position)
    del position["seconds"]
    for row in position["history"]:
        del row["seconds"]
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    tensors = {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in state.tensors.items()}
    return {"position": position, "carries": state.carries, "rows": rows, "tensors": tensors}


def run(folder: Path, options: dict[str, Any], **objective: Any) -> TrainingResult:
    return fit(TinyObjective(**objective), TrainingOptions(run_folder=folder, **options))


# the rate is so high that training soon brings nothing better
STALLED: dict[str, Any] = {"patience": 3, "evaluate_every": 2, "epochs": 9, "learning_rate": 0.5}


@pytest.mark.parametrize(
    ("options", "kill_at_step"),
    [
        pytest.param({"max_steps": 17, "average": 0.9}, 5, id="before-any-evaluation"),
        pytest.param(
            {"max_steps": 17, "evaluate_every": 4, "average": 0.9, "patience": 9}, 13, id="epoch-2"
        ),
        pytest.param({"epochs": 3, "optimizer": "nesterov"}, 20, id="last-epoch"),
        pytest.param({**STALLED, "average": 0.9}, 14, id="in-the-tail"),
        pytest.param(STALLED, 9, id="first-step-of-the-tail"),
        pytest.param(STALLED, 10, id="last-step"),
    ],
)
def test_killed_run_resumes_bit_for_bit(
    tmp_path: Path, options: dict[str, Any], kill_at_step: int
) -> None:
    options = {"checkpoint_seconds": 0, **options}
    job = {
        "options": {**options, "run_folder": str(tmp_path / "killed")},
        "objective": {"kill_at_step": kill_at_step},
    }
    killed = subprocess.run([sys.executable, PROGRAM, json.dumps([job])], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    before = read_state(tmp_path / "killed" / "state.safetensors")
    assert before.position.step == kill_at_step - 1

    resumed = TinyObjective()
    fit(resumed, TrainingOptions(run_folder=tmp_path / "killed", resume=True, **options))
    whole = TinyObjective()
    fit(whole, TrainingOptions(run_folder=tmp_path / "whole", **options))
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor), name
    assert end_of(tmp_path / "killed") == end_of(tmp_path / "whole")


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
@pytest.mark.parametrize("optimizer", list(LEARNING_RATES))
def test_stopped_run_resumes_bit_for_bit(tmp_path: Path, optimizer: str, schedule: str) -> None:
    options: dict[str, Any] = {
        "max_steps": 16,
        "evaluate_every": 3,
        "optimizer": optimizer,
        "schedule": schedule,
        "average": 0.8,
        "checkpoint_seconds": 0,
    }
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", options, fail_at_step=11)
    run(tmp_path / "stopped", {**options, "resume": True})
    run(tmp_path / "whole", options)
    assert end_of(tmp_path / "stopped") == end_of(tmp_path / "whole")


def test_ctrl_c_saves_the_step_it_comes_in(tmp_path: Path) -> None:
    options = {"max_steps": 16, "checkpoint_seconds": 1e6}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", options, interrupt_at_step=5)
    assert read_state(tmp_path / "stopped" / "state.safetensors").position.step == 5
    run(tmp_path / "stopped", {**options, "resume": True})
    run(tmp_path / "whole", options)
    assert end_of(tmp_path / "stopped") == end_of(tmp_path / "whole")


def test_resuming_from_an_older_state_drops_the_rows_after_it(tmp_path: Path) -> None:
    options = {"max_steps": 16, "evaluate_every": 2, "checkpoint_seconds": 1e6}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", options, fail_at_step=16)
    state = read_state(tmp_path / "stopped" / "state.safetensors")
    with (tmp_path / "stopped" / "metrics.csv").open("a") as file:
        file.write("14,2,0.1,0.1,9,9,9\n")  # as if killed after the row, before the state
    assert state.position.step <= 14
    run(tmp_path / "stopped", {**options, "resume": True})
    run(tmp_path / "whole", options)
    assert end_of(tmp_path / "stopped") == end_of(tmp_path / "whole")


def test_early_stopping_counts_on_over_a_resume(tmp_path: Path) -> None:
    class Worse(TinyObjective):
        def evaluate(self, network: Any) -> dict[str, float]:  # noqa: ARG002
            self.evaluations = getattr(self, "evaluations", 0) + 1
            return {"error": 1.0}

    options: dict[str, Any] = {
        "patience": 4,
        "evaluate_every": 2,
        "epochs": 9,
        "checkpoint_seconds": 0,
    }
    with pytest.raises(KeyboardInterrupt):
        fit(Worse(fail_at_step=8), TrainingOptions(run_folder=tmp_path, **options))
    resumed = Worse()
    result = fit(resumed, TrainingOptions(run_folder=tmp_path, resume=True, **options))
    assert (result.stopped, result.steps, result.best_step) == ("patience", 12, 2)
    assert resumed.evaluations == 3  # after steps 8, 10 and 12, which is the last one's


def test_finished_run_resumes_to_its_result_and_goes_on_when_limits_are_raised(
    tmp_path: Path,
) -> None:
    first = run(tmp_path, {"epochs": 2})
    again = TinyObjective()
    result = fit(again, TrainingOptions(run_folder=tmp_path, resume=True, epochs=2))
    assert (result.steps, result.metrics, again.seen) == (14, first.metrics, [])
    assert again.evaluate(again.network) == first.metrics
    longer = run(tmp_path, {"epochs": 3, "resume": True})
    assert longer.steps == 21
    assert longer.history[:2] == first.history


@pytest.mark.parametrize(
    ("options", "objective", "problem"),
    [
        ({"learning_rate": 0.5}, {}, "option learning_rate: expected None, as when the run began"),
        ({"seed": 7}, {}, "option seed: expected 0, as when the run began, got 7"),
        ({}, {"rows": 5}, "setting rows: expected 6, as when the run began, got 5"),
        ({}, {"data": 2}, "expected the training data the run began with, got others"),
    ],
)
def test_resuming_another_run_is_refused(
    tmp_path: Path, options: dict[str, Any], objective: dict[str, Any], problem: str
) -> None:
    run(tmp_path, {"epochs": 1})
    kept = (tmp_path / "state.safetensors").read_bytes()
    with pytest.raises(InputError, match=problem):
        run(tmp_path, {"epochs": 2, "resume": True, **options}, **objective)
    assert (tmp_path / "state.safetensors").read_bytes() == kept


def test_resuming_nothing_names_folder_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none; name the folder of that run, or begin") as failure:
        run(tmp_path / "empty", {"resume": True})
    assert failure.value.file == tmp_path / "empty"
    assert not (tmp_path / "empty").exists()


def test_damaged_state_is_refused_in_one_line(tmp_path: Path) -> None:
    run(tmp_path, {"epochs": 1})
    path = tmp_path / "state.safetensors"
    good = path.read_bytes()
    for bad in (good[:-1], good[: len(good) // 3], b"", pack({}, "{}"), pack({}, "[" * 10**5)):
        path.write_bytes(bad)
        with pytest.raises(ModelFileError, match="state.safetensors: "):
            run(tmp_path, {"epochs": 2, "resume": True})


def test_state_of_another_network_is_refused(tmp_path: Path) -> None:
    run(tmp_path, {"epochs": 1})
    other = TinyObjective(batch_norm=False)
    with pytest.raises(ModelFileError, match="expected the training state of this network"):
        fit(other, TrainingOptions(run_folder=tmp_path, resume=True, epochs=2))


def test_carry_of_any_nesting_survives_flattening() -> None:
    a, b, c = (torch.full((2,), float(i)) for i in range(3))
    carry = [(a, [b]), (), c, None]
    nesting, leaves = flatten(carry)
    back = unflatten(json.loads(json.dumps(nesting)), iter(leaves))
    assert back == [(a, [b]), (), c, None]
    with pytest.raises(TypeError, match="carry must nest tensors in tuples and lists, got dict"):
        flatten({"h": a})


def test_leftovers_of_a_killed_writer_are_cleared(tmp_path: Path) -> None:
    run(tmp_path, {"epochs": 1})
    (tmp_path / ".state.safetensors.123.partial").write_bytes(np.zeros(9).tobytes())
    run(tmp_path, {"epochs": 2, "resume": True})
    assert not list(tmp_path.glob(".*"))

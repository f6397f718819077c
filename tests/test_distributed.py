"""Two processes on one machine, joined by gloo, train as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_resume import end_of
from tiny_objective import TinyObjective

from tidegate.training.loop import fit
from tidegate.training.options import TrainingOptions
from tidegate.training.state import read_state

PROGRAM = Path(__file__).with_name("tiny_objective.py")


# no dropout and no batch norm: each process draws its own masks and normalises its own rows
ALIKE = {"dropout": 0.0, "batch_norm": False, "ragged": True}
ONCE = {"max_steps": 16, "evaluate_every": 5, "average": 0.9, "clip_norm": 0.1}
RESUMED = {"max_steps": 16, "evaluate_every": 4, "checkpoint_seconds": 0}


def launch(*jobs: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", str(PROGRAM), json.dumps(jobs)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def job(folder: Path, name: str, options: dict[str, Any], **objective: Any) -> dict[str, Any]:
    return {
        "options": {**options, "run_folder": str(folder / name)},
        "objective": objective,
        "weights": str(folder / f"{name}.safetensors"),
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs of two processes, joined once for all: that takes seconds."""
    folder = tmp_path_factory.mktemp("runs")
    launched = launch(
        job(folder, "rows-7", ONCE, rows=7, double=True, **ALIKE),
        job(folder, "rows-1", ONCE, rows=1, double=True, **ALIKE),
        job(folder, "whole", RESUMED),
    )
    assert launched.returncode == 0, launched.stderr
    assert (launched.stdout, launched.stderr) == ("", "")  # nobody says anything
    return folder


# 7 rows: 4 for one process, 3 for the other; 1 row: the second process has none at all
@pytest.mark.parametrize("rows", [7, 1])
def test_two_processes_give_the_weights_of_one(done: Path, tmp_path: Path, rows: int) -> None:
    torch.set_num_threads(1)
    one = TinyObjective(rows=rows, dtype=torch.float64, **ALIKE)
    result = fit(one, TrainingOptions(run_folder=tmp_path, **ONCE))
    two = load_file(done / f"rows-{rows}.safetensors")
    for name, tensor in one.network.state_dict().items():
        # float64; the sums of a batch are taken in another order
        torch.testing.assert_close(two[name], tensor, rtol=1e-9, atol=1e-12)
    rows_of_two = end_of(done / f"rows-{rows}")["rows"]
    assert len(rows_of_two) == len(result.history)  # process 0 alone wrote them
    for row, same in zip(rows_of_two, result.history, strict=True):
        assert float(row["train_loss"]) == pytest.approx(same["train_loss"], rel=1e-9)
        assert float(row["error"]) == pytest.approx(same["error"], rel=1e-9)


def test_two_processes_resume_bit_for_bit_and_fail_together(done: Path, tmp_path: Path) -> None:
    killed = launch(job(tmp_path, "killed", RESUMED, kill_at_step=11))
    assert killed.returncode != 0
    assert read_state(tmp_path / "killed" / "state.safetensors").position.step == 10

    again = {**RESUMED, "resume": True}
    resumed = launch(job(tmp_path, "killed", again), job(tmp_path, "none", again))
    assert (tmp_path / "killed.safetensors").read_bytes() == (
        done / "whole.safetensors"
    ).read_bytes()
    assert end_of(tmp_path / "killed") == end_of(done / "whole")
    # what only process 0 can know ends both: neither waits for the other until a time-out
    assert resumed.returncode != 0
    assert "InputError: " in resumed.stderr
    assert "expected a folder with a training state to resume, got none" in resumed.stderr

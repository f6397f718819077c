from __future__ import annotations

import csv
import io
import json
import math
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_objective import TinyNetwork, TinyObjective
from torch import nn

import tidegate as tg
from tidegate.errors import InputError
from tidegate.training.loop import StepResult, TrainingError, TrainingResult, fit
from tidegate.training.options import TrainingOptions
from tidegate.training.processes import Processes
from tidegate.training.progress import Progress
from tidegate.training.state import read_state


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Scripted(TinyObjective):
    """Its validation figure at each evaluation is given beforehand."""

    def __init__(self, figures: list[float], **settings: Any) -> None:
        super().__init__(**settings)
        self.figures = iter(figures)
        self.weights_at: list[dict[str, torch.Tensor]] = []

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert not network.training
        self.weights_at.append({n: t.clone() for n, t in network.state_dict().items()})
        return {"error": next(self.figures)}


def run(objective: TinyObjective, **options: Any) -> TrainingResult:
    return fit(objective, TrainingOptions(**options))


def test_training_lowers_the_error() -> None:
    objective = TinyObjective()
    result = run(objective, epochs=12, learning_rate=0.02)
    assert result.metrics["error"] < result.history[0]["error"] / 2
    assert objective.evaluate(objective.network.eval()) == pytest.approx(result.metrics)


@pytest.mark.parametrize(
    ("limits", "steps", "stopped"),
    [
        ({"epochs": 2}, 14, "epochs"),
        ({"max_steps": 9}, 9, "max_steps"),
        ({"epochs": 1, "max_steps": 9}, 7, "epochs"),
        ({}, 70, "epochs"),
    ],
)
def test_the_first_limit_reached_ends_the_run(
    limits: dict[str, int], steps: int, stopped: str
) -> None:
    result = run(TinyObjective(), **limits)
    assert (result.steps, result.stopped) == (steps, stopped)
    assert result.history[-1]["step"] == steps  # the last weights are evaluated, too


def test_time_limit_ends_the_run_and_the_schedule() -> None:
    began = time.monotonic()
    result = run(TinyObjective(), epochs=10**6, max_minutes=0.01, evaluate_every=10**6)
    assert result.stopped == "max_minutes"
    assert 0.3 <= result.seconds <= time.monotonic() - began < 0.75
    assert result.history[-1]["learning_rate"] < 2e-3 / 50  # cosine, near its end


def test_every_batch_is_seen_once_per_epoch_in_order() -> None:
    objective = TinyObjective(steps=3)
    run(objective, epochs=2)
    assert objective.seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


class Watched(Scripted):
    """Keeps the weights with which each step begins, and the rate of the step before."""

    def __init__(self, figures: list[float], **settings: Any) -> None:
        super().__init__(figures, **settings)
        self.began_with: list[dict[str, torch.Tensor]] = []

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        self.began_with.append({n: t.clone() for n, t in network.state_dict().items()})
        return super().loss(network, batch, carry)


def test_out_of_patience_a_run_goes_back_to_its_best_weights_and_ends_with_a_falling_rate() -> None:
    objective = Watched([5, 4, 4, math.nan, 6, 4.5, 1], steps=7)
    options = {"learning_rate": 0.01, "schedule": "constant", "warmup": 0.0}
    result = run(objective, epochs=50, evaluate_every=3, patience=3, **options)
    assert (result.stopped, result.best_step, result.steps) == ("patience", 6, 18)  # a fifth more
    assert result.metrics == {"error": 4}
    for name, tensor in objective.network.state_dict().items():
        assert torch.equal(tensor, objective.weights_at[1][name])
        assert torch.equal(tensor, objective.began_with[15][name])
    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([0.01] * 5 + [0.01 / 6])  # the middle of the last of 3 steps


def test_what_the_falling_rate_brings_is_kept() -> None:
    result = run(Scripted([5, 4, 6, 3.9]), epochs=50, evaluate_every=5, patience=1)
    assert (result.stopped, result.best_step, result.steps) == ("patience", 18, 18)


def test_the_last_steps_end_with_the_run() -> None:
    result = run(Scripted([4, 5, 6]), max_steps=11, evaluate_every=5, patience=1)
    assert (result.steps, result.stopped, result.history[-1]["step"]) == (11, "patience", 11)
    assert result.history[-1]["learning_rate"] <= result.history[0]["learning_rate"] / 2


def test_figure_and_loss_both_have_to_stop_falling() -> None:
    """Accuracy is counted in few steps: the loss may fall while it stays."""

    class Losing(Scripted):
        def evaluate(self, network: nn.Module) -> dict[str, float]:
            error = super().evaluate(network)["error"]
            return {"validation_loss": error, "error": 1.0 if error == 5 else 2.0}

    result = run(Losing([5, 4, 3, 2, 3, 3, 3, 3]), epochs=50, evaluate_every=5, patience=2)
    assert (result.stopped, result.best_step, result.steps) == ("patience", 5, 36)


def test_higher_can_be_better() -> None:
    objective = Scripted([1, 3, 2])
    objective.lower_is_better = False
    assert run(objective, epochs=3).best_step == 14


def test_average_of_the_weights_is_evaluated_and_kept() -> None:
    plain, averaged = Scripted([2, 1]), Scripted([2, 1])
    run(plain, epochs=2)
    run(averaged, epochs=2, average=0.9)
    name = "dense.weight"
    assert not torch.equal(plain.weights_at[0][name], averaged.weights_at[0][name])
    assert torch.equal(averaged.network.state_dict()[name], averaged.weights_at[1][name])


def test_gradient_is_shortened_to_clip_norm() -> None:
    class OneStep(TinyObjective):
        def evaluate(self, network: nn.Module) -> dict[str, float]:
            self.norm = nn.utils.get_total_norm(
                [p.grad for p in network.parameters() if p.grad is not None]
            ).item()
            return {"error": 0.0}

    free, clipped = OneStep(dropout=0), OneStep(dropout=0)
    run(free, max_steps=1, clip_norm=None)
    run(clipped, max_steps=1, clip_norm=free.norm / 3)
    assert clipped.norm == pytest.approx(free.norm / 3, rel=1e-4)  # torch divides by norm + 1e-6


def test_same_seed_same_bits_and_random_state_untouched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    weights = []
    for seed in (1, 1, 2):
        objective = TinyObjective()
        torch.set_rng_state(before)
        run(objective, epochs=2, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        weights.append(objective.network.state_dict()["dense.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])  # dropout has other masks


def test_denormals_are_flushed_in_training_only() -> None:
    class Looking(TinyObjective):
        def at_step(self, step: int, network: nn.Module) -> str | None:  # noqa: ARG002
            self.product = (torch.tensor([1e-30]) * 1e-10).item()
            return None

    objective = Looking()
    run(objective, max_steps=1)
    assert objective.product == 0
    assert (torch.tensor([1e-30]) * 1e-10).item() > 0


def test_not_a_number_stops_with_step_batch_and_parameter(tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as failure:
        run(TinyObjective(nan_at_step=10), epochs=3, run_folder=tmp_path, checkpoint_seconds=0)
    assert str(failure.value).startswith(
        "step 10 (epoch 2, batch 3): the loss is nan and the gradient of gru.weight_ih_l0 is not "
        "finite; lower learning_rate or clip_norm, or check that batch's data"
    )
    state = read_state(tmp_path / "state.safetensors")
    assert state.position.step == 9
    assert all(torch.isfinite(t).all() for t in state.under("weights").values())


def test_infinite_gradient_of_a_finite_loss_is_found() -> None:
    class Root(TinyObjective):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(1, 1, bias=False)

        def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:  # noqa: ARG002
            assert isinstance(network, nn.Linear)
            return StepResult((network.weight * 0).sqrt().sum(), 1)  # slope at 0 is infinite

    with pytest.raises(TrainingError, match="the loss is 0 and the gradient of weight is not"):
        run(Root(), epochs=1)


def test_too_few_batches_is_an_error_and_no_endless_loop() -> None:
    objective = TinyObjective(steps=3)
    objective.steps_in_epoch = lambda: 4  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="expected 4 batches in epoch 1, got 3"):
        run(objective, epochs=1)


def test_no_data_is_an_input_error() -> None:
    with pytest.raises(InputError, match="expected training data for at least one step"):
        run(TinyObjective(steps=0), epochs=1)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "mps:0:1", "meta"])
def test_absent_device_is_an_input_error(device: str) -> None:
    with pytest.raises(InputError, match=f"option device: expected auto or .*cpu.* got '{device}'"):
        Processes(device)


def test_where_a_gpu_would_be_slow_auto_takes_the_cpu_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    objective = TinyObjective()
    assert isinstance(objective.network, TinyNetwork)
    objective.network.gru = tg.GRU(3, 4, recurrent_dropout=0.2)  # type: ignore[assignment]
    run(objective, max_steps=2)
    said = "step by step, so the CPU is used: torch has no kernel with recurrent dropout"
    assert said in capsys.readouterr().out
    assert objective.network.dense.weight.device.type == "cpu"


def test_run_folder_holds_config_metrics_curve_and_state(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    result = run(TinyObjective(), epochs=3, evaluate_every=5, run_folder=folder)
    assert {p.name for p in folder.iterdir()} == {
        "config.json",
        "metrics.csv",
        "curve.png",
        "state.safetensors",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["options"]["epochs"] == 3
    assert config["objective"] == {"steps": 7, "rows": 6}
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20, 21]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 3, 3]
    assert [float(row["error"]) for row in rows] == [row["error"] for row in result.history]
    assert list(rows[0]) == [
        "step", "epoch", "seconds", "learning_rate", "train_loss", "error", "largest",
    ]  # fmt: skip
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    run(TinyObjective(), epochs=1, run_folder=tmp_path)
    kept = (tmp_path / "state.safetensors").read_bytes()
    with pytest.raises(InputError, match="already; continue it with resume=True, replace"):
        run(TinyObjective(), epochs=1, run_folder=tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == kept
    (tmp_path / "state.safetensors").unlink()
    with pytest.raises(
        InputError, match="holds a run already; its state is gone"
    ):  # its metrics are worth as much
        run(TinyObjective(), epochs=1, run_folder=tmp_path)


def test_run_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder to write to"):
        run(TinyObjective(), epochs=1, run_folder=tmp_path / "file" / "run")


class Talking(TinyObjective):
    def at_step(self, step: int, network: nn.Module) -> str | None:
        network.eval()  # a sampler may; the loop trains on in training mode
        return f"sample at {step}" if step == 2 else None


@pytest.mark.parametrize(("verbose", "said"), [(1, "sample at 2\n"), (0, "")])
def test_without_a_terminal_only_texts_are_printed_and_silent_is_silent(
    verbose: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(Talking(), max_steps=4, verbose=verbose)
    assert capsys.readouterr() == (said, "")


def test_a_line_for_each_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(TinyObjective(), max_steps=8, evaluate_every=4, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2  step 8  0:00  train loss ")
    for name in ("train_loss", "error", "largest"):
        assert f"{name.replace('_', ' ')} {result.history[1][name]:.4g}" in lines[1]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", "train loss 0.7  validation loss 0.6931  accuracy 0.5"),
        ("cross_entropy", "train loss 0.7  accuracy 0.5  cross entropy 0.6931"),
    ],
)
def test_one_quantity_is_printed_once(
    metric: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"step": 4, "epoch": 1, "seconds": 0, "train_loss": 0.7, "validation_loss": 0.69314718}
    Progress(2, "texts").evaluated(row | {"accuracy": 0.5, "cross_entropy": 0.6931472}, metric)
    assert capsys.readouterr().out == f"epoch 1  step 4  0:00  {expected}\n"


def test_in_a_notebook_a_bar_is_drawn_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As IPython's display does it, which is no dependency of ours."""
    shown: list[str] = []

    class Place:
        def update(self, content: Any) -> None:
            shown.append(content._repr_html_())

    def display(content: Any, *, display_id: bool) -> Place:
        assert display_id
        shown.append(content._repr_html_())
        return Place()

    notebook, shower = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    notebook.get_ipython = lambda: types.SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    notebook.version_info = (9, 0)  # type: ignore[attr-defined]  # which matplotlib asks
    shower.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", shower)
    monkeypatch.setattr("tidegate.training.progress._REFRESH_S", 0.0)
    run(TinyObjective(), max_steps=8, evaluate_every=4, verbose=1)
    *bars, curves = shown
    assert len(bars) == 1 + 8
    assert curves.startswith('<img alt="the losses and figures over the optimiser steps"')
    assert '<progress value="1.0000" max="1"' in bars[-1]
    assert all(part in bars[-1] for part in ("epoch 2", "100%", "loss ", "error ", "steps/s"))
    assert capsys.readouterr() == ("", "")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_bar_shows_loss_metric_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("tidegate.training.progress._REFRESH_S", 0.0)
    run(Talking(), epochs=2, evaluate_every=3)
    shown = terminal.getvalue()
    for part in ("epoch 2", "loss ", "error ", "steps/s", "left"):
        assert part in shown
    assert capsys.readouterr().out == "sample at 2\n"  # stdout is no terminal here


def test_progress_off_makes_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(0, "tokens") as progress:
        progress.step(0.5, 1, 2.0, 10)
        progress.evaluated({"perplexity": 3.0}, "perplexity")
    assert terminal.getvalue() == ""

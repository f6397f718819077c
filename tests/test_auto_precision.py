"""``precision="auto"``: rounded products until the validation part shows a difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from command_line import TINY, Tidegate
from tiny_objective import TinyObjective
from torch import nn

import tidegate as tg
from tidegate.tasks.estimator import Estimator
from tidegate.training import precision as precision_module
from tidegate.training.loop import TrainingResult, fit
from tidegate.training.objective import StepResult
from tidegate.training.options import TrainingOptions
from tidegate.training.precision import Difference, Precision, compare
from tidegate.training.state import Position, read_state

NONE = Difference(0.0, 1.0)


class Rounded(TinyObjective):
    """Rounds its inputs where products are to be rounded, on every processor; notes its steps."""

    def __init__(self, **more: Any) -> None:
        super().__init__(batch_norm=False, **more)  # so its last weights are its best
        self.modes: list[str] = []

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        x, *rest = batch
        mode = torch.get_float32_matmul_precision()
        self.modes.append(mode)
        return super().loss(
            network, (x.bfloat16().float() if mode == "medium" else x, *rest), carry
        )

    @property
    def at(self) -> int:
        """The last step that was begun."""
        epoch, batch = self.seen[-1]
        return epoch * self.steps + batch + 1


@pytest.fixture(autouse=True)
def _one_thread_and_short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(precision_module, "_FEWEST", 1)


@pytest.fixture
def differs(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Let comparisons from a step on find a difference; gives the steps that were compared."""
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: True)

    def begin(first: int) -> list[int]:
        compared: list[int] = []

        def fake(objective: Rounded, *_: object) -> Difference:
            compared.append(objective.at)
            return Difference(0.02, 1.0) if objective.at >= first else NONE

        monkeypatch.setattr(precision_module, "compare", fake)
        return compared

    return begin


def run(objective: TinyObjective, **options: Any) -> TrainingResult:
    given: dict[str, Any] = {"precision": "auto", "max_steps": 20, "evaluate_every": 2}
    given["learning_rate"] = 0.02
    return fit(objective, TrainingOptions(**{**given, **options}))


def test_without_a_difference_all_steps_are_rounded_and_few_evaluations_compare(
    differs: Callable[[int], list[int]],
) -> None:
    compared, objective = differs(99), Rounded()
    assert run(objective).precision == "bfloat16"
    assert objective.modes == ["medium"] * 20
    assert compared == [2, 4, 8, 16]


def test_a_difference_ends_the_rounding_for_good_and_is_said_once(
    differs: Callable[[int], list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    compared, objective = differs(5), Rounded()
    before = torch.get_float32_matmul_precision()
    assert run(objective).precision == "bfloat16 until step 8"
    assert objective.modes == ["medium"] * 8 + ["highest"] * 12
    assert torch.get_float32_matmul_precision() == before
    assert compared == [2, 4, 8], "what is over is not compared again"
    said = "bfloat16 changes the validation loss by 2.00% (0.1% is allowed): products are float32"
    assert capsys.readouterr().out.count(said) == 1


def test_the_change_of_precision_changes_what_is_learned(
    differs: Callable[[int], list[int]],
) -> None:
    """Else the test of resuming could not fail."""
    ends = []
    for first in (2, 5, 99):
        differs(first)
        objective = Rounded()
        assert run(objective).best_step == 20
        ends.append(objective.network.state_dict()["dense.weight"])
    assert not torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[1], ends[2])


@pytest.mark.parametrize("interrupted", [7, 9, 15])
def test_a_run_resumed_before_and_after_its_change_of_precision_has_the_same_bits(
    tmp_path: Path, differs: Callable[[int], list[int]], interrupted: int
) -> None:
    differs(5)
    whole, broken, resumed = Rounded(), Rounded(fail_at_step=interrupted), Rounded()
    told = run(whole).precision
    options: dict[str, Any] = {"run_folder": tmp_path, "checkpoint_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        run(broken, **options)
    kept = read_state(tmp_path / "state.safetensors").position
    assert (kept.step, kept.exact_from) == (interrupted - 1, 8 if interrupted > 8 else None)
    assert run(resumed, resume=True, **options).precision == told == "bfloat16 until step 8"
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor), name


def test_comparing_changes_nothing_of_what_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: True)
    monkeypatch.setattr(Difference, "objection", lambda _: None)
    asked, chosen = Rounded(), Rounded()
    run(asked, precision="bfloat16")
    run(chosen)
    assert len(chosen.modes) > len(asked.modes)
    for name, tensor in asked.network.state_dict().items():
        assert torch.equal(chosen.network.state_dict()[name], tensor), name


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_where_rounding_is_no_faster_products_are_float32_which_is_said_if_it_was_not_left_open(
    precision: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: False)
    objective = Rounded()
    assert run(objective, device="cpu", precision=precision).precision == "float32"
    assert set(objective.modes) == {"highest"}
    said = "bfloat16 is no faster on this processor, so float32 is used"
    assert capsys.readouterr().out.count(said) == (precision == "bfloat16")


def test_a_run_of_few_steps_is_not_compared_and_none_after_its_last_step(
    differs: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = differs(99)
    run(Rounded(), evaluate_every=4, max_steps=16)
    assert compared == [4, 8]
    compared.clear()
    monkeypatch.setattr(precision_module, "_FEWEST", 10)
    run(Rounded())
    assert compared == [16]


def test_a_run_that_goes_on_where_rounding_is_no_faster_says_until_when_it_rounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"run_folder": tmp_path, "precision": "bfloat16"}
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: True)
    run(Rounded(), max_steps=6, device="cpu", **options)
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: False)
    objective = Rounded()
    told = run(objective, max_steps=10, resume=True, device="cpu", **options).precision
    assert told == "bfloat16 until step 6"


@pytest.mark.parametrize("first", [True, False])
def test_process_0_decides_for_all(first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: not first)
    another: Any = SimpleNamespace(device=torch.device("cpu"), first=lambda _: first)
    at = Position(step=4)
    Precision(TrainingOptions(precision="auto"), another, at)
    assert at.exact_from == (None if first else 4)


@pytest.mark.parametrize(
    ("difference", "against"),
    [
        (NONE, None),
        (Difference(9e-4, 0.991), None),
        (Difference(2e-3, 1.0), "changes the validation loss by 0.20%"),
        (Difference(0.0, 0.98), "turns the gradient, to a cosine of 0.980"),
        (Difference(math.nan, 1.0), "changes the validation loss by nan%"),
        (Difference(0.0, math.nan), "turns the gradient, to a cosine of nan"),
    ],
)
def test_what_counts_as_a_difference(difference: Difference, against: str | None) -> None:
    found = difference.objection()
    assert found is None if against is None else found is not None and against in found


def test_a_comparison_measures_the_rounding_and_leaves_no_gradient() -> None:
    objective = Rounded()
    objective.network.eval()
    found = compare(objective, objective.network)
    assert 0 < found.loss < 0.02
    assert 0.99 < found.cosine < 1
    assert objective.modes == ["highest", "medium"]
    assert all(p.grad is None for p in objective.network.parameters())


class Fixed(TinyObjective):
    """One loss where products are exact, another where they are rounded."""

    losses: tuple[float, float] = (0.0, 0.0)

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        result = super().loss(network, batch, carry)
        exact, rounded = self.losses
        rounds = torch.get_float32_matmul_precision() == "medium"
        return result._replace(loss=0 * result.loss + (rounded if rounds else exact))


@pytest.mark.parametrize(
    ("losses", "change"), [((0.0, 0.0), 0.0), ((0.0, 0.1), math.inf), ((-2.0, -1.0), 0.5)]
)
def test_the_change_of_a_loss_is_relative_and_that_of_a_loss_of_zero_is_none_or_endless(
    losses: tuple[float, float], change: float
) -> None:
    objective = Fixed(dropout=0)
    objective.losses = losses
    found = compare(objective, objective.network)
    assert found.loss == pytest.approx(change)
    assert found.cosine == 1, "without a gradient there is no angle"


RNG = np.random.default_rng(0)
TEXTS, LABELS = ["a good film", "a bad film"] * 10, ["good", "bad"] * 10
SERIES = [RNG.standard_normal((5 + i % 3, 2)) for i in range(20)]
SMALL: dict[str, Any] = {
    "max_steps": 4, "evaluate_every": 2, "hidden_sizes": (4,), "precision": "auto", "verbose": 0
}  # fmt: skip
TASKS: dict[str, Callable[[], Estimator]] = {
    "classifier": lambda: tg.TextClassifier(**SMALL).fit(TEXTS, LABELS),
    "weighted": lambda: tg.TextClassifier(**SMALL).fit(
        TEXTS, LABELS, sample_weight=np.arange(20.0)
    ),
    "language model": lambda: tg.LanguageModel(**SMALL, bptt=8).fit("the cat sat on the mat. " * 9),
    "few tokens": lambda: tg.LanguageModel(**SMALL).fit("cat sat. " * 9, validation="ta"),
    "forecaster": lambda: tg.Forecaster(**SMALL, context=8, horizon=2).fit(np.sin(np.arange(99.0))),
    "regressor": lambda: tg.SequenceRegressor(**SMALL).fit(SERIES, [x.sum() for x in SERIES]),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_can_be_compared_and_its_model_says_which_precision_trained(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Difference] = []
    real = compare

    def noted(*arguments: Any) -> Difference:
        found.append(real(*arguments))
        return NONE

    monkeypatch.setattr(precision_module, "rounding_pays", lambda: True)
    monkeypatch.setattr(precision_module, "compare", noted)
    assert TASKS[task]().provenance_["precision"] == "bfloat16"
    assert found
    for difference in found:
        assert 0 <= difference.loss < 0.05
        assert difference.cosine > 0.95


def test_the_file_and_the_command_say_which_precision_trained(
    tidegate: Tidegate, differs: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    del differs
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: True)
    monkeypatch.setattr(precision_module, "compare", lambda *_: Difference(1.0, 1.0))
    line = f"train classifier reviews.csv {TINY['classifier']} --text review --label sentiment"
    trained = tidegate(f"{line} --precision auto --evaluate-every 2 -o model.safetensors")
    assert "bfloat16 until step 2" in trained.out
    told = tidegate("info model.safetensors").out
    assert [s for s in told.splitlines() if s.split()[:1] == ["precision"]][-1].endswith(
        "bfloat16 until step 2"
    )
    assert tidegate("info model.safetensors --json").json["provenance"]["precision"] == (
        "bfloat16 until step 2"
    )


def test_leaving_the_run_restores_the_mode_of_products() -> None:
    before = torch.get_float32_matmul_precision()
    at, options = Position(), TrainingOptions(precision="auto")
    alone: Any = SimpleNamespace(device=torch.device("cpu"), first=lambda _: True)
    said: list[str] = []
    progress: Any = SimpleNamespace(say=said.append)
    precision = Precision(options, alone, at)
    with ExitStack() as stack:
        precision.begin(stack, progress)
        assert torch.get_float32_matmul_precision() == "medium"
        precision.heed("changes all")
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == before
    assert len(said) == 1

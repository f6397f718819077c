"""``gradient_norms``: gradients by layer and by distance, while a network trains."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from tides import small, tides
from tiny_objective import TinyObjective

import tidegate as tg
from tidegate.errors import InputError
from tidegate.training.gradient_reach import gradient_reach
from tidegate.training.gradient_watch import GradientWatch
from tidegate.training.loop import fit
from tidegate.training.options import TrainingOptions

TEXTS = [f"a {word} film of the year" for word in ("good", "bad", "fine", "poor")] * 6
LABELS = ["yes", "no"] * 12
QUIET: dict[str, Any] = {
    "verbose": 0, "hidden_sizes": (4,), "max_steps": 4, "evaluate_every": 2, "baseline": False,
    "gradient_norms": True, "refit": False,
}  # fmt: skip


def rows_in(folder: Path) -> list[dict[str, float]]:
    with (folder / "gradients.csv").open(encoding="utf-8", newline="") as file:
        return [{n: float(v) for n, v in row.items() if v} for row in csv.DictReader(file)]


def test_norms_are_those_of_the_weights_of_each_layer() -> None:
    objective = TinyObjective(dropout=0.0)
    watch = GradientWatch(objective, list(objective.network.named_parameters()), None, 0)
    lengths = []
    for factor in (1.0, 3.0):
        for k, p in enumerate(objective.network.parameters()):
            p.grad = torch.full_like(p, factor * (k + 1))
        watch.stepped()
        sizes = [p.grad.square().sum() for p in objective.network.gru.parameters()]
        lengths.append(float(torch.stack(sizes).sum().sqrt()))
    said = watch.evaluated(7)
    (row,) = watch.rows
    assert row["step"] == 7
    assert row["mean gru"] == pytest.approx(np.mean(lengths))
    assert row["largest gru"] == pytest.approx(max(lengths))
    assert {n.removeprefix("mean ") for n in row if n.startswith("mean ")} == {
        "gru",
        "norm",
        "dense",
    }
    assert said.startswith("gradients at step 7: gru ")
    assert not any(name.startswith("left after") for name in row)  # it has no last answers


def test_the_weights_are_those_of_a_run_that_is_not_looked_at() -> None:
    states = []
    for watched in (True, False):
        objective = TinyObjective()
        options = TrainingOptions(max_steps=6, evaluate_every=3, verbose=0, gradient_norms=watched)
        result = fit(objective, options)
        assert len(result.gradients) == (2 if watched else 0)
        states.append(objective.network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_resumed_run_has_each_row_once(tmp_path: Path) -> None:
    rows = {}
    for name, stops in (("whole", (6,)), ("resumed", (3, 6))):
        for k, most in enumerate(stops):
            options = TrainingOptions(
                max_steps=most, evaluate_every=2, verbose=0, gradient_norms=True,
                schedule="constant", run_folder=tmp_path / name, resume=k > 0,
            )  # fmt: skip
            fit(TinyObjective(), options)
        rows[name] = rows_in(tmp_path / name)
        assert (tmp_path / name / "gradients.png").read_bytes().startswith(b"\x89PNG")
    assert [row["step"] for row in rows["whole"]] == [2, 4, 6]
    assert sorted({row["step"] for row in rows["resumed"]}) == [2, 3, 4, 6]
    assert len(rows["resumed"]) == 4


MODELS: dict[str, Any] = {
    "labels": lambda: tg.TextClassifier(
        **QUIET, embedding_size=4, validation_fraction=0.2
    ).fit(TEXTS, LABELS),
    "numbers": lambda: tg.SequenceRegressor(**QUIET, validation_fraction=0.2).fit(
        np.random.default_rng(0).normal(size=(24, 9)), np.arange(24.0)
    ),
    "text": lambda: tg.LanguageModel(**QUIET, sample_steps=()).fit(TEXTS),
    "series": lambda: small(max_steps=4, evaluate_every=2, gradient_norms=True).fit(tides()),
    "tags": lambda: tg.SequenceTagger(**QUIET, embedding_size=4, validation_fraction=0.2).fit(
        [text.split() for text in TEXTS], [["X"] * 5 + ["Y"]] * 24
    ),
}  # fmt: skip


@pytest.mark.parametrize("task", MODELS)
def test_a_task_shows_what_is_left_by_distance(task: str) -> None:
    model = MODELS[task]()
    assert [row["step"] for row in model.gradients_] == [2, 4]
    for row in model.gradients_:
        assert row["left after 0"] == pytest.approx(1)
        assert row["left after 1"] > 0
        assert any(name.startswith("mean recurrent.0") for name in row)
    above, below = model.plot_gradients()
    assert above.get_yscale() == below.get_yscale() == "log"
    assert [line.get_xdata()[0] for line in below.lines[:-1]] == [0, 0]
    plt.close(above.figure)


def test_what_is_left_is_the_reach_of_the_network_at_that_step() -> None:
    model = MODELS["numbers"]()
    found = []
    original = GradientWatch._reach

    def kept(self: GradientWatch) -> np.ndarray:
        found.append(gradient_reach(self._objective.network, *self._objective.last_answers()))  # type: ignore
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GradientWatch, "_reach", kept)
        model = MODELS["numbers"]()
    for row, reach in zip(model.gradients_, found, strict=True):
        for name, value in row.items():
            if name.startswith("left after "):
                assert value == pytest.approx(reach[int(name.split()[-1])])


def test_a_model_that_was_not_looked_at_says_how_to() -> None:
    model = tg.SequenceRegressor(**QUIET | {"gradient_norms": False})
    model.fit(np.random.default_rng(0).normal(size=(24, 9)), np.arange(24.0))
    with pytest.raises(InputError, match="fit it again"):
        model.plot_gradients()

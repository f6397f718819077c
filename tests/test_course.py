"""The course of a run: what an epoch is, when it ends, what is recorded, drawn and said of it."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tides import small, tides
from tiny_objective import TinyObjective

import tidegate as tg
from tidegate.errors import InputError
from tidegate.output.pictures import image_of
from tidegate.training.curve import as_rows, draw_history, hindsight
from tidegate.training.loop import fit
from tidegate.training.objective import StepResult
from tidegate.training.options import TrainingOptions

RNG = np.random.default_rng(0)
WORDS = ["good", "bad", "fine", "poor", "film", "book", "song", "play"]
TEXTS = [" ".join(RNG.choice(WORDS, 6)) for _ in range(121)]
NOISE = RNG.integers(0, 2, 121)  # nothing to learn: what is learned is overfitting
BLOCK = RNG.normal(size=(20, 9))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def texts(**options: Any) -> tg.TextClassifier:
    quiet = {"verbose": 0, "embedding_size": 4, "hidden_sizes": (4,), "validation_fraction": 0.1}
    return tg.TextClassifier(**quiet | options)


def sequences(**options: Any) -> tg.SequenceClassifier:
    return tg.SequenceClassifier(**{"verbose": 0, "hidden_sizes": (4,), **options})


# an epoch, and how long a run is


def test_an_epoch_is_a_pass_over_the_data() -> None:
    model = texts(epochs=20, patience=99).fit(TEXTS, NOISE)
    assert model.provenance_["training_texts"] == 109
    assert model.provenance_["steps"] == 20 * 4  # of 32 texts
    assert model.provenance_["epochs"] == 20
    assert model.provenance_["stopped_by"] == "epochs"
    assert [row["step"] for row in rows(model)] == list(range(4, 84, 4))
    assert [row["epoch"] for row in rows(model)] == list(range(1, 21))


@pytest.mark.parametrize("given", [{}, {"epochs": 2}])
def test_fewest_steps_outdo_epochs_where_data_are_few(given: dict[str, int]) -> None:
    model = texts(fewest_steps=30, **given).fit(TEXTS, NOISE)
    assert model.provenance_["steps"] == 30
    assert model.provenance_["stopped_by"] == "fewest_steps"
    many = texts(fewest_steps=30, epochs=10).fit(TEXTS, NOISE)
    assert many.provenance_["steps"] == 40
    assert many.provenance_["stopped_by"] == "epochs"


def test_few_data_are_passed_often_enough_by_default() -> None:
    model = texts(patience=99).fit(TEXTS, NOISE)
    assert model.provenance_["steps"] == texts().DEFAULT_STEPS == 300
    assert len(rows(model)) == texts().DEFAULT_EPOCHS  # evaluating stays the lesser part
    assert sequences().step_limit(3) == 2000
    assert sequences().step_limit(1000) == 20_000  # many data: epochs alone count
    assert small(max_steps=None).step_limit(7) == 400
    for limit in ({"max_steps": 3}, {"max_minutes": 1.0}):
        assert texts(**limit).step_limit(4) is None


def test_fewest_steps_beyond_the_most_are_refused() -> None:
    with pytest.raises(InputError, match="option fewest_steps: expected at most max_steps, 3"):
        texts(fewest_steps=4, max_steps=3).check()


class Course(TinyObjective):
    """A run whose losses are known beforehand; an evaluation each 2 steps."""

    def __init__(self, train: list[float], validation: list[float]) -> None:
        super().__init__(dropout=0.0)
        self.train, self.validation, self.figures = train, validation, iter(validation)

    def loss(self, network: Any, batch: Any, carry: Any) -> StepResult:
        result = super().loss(network, batch, carry)
        self.begun = getattr(self, "begun", -1) + 1
        now = self.train[min(self.begun // 2, len(self.train) - 1)]
        return result._replace(loss=result.loss * 0 + now)

    def evaluate(self, network: Any) -> dict[str, float]:  # noqa: ARG002
        figure = next(self.figures, self.validation[-1])
        return {"validation_loss": figure, "error": figure}


FALLING = [1 / (1 + i) for i in range(20)]


def of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.training.limits.PATIENT_STEPS", 1)


@pytest.mark.parametrize(
    ("train", "validation", "told", "stopped_at"),
    [
        pytest.param(FALLING, [3, 2, 1, 2, 3], {}, 12 + 2, id="overfits"),  # after 3 evaluations
        pytest.param(FALLING, [*range(10, 0, -1), 2, 3], {}, 30 + 6, id="that is a third of all"),
        pytest.param([1.0] * 20, [3, 2, 1, 2, 3], {}, 40, id="a plateau: it may yet learn"),
        pytest.param(FALLING, [3, 2, 1, 1, 1], {}, 40, id="no worse"),
        pytest.param(FALLING, [3, 2, 1, 2, 3], {"patience": 99}, 40, id="told to be patient"),
        pytest.param(FALLING, [3, 2, 1, 2, 3], {"patience": 1}, 8 + 2, id="told not to be"),
    ],
)
def test_a_run_that_overfits_ends_soon(
    train: list[float],
    validation: list[float],
    told: dict[str, int],
    stopped_at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_any_length(monkeypatch)
    options = TrainingOptions(max_steps=40, evaluate_every=2, verbose=0, **told)
    result = fit(Course(train, validation), options)
    assert result.steps == stopped_at
    assert result.stopped == ("max_steps" if stopped_at == 40 else "patience")
    assert result.best_step == 2 * (1 + validation.index(1))


def test_it_says_what_going_back_brought(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_any_length(monkeypatch)
    options = TrainingOptions(max_steps=40, evaluate_every=2, verbose=1)
    fit(Course(FALLING, [3, 2, 1, 2, 3, 3, 0.5]), options)
    assert capsys.readouterr().out == (
        "from step 6 to 12 nothing became better, so the run went back to step 6 and ended with a "
        "falling learning rate: error 1 became 0.5\n"
    )
    fit(Course(FALLING, [3, 2, 1, 2, 3, 3, 3]), options)
    assert "learning rate: error 1, no better than before\n" in capsys.readouterr().out


# what is recorded


def rows(model: Any) -> list[dict[str, float]]:
    return model.history_ if isinstance(model.history_, list) else as_rows(model.history_)


def test_the_validation_loss_is_the_training_loss_of_the_validation_part() -> None:
    """Without dropout and with a rate of 0 both are the same number on the same data."""
    still = {"learning_rate": 1e-30, "dropout": 0.0, "recurrent_dropout": 0.0, "epochs": 1}
    still["precision"] = "float32"  # bfloat16 would train on rounded products
    same = TEXTS[:32], NOISE[:32]
    model: Any = texts(
        **still, embedding_dropout=0.0, evidence=False, test_fraction=0.0, batch_size=32
    ).fit(*same, validation=same)
    check(model, "cross_entropy")
    model = sequences(**still, crop=0.0, batch_size=20, validation_fraction=0.5)
    model.fit(BLOCK, NOISE[:20], validation=(BLOCK, NOISE[:20]))
    check(model, "cross_entropy")
    model = tg.SequenceRegressor(**still, batch_size=20, verbose=0, hidden_sizes=(4,)).fit(
        BLOCK, BLOCK[:, 0] * 7, validation=(BLOCK, BLOCK[:, 0] * 7)
    )
    check(model, None)
    (row,) = rows(model)  # the figure is in the unit of y
    assert row["mse"] == pytest.approx(row["validation_loss"] * model.target_.scale[0] ** 2)


def check(model: Any, figure: str | None) -> None:
    (row,) = rows(model)
    assert row["validation_loss"] == pytest.approx(row["train_loss"], rel=1e-4)
    if figure is not None:
        assert row["validation_loss"] == pytest.approx(row[figure], rel=1e-6)
    assert "validation_loss" not in model.metrics_


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_forecasters_validation_loss_is_in_the_unit_of_training(loss: str) -> None:
    row = rows(small(loss=loss).fit(tides()))[-1]
    if loss != "huber":
        assert row["validation_loss"] == pytest.approx(row[loss], rel=1e-5)
    else:
        assert 0 < row["validation_loss"] < min(row["mae"], row["mse"] / 2 + 1e-9)


def test_without_a_validation_part_there_is_no_validation_loss() -> None:
    whole = sequences(epochs=1, validation_fraction=0.0).fit(BLOCK, NOISE[:20])
    assert "validation_loss" not in rows(whole)[0]


def test_metrics_csv_holds_both_losses(tmp_path: Path) -> None:
    texts(epochs=2, run_folder=tmp_path).fit(TEXTS, NOISE)
    with open(tmp_path / "metrics.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert float(row["validation_loss"]) == pytest.approx(float(row["cross_entropy"]))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_of_equal_accuracies_the_lower_loss_is_better() -> None:
    model = texts(epochs=60, learning_rate=0.02).fit(TEXTS[:30], np.arange(30) % 2)
    told = rows(model)
    most = max(row["accuracy"] for row in told)  # of three texts: many are equal
    equal = [row for row in told if row["accuracy"] == most]
    assert len(equal) > 1
    best = min(equal, key=lambda row: row["validation_loss"])
    assert model.provenance_["best_step"] == best["step"]


# the picture


def history(**columns: list[float]) -> dict[str, list[float]]:
    count = len(columns["train_loss"])
    return {"step": [10.0 * (i + 1) for i in range(count)], **columns}


def test_one_quantity_has_one_axis_and_another_a_panel_of_its_own() -> None:
    told = history(
        train_loss=[0.7, 0.5, 0.1], validation_loss=[0.7, 0.6, 2.0], accuracy=[0.5, 0.7, 0.6],
        cross_entropy=[0.7, 0.6, 2.0],
    )  # fmt: skip
    losses, accuracy = draw_history(told, 20)
    drawn = {line.get_label(): line for line in losses.lines}
    assert set(drawn) == {"training loss", "validation loss", "best weights, step 20"}
    assert list(drawn["validation loss"].get_ydata()) == told["validation_loss"]
    low, high = losses.get_ylim()
    assert low < 0.1 < 2.0 < high
    assert [line.get_label() for line in accuracy.lines][0] == "validation accuracy"
    assert all(20 in np.unique(axes.lines[-1].get_xdata()) for axes in (losses, accuracy))


def test_a_figure_that_is_the_loss_is_not_drawn_twice() -> None:
    told = history(train_loss=[2.0], validation_loss=[2.0], cross_entropy=[2.0])
    assert len(draw_history(told, 0)) == 1


def test_a_figure_that_is_not_a_number_is_left_out() -> None:
    told = history(train_loss=[2.0, np.inf], validation_loss=[np.nan] * 2, mse=[np.nan, 1.0])
    assert image_of(draw_history(told, 10)[0].figure).startswith(b"\x89PNG")


# what is said in the end


def entropies(values: list[float], train: list[float] | None = None) -> dict[str, list[float]]:
    train = [1.0 - 0.01 * i for i in range(len(values))] if train is None else train
    return history(train_loss=train, validation_loss=values, cross_entropy=values)


def test_a_run_that_overfitted_says_when_it_should_have_ended() -> None:
    values = [0.9, 0.8, 0.85, 0.7] + [0.7 + 0.1 * i for i in range(1, 10)]
    assert hindsight(entropies(values), 40, "cross_entropy") == (
        "the best weights are those of step 40 of 130; training after that step overfitted. With "
        "patience 2 the run would have gone back to them at step 60, and ended soon"
    )
    still = hindsight(entropies(values, train=[1.0] * 13), 40, "cross_entropy")
    assert still is not None
    assert "training after that step brought nothing better" in still


def test_a_run_that_ended_in_time_says_nothing() -> None:
    assert hindsight(entropies([0.9, 0.8, 0.7, 0.6, 0.65]), 40, "cross_entropy") is None
    late = [0.9] * 5 + [0.5] + [0.9] * 4
    assert hindsight(entropies(late), 60, "cross_entropy") is None


def test_of_accuracies_the_highest_is_best() -> None:
    told = entropies([0.9, 0.8, 0.9] + [1.0] * 9) | {"accuracy": [0.5, 0.5, 0.9] + [0.6] * 9}
    said = hindsight(told, 30, "accuracy")
    assert said is not None
    assert "patience 2 the run would have gone back to them at step 50" in said


def test_the_patience_that_is_named_goes_back_to_the_same_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = {"evidence": False, "learning_rate": 0.02, "epochs": 40, "dropout": 0.0}
    options |= {"embedding_dropout": 0.0, "average": 0.0}
    whole = texts(**options, patience=99, verbose=1).fit(TEXTS, NOISE)
    told = capsys.readouterr().out.splitlines()
    (said,) = (x for x in told if "training after that step overfitted. With patience " in x)
    patience = int(said.split("patience ")[1].split()[0])
    texts(**options, patience=patience, verbose=1).fit(TEXTS, NOISE)
    best, back_at = whole.provenance_["best_step"], said.split("them at step ")[1].split(",")[0]
    assert f"from step {best} to {back_at} nothing became better" in capsys.readouterr().out


@pytest.mark.parametrize("steps", [[1], [1, 2], [2, 3, 4], list(range(50, 1050, 50))])
def test_the_axis_of_steps_has_whole_ones_only(steps: list[int]) -> None:
    history = {"step": steps, "train_loss": [1.0] * len(steps), "error": [2.0] * len(steps)}
    *_, last = draw_history(history, best_step=steps[0])
    last.figure.draw_without_rendering()
    labels = [label.get_text() for label in last.get_xticklabels()]
    assert any(labels)
    assert all(re.fullmatch(r"\d*", label) for label in labels), labels

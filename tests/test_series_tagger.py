"""A tagger of numbers: what it learns, what its files may be, and that it answers alike."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import STEPS, Tidegate, tidegate  # noqa: F401  a fixture
from sklearn.base import clone

import tidegate as tg
from tidegate.baselines.steps import LinearSteps, NearestSteps, steps_within
from tidegate.baselines.tagged import Tagged
from tidegate.comparison.experiments.of_tasks import experiment_of
from tidegate.data.sequence_sources import LabelledSteps
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.training.keeping import Keeper

SMALL: dict[str, Any] = {"verbose": 0, "hidden_sizes": (6,), "max_steps": 3}

Data = tuple[list[np.ndarray], list[list[str]]]


def far_back(count: int, seed: int = 0) -> Data:
    """The label of every step is the sign of the first value: no window tells it."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for _ in range(count):
        steps = int(rng.integers(25, 40))
        values = rng.normal(size=(steps, 2)) * 0.1
        values[0, 0] = rng.choice([-2.0, 2.0])
        X.append(values)
        y.append(["up" if values[0, 0] > 0 else "down"] * steps)
    return X, y


def by_level(count: int, seed: int = 0) -> Data:
    """The label of a step is what the step before, and the step behind, add up to."""
    rng = np.random.default_rng(seed)
    X = [rng.normal(size=int(rng.integers(4, 9))) * 5 + 100 for _ in range(count)]
    y = [
        ["high" if a + b > 200 else "low" for a, b in zip([100, *x], [*x[1:], 100], strict=False)]
        for x in X
    ]
    return X, y


@pytest.fixture(scope="module")
def trained() -> tg.SeriesTagger:
    model = tg.SeriesTagger(verbose=0, hidden_sizes=(12,), max_steps=150, learning_rate=0.02)
    return model.fit(*far_back(200))


def test_it_remembers_what_no_window_shows(trained: tg.SeriesTagger) -> None:
    X, y = far_back(40, seed=1)
    figures = trained.evaluate(X, y)
    assert figures["accuracy"] > 0.98
    assert figures["macro_f1"] > 0.98
    assert figures["accuracy"] > trained.metrics_["baseline_accuracy"] + 0.1
    assert (figures["sequences"], figures["n"]) == (40, sum(map(len, y)))


def test_figures_are_means_over_all_steps(trained: tg.SeriesTagger) -> None:
    X, y = far_back(5, seed=2)
    logs = np.concatenate(trained.predict_log_proba(X))
    truth = np.searchsorted(trained.classes_, np.concatenate(y))
    expected = -logs[np.arange(len(truth)), truth].mean()
    assert trained.evaluate(X, y)["cross_entropy"] == pytest.approx(expected)
    assert trained.losses(X, y).sum() == pytest.approx(expected * len(truth))
    table = trained.table(X, y)
    assert sum(row["n"] for row in table.values()) == len(truth)


def test_neighbours_in_a_batch_change_nothing(trained: tg.SeriesTagger) -> None:
    X, _ = far_back(6, seed=3)
    X.append(X[0][:1])
    together = trained.predict_proba(X)
    for one, found in zip(X, together, strict=True):
        assert found.shape == (len(one), 2)
        np.testing.assert_allclose(trained.predict_proba([one])[0], found, rtol=0, atol=1e-6)


def test_a_missing_value_is_the_last_known_one(trained: tg.SeriesTagger) -> None:
    (x,), _ = far_back(1, seed=4)
    holes, filled = x.copy(), x.copy()
    holes[5:9, 1], filled[5:9, 1] = np.nan, x[4, 1]
    np.testing.assert_array_equal(trained.predict_proba([holes]), trained.predict_proba([filled]))


def test_a_label_that_was_not_learned_counts_as_wrong(trained: tg.SeriesTagger) -> None:
    X, y = far_back(4, seed=5)
    right = trained.evaluate(X, y)["accuracy"]
    y[0] = ["other", *y[0][1:]]
    figures = trained.evaluate(X, y)
    assert figures["unknown_labels"] == 1
    assert figures["accuracy"] == pytest.approx(right - 1 / figures["n"])
    with pytest.raises(InputError, match="labels: expected those of the training steps"):
        trained.evaluate(X[:1], [["other"] * len(X[0])])


def test_streams_tell_each_steps_label_as_predict_does() -> None:
    X, y = by_level(30)
    model = tg.SeriesTagger(**SMALL, bidirectional=False).fit(X, y)
    (x,), expected = X[:1], model.predict_proba(X[:1])[0]
    stream = model.stream()
    for value, probabilities in zip(x, expected, strict=True):
        np.testing.assert_allclose(stream.feed(value), probabilities, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="train with bidirectional=False"):
        tg.SeriesTagger(**SMALL).fit(X, y).stream()


def test_gates_are_inspected_step_by_step(trained: tg.SeriesTagger) -> None:
    (x,), _ = far_back(1)
    assert trained.inspect(x).steps == tuple(map(str, range(len(x))))


def test_a_file_keeps_it_all(tmp_path: Path, trained: tg.SeriesTagger) -> None:
    trained.save(tmp_path / "m.safetensors")
    again: Any = tg.load(tmp_path / "m.safetensors")
    X, _ = far_back(3)
    assert type(again) is tg.SeriesTagger
    assert again.predict(X) == trained.predict(X)
    model = load_model(tmp_path / "m.safetensors")
    for change in ({"segment": 2}, {"scaler": {"mean": [0.0], "scale": [1.0]}}):
        assert model.scaling is not None
        inputs = model.scaling["inputs"] | change
        model.scaling, kept = {"inputs": inputs}, model.scaling
        save_model(tmp_path / "other", model)
        with pytest.raises(ModelFileError, match="inputs: expected"):
            tg.load(tmp_path / "other")
        model.scaling = kept


def test_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    def fitted(**more: Any) -> tg.SeriesTagger:
        options: dict[str, Any] = SMALL | {"max_steps": 6, "evaluate_every": 3, "batch_size": 8}
        return tg.SeriesTagger(**options | more).fit(*by_level(30))

    whole = fitted()
    kept = {"run_folder": tmp_path / "run", "checkpoint_seconds": 0.0}

    class Killed(Exception):
        pass

    saved: Any = Keeper.save
    count = 0

    def save(self: Keeper, *arguments: Any) -> None:
        nonlocal count
        saved(self, *arguments)
        count += 1
        if count == 2:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Keeper, "save", save)
        with pytest.raises(Killed):
            fitted(**kept)
    again = fitted(**kept, resume=True)
    for name, weights in whole.runtime_.tensors.items():
        np.testing.assert_array_equal(weights, again.runtime_.tensors[name])


def test_long_sequences_are_learned_from_in_pieces_and_predicted_whole() -> None:
    X, y = by_level(30)
    joined = [np.concatenate(X)] * 12, [[label for of_one in y for label in of_one]] * 12
    model = tg.SeriesTagger(**SMALL, piece=50).fit(*joined)
    assert len(model.predict(joined[0])[0]) == len(joined[0][0])
    pieces = model._pieces(([np.zeros((120, 1))], [np.arange(120)]))
    assert [len(piece) for piece in pieces[0]] == [50, 50, 20]
    assert np.concatenate(pieces[1]).tolist() == list(range(120))


def test_of_one_recording_stretches_are_held_out() -> None:
    X, y = by_level(30)
    one = [np.concatenate(X)], [[label for of_one in y for label in of_one]]
    model = tg.SeriesTagger(**SMALL, test_fraction=0.2)
    whole = model.whole(*one, drawn=True)
    assert len(whole.inputs) == 10
    np.testing.assert_array_equal(np.concatenate(whole.inputs)[:, 0], one[0][0])
    model.fit(*one)
    assert model.metrics_["test_n"] == pytest.approx(0.2 * len(one[0][0]), abs=2)
    assert len(model.whole(*one, drawn=False).inputs) == 1


def test_the_baselines_know_what_a_window_shows() -> None:
    X, y = by_level(120)
    parts = [Tagged([x[:, None] for x in X[k::2]], y[k::2]) for k in (0, 1)]
    linear, nearest = LinearSteps.fit(*parts), NearestSteps.fit(parts[0])
    assert linear.figures(parts[1])["accuracy"] > 0.85
    assert nearest.figures(parts[1])["accuracy"] > 0.7
    better = steps_within(*parts, 100, 10.0)
    assert isinstance(better, LinearSteps)
    losses = better.losses(parts[1])
    assert losses.sum() / parts[1].steps == pytest.approx(better.figures(parts[1])["cross_entropy"])
    assert isinstance(steps_within(parts[0], Tagged([], []), 0, 10.0), NearestSteps)


def test_a_baseline_takes_fewer_steps_where_seconds_are_few() -> None:
    X, y = by_level(120)
    part = Tagged([x[:, None] for x in X], y)
    assert NearestSteps.fit(part, asked=1000, seconds=1e-9).part.startswith("3 of ")
    assert LinearSteps.fit(part, part, 1e-9).part.startswith("3 of ")


def test_a_baseline_has_no_loss_where_a_label_was_not_learned() -> None:
    X, y = by_level(20)
    part = Tagged([x[:, None] for x in X], y)
    other = part._replace(labels=[["x", *y[0][1:]], *y[1:]])
    assert np.isnan(NearestSteps.fit(part).losses(other)).tolist() == [True] + [False] * 19


def test_it_is_compared_beside_both() -> None:
    model = tg.SeriesTagger(**SMALL, test_fraction=0.2)
    told = tg.compare(model, *by_level(60), cells=("gru",), seeds=1)
    assert {base.name for base in told.baselines} == {"logistic regression", "1-nearest window"}
    (run,) = told.runs
    assert run.held_out["cross_entropy"] > 0
    found = experiment_of(model, by_level(60), None, None)
    assert found.size == 12


def test_it_has_scikit_learns_manners() -> None:
    X, y = by_level(20)
    X, y = [x[:4] for x in X], [of_one[:4] for of_one in y]
    model: Any = clone(tg.SeriesTagger(**SMALL))
    model.fit(np.stack(X), np.array(y))
    assert 0 <= model.score(X, y) <= 1
    numbered = [[len(label) for label in of_one] for of_one in y]
    assert type(tg.SeriesTagger(**SMALL).fit(X, numbered).predict(X)[0][0]) is int


@pytest.mark.parametrize(
    ("X", "y", "told"),
    [
        ([np.zeros(3)] * 2, [["a", "b", "c"]], "expected one list per sequence, 2, got 1"),
        ([np.zeros(3)] * 2, [["a"] * 3, ["b"]], "expected one per step of sequence 1, 3, got 1"),
        ([np.zeros(3)] * 20, [["a"] * 3] * 20, "at least two different ones, got only 'a'"),
        ([np.zeros(3)] * 20, [["a", 1, "a"]] * 20, "all of one type"),
        ([], [], "steps: expected at least one, got none; give some sequences"),
    ],
)
def test_what_cannot_be_learned_is_told(X: Any, y: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        tg.SeriesTagger(**SMALL).fit(X, y)


def test_channels_must_be_those_of_training(trained: tg.SeriesTagger) -> None:
    with pytest.raises(InputError, match="expected 2 channels"):
        trained.predict([np.zeros((4, 3))])
    X, y = by_level(20)
    with pytest.raises(InputError, match="expected 1 channels"):
        tg.SeriesTagger(**SMALL).fit(X, y, validation=([np.zeros((2, 2))], [["high", "low"]]))


# files


def test_npz_files_hold_labels_of_steps(tmp_path: Path) -> None:
    X = np.arange(12.0).reshape(2, 3, 2)
    y = np.array([["a", "b", "a"], ["b", "b", "unused"]])
    np.savez(tmp_path / "x.npz", X=X, y=y, lengths=[3, 2])
    np.savez(tmp_path / "v.npz", values=X.reshape(6, 2)[:5], y=y.ravel()[:5], lengths=[3, 2])
    for name in ("x.npz", "v.npz"):
        values, labels = LabelledSteps().read(str(tmp_path / name), learning=True)
        assert [one.tolist() for one in labels] == [["a", "b", "a"], ["b", "b"]]
        assert [one.tolist() for one in values] == [X[0].tolist(), X[1, :2].tolist()]
        assert LabelledSteps().times(str(tmp_path / name)) == [["0", "1", "2"], ["0", "1"]]


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({}, "expected an array y, the label of each step, got none; add it"),
        (
            {"y": np.array(["a", "b"])},
            r"y: expected a label for each step, \[2, 3\], got <U1 \[2\]",
        ),
        ({"y": np.array([["a", " ", "b"]] * 2)}, "expected a label for each step, got ' ' for 2"),
        ({"y": np.full((2, 3), np.nan)}, "y: expected finite numbers, got nan; leave its step out"),
    ],
)
def test_an_npz_without_labels_of_steps_is_told(
    tmp_path: Path, arrays: dict[str, Any], told: str
) -> None:
    np.savez(tmp_path / "x.npz", X=np.zeros((2, 3, 1)), **arrays)
    with pytest.raises(InputError, match=told):
        LabelledSteps().read(str(tmp_path / "x.npz"), learning=True)


def test_the_commands_train_evaluate_and_predict(tidegate: Tidegate) -> None:  # noqa: F811
    trained = tidegate(f"train series-tagger {STEPS} --label phase --hidden-sizes 4 --max-steps 4")
    assert trained.code == 0, trained.err
    assert "baseline: " in trained.out
    model = "gestures-series-tagger.safetensors"
    figures = tidegate(f"evaluate {model} new.csv --json").json
    assert {"accuracy", "macro_f1", "cross_entropy", "labels", "n"} <= set(figures)
    assert set(figures["labels"]) == {"high", "low"}
    assert "label: precision, recall, F1" in tidegate(f"evaluate {model} new.csv").out

    rows = list(csv.DictReader(io.StringIO(tidegate(f"predict {model} new.csv").out)))
    asked = list(csv.DictReader(Path("new.csv").read_text().splitlines()))
    assert [(r["gesture"], r["t"]) for r in rows] == [(r["gesture"], r["t"]) for r in asked]
    assert {r["label"] for r in rows} <= {"high", "low"}
    assert all(0.5 <= float(r["probability"]) <= 1 for r in rows)
    lines = tidegate(f"predict {model} new.csv --jsonl").out.splitlines()
    first = json.loads(lines[0])
    assert len(lines) == 20
    assert first["labels"] == [r["label"] for r in rows[:5]]
    assert (first["input"], first["times"]) == ("g0", ["0", "1", "2", "3", "4"])
    told = tidegate(f"predict {model} new.csv --json").json["predictions"]
    assert told[0] == first


def test_a_table_without_ids_is_one_sequence(tidegate: Tidegate) -> None:  # noqa: F811
    rows = "".join(f"{t},{math.sin(t):.3f},{'hi' if t % 9 < 4 else 'lo'}\n" for t in range(80))
    Path("one.csv").write_text("t,x,state\n" + rows)
    line = "train series-tagger one.csv --time t --label state --hidden-sizes 4 --max-steps 4"
    trained = tidegate(line)
    assert trained.code == 0, trained.err
    assert "10 stretches" in trained.out
    out = tidegate("predict one-series-tagger.safetensors one.csv").out.splitlines()
    assert out[0] == "id,t,label,probability"
    assert len(out) == 81
    assert out[1].startswith("1,0,")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("gestures.csv --id gesture", "got none; give --label COLUMN"),
        ("gestures.csv --id gesture --label nothing", "nothing"),
        (f"{STEPS} --label phase --channels 2", "channels"),
        ("steps.ts --label phase", "it is about tables"),
        ("steps.ts", "got a .ts file, which has one of each sequence"),
    ],
)
def test_bad_input_is_told_in_a_line(tidegate: Tidegate, line: str, told: str) -> None:  # noqa: F811
    Path("steps.ts").write_text("@classLabel true a b\n@data\n1,2,3:a\n")
    outcome = tidegate(f"train series-tagger {line}")
    assert outcome.code == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1

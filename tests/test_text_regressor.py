"""Numbers told from texts: learning, figures, the scale, the file, the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Tidegate
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import cross_val_score

import tidegate as tg
from tidegate.baselines.baseline import Answered
from tidegate.baselines.texts import RidgeTexts
from tidegate.errors import InputError
from tidegate.tasks.kinds.number import Number

RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(["good", "bad", "film", "plot"], 7)) for _ in range(240)]
STARS = np.array([100 + 20 * t.count("good") - 50 * t.count("bad") for t in TEXTS], float)
SMALL: dict[str, Any] = {
    "hidden_sizes": (10,), "embedding_size": 8, "verbose": 0, "validation_fraction": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> tg.TextRegressor:
    options = {"max_steps": 160, "learning_rate": 0.01, "dropout": 0.0, "embedding_dropout": 0.0}
    return tg.TextRegressor(**SMALL | options, test_fraction=0.2).fit(TEXTS, STARS)


def test_a_number_is_learned_in_its_own_unit(model: tg.TextRegressor) -> None:
    assert model.metrics_["test_r2"] > 0.9
    assert model.metrics_["r2"] == pytest.approx(
        1 - model.metrics_["mse"] / _variance(model), rel=1
    )
    assert model.predict(["bad " * 7])[0] < model.predict(["good " * 7])[0] - 100


def _variance(model: tg.TextRegressor) -> float:
    return float(model.target_.scale[0] ** 2)


def test_figures_equal_scikit_learns(model: tg.TextRegressor) -> None:
    figures, told = model.evaluate(TEXTS, STARS[::-1]), model.predict(TEXTS)
    assert figures["r2"] == pytest.approx(r2_score(STARS[::-1], told))
    assert figures["mae"] == pytest.approx(mean_absolute_error(STARS[::-1], told))
    assert figures["rmse"] == pytest.approx(root_mean_squared_error(STARS[::-1], told))
    assert model.score(TEXTS, STARS[::-1]) == pytest.approx(figures["r2"])
    weights = RNG.random(len(TEXTS))
    expected = r2_score(STARS[::-1], told, sample_weight=weights)
    assert model.score(TEXTS, STARS[::-1], sample_weight=weights) == pytest.approx(expected)


def test_the_scale_is_that_of_the_training_part_alone() -> None:
    far = np.r_[STARS[:100], [1e6] * 20]
    texts = TEXTS[:120]
    model = tg.TextRegressor(**SMALL, max_steps=1).fit(
        texts[:100], far[:100], validation=(texts[100:], far[100:])
    )
    assert model.target_.mean[0] == pytest.approx(STARS[:100].mean())


def test_another_unit_changes_nothing_but_the_unit() -> None:
    """The same bits are learned of numbers times a power of two, and beside another zero."""
    some, numbers = TEXTS[:40], STARS[:40]
    one, other = (
        tg.TextRegressor(**SMALL, max_steps=3).fit(some, y) for y in (numbers, 4 * numbers)
    )
    np.testing.assert_allclose(other.predict(some), 4 * one.predict(some), rtol=1e-6)


def test_few_texts_are_all_learned_from_and_folds_tell_the_figures() -> None:
    model = tg.TextRegressor(**SMALL, max_steps=10).set_params(validation_fraction=None)
    model.fit(TEXTS[:60], STARS[:60])
    assert model.provenance_["training_texts"] == 60
    assert {"mse", "mae", "rmse", "r2", "baseline_r2"} <= set(model.metrics_)


def test_evidence_counts_whether_numbers_lie_above_quartiles() -> None:
    """Each column says of a text whether its number is above a quartile; alike ones are one."""
    held = Number().held(np.array([1.0, 2, 3, 4, 5, 6, 7, 8]))
    assert held.sum(0).tolist() == [6, 4, 2]
    assert Number().held(np.array([0.0, 0, 0, 1])).sum(0).tolist() == [1]
    assert Number().held(np.ones(5)).shape == (5, 0)


def test_numbers_that_are_all_alike_are_told_so() -> None:
    model = tg.TextRegressor(**SMALL, max_steps=2).fit(TEXTS[:20], [3.0] * 20)
    assert np.isfinite(model.predict(TEXTS[:3])).all()
    assert np.isnan(model.evaluate(TEXTS[:20], [3.0] * 20)["r2"])


def test_a_file_gives_the_same_numbers(model: tg.TextRegressor, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    assert type(again) is tg.TextRegressor
    np.testing.assert_array_equal(again.predict(TEXTS), model.predict(TEXTS))
    network = model.network_
    model.network_ = network
    np.testing.assert_array_equal(again.predict(TEXTS), model.predict(TEXTS))


def test_a_stream_tells_the_number_of_the_text_so_far() -> None:
    model = tg.TextRegressor(**SMALL, max_steps=3, bidirectional=False).fit(TEXTS[:50], STARS[:50])
    stream = model.stream()
    stream.feed("good film ")
    expected = model.predict(["good film bad"])[0]
    assert stream.feed("bad") == pytest.approx(expected, rel=1e-5)


def test_onnx_puts_out_the_number_in_its_unit(model: tg.TextRegressor, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model.export_onnx(tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (read,) = model.encode(TEXTS[:1])
    found = session.run(None, {
        "tokens": read["token"][None].astype(np.int32), "evidence": read["evidence"][None],
        "sequence_lens": np.array([len(read)], np.int32),
    })[0]  # fmt: skip
    np.testing.assert_allclose(found[0], model.predict(TEXTS[:1]), rtol=1e-4)


def test_weights_say_how_much_each_text_counts() -> None:
    """One text with two numbers: what is told lies at the one that counts."""
    texts, numbers = ["film"] * 40, [0.0, 10.0] * 20
    model = tg.TextRegressor(**SMALL, max_steps=80, learning_rate=0.05, dropout=0.0)
    model.set_params(validation_fraction=0.0, evidence=False, embedding_dropout=0.0)
    told = model.fit(texts, numbers, sample_weight=[1, 0] * 20).predict(["film"])[0]
    assert told == pytest.approx(0, abs=1)


def test_scikit_learn_scores_it_by_r2() -> None:
    scores = cross_val_score(tg.TextRegressor(**SMALL, max_steps=2), TEXTS[:40], STARS[:40], cv=2)
    assert np.isfinite(scores).all()


def test_the_baseline_is_the_ridge_regression_of_tf_idf() -> None:
    train, rest = Answered(TEXTS[:160], STARS[:160]), Answered(TEXTS[160:], STARS[160:])
    fitted = RidgeTexts.fit(train, rest)
    assert fitted.figures(rest)["r2"] > 0.9
    some = RidgeTexts.fit(train, Answered([], STARS[:0]), seconds=0.001)
    assert "of 160 texts" in some.part


@pytest.mark.parametrize(("y", "problem"), [
    ([1.0], "expected one number per text, 20, got 1"),
    (["x"] * 20, "expected numbers, got str at index 0"),
    ([np.nan] * 20, "expected finite numbers, got nan at index 0"),
])  # fmt: skip
def test_wrong_numbers_are_named(y: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        tg.TextRegressor(**SMALL, max_steps=1).fit(TEXTS[:20], y)


def test_the_command_trains_measures_predicts_and_compares(tidegate: Tidegate) -> None:
    line = "graded.csv --text review --target stars"
    trained = tidegate(f"train regressor {line} {TINY['regressor']} --weight times --json").json
    model = trained["model"]
    assert model == "graded-text-regressor.safetensors"
    assert {"mse", "r2", "baseline_mse"} <= set(trained)
    figures = tidegate(f"evaluate {model} graded.csv --json").json
    assert {"mse", "rmse", "mae", "r2", "mean_mse", "n"} <= set(figures)
    told = tidegate(f"predict {model} graded.csv --json").json["predictions"]
    assert len(told) == 60
    assert isinstance(told[0]["value"], float)
    compared = tidegate(
        f"compare {line} --task regressor {TINY['regressor']} --cells gru --seeds 1 --json"
    )
    assert compared.code == 0, compared.err


def test_a_wrong_cell_is_named_with_its_line(tidegate: Tidegate) -> None:
    rows = ["review,stars,w", "good,1,1", "bad,,1", "fine,2,-1"]
    Path("t.csv").write_text("\n".join(rows) + "\n")
    line = f"train regressor t.csv --text review --target stars {TINY['regressor']}"
    assert (
        "t.csv, line 3, column 'stars': expected a number, got an empty cell" in tidegate(line).err
    )
    Path("t.csv").write_text("\n".join(rows).replace(",,", ",3,") + "\n")
    told = tidegate(f"{line} --weight w").err
    assert "line 4, column 'w': expected a number from 0 as weight, got -1" in told

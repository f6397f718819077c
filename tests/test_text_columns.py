"""Texts of several columns, and categories and numbers beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
from command_line import TINY, Tidegate

import tidegate as tg
from tidegate.baselines.baseline import Answered
from tidegate.baselines.texts import RidgeTexts
from tidegate.data.text.rows import BETWEEN, Row, rows_of
from tidegate.errors import InputError

RNG = np.random.default_rng(0)
COUNT = 240
FRAME: dict[str, list[Any]] = {
    "title": [" ".join(RNG.choice(["good", "bad", "film"], 2)) for _ in range(COUNT)],
    "body": [" ".join(RNG.choice(["plot", "long", "film"], 4)) for _ in range(COUNT)],
    "brand": RNG.choice(["acme", "best"], COUNT).tolist(),
    "price": [None if i % 20 == 0 else float(p) for i, p in enumerate(RNG.uniform(0, 9, COUNT))],
}
BESIDE = ("brand", "price")
WORTH = [
    title.count("good") + (2 if brand == "acme" else 0) + (price or 4.5)
    for title, brand, price in zip(FRAME["title"], FRAME["brand"], FRAME["price"], strict=True)
]
OPTIONS: dict[str, Any] = {
    "hidden_sizes": (12,), "embedding_size": 8, "max_steps": 200, "learning_rate": 0.01,
    "dropout": 0.0, "embedding_dropout": 0.0, "verbose": 0, "validation_fraction": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> tg.TextRegressor:
    return tg.TextRegressor(**OPTIONS).fit(FRAME, WORTH, conditions=BESIDE)


def test_what_stands_beside_texts_is_learned(model: tg.TextRegressor) -> None:
    assert model.metrics_["r2"] > 0.85
    cheap = {"title": ["film film"], "body": ["plot"], "brand": ["best"], "price": [1.0]}
    dear = cheap | {"price": [8.0]}
    assert model.predict(dear)[0] - model.predict(cheap)[0] > 3
    assert model.predict(cheap | {"brand": ["acme"]})[0] - model.predict(cheap)[0] > 1


def test_a_missing_cell_and_a_new_category_are_unknown(model: tg.TextRegressor) -> None:
    rows = {"title": ["film"], "body": ["plot"], "brand": [None], "price": [None]}
    plain = model.predict(rows)
    np.testing.assert_array_equal(model.predict(rows | {"brand": ["new"]}), plain)
    np.testing.assert_array_equal(model.predict([f"film {BETWEEN} plot"]), plain)


def test_columns_of_a_text_without_a_word_are_read(model: tg.TextRegressor) -> None:
    rows = [Row("", {"brand": "acme", "price": price}) for price in (1.0, 8.0)]
    low, high = model.predict(rows)
    assert high > low + 2
    together = model.predict([*rows, *rows_of(FRAME, BESIDE)[:3]])
    np.testing.assert_allclose(together[:2], [low, high], rtol=1e-5)


@pytest.mark.parametrize("frame", [polars.DataFrame, lambda columns: columns])
def test_frames_and_dicts_are_read_alike(model: tg.TextRegressor, frame: Any) -> None:
    one = model.predict(frame(FRAME))
    np.testing.assert_allclose(one, model.predict(rows_of(FRAME, BESIDE)), rtol=1e-6)


def test_a_file_keeps_the_columns(model: tg.TextRegressor, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    again: Any = tg.load(tmp_path / "m.safetensors")
    assert again.conditions_.names == list(BESIDE)
    np.testing.assert_array_equal(again.predict(FRAME), model.predict(FRAME))
    pytest.importorskip("onnxruntime")
    model.export_onnx(tmp_path / "m.onnx")  # checked in ONNX Runtime


def test_columns_are_explained_with_the_words(model: tg.TextRegressor) -> None:
    row = Row(f"good {BETWEEN} plot", {"brand": "acme", "price": None})
    (found,) = model.explain([row])
    assert [word.text for word in found.words] == ["good", "plot", "brand = acme"]
    left = model.predict([Row(row.text, {})])[0]
    assert found.contributions[2, 0] == pytest.approx(found.scores[0] - left, abs=1e-4)


@pytest.mark.parametrize("level", ["char", "bpe"])
def test_columns_stand_beside_every_unit_of_text(level: str) -> None:
    options = OPTIONS | {"max_steps": 2, "level": level}
    options |= {"vocabulary_size": 270} if level == "bpe" else {}
    some = {name: cells[:30] for name, cells in FRAME.items()}
    model = tg.TextClassifier(**options).fit(some, some["brand"], conditions=["price"])
    assert model.runtime_.architecture.columns_size == 1
    assert model.predict_proba(some).shape == (30, 2)


def test_titles_and_bodies_are_one_text_with_a_mark_between() -> None:
    two = {"title": ["a ‖ b", ""], "body": ["c", "d"]}
    assert rows_of(two) == [f"a   b {BETWEEN} c", f" {BETWEEN} d"]
    model: Any = (
        tg.TextClassifier(**OPTIONS)
        .set_params(max_steps=2)
        .fit({name: FRAME[name] for name in ("title", "body")}, FRAME["brand"])
    )
    assert BETWEEN in model.encoder_.words
    assert model.conditions_ is None


def test_the_baseline_reads_the_columns_too() -> None:
    rows = rows_of(FRAME, BESIDE)
    train, rest = (
        Answered(rows[part], np.array(WORTH)[part]) for part in (slice(180), slice(180, None))
    )
    assert RidgeTexts.fit(train, rest).figures(rest)["r2"] > 0.8


def test_a_stream_brings_no_columns(model: tg.TextRegressor) -> None:
    with pytest.raises(InputError, match="reads columns beside a text"):
        model.stream()


@pytest.mark.parametrize(("texts", "conditions", "problem"), [
    ({"t": ["a"], "p": [1]}, ["q"], "expected a column 'q', got 't', 'p'"),
    ({"p": [1]}, ["p"], "expected a column of texts beside 'p', got none"),
    ({"t": [1], "u": ["a"]}, [], "expected str, got int"),
    (["a"], ["p"], "expected a frame or a dict with a column 'p'"),
])  # fmt: skip
def test_wrong_columns_are_named(texts: Any, conditions: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        rows_of(texts, conditions)


def test_the_command_reads_columns(tidegate: Tidegate) -> None:
    polars.DataFrame({**FRAME, "worth": WORTH}).write_csv("t.csv")
    line = "t.csv --text title,body --target worth --condition brand,price"
    trained = tidegate(f"train regressor {line} {TINY['regressor']} --json")
    assert trained.code == 0, trained.err
    model = trained.json["model"]
    assert tidegate(f"evaluate {model} t.csv --json").json["n"] == COUNT
    told = tidegate(f"predict {model} t.csv --json").json["predictions"]
    assert BETWEEN in told[0]["input"]
    words = tidegate(f"explain {model} t.csv --json").json["explanations"][1]["words"]
    assert [word["column"] for word in words[-2:]] == ["brand", "price"]
    assert tidegate(f"inspect {model} t.csv").code == 0
    assert "acme, best" in tidegate(f"info {model}").out
    compared = tidegate(
        f"compare {line} --task regressor {TINY['regressor']} --cells gru --seeds 1 --json"
    )
    assert compared.code == 0, compared.err
    wrong = tidegate("train regressor t.csv --text title --target worth --condition title --force")
    assert "expected different columns for texts and conditions, got 'title' twice" in wrong.err

"""Labels of any type: as they were fitted, so they are predicted, before and after the file."""

from __future__ import annotations

import enum
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.model_selection import cross_val_score

import tidegate as tg
from tidegate.errors import InputError
from tidegate.tasks import load

TEXTS = [f"a {word} {thing}" for word in ("good", "bad", "odd") for thing in "abcdefgh"]
BLOCK = np.random.default_rng(0).normal(size=(24, 9))
PLACES = [i // 8 for i in range(24)]


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


TYPES: dict[str, list[Any]] = {
    "str": ["x", "y", "10"],
    "int": [10, -2, 3],
    "float": [0.5, 2.0, -1.5],
    "bool": [True, False, True],
    "one": [1, 0, 1],
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def texts(**options: Any) -> Any:
    small = {"embedding_size": 4, "hidden_sizes": (4,), "max_steps": 2, "verbose": 0}
    return tg.TextClassifier(**small | options)


def sequences(**options: Any) -> Any:
    small = {"hidden_sizes": (4,), "max_steps": 2, "verbose": 0}
    return tg.SequenceClassifier(**small | options)


@pytest.mark.parametrize("make", [texts, sequences])
@pytest.mark.parametrize("kind", TYPES)
def test_labels_keep_their_type_in_the_file(make: Any, kind: str, tmp_path: Path) -> None:
    inputs = TEXTS if make is texts else BLOCK
    y = np.array([TYPES[kind][i] for i in PLACES])
    model = make().fit(inputs, y)
    model.save(tmp_path / "m.safetensors")
    again: Any = load(tmp_path / "m.safetensors")
    for fitted in (model, again):
        assert fitted.predict(inputs).dtype.kind == y.dtype.kind
        assert fitted.classes_.dtype == model.classes_.dtype
        assert (fitted.predict(inputs) == y).mean() == fitted.score(inputs, y)
    np.testing.assert_array_equal(again.predict(inputs), model.predict(inputs))


SAME = {
    "list": lambda y: y,
    "tuple": tuple,
    "int8": lambda y: np.array(y, np.int8),
    "uint64": lambda y: np.array(y, np.uint64),
    "object": lambda y: np.array(y, object),
    "numpy scalars": lambda y: [np.int64(v) for v in y],
    "pandas": lambda y: pd.Series(y, index=range(100, 124)),
    "nullable": lambda y: pd.Series(y, dtype="Int64"),
    "category": lambda y: pd.Series(y, dtype="category"),
    "Categorical": pd.Categorical,
    "frame": lambda y: pd.DataFrame({"label": y}),
    "polars": pl.Series,
    "polars frame": lambda y: pl.DataFrame({"label": y}),
    "lazy": lambda y: pl.LazyFrame({"label": y}),
    "torch": torch.tensor,
}


@pytest.mark.parametrize("form", SAME)
def test_every_collection_of_the_same_ints_gives_the_same_classes(form: str) -> None:
    model = texts().fit(TEXTS, SAME[form](PLACES))
    assert model.classes_.dtype == np.int64
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.score(TEXTS, PLACES) == model.score(TEXTS, SAME[form](PLACES))


@pytest.mark.parametrize("form", [
    pd.Series, np.array, tuple, pl.Series, pl.DataFrame, lambda x: pl.LazyFrame({"t": x}),
    lambda x: np.array(x, object), lambda x: pd.DataFrame({"t": x}),
    lambda x: pd.Series(x, ["a", "b"] * 12),
])  # fmt: skip
def test_every_collection_of_the_same_texts_gives_the_same_model(form: Any) -> None:
    model = texts().fit(form(TEXTS), PLACES)
    expected = texts().fit(TEXTS, PLACES).predict_proba(TEXTS)
    np.testing.assert_array_equal(model.predict_proba(form(TEXTS)), expected)
    assert model.score(form(TEXTS), PLACES) == model.evaluate(TEXTS, PLACES)["accuracy"]


def test_equal_numbers_are_equal_labels() -> None:
    model = texts().fit(TEXTS, PLACES)
    assert model.score(TEXTS, [float(v) for v in PLACES]) == model.score(TEXTS, PLACES)
    with pytest.raises(InputError, match=r"training texts \(0, 1, 2\), got '0'"):
        model.score(TEXTS, [str(v) for v in PLACES])


def test_the_command_line_judges_texts_of_any_type_of_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table holds text; what it stands for is known from the model."""
    from tidegate.cli import main

    path, table = tmp_path / "m.safetensors", tmp_path / "t.csv"
    for kind in TYPES:
        y = [TYPES[kind][i] for i in PLACES]
        model = texts().fit(TEXTS, y)
        model.provenance_ |= {"text_column": "text", "label_column": "label"}
        model.save(path)
        pl.DataFrame({"text": TEXTS, "label": [str(v) for v in y]}).write_csv(table)
        assert main(["evaluate", str(path), str(table), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] == pytest.approx(
            model.score(TEXTS, y)
        )
        assert main(["predict", str(path), str(table), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["predictions"]
        assert [one["label"] for one in told] == model.predict(TEXTS).tolist()
        assert main(["predict", str(path), str(table)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("\t")[0] for line in lines] == [str(one["label"]) for one in told]


def test_a_language_model_reads_columns() -> None:
    small: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 2, "verbose": 0}
    told = [
        tg.LanguageModel(**small, sample_steps=()).fit(form(TEXTS)).evaluate(form(TEXTS))
        for form in (list, np.array, pd.Series, pl.Series)
    ]
    assert told[1:] == told[:1] * 3


def test_a_label_that_training_lacked_counts_as_missed() -> None:
    model = texts().fit(TEXTS[:16], PLACES[:16])
    assert model.score(TEXTS, PLACES) == pytest.approx(
        model.score(TEXTS[:16], PLACES[:16]) * 16 / 24
    )


def test_an_enumeration_of_texts_is_text() -> None:
    y = [Colour.RED if i else Colour.BLUE for i in PLACES]
    assert texts().fit(TEXTS, y).classes_.tolist() == ["blue", "red"]


@pytest.mark.parametrize(("labels", "problem"), [
    ([None], "labels: expected a label at index 3, got None; fill it in, or leave out"),
    ([float("nan")], "expected a label at index 3, got nan"),
    ([pd.NA], "expected a label at index 3, got <NA>"),
    ([pd.NaT], "expected a label at index 3, got NaT"),
    ([1], "all of one type, got str 'a' at index 0 and int 1 at index 3; make them all str"),
    ([b"b"], "expected a str, int .* got bytes b'b' at index 3; make it a str"),
    ([["b"]], "expected a list of labels for each text, got 'a' at index 0"),
    ([Decimal("NaN")], "expected a label at index 3, got NaN"),
    ([Decimal("sNaN")], "expected a label at index 3, got sNaN"),
    (["b\0"], r"ends in a NUL, 'b\\x00'; strip it: label.rstrip"),
])  # fmt: skip
def test_a_label_that_is_none_is_named_with_its_index(labels: list[Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        texts().fit(["x"] * 5, ["a", "b", "a", *labels, "b"])


@pytest.mark.parametrize(("labels", "problem"), [
    (pd.Series([1.0, np.nan, 2.0]), "expected a label at index 1, got nan"),
    (pl.Series(["a", "b", None]), "expected a label at index 2, got None"),
    ([1, 2.5, 1], "got int 1 at index 0 and float 2.5 at index 1"),
    ([0, True, 0], "got int 0 at index 0 and bool True at index 1"),
    ([2**63, 1, 1], "int \\(64 bits\\)"),
    ([float("inf"), 1.0, 1.0], "finite float"),
    (np.ones((3, 2)), r"labels: expected one dimension, got shape \[3, 2\]"),
    (pd.DataFrame({"a": [1, 2, 3], "b": 1}), "expected one column, got 2: a, b; give one of"),
    ("abc", "labels: expected a list, got one str"),
    ({"a", "b", "c"}, "expected a list, got set"),
    (3, "expected a list, got int"),
])  # fmt: skip
def test_labels_of_no_use_are_refused(labels: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        texts().fit(["x", "y", "z"], labels)


def test_following_the_remedy_helps() -> None:
    y = [v if v else str(v) for v in PLACES]
    with pytest.raises(InputError, match="make them all str"):
        texts().fit(TEXTS, y)
    texts().fit(TEXTS, [str(v) for v in y])


@pytest.mark.parametrize("kind", TYPES)
def test_cross_validation_takes_labels_of_any_type(kind: str) -> None:
    y = [TYPES[kind][i] for i in PLACES]
    for make, inputs in ((texts, TEXTS), (sequences, BLOCK)):
        assert np.isfinite(cross_val_score(make(), inputs, y, cv=2)).all()


def test_half_a_character_is_refused_before_training() -> None:
    with pytest.raises(InputError, match="text at index 1, got a lone surrogate at character 1;"):
        texts().fit(["x", "y", "z"], ["a", "b\ud800", "a"])


def test_two_types_of_labels_get_one_remedy_each() -> None:
    with pytest.raises(InputError, match="make them all str$"):
        texts().fit(["x", "y"], [1, "a"])
    with pytest.raises(InputError, match="make them all float or all str$"):
        texts().fit(["x", "y"], [0.5, 1])

"""What errors about arrays, frames and options in Python advise, followed: the call works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tidegate as tg
from tidegate.data.sequences.inputs import SequenceInputs, as_sequences
from tidegate.data.series.frames import held_series
from tidegate.data.series.naive import seasonal_naive_forecast
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.series import Series
from tidegate.data.text.reading import train_encoder
from tidegate.errors import InputError
from tidegate.sampling import sample

PLAIN: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 1, "verbose": 0}
TEXTS, LABELS = [f"film {i}" for i in range(20)], ["a", "b"] * 10
ROWS = np.random.default_rng(0).normal(size=(20, 9))
DAYS = pd.date_range("2016-01-01", periods=60)
FRAME = pd.DataFrame({"v": np.arange(60) % 7 + 0.5}, index=DAYS)
HOLED = FRAME.assign(v=FRAME["v"].where(DAYS[7] != DAYS))
TWO = pl.DataFrame({"a": DAYS.to_numpy(), "b": DAYS.to_numpy(), "v": FRAME["v"].to_numpy()})
SERIES = Series.of(np.arange(9), np.arange(9.0))
NESTED = {"x": [[1.0, 2.0], [3.0]], "y": [[1.0, 2.0], [3.0]]}
RNG = np.random.default_rng(0)


def texts(inputs: Any = TEXTS, labels: Any = LABELS, **options: Any) -> tg.TextClassifier:
    fit = {k: options.pop(k) for k in ("sample_weight",) if k in options}
    return tg.TextClassifier(**PLAIN | {"embedding_size": 4} | options).fit(inputs, labels, **fit)


def regressed(y: Any) -> tg.SequenceRegressor:
    return tg.SequenceRegressor(**PLAIN).fit(ROWS, y)


def forecast(data: Any, **options: Any) -> tg.Forecaster:
    return tg.Forecaster(**PLAIN | {"horizon": 2, "context": 7} | options).fit(data)


def writer(text: str, **options: Any) -> tg.LanguageModel:
    return tg.LanguageModel(**PLAIN | {"embedding_size": 4, "bptt": 8} | options).fit(text)


# A call, what the error advises, the call of who follows it.
CASES: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "infinite": (
        lambda: as_sequences([[1.0, np.inf]]), "put NaN", lambda: as_sequences([[1.0, np.nan]]),
    ),
    "a missing value": (
        lambda: forecast(HOLED), "fit with fill_gaps=True",
        lambda: tg.Forecaster(**PLAIN, horizon=2, context=7).fit(
            HOLED, fill_gaps=True
        ),
    ),
    "a missing row": (
        lambda: forecast(FRAME.drop(DAYS[7])), "fit with fill_gaps=True",
        lambda: tg.Forecaster(**PLAIN, horizon=2, context=7).fit(
            FRAME.drop(DAYS[7]), fill_gaps=True
        ),
    ),
    "four dimensions": (
        lambda: as_sequences(np.ones((2, 3, 1, 1))), "reshape it",
        lambda: as_sequences(np.ones((2, 3, 1, 1)).reshape(2, 3, 1)),
    ),
    "other channels": (
        lambda: as_sequences([np.ones((3, 2)), np.ones((3, 1))]), "give all as many",
        lambda: as_sequences([np.ones((3, 2)), np.ones((3, 2))]),
    ),
    "complex": (
        lambda: as_sequences([np.ones(3, complex)]), "make it floats",
        lambda: as_sequences([np.ones(3, complex).real.astype(float)]),
    ),
    "no arrays": (
        lambda: as_sequences("abc"), "give one of these", lambda: as_sequences([[1.0]]),
    ),
    "no steps": (
        lambda: as_sequences([[1.0], []]), "leave it out", lambda: as_sequences([[1.0]]),
    ),
    "cells of text": (
        lambda: as_sequences(pl.DataFrame({"x": [[1.0]], "n": ["a"]})), "leave the column out",
        lambda: as_sequences(pl.DataFrame({"x": [[1.0]]})),
    ),
    "ragged cells": (
        lambda: as_sequences(pl.DataFrame(NESTED | {"z": [[1.0], [2.0]]})), "fill up with NaN",
        lambda: as_sequences(pl.DataFrame(NESTED | {"z": [[1.0, np.nan], [2.0]]})),
    ),
    "an empty channel": (
        lambda: SequenceInputs.fit([np.array([[1.0, np.nan]])], 1), "leave it out",
        lambda: SequenceInputs.fit([np.array([[1.0]])], 1),
    ),
    "no rows": (
        lambda: held_series(pl.DataFrame({"v": []})), "add some",
        lambda: held_series(pl.DataFrame({"v": [1.0, 2.0]})),
    ),
    "a time of an array": (
        lambda: held_series(np.ones(3), time="t"), "give a data frame",
        lambda: held_series(pd.DataFrame({"t": [1, 2, 3], "v": 1.0}), time="t"),
    ),
    "three dimensions": (
        lambda: held_series(np.ones((3, 2, 2))), "one series per column",
        lambda: held_series(np.ones((3, 2, 2)).reshape(3, 4)),
    ),
    "a dict": (
        lambda: held_series({"v": [1.0, 2.0]}), "make it one of these",
        lambda: held_series(pd.DataFrame({"v": [1.0, 2.0]})),
    ),
    "names twice": (
        lambda: held_series(pd.DataFrame(np.ones((3, 2)), columns=["a", "a"])), "rename some",
        lambda: held_series(pd.DataFrame(np.ones((3, 2)), columns=["a", "b"])),
    ),
    "no such time": (
        lambda: held_series(TWO, time="c"), "name one of these columns",
        lambda: held_series(TWO.drop("b"), time="a"),
    ),
    "two times": (
        lambda: held_series(TWO), "name it: time='a'",
        lambda: held_series(TWO, time="a", target="v"),
    ),
    "nothing to forecast": (
        lambda: held_series(TWO[["a"]]), "add one", lambda: held_series(TWO[["a", "v"]]),
    ),
    "no such target": (
        lambda: held_series(FRAME, target="w"), "name some of these",
        lambda: held_series(FRAME, target="v"),
    ),
    "no time in a row": (
        lambda: held_series(TWO[["a", "v"]].with_columns(a=pl.col("a").shift(1))), "fill it in",
        lambda: held_series(TWO[["a", "v"]]),
    ),
    "nanoseconds": (
        lambda: held_series(pd.Series([1.0, 2.0], pd.to_datetime([1, 2]))), "round them",
        lambda: held_series(pd.Series([1.0, 2.0], pd.to_datetime([1000, 2000]))),
    ),
    "durations": (
        lambda: held_series(pd.Series([1.0, 2.0], pd.to_timedelta([1, 2], "s"))), "the seconds",
        lambda: held_series(
            pd.Series([1.0, 2.0], pd.to_timedelta([1, 2], "s").total_seconds())
        ),
    ),
    "another step": (
        lambda: forecast(FRAME).forecast(FRAME.iloc[::2]), "bring them to that step",
        lambda: forecast(FRAME).forecast(FRAME.iloc[::2].resample("D").ffill()),
    ),
    "other columns": (
        lambda: forecast(FRAME).forecast(FRAME.rename(columns={"v": "w"})),
        "give the same columns", lambda: forecast(FRAME).forecast(FRAME),
    ),
    "fewer values than times": (
        lambda: Series.of([1, 2], [1.0]), "give a row for each time",
        lambda: Series.of([1, 2], [1.0, 2.0]),
    ),
    "fewer names": (
        lambda: Series.of([1, 2], np.ones((2, 2)), names=["a"]), "give one for each column",
        lambda: Series.of([1, 2], np.ones((2, 2)), names=["a", "b"]),
    ),
    "times of text": (
        lambda: Series.of(["x", "y"], [1.0, 2.0]), "or number the rows",
        lambda: Series.of([0, 1], [1.0, 2.0]),
    ),
    "not a time": (
        lambda: Series.of(np.array(["2015-01-01", "NaT"], "M8[s]"), [1.0, 2.0]), "fill it",
        lambda: Series.of(np.array(["2015-01-01", "2015-01-02"], "M8[s]"), [1.0, 2.0]),
    ),
    "a gap": (
        lambda: Series.of([1, 2, 4], [1.0, 2.0, 3.0]), "or number the rows as times",
        lambda: Series.of([0, 1, 2], [1.0, 2.0, 3.0]),
    ),
    "a row beyond": (
        lambda: SERIES.row_of(30), "expected a row from 0 to 9, got 30; choose one",
        lambda: SERIES.row_of(9),
    ),
    "a fraction beyond": (
        lambda: SERIES.row_of(1.5), "between 0 and 1, got 1.5; give one",
        lambda: SERIES.row_of(0.5),
    ),
    "a long season": (
        lambda: seasonal_naive_forecast(np.ones((1, 3, 1)), 2, 4), "choose a shorter one",
        lambda: seasonal_naive_forecast(np.ones((1, 3, 1)), 2, 3),
    ),
    "nothing to scale": (
        lambda: Scaler.fit(np.array([[np.nan]])), "fill in or leave out",
        lambda: Scaler.fit(np.array([[0.0]])),
    ),
    "too large to scale": (
        lambda: Scaler.fit(np.array([[1e305], [2.0]])), "divide all by a power of ten",
        lambda: Scaler.fit(np.array([[1e205], [2.0]])),
    ),
    "another unit": (
        lambda: Scaler.fit(np.arange(9.0)[:, None]).transform(np.array([[1e200]])), "its unit",
        lambda: Scaler.fit(np.arange(9.0)[:, None]).transform(np.array([[1e2]])),
    ),
    "temperature": (
        lambda: sample(np.ones(3), RNG, temperature=0), "use greedy",
        lambda: sample(np.ones(3), RNG, greedy=True),
    ),
    "top k": (
        lambda: sample(np.ones(3), RNG, top_k=0), "None keeps all",
        lambda: sample(np.ones(3), RNG, top_k=None),
    ),
    "top p": (
        lambda: sample(np.ones(3), RNG, top_p=0), "1 keeps all",
        lambda: sample(np.ones(3), RNG, top_p=1),
    ),
    "two rows of logits": (
        lambda: sample(np.ones((1, 3)), RNG), "give one row",
        lambda: sample(np.ones((1, 3))[0], RNG),
    ),
    "forbidden tokens": (
        lambda: sample(np.ones(3), RNG, forbidden=[1, 3]), "leave out the others",
        lambda: sample(np.ones(3), RNG, forbidden=[1]),
    ),
    "all forbidden": (
        lambda: sample(np.ones(2), RNG, forbidden=[0, 1]), "forbid fewer",
        lambda: sample(np.ones(2), RNG, forbidden=[0]),
    ),
    "fewer labels": (
        lambda: texts(labels=LABELS[1:]), "give one for each", lambda: texts(labels=LABELS),
    ),
    "one label": (
        lambda: texts(labels=["a"] * 20), "give inputs of another", lambda: texts(labels=LABELS),
    ),
    "nothing to judge": (
        lambda: texts().evaluate([], []), "give some", lambda: texts().evaluate(TEXTS, LABELS),
    ),
    "fewer weights": (
        lambda: texts(sample_weight=[1.0]), "give one for each",
        lambda: texts(sample_weight=[1.0] * 20),
    ),
    "a weight of no label": (
        lambda: texts(class_weight={"c": 1.0}), "leave it out",
        lambda: texts(class_weight={}),
    ),
    "fewer numbers": (
        lambda: regressed([1.0]), "give one for each", lambda: regressed(range(20)),
    ),
    "text as a number": (
        lambda: regressed(["x"] * 20), "make it a float", lambda: regressed(["1"] * 20),
    ),
    "an option that is none": (
        lambda: tg.TextClassifier().set_params(hidden=4), "its options are .*hidden_s",
        lambda: tg.TextClassifier().set_params(hidden_sizes=(4,)),
    ),
    "a start that is none": (
        lambda: texts(init_from=3), "got 3; give one, or leave it out", lambda: texts(),
    ),
    "a projection of none": (
        lambda: texts(projection_size=2), "choose a cell that has one: .*lstm_projected",
        lambda: texts(projection_size=2, cell="lstm_projected"),
    ),
    "a cell below its projection": (
        lambda: texts(projection_size=4, cell="lstm_projected"), "give more units",
        lambda: texts(projection_size=4, cell="lstm_projected", hidden_sizes=(8,)),
    ),
    "nothing to go on with": (
        lambda: texts(resume=True), "run_folder to go on with, got none; name it",
        lambda: texts(resume=True, run_folder="there"),
    ),
    "short text": (lambda: writer("ab"), "give more text", lambda: writer("ab" * 40)),
    "short text to judge": (
        lambda: writer("ab" * 40).evaluate("a"), "got less; give more",
        lambda: writer("ab" * 40).evaluate("ab"),
    ),
    "level": (
        lambda: train_encoder("a b", "letter"), "char, word or bpe, .*choose one",
        lambda: train_encoder("a b", "char"),
    ),
    "count": (
        lambda: train_encoder("a b", "char", min_count=0), "raise it",
        lambda: train_encoder("a b", "char", min_count=1),
    ),
    "sentences": (
        lambda: train_encoder("a b", "char", sentences=True), "or leave sentences out",
        lambda: train_encoder("a b", "char"),
    ),
    "no text": (
        lambda: train_encoder(" ", "char"), "give some text", lambda: train_encoder("a", "char"),
    ),
    "rare characters": (
        lambda: train_encoder("ab", "char", min_count=2), "or lower min_count",
        lambda: train_encoder("ab", "char", min_count=1),
    ),
    "half a character": (
        lambda: train_encoder("a\ud800", "char"), "decode the text as UTF-8",
        lambda: train_encoder(b"a\xf0\x9f\x98\x80".decode("utf-8"), "char"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_who_follows_the_advice_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if case == "nothing to go on with":
        texts(run_folder="there")
    call, advice, followed = CASES[case]
    with pytest.raises(InputError, match=advice):
        call()
    followed()


def test_a_file_of_another_task_is_loaded_by_what_takes_all(tmp_path: Path) -> None:
    texts().save(tmp_path / "t.safetensors")
    with pytest.raises(InputError, match="load it with tidegate.load"):
        tg.Forecaster.load(tmp_path / "t.safetensors")
    assert tg.load(tmp_path / "t.safetensors").predict(["film"]).shape == (1,)

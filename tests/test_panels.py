"""Forecasters of many series: ids, scales, lengths, what is told of them and of their future."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from command_line import Tidegate, tidegate  # noqa: F401  a fixture

import tidegate as tg
from tidegate.data.series.panel import Panel, Stack
from tidegate.data.series.series import Series
from tidegate.data.series.tables import SeriesTable
from tidegate.errors import InputError

HORIZON, SEASON = 4, 12
OPTIONS: dict[str, Any] = {
    "horizon": HORIZON, "context": 24, "season": SEASON, "hidden_sizes": (6,), "max_steps": 8,
    "verbose": 0,
}  # fmt: skip
ROLES: dict[str, Any] = {"id": "shop", "time": "month", "target": "sales"}


def sales(count: int = 9, seed: int = 0) -> pd.DataFrame:
    """Monthly sales of shops, of sizes from 1 to 1000 and lengths from 30 rows on."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(count):
        rows = 30 + 11 * (k % 6)
        wave = np.sin(2 * np.pi * (np.arange(rows) + k) / SEASON)
        price = rng.integers(0, 2, rows).astype(float)
        made = {
            "shop": f"s{k}",
            "month": pd.date_range("2010-01-01", periods=rows, freq="MS"),
            "sales": 10 ** (k % 4) * (5 + wave - price + 0.1 * rng.normal(size=rows)),
            "price": price,
            "kind": "ab"[k % 2],
            "size": k + 0.5,
        }
        frames.append(pd.DataFrame(made))
    return pd.concat(frames, ignore_index=True)


def ahead_of(frame: pd.DataFrame, rows: int = HORIZON) -> pd.DataFrame:
    """The frame with ``rows`` after the last of each shop, of which only prices are known."""
    parts = []
    for _, part in frame.groupby("shop", sort=False):
        months = pd.date_range(part["month"].iloc[-1], periods=rows + 1, freq="MS")[1:]
        later = part.iloc[[-1] * rows].assign(month=months, sales=np.nan, price=1.0)
        parts += [part, later]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return sales()


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> tg.Forecaster:
    torch.set_num_threads(1)
    return tg.Forecaster(**OPTIONS).fit(frame[["shop", "month", "sales"]], **ROLES)


@pytest.fixture(scope="module")
def told(frame: pd.DataFrame) -> tg.Forecaster:
    """One that is told prices of the horizon, and what a shop is."""
    roles = ROLES | {"known": "price", "static": ["kind", "size"]}
    return tg.Forecaster(**OPTIONS, calendar=True).fit(frame, **roles)


# one model of all


def test_one_model_beats_the_last_season_of_series_of_any_size(frame: pd.DataFrame) -> None:
    model = tg.Forecaster(**OPTIONS | {"max_steps": 2}).fit(frame.drop(columns="price"), **ROLES)
    figures = model.evaluate(frame, start=0.7)
    assert figures["mase"] < figures["seasonal_naive_mase"]
    assert figures["n"] == sum(f["n"] for f in model.evaluate_series(frame, start=0.7).values())


def test_a_series_is_forecast_alike_whatever_its_unit_and_neighbours(
    model: tg.Forecaster, frame: pd.DataFrame
) -> None:
    whole = model.forecast(frame)
    one = frame[frame["shop"] == "s4"]
    alone = model.forecast(one)
    expected = whole[whole["shop"] == "s4"]["sales"].to_numpy()
    np.testing.assert_allclose(alone["sales"], expected, rtol=1e-6)
    # an id that training has not seen, in another unit
    other = model.forecast(one.assign(shop="new", sales=3e6 + 250 * one["sales"]))
    np.testing.assert_allclose(other["sales"], 3e6 + 250 * expected, rtol=1e-6)
    # rows of the others between its own
    mixed = model.forecast(frame.sort_values("month", kind="stable"))
    np.testing.assert_allclose(mixed[mixed["shop"] == "s4"]["sales"], expected, rtol=1e-6)


def test_no_window_reaches_from_one_series_into_the_next(frame: pd.DataFrame) -> None:
    series = tuple(
        Series.of(part["month"], part["sales"]) for _, part in frame.groupby("shop", sort=False)
    )
    panel = Panel(series, tuple("abcdefghi"), "shop")
    spans = [(len(one) // 2, len(one)) for one in series]
    w = tg.Forecaster(**OPTIONS).fit(panel).windowing_
    stack = Stack.of(panel, w, asked=[first for first, _ in spans])
    starts = stack.starts(spans)
    of, rows = stack.places(starts)
    assert len(starts) == sum(last - first - HORIZON + 1 for first, last in spans)
    asked = rows[:, None] + w.context + np.arange(HORIZON)
    for g, one in enumerate(series):
        assert asked[of == g].min() == spans[g][0]
        assert asked[of == g].max() == spans[g][1] - 1
        there = starts[of == g][:, None] + np.arange(w.context + HORIZON)
        assert (stack.rows.series_of(there) == g).all()
        np.testing.assert_array_equal(
            stack.rows.values[there[:, w.context :], 0], one.values[asked[of == g], 0]
        )


def test_a_series_shorter_than_the_context_has_a_forecast_as_if_its_first_value_had_stood_before(
    model: tg.Forecaster, frame: pd.DataFrame
) -> None:
    short = frame[frame["shop"] == "s2"].iloc[-9:]
    first = short.iloc[[0] * 20].assign(
        month=pd.date_range(end=short["month"].iloc[0], periods=21, freq="MS")[:-1]
    )
    longer = pd.concat([first, short])
    np.testing.assert_allclose(
        model.forecast(short)["sales"], model.forecast(longer)["sales"], rtol=1e-6
    )


def test_figures_are_those_of_each_series_by_hand(
    model: tg.Forecaster, frame: pd.DataFrame
) -> None:
    by_id = model.evaluate_series(frame, start="2013-01-01")
    tests = model.backtest(frame, start="2013-01-01")
    assert list(by_id) == list(tests)  # shorter ones have no such rows
    own = frame[frame["shop"] == "s5"]["sales"].to_numpy()
    ends = range(36, len(own) - HORIZON + 1)
    rows = frame[frame["shop"] == "s5"]
    errors = [model.predict(rows.iloc[:end])[:, 0] - own[end : end + HORIZON] for end in ends]
    usual = np.abs(own[SEASON:36] - own[: 36 - SEASON]).mean()
    assert by_id["s5"]["mase"] == pytest.approx(np.abs(errors).mean() / usual, rel=1e-5)
    spread = np.array([own[end - 24 : end].std() for end in ends])
    mse = np.mean((np.array(errors) / spread[:, None]) ** 2)
    assert by_id["s5"]["mse"] == pytest.approx(mse, rel=1e-5)
    assert by_id["s5"]["n"] == len(errors)
    assert model.score(frame, start="2013-01-01") <= 1


def test_rows_that_training_used_are_not_judged_by_default(
    model: tg.Forecaster, frame: pd.DataFrame
) -> None:
    with pytest.raises(InputError, match="shop .* expected 4 rows or more"):
        model.evaluate(frame)
    new = frame[frame["shop"] == "s5"].assign(shop="new")
    both = model.evaluate_series(pd.concat([frame, new]))
    assert list(both) == ["new"]


def test_a_level_is_kept_where_the_scale_is_that_of_training(frame: pd.DataFrame) -> None:
    common = tg.Forecaster(**OPTIONS, own_scale=False, anchored=False).fit(
        frame.drop(columns="price"), **ROLES
    )
    one = frame[frame["shop"] == "s4"]
    moved = common.forecast(one.assign(sales=one["sales"] + 100))["sales"]
    assert not np.allclose(moved, common.forecast(one)["sales"] + 100, rtol=1e-3)


@pytest.mark.parametrize("anchored", [True, False])
def test_a_series_that_never_changes_is_forecast_not_to(
    frame: pd.DataFrame, anchored: bool
) -> None:
    flat = frame.assign(sales=np.where(frame["shop"] == "s1", 7.0, frame["sales"]))
    model = tg.Forecaster(**OPTIONS, anchored=anchored).fit(flat.drop(columns="price"), **ROLES)
    ahead = model.forecast(flat, quantiles=(0.1, 0.9))
    assert (ahead[ahead["shop"] == "s1"].drop(columns=["shop", "month"]) == 7.0).all(axis=None)
    assert np.isfinite(model.metrics_["mse"])


# in and out


def test_frames_of_either_library_give_frames_of_the_same_kind(
    model: tg.Forecaster, frame: pd.DataFrame
) -> None:
    ahead = model.forecast(frame, quantiles=(0.1, 0.9))
    assert list(ahead) == ["shop", "month", "sales", "sales q0.1", "sales q0.9"]
    assert ahead["shop"].tolist() == [f"s{k}" for k in range(9) for _ in range(HORIZON)]
    assert ahead["month"].iloc[0] == pd.Timestamp("2012-07-01")  # after 30 months
    assert (ahead["sales q0.1"] < ahead["sales q0.9"]).all()
    lists = {name: frame[name].to_list() for name in ("shop", "month", "sales")}
    other = model.forecast(pl.DataFrame(lists).with_columns(pl.col("shop").cast(pl.Categorical)))
    assert isinstance(other, pl.DataFrame)
    assert other.schema["shop"] == pl.Categorical
    np.testing.assert_allclose(other["sales"], ahead["sales"])
    by_month = model.forecast(frame.set_index("month"))
    assert list(by_month) == ["shop", "sales"]
    assert by_month.index.tolist() == ahead["month"].tolist()


def test_ids_may_be_numbers_and_rows_may_have_no_time(frame: pd.DataFrame) -> None:
    numbered = pd.DataFrame({"shop": frame["shop"].str[1:].astype(int), "sales": frame["sales"]})
    model = tg.Forecaster(**OPTIONS | {"max_steps": 2}).fit(numbered, id="shop", target="sales")
    ahead = model.forecast(numbered)
    assert ahead["shop"].dtype == numbered["shop"].dtype
    assert list(ahead) == ["shop", "sales"]


def test_a_file_gives_the_same_forecasts(
    told: tg.Forecaster, frame: pd.DataFrame, tmp_path: Path
) -> None:
    told.save(tmp_path / "m.safetensors")
    loaded = tg.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, tg.Forecaster)
    later = ahead_of(frame)
    pd.testing.assert_frame_equal(loaded.forecast(later), told.forecast(later))
    assert loaded.unseen_from_ == told.unseen_from_
    assert loaded.evaluate(frame, 0.7) == told.evaluate(frame, 0.7)


# what is told beside the past


def test_what_is_known_of_the_horizon_changes_the_forecast(
    told: tg.Forecaster, frame: pd.DataFrame
) -> None:
    dear = ahead_of(frame)
    cheap = dear.assign(price=np.where(dear["sales"].isna(), 0.0, dear["price"]))
    change = told.forecast(cheap)["sales"] / told.forecast(dear)["sales"]
    assert (change > 1.02).mean() > 0.9  # a dear month costs a fifth of the sales


def test_a_horizon_of_which_too_little_is_known_is_an_error_whose_remedy_works(
    told: tg.Forecaster, frame: pd.DataFrame
) -> None:
    with pytest.raises(InputError, match="expected 4 rows after the last value of 's0'.*got 3"):
        told.forecast(ahead_of(frame, 3))
    assert len(told.forecast(ahead_of(frame, 4))) == 9 * HORIZON


def test_known_columns_after_the_horizon_are_not_read(
    told: tg.Forecaster, frame: pd.DataFrame
) -> None:
    near, far = ahead_of(frame), ahead_of(frame, HORIZON + 3)
    np.testing.assert_array_equal(told.forecast(near)["sales"], told.forecast(far)["sales"])


def test_what_a_series_is_changes_its_forecast_and_new_kinds_are_unknown(
    told: tg.Forecaster, frame: pd.DataFrame
) -> None:
    later = ahead_of(frame)
    usual = told.forecast(later)["sales"]
    assert not np.allclose(told.forecast(later.assign(kind="b"))["sales"], usual)
    assert np.isfinite(told.forecast(later.assign(kind="c", size=np.nan))["sales"]).all()
    wrong = later.assign(kind=np.where(later.index == 3, "b", later["kind"]))
    with pytest.raises(InputError, match="the same in all rows of 's0', got 'a' and 'b'"):
        told.forecast(wrong)


def test_the_calendar_tells_what_the_past_does_not_show() -> None:
    days = pd.date_range("2016-01-01", periods=1500, freq="D")
    wave = np.sin(4 * np.pi * days.day_of_year.to_numpy() / 365)
    values = wave + 0.3 * np.random.default_rng(0).normal(size=len(days))
    frame = pd.DataFrame({"day": days, "y": values})
    options = OPTIONS | {"horizon": 28, "season": 7, "context": 14, "segment": 7}
    scores = [
        tg.Forecaster(**options, calendar=asked).fit(frame).metrics_["mse"]
        for asked in (True, False)
    ]
    assert scores[0] < 0.8 * scores[1]
    with pytest.raises(InputError, match="option calendar: expected rows at times of the calendar"):
        tg.Forecaster(**options, calendar=True).fit(values)


def test_streams_and_onnx_refuse_what_they_cannot_be_told(told: tg.Forecaster) -> None:
    with pytest.raises(InputError, match="reads past rows alone"):
        told.stream()
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match="train without known and calendar and static"):
        told.export_onnx("m.onnx")


def test_a_scale_of_its_own_goes_into_streams_and_onnx(
    model: tg.Forecaster, frame: pd.DataFrame, tmp_path: Path
) -> None:
    one = frame[frame["shop"] == "s5"]
    expected = model.predict(one)
    np.testing.assert_allclose(model.stream().feed(one["sales"].to_numpy()), expected, rtol=1e-6)
    pytest.importorskip("onnxruntime")
    model.export_onnx(tmp_path / "m.onnx")  # checked beside the model before it is written


# tables


def written(frame: pd.DataFrame) -> None:
    months = frame["month"].dt.strftime("%Y-%m")
    frame.assign(month=months).to_csv("sales.csv", index=False)


LINE = "sales.csv --time month --target sales --id shop"
TINY = "--horizon 4 --context 24 --hidden-sizes 4 --max-steps 2 --validate-until 0.9"


def test_a_long_table_is_learned_forecast_and_judged_by_commands(
    tidegate: Tidegate,  # noqa: F811
    frame: pd.DataFrame,
) -> None:
    written(ahead_of(frame))
    more = "--known price --static kind,size --calendar"
    learned = tidegate(f"train forecaster {LINE} {more} {TINY} -o m.safetensors")
    assert learned.code == 0, learned.err
    outcome = tidegate("forecast m.safetensors sales.csv --plot ahead.png --quantiles 0.1,0.9")
    assert outcome.code == 0, outcome.err
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert list(rows[0]) == ["shop", "month", "sales", "sales q0.1", "sales q0.9"]
    assert [row["shop"] for row in rows[:5]] == ["s0"] * 4 + ["s1"]
    assert rows[0]["month"] == "2012-07"
    told = tidegate("forecast m.safetensors sales.csv --json").json
    assert told["ids"] == [row["shop"] for row in rows]
    judged = tidegate("evaluate m.safetensors sales.csv --start 0.6 --plot back.png --json")
    assert judged.code == 0, judged.err
    assert {"mase", "seasonal_naive_mase", "coverage_80"} <= set(judged.json)
    assert Path("back.png").stat().st_size > 10_000
    found = tidegate("detect m.safetensors sales.csv --start 0.6 --rate 0.2 --json")
    assert found.code == 0, found.err
    assert len(set(found.json["ids"])) > 1
    few = f"{TINY} --cells gru --seeds 1"
    copied = tidegate(f"compare --task forecaster {LINE} --known price {few}")
    assert copied.code == 0, copied.err
    assert "seasonal naive" in copied.out
    assert "ridge regression" in copied.out


def test_a_long_table_without_ids_is_told_which_column_they_are_in(
    tidegate: Tidegate,  # noqa: F811
    frame: pd.DataFrame,
) -> None:
    written(frame)
    line = f"train forecaster sales.csv --time month --target sales {TINY} -o m.safetensors"
    assert "name it with --id shop" in tidegate(line).err
    assert tidegate(f"{line} --id shop").code == 0
    refused = tidegate(f"{line} --static kind --force")
    assert "option --static: expected none without --id" in refused.err


def test_a_table_without_a_header_has_numbered_columns(
    tidegate: Tidegate,  # noqa: F811
    frame: pd.DataFrame,
) -> None:
    frame[["shop", "sales"]].to_csv("bare.csv", index=False, header=False)
    line = f"bare.csv --no-header --no-time --id 1 --target 2 {TINY} -o m.safetensors"
    assert tidegate(f"train forecaster {line}").code == 0
    rows = tidegate("forecast m.safetensors bare.csv").out.splitlines()
    assert rows[0].startswith("s0,")
    assert len(rows) == 9 * HORIZON


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: [*rows[:2], *rows[1:]], "line 4, column 'month': expected each time once"),
        (lambda rows: [*rows[:5], *rows[6:]], "line 7, column 'month': expected 2010-06"),
        (lambda rows: [*rows[:5], ",2010-06,1,1"], "line 7, column 'shop': expected an id, got"),
        (lambda rows: [*rows[:5], "s0,2010-06,,1"], "line 7, column 'sales': expected a number"),
        (lambda rows: [*rows, "s1,2010-01,1,1", "s1,2011-01,1,1"], "shop 's1': expected rows 1M"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_of_many_series_is_told_with_its_line(
    tmp_path: Path, frame: pd.DataFrame, change: Any, told: str
) -> None:
    part = frame[frame["shop"] == "s0"].assign(month=lambda f: f["month"].dt.strftime("%Y-%m"))
    rows = part[["shop", "month", "sales", "price"]].to_csv(index=False).splitlines()
    (tmp_path / "a.csv").write_text("\n".join([rows[0], *change(rows[1:])]) + "\n")
    table = SeriesTable(path=tmp_path / "a.csv", time="month", target=("sales",), id="shop")
    with pytest.raises(InputError, match=told):
        table.read()

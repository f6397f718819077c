"""Series as their owners hold them: every form gives the same model, and gets its own form back."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from tides import HORIZON, ROWS, small, tides

import tidegate as tg
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.tasks import load

SERIES = tides()
VALUES = SERIES.values
HOURS = pd.date_range("2020-01-01", periods=ROWS, freq="h", name="when")
PANDAS = pd.DataFrame(VALUES, columns=["level", "flow"], index=HOURS)
COLUMN = PANDAS.reset_index()
POLARS = pl.DataFrame(
    {"when": SERIES.times.astype("M8[us]"), "level": VALUES[:, 0], "flow": VALUES[:, 1]}
)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> tg.Forecaster:
    torch.set_num_threads(1)
    return small().fit(SERIES)


FORMS: dict[str, Any] = {
    "pandas index": PANDAS,
    "pandas column": COLUMN,
    "text column": COLUMN.assign(when=COLUMN["when"].astype(str)),
    "text index": PANDAS.set_axis(PANDAS.index.astype(str)),
    "periods": PANDAS.set_axis(PANDAS.index.to_period("h")),
    "numbered": PANDAS.reset_index(drop=True),
    "polars": POLARS,
    "lazy": POLARS.lazy(),
    "polars without times": POLARS.drop("when"),
    "array": VALUES,
    "float32": VALUES.astype(np.float32).astype(np.float64),
    "lists": VALUES.tolist(),
    "objects": VALUES.astype(object),
    "object columns": PANDAS.astype(object),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_series_gives_the_same_forecast(
    form: str, model: tg.Forecaster
) -> None:
    data = FORMS[form]
    again = small().fit(data)
    expected = model.forecast(SERIES).values
    near = {"rtol": 1e-4} if form == "float32" else {"rtol": 0, "atol": 0}
    np.testing.assert_allclose(again.predict(data), expected, **near)
    assert again.predict(data).shape == (HORIZON, 2)
    start = {"start": 340}  # that rows without times are new is told below
    assert again.score(data, **start) == pytest.approx(model.score(SERIES, **start), abs=1e-4)


@pytest.mark.parametrize("form", ["pandas index", "pandas column", "numbered", "object columns"])
def test_pandas_gives_pandas_back(form: str) -> None:
    data = FORMS[form]
    ahead = small().fit(data).forecast(data)
    assert type(ahead) is pd.DataFrame
    assert list(ahead.columns) == list(data.columns)
    joined = pd.concat([data, ahead], ignore_index=form == "pandas column")
    assert list(joined.dtypes) == list(data.dtypes) or form == "object columns"
    if form == "pandas index":
        pd.testing.assert_index_equal(
            joined.index, pd.date_range("2020-01-01", periods=ROWS + HORIZON, freq="h", name="when")
        )
        assert ahead.index.freq == data.index.freq
    elif form == "pandas column":
        assert (joined["when"].diff().dropna() == pd.Timedelta("1h")).all()
    else:
        assert len(set(np.diff(joined.index))) == 1


def test_text_times_go_on_as_they_are_written() -> None:
    for written in ("2020-01-17 16:00:00", "2020-01-17T16:00", "2020/01/17 16:00"):
        style = "%Y-%m-%dT%H:%M" if "T" in written else "%Y-%m-%d %H:%M:%S"
        style = "%Y/%m/%d %H:%M" if "/" in written else style
        data = COLUMN.assign(when=COLUMN["when"].dt.strftime(style))
        assert small().fit(data).forecast(data)["when"].iloc[0] == written


@pytest.mark.parametrize("zone", ["Z", "+02:00"])
def test_text_times_keep_their_zone(zone: str) -> None:
    data = COLUMN.assign(when=COLUMN["when"].dt.strftime("%Y-%m-%dT%H:%M:%S") + zone)
    ahead = small().fit(data).forecast(data)
    assert ahead["when"].iloc[0] == "2020-01-17T16:00:00" + zone


def test_polars_gives_polars_back(model: tg.Forecaster) -> None:
    ahead = model.forecast(POLARS.lazy())
    assert ahead.schema == POLARS.schema
    assert pl.concat([POLARS, ahead])["when"].diff().drop_nulls().n_unique() == 1
    dates = POLARS.with_columns(when=pl.date_range(pl.date(2020, 1, 1), pl.date(2021, 2, 3), "1d", eager=True))  # fmt: skip  # noqa: E501
    ahead = small().fit(dates).forecast(dates)
    assert ahead.schema == dates.schema
    assert str(ahead["when"][0]) == "2021-02-04"


def test_a_column_gives_a_column_back() -> None:
    for column in (PANDAS["flow"], POLARS["flow"]):
        model = small().fit(column)
        ahead = model.forecast(column)
        assert type(ahead) is type(column)
        assert ahead.name == "flow"
        np.testing.assert_array_equal(model.predict(column), ahead.to_numpy())
        assert model.predict(column).shape == (HORIZON,)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/St_Johns"])
def test_hours_pass_and_the_zone_is_kept_where_clocks_are_changed(unit: str, zone: str) -> None:
    """The forecast lies across the change, and so does the past."""
    end = pd.Timestamp("2021-03-28 00:00", tz="Europe/Berlin").tz_convert(zone)
    index = pd.date_range(end=end, periods=ROWS, freq="h").as_unit(unit)
    data = PANDAS.set_axis(index)
    ahead = small().fit(data).forecast(data)
    expected = pd.date_range(index[-1], periods=HORIZON + 1, freq="h")[1:].as_unit(unit)
    pd.testing.assert_index_equal(ahead.index, expected)
    assert ahead.index.freq == "h"
    if unit == "s":  # which polars does not have
        return
    when = pl.Series(list(index)).dt.convert_time_zone(zone).dt.cast_time_unit(unit)
    frame = POLARS.with_columns(when=when)
    later = small().fit(frame).forecast(frame)
    assert later.schema == frame.schema
    assert later["when"].to_list() == [t.to_pydatetime() for t in expected]


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_days_go_by_the_clock_on_the_wall(frame: str) -> None:
    index = pd.date_range(end="2021-03-27", periods=ROWS, freq="D", tz="Europe/Berlin")
    expected = pd.date_range(index[-1], periods=HORIZON + 1, freq="D")[1:]
    if frame == "pandas":
        data = PANDAS.set_axis(index)
        ahead = small().fit(data).forecast(data)
        pd.testing.assert_index_equal(ahead.index, expected)
        return
    data = POLARS.with_columns(when=pl.Series(list(index)).dt.convert_time_zone("Europe/Berlin"))
    ahead = small().fit(data).forecast(data)
    assert [t.isoformat() for t in ahead["when"]] == [t.isoformat() for t in expected]


@pytest.mark.parametrize("index", [
    pd.date_range("1990-01-31", periods=ROWS, freq="ME"),
    pd.date_range("1990-01-01", periods=ROWS, freq="QS"),
    pd.date_range("1990-01-01", periods=ROWS, freq="W-MON"),
    pd.date_range("1990-01-01", periods=ROWS, freq="B"),
    pd.date_range("1990-01-01", periods=ROWS, freq="250ms"),
    pd.Index(np.arange(ROWS) * 0.5 + 1.0),
    pd.period_range("1990-01", periods=ROWS, freq="M"),
    pd.period_range("1990-01-01", periods=ROWS, freq="D"),
    pd.RangeIndex(7, 7 + 2 * ROWS, 2, name="n"),
    pd.Index(np.arange(1000, 1000 + ROWS), name="year"),
], ids=lambda i: f"{type(i).__name__}-{getattr(i, 'freqstr', i.name)}")  # fmt: skip
def test_an_index_goes_on_as_what_it_is(index: pd.Index) -> None:
    data = PANDAS.set_axis(index)
    ahead = small(train_until="0.7", validate_until="0.85").fit(data).forecast(data)
    whole = index.append(ahead.index)
    assert type(ahead.index) is type(index)
    assert ahead.index.dtype == index.dtype
    assert ahead.index.name == index.name
    assert getattr(ahead.index, "freq", None) == getattr(index, "freq", None)
    if getattr(index, "freq", None) is not None:
        again = type(index)(whole, freq=index.freq)  # refuses what does not conform
        assert len(again) == ROWS + HORIZON
    else:
        assert len(set(np.diff(whole))) == 1


SEQUENCES = np.random.default_rng(0).normal(size=(24, 9))
LABELS = ["a", "b"] * 12


@pytest.mark.parametrize("form", [
    lambda x: x, list, pd.DataFrame, pl.DataFrame, lambda x: pl.DataFrame(x).lazy(),
    lambda x: pd.Series(list(x)), lambda x: pl.Series(x.tolist()), lambda x: tuple(map(tuple, x)),
    lambda x: [pd.Series(row) for row in x], lambda x: [pl.Series(row) for row in x],
    lambda x: [pd.DataFrame({"v": row}) for row in x], lambda x: x.astype(object),
    lambda x: pd.DataFrame({"v": [pd.Series(row) for row in x]}),
    lambda x: pl.DataFrame({"v": x.tolist()}), lambda x: torch.tensor(x), lambda x: x[:, :, None],
    lambda x: [pd.Series(row, dtype="Float64") for row in x],
])  # fmt: skip
def test_every_form_of_the_same_sequences_gives_the_same_answers(form: Any) -> None:
    def fitted(x: Any) -> Any:
        small = {"hidden_sizes": (4,), "max_steps": 2, "verbose": 0}
        return tg.SequenceClassifier(**small).fit(x, LABELS)

    expected = fitted(SEQUENCES).predict_proba(SEQUENCES)
    model = fitted(form(SEQUENCES))
    np.testing.assert_array_equal(model.predict_proba(form(SEQUENCES)), expected)
    assert model.score(form(SEQUENCES), LABELS) == model.score(SEQUENCES, LABELS)


@pytest.mark.parametrize(("x", "problem"), [
    (None, "sequences: expected a list of arrays, or one array, got NoneType"),
    ("abc", "expected a list of arrays, or one array, got str"),
    ({"a": 1}, "got dict"),
    (COLUMN[["when", "level"]].astype({"when": str}), "column 'when': expected numbers, or a seq"),
])  # fmt: skip
def test_sequences_of_no_use_are_refused(x: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        tg.SequenceClassifier(verbose=0).fit(x, LABELS)


def test_columns_of_nested_series_are_channels() -> None:
    nested = pd.DataFrame({c: [pd.Series(r) for r in SEQUENCES * k] for c, k in (("x", 1), ("y", 2))})  # fmt: skip  # noqa: E501
    small = {"hidden_sizes": (4,), "max_steps": 2, "verbose": 0}
    model = tg.SequenceClassifier(**small).fit(nested, LABELS)
    stacked = np.stack([SEQUENCES, SEQUENCES * 2], axis=2)
    np.testing.assert_array_equal(model.predict_proba(nested), model.predict_proba(stacked))


def test_targets_and_covariates_are_chosen_by_name(tmp_path: Path) -> None:
    wind = tides(covariates=True)
    expected = small().fit(wind)
    data = COLUMN.assign(note="x", wind=wind.covariates[:, 0])
    model = small().fit(data, time="when", target=["level", "flow"], covariate="wind")
    np.testing.assert_array_equal(model.predict(data), expected.forecast(wind).values)
    model.save(tmp_path / "m.safetensors")
    again: Any = load(tmp_path / "m.safetensors")
    shuffled = data[["wind", "flow", "note", "when", "level"]]  # columns are found by name
    pd.testing.assert_frame_equal(again.forecast(shuffled), model.forecast(data))
    assert list(again.forecast(data).columns) == ["when", "level", "flow"]
    with pytest.raises(InputError, match="got none called wind among .*; give the same columns"):
        again.forecast(data.drop(columns="wind"))


def test_columns_of_an_array_are_chosen_by_number() -> None:
    wind = tides(covariates=True)
    block = np.column_stack([wind.covariates, wind.values])
    model = small().fit(block, target=[1, 2], covariate=0)
    np.testing.assert_array_equal(model.predict(block), small().fit(wind).forecast(wind).values)


def test_an_array_s_known_columns_are_read_after_its_last_value() -> None:
    block = np.c_[VALUES[:, :1], np.arange(len(VALUES)) % 5]
    model = small().fit(block, known=1)
    block[-HORIZON:, 0] = np.nan
    ahead = model.forecast(block)
    np.testing.assert_array_equal(ahead.times, np.arange(ROWS - HORIZON, ROWS))
    block[-HORIZON:, 1] += 3
    assert not np.allclose(model.forecast(block).values, ahead.values)


def test_digits_that_are_months_go_on_as_months() -> None:
    months = pd.date_range("1990-01", periods=ROWS, freq="MS").strftime("%Y%m").astype(int)
    for data in (COLUMN.assign(when=months), PANDAS.set_axis(months.rename("when"))):
        model = small().fit(data, time="when") if "when" in data else small().fit(data)
        ahead = model.forecast(data).reset_index()
        assert ahead["when"].tolist()[:2] == [202305, 202306]
        assert ahead["when"].dtype == months.dtype


def test_the_end_of_training_is_told_as_the_column_says_times() -> None:
    data = COLUMN.assign(when=COLUMN["when"].dt.strftime("%d.%m.%Y %H:%M"))
    told = {"train_until": "12.01.2020 16:00", "validate_until": "15.01.2020 04:00"}
    model = small(**told).fit(data)
    assert model.provenance_["training_rows"] == 280
    assert model.forecast(data)["when"].iloc[0] == "17.01.2020 16:00"


def test_columns_without_text_for_names() -> None:
    data = pd.DataFrame(VALUES)
    ahead = small().fit(data, target=1).forecast(data)
    assert list(ahead.columns) == [1]


def test_score_is_r_squared_over_all_windows(model: tg.Forecaster) -> None:
    backtests = [
        model.backtest(SERIES, start, start + HORIZON) for start in range(340, ROWS - HORIZON + 1)
    ]
    truth = np.concatenate([b.truth[0] for b in backtests])
    told = np.concatenate([b.forecasts["model"][0] for b in backtests])
    assert model.score(SERIES, start=340) == pytest.approx(r2_score(truth, told))


def test_rows_without_times_count_as_new(model: tg.Forecaster) -> None:
    """Time tells of a frame's rows which were learned from; of an array's nothing does."""
    part = VALUES[300:]
    assert model.score(part) == pytest.approx(model.score(SERIES.rows(300, ROWS), start=0))
    assert model.evaluate(PANDAS)["n"] == model.evaluate(SERIES)["n"]


@pytest.mark.parametrize("data", [VALUES, PANDAS, VALUES[:, 0]], ids=["array", "frame", "1-D"])
def test_cross_validation_over_time(data: Any) -> None:
    splits = TimeSeriesSplit(2, test_size=80)
    whole = small(train_until=None, validate_until=None)
    assert np.isfinite(cross_val_score(clone(whole), data, cv=splits)).all()


def test_a_comparison_takes_a_frame() -> None:
    result = tg.compare(small(), PANDAS, cells=("gru",), seeds=1)
    expected = tg.compare(small(), SERIES, cells=("gru",), seeds=1)
    assert [run.held_out for run in result.runs] == [run.held_out for run in expected.runs]


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "text": ("load.csv", {}, "expected a data frame, a Series, or numbers .* got str"),
    "no rows": (COLUMN[:0], {}, "expected rows, one for each time, got none"),
    "an empty list": ([], {}, "expected rows, one for each time, got none; add some"),
    "None": (None, {}, "expected a data frame, a Series, or numbers"),
    "cube": (np.ones((4, 3, 2)), {}, r"got shape \[4, 3, 2\]; give one series per column"),
    "time of an array": (VALUES, {"time": "t"}, "time: expected none for ndarray.* give a data"),
    "no such time": (COLUMN, {"time": "t"}, "time: expected one of when, level, flow, got 't'"),
    "no such target": (COLUMN, {"target": "x"}, "target: expected some of level, flow, got 'x'"),
    "text column": (COLUMN.assign(note="x"), {}, "'note': expected numbers, got String; leave the"),
    "two times": (COLUMN.assign(then=COLUMN["when"]), {}, "one column of times, got when, then; "
                  "name it: time='when'"),
    "only covariates": (COLUMN, {"covariate": ["level", "flow"]}, "a column to forecast, got none"),
    "two levels": (PANDAS.stack(), {}, r"an index of 2 levels; .* frame.unstack\(0\)"),
    "a gap": (PANDAS.drop(HOURS[7]), {}, "insert the missing rows"),
    "missing": (PANDAS.where(PANDAS["level"] != VALUES[9, 0]), {}, "row 9: expected finite"),
    "no time": (COLUMN.assign(when=COLUMN["when"].mask(COLUMN.index == 5)), {}, "row 5: expected a "
                "time, got none"),
    "nanoseconds": (PANDAS.set_axis(HOURS.as_unit("ns") + pd.Timedelta("1ns")), {}, "row 0: "
                    "expected whole microseconds"),
    "twice": (pd.concat([PANDAS, PANDAS], axis=1), {}, "different"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_data_of_no_use_are_refused(case: str) -> None:
    data, told, problem = REFUSED[case]
    with pytest.raises(InputError, match=problem):
        small().fit(data, **told)


def test_the_remedies_help() -> None:
    small().fit(COLUMN.assign(then=COLUMN["when"]).drop(columns="then"), time="when")
    small().fit(COLUMN.assign(note="x"), target=["level"])
    long = PANDAS.stack().swaplevel().sort_index()
    assert small().fit(long.unstack(0)).windowing_.names == ("flow", "level")


def test_a_series_of_another_kind_is_refused(model: tg.Forecaster) -> None:
    with pytest.raises(InputError, match="expected rows 3600s apart, as in training, got 86400s"):
        model.forecast(PANDAS.set_axis(pd.date_range("2020", periods=ROWS, freq="D")))
    with pytest.raises(InputError, match="the series it was trained on, level, flow, in this"):
        model.forecast(VALUES[:, :1])
    with pytest.raises(InputError, match="call fit or load first"):
        small().predict(PANDAS)


def test_pythons_own_dates_stay_dates() -> None:
    days = [date(2020, 1, 1) + timedelta(n) for n in range(ROWS)]
    for index in (pd.Index(days), pd.CategoricalIndex(pd.DatetimeIndex(days))):
        ahead = small().fit(PANDAS.set_axis(index)).forecast(PANDAS.set_axis(index))
        expected = index[-1] + timedelta(1)
        assert ahead.index[0] == expected
        assert isinstance(ahead.index[0], type(index[0]))


@pytest.mark.parametrize("freq", ["BME", "WOM-3FRI"])
def test_one_day_of_each_month_goes_on_as_months(freq: str) -> None:
    data = PANDAS.set_axis(pd.date_range("1990-01-01", periods=ROWS, freq=freq))
    with pytest.raises(InputError, match="write the months alone, such as 1990-01"):
        small().fit(data)
    months = data.set_axis(data.index.to_period("M"))
    assert small().fit(months).forecast(months).index[0] == months.index[-1] + 1


def test_durations_are_to_be_seconds() -> None:
    data = PANDAS.set_axis(pd.timedelta_range("0s", periods=ROWS, freq="h", name="t"))
    with pytest.raises(InputError, match="got Duration.*; give the seconds"):
        small().fit(data)
    seconds = data.set_axis(data.index.total_seconds())
    model = small(train_until="0.7", validate_until="0.85").fit(seconds)
    assert model.forecast(seconds).index[0] == ROWS * 3600


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"a": [[1, 2], [1]], "b": [[1], [1]]}), "row 0: expected as many values in"),
        (pl.DataFrame({"a": ["1", "2"]}), "column 'a': expected numbers, or a sequence of numbers"),
        (pl.DataFrame({"a": [[1]], "b": [2]}), "'b': expected a sequence of numbers in each cell"),
        (pl.DataFrame({"a": [1], "b": ["x"]}), "column 'b': expected numbers, or a sequence of nu"),
    ],
)
def test_cells_that_are_no_sequences_of_one_length_are_refused(frame: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tg.SequenceClassifier(verbose=0).fit(frame, ["x", "y"][: len(frame)])


def test_lists_in_the_cells_of_a_series_are_refused() -> None:
    frame = pd.DataFrame({"x": [[1], [2], [3]]}, index=pd.date_range("2020", periods=3))
    with pytest.raises(InputError, match="column 'x': expected numbers, got Object"):
        tg.Forecaster(verbose=0).fit(frame)


def test_a_year_of_weeks_or_less_has_no_season_that_it_does_not_show() -> None:
    weeks = pd.Series(np.arange(50.0) % 7, pd.date_range("2016-01-03", periods=50, freq="W"))
    model = tg.Forecaster(horizon=2, hidden_sizes=(4,), max_steps=1, verbose=0).fit(weeks)
    assert model.windowing_.season == 1
    assert len(model.forecast(weeks)) == 2


def test_a_masked_or_complex_array_is_no_series() -> None:
    masked = np.ma.masked_greater(np.arange(30) % 7, 5)
    for data, problem in (
        (masked, "row 6: .* got nan; fill it in, such as with the value before"),
        (masked + 0j, "got MaskedArray masked_array"),
    ):
        with pytest.raises(InputError, match=problem):
            tg.Forecaster(horizon=2, max_steps=1).fit(data)


def test_roles_of_a_series_that_has_them_already_are_refused() -> None:
    series = Series.of(np.arange(40), np.arange(80.0).reshape(40, 2), names=["a", "b"])
    with pytest.raises(InputError, match="target: expected none for a Series, whose columns have"):
        tg.Forecaster(horizon=2, verbose=0).fit(series, target="a")

"""A series knows its grid; scaling, windows, baselines and scores are what their sources define."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tidegate.data.series.naive import mase, naive_forecast, seasonal_naive_forecast, smape
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.season import guess_season
from tidegate.data.series.series import Series
from tidegate.data.series.windows import window_rows, windows
from tidegate.data.times.grid import grid_positions, step_from_json, step_to_json
from tidegate.data.times.styles import AS_NUMPY
from tidegate.errors import InputError

ETTH1 = Path(__file__).parents[2] / "shared" / "data" / "timeseries" / "ETTh1.csv.gz"
HOURS = np.datetime64("2016-07-01", "s") + np.arange(48) * np.timedelta64(3600, "s")


def hourly(n: int = 48) -> Series:
    return Series.of(HOURS[:n], np.arange(n * 2.0).reshape(n, 2), names=("load", "oil"))


def dates(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[s]")


def test_seasonal_naive_on_etth1_has_its_known_error():
    if not ETTH1.exists():
        pytest.skip("ETTh1 is not here")
    with gzip.open(ETTH1, "rt") as file:
        values = np.loadtxt(file, delimiter=",", skiprows=1, usecols=range(1, 8), max_rows=14_400)
    scaled = Scaler.fit(values[:8640]).transform(values)
    starts = windows(scaled, 24, 24, 11_520, 14_400)
    assert len(starts) == 2880 - 24 + 1
    past = window_rows(scaled, starts, 24)
    target = window_rows(scaled, starts + 24, 24)
    errors = seasonal_naive_forecast(past, 24, 24) - target
    assert round(float((errors**2).mean()), 3) == 0.424


@pytest.mark.parametrize(
    ("times", "step", "following"),
    [
        (HOURS, "3600s", ["2016-07-03T00", "2016-07-03T01"]),
        (dates("2020-01", "2020-02", "2020-03"), "1M", ["2020-04-01", "2020-05-01"]),
        (dates("2019-12-31", "2020-01-31", "2020-02-29"), "1M", ["2020-03-31", "2020-04-30"]),
        (dates("2019-03-31T12", "2019-06-30T12"), "3M", ["2019-09-30T12", "2019-12-31T12"]),
        (dates("2019", "2020", "2021"), "12M", ["2022", "2023"]),
        (dates("2020-01-15", "2020-02-15"), "1M", ["2020-03-15", "2020-04-15"]),
        (dates("2020-02-24", "2020-03-02"), "604800s", ["2020-03-09", "2020-03-16"]),
        (np.array([1700, 1702, 1704]), "2", [1706, 1708]),
    ],
)
def test_grid_goes_on_as_the_calendar_does(times: np.ndarray, step: str, following: list):
    series = Series.of(times, np.zeros(len(times)))
    assert step_to_json(series.step) == step
    assert step_from_json(step) == series.step
    expected = np.array(following, dtype=series.times.dtype)
    np.testing.assert_array_equal(series.future_times(2), expected)


@pytest.mark.parametrize("text", ["", "0s", "1h", "-1", "1 s", "9" * 30, None, 1])
def test_a_step_that_is_not_one_is_refused(text: object):
    with pytest.raises(ValueError, match="a step must read like"):
        step_from_json(text)


@pytest.mark.parametrize(
    ("times", "row", "message"),
    [
        (dates("2020-01-01", "2020-01-02", "2020-01-02"), 2, "each time once, got 2020-01-02"),
        # of rows in any order the row is the one that was given
        (dates("2020-01-01", "2020-01-05", "2020-01-02", "2020-01-03"), 1, "missing rows"),
        (np.array([9.0, 3.0, 2.0, 1.0, 4.5, 0.0]), 4, "times 1.0 apart"),
        (dates("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-05"), 3, "missing rows"),
        (dates("2020-01-01", "2020-02-01", "2020-03-01", "2020-05-01"), 3, "expected 2020-04-01"),
        (dates("2020-01-01", "2020-01-03", "2020-01-05", "2020-01-08"), 3, "2 days apart"),
        (np.array([1]), 0, "two times or more"),
        (np.array([1, 2, 3, 5]), 3, "expected 4, got 5"),
    ],
)
def test_times_off_the_grid_are_named_by_row(times: np.ndarray, row: int, message: str):
    with pytest.raises(InputError, match=f"row {row}: .*{message}"):
        Series.of(times, np.zeros(len(times)))


def test_places_on_the_grid_show_the_gaps():
    _, positions = grid_positions(np.array([10, 20, 30, 60, 70]))
    assert positions.tolist() == [0, 1, 2, 5, 6]


@pytest.mark.parametrize(
    ("moment", "row"),
    [
        ("2016-07-02", 24),
        ("2016-07-02 05:00", 29),
        ("2016-07-02T04:30", 29),
        ("2016-07-03", 48),
        (0, 0),
        (48, 48),
        ("7", 7),
        (0.5, 24),
        ("0.25", 12),
        (np.int64(3), 3),
    ],
)
def test_a_moment_is_a_time_a_row_or_a_fraction(moment: str | int | float, row: int):
    assert hourly().row_of(moment) == row


@pytest.mark.parametrize("moment", ["2017-01-01", "2015", "soon", 49, -1, 1.5, 0.0, "", "2016-13"])
def test_a_moment_outside_the_series_is_an_input_error(moment: str | int | float):
    with pytest.raises(InputError, match="expected"):
        hourly().row_of(moment)


def test_text_is_a_time_where_times_are_integers():
    yearly = Series.of(np.arange(1700, 1750), np.zeros(50))
    assert (yearly.row_of("1710"), yearly.row_of(10), yearly.row_of("0.2")) == (10, 10, 10)
    with pytest.raises(InputError, match="from 1700 to 1750"):
        yearly.row_of("12")


def test_rows_keep_names_times_and_covariates_together():
    series = Series.of(HOURS, np.arange(48), covariates=np.arange(96).reshape(48, 2))
    part = series.rows(10, 20)
    assert (len(part), part.names, part.covariate_names) == (
        10,
        ("value",),
        ("covariate_0", "covariate_1"),
    )
    assert part.times[0] == HOURS[10]
    assert part.covariates[0].tolist() == [20, 21]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": np.zeros(3)}, "expected values"),
        ({"values": np.zeros((48, 1, 1))}, "expected values"),
        ({"values": np.r_[np.zeros(47), np.nan]}, "row 47: expected finite numbers in 'value'"),
        ({"values": np.zeros(48), "covariates": np.full(48, np.inf)}, "in 'covariate', got inf"),
        ({"values": np.zeros(48), "names": ("a", "b")}, "expected 1 different"),
        ({"values": np.zeros(48), "times": ["soon"] * 48}, "expected dates or numbers"),
    ],
)
def test_arrays_that_make_no_series_are_input_errors(arguments: dict[str, Any], message: str):
    given_arguments: dict[str, Any] = {"times": HOURS, **arguments}
    with pytest.raises(InputError, match=message):
        Series.of(**given_arguments)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2016-07", "2016-07-01T00:00:00"),
        ("2016-7-1 3:05", "2016-07-01T03:05:00"),
        ("2016/07/01", "2016-07-01T00:00:00"),
        ("2016-07-01T12:00:00Z", "2016-07-01T12:00:00"),
        ("2016-07-01T12:00:00+02:00", "2016-07-01T10:00:00"),
        ("01/02/2016", None),
        ("2016-02-30", None),
        ("2016-13", None),
        ("2016-07-01 00:00:00.5", "2016-07-01T00:00:00.500"),
        ("", None),
    ],
)
def test_iso_times_are_read_and_ambiguous_ones_refused(text: str, time: str | None):
    assert AS_NUMPY.read(text) == (None if time is None else np.datetime64(time))


numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
tables = arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 3)), elements=numbers)


@given(tables)
def test_scaling_is_undone_by_its_inverse(values: np.ndarray):
    scaler = Scaler.from_json(Scaler.fit(values).to_json())
    # rtol: a few roundings of numbers up to 1e6
    np.testing.assert_allclose(
        scaler.inverse(scaler.transform(values)), values, rtol=1e-12, atol=1e-8
    )
    assert (scaler.scale > 0).all()


def test_scaled_rows_have_mean_0_and_deviation_1_and_a_constant_becomes_0():
    values = np.column_stack([np.arange(10.0), np.full(10, 0.1)])
    scaled = Scaler.fit(values).transform(values)
    assert Scaler.fit(values).scale[1] == 1
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 0], atol=1e-15)


@pytest.mark.parametrize(
    "description",
    [
        None,
        {},
        {"mean": [0.0]},
        {"mean": [0.0], "scale": [1.0], "more": 1},
        {"mean": [0.0], "scale": [0.0]},
        {"mean": [0.0], "scale": []},
        {"mean": ["0"], "scale": [1.0]},
        {"mean": [float("nan")], "scale": [1.0]},
    ],
)
def test_a_scaler_that_is_not_one_is_refused(description: object):
    with pytest.raises(ValueError, match="scaler"):
        Scaler.from_json(description)


def test_unscalable_values_are_input_errors():
    for values in (np.zeros(3), np.zeros((0, 1)), np.array([[np.nan]])):
        with pytest.raises(InputError, match="expected finite values"):
            Scaler.fit(values)


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 6), st.integers(0, 30))
def test_windows_are_all_those_whose_targets_lie_inside(n: int, context: int, horizon: int, a: int):
    values, last = np.zeros((n, 1)), n - n // 4
    expected = [
        s
        for s in range(n)
        if a <= s + context and s + context + horizon <= last and s + context + horizon <= n
    ]
    if expected:
        assert windows(values, context, horizon, a, last).tolist() == expected
    else:
        with pytest.raises(InputError, match="expected .* rows or more"):
            windows(values, context, horizon, a, last)


def test_window_rows_are_the_rows():
    values = np.arange(20.0).reshape(10, 2)
    got = window_rows(values, np.array([0, 3]), 4)
    np.testing.assert_array_equal(got, np.stack([values[0:4], values[3:7]]))


def test_naive_forecasts_repeat_the_last_value_and_the_last_season():
    past = np.arange(5.0)[:, None] * [1, 10]
    assert naive_forecast(past, 2).tolist() == [[4, 40], [4, 40]]
    assert seasonal_naive_forecast(past, 4, 3)[:, 0].tolist() == [2, 3, 4, 2]
    assert seasonal_naive_forecast(past[None], 4, 3).shape == (1, 4, 2)
    with pytest.raises(InputError, match="season of 1 to 5"):
        seasonal_naive_forecast(past, 2, 6)


@given(st.integers(1, 4), arrays(np.float64, (12, 2), elements=numbers))
def test_mase_of_the_seasonal_naive_in_training_is_one(season: int, training: np.ndarray):
    errors = training[season:] - training[:-season]
    score = mase(errors, training, season)
    # rtol: a sum of 12 numbers taken in two orders
    assert np.isnan(score) if not errors.any() else score == pytest.approx(1, rel=1e-12)


def test_mase_leaves_out_channels_that_never_change():
    training = np.column_stack([np.arange(5.0), np.ones(5)])
    assert mase(np.array([[3.0, 7.0]]), training, 1) == 3
    with pytest.raises(InputError, match="season of 1 to 4"):
        mase(np.zeros((1, 2)), training, 5)


def test_smape_is_symmetric_bounded_and_0_for_two_zeros():
    actual, forecast = np.array([0.0, 100, 0]), np.array([0.0, 50, 1])
    assert smape(actual, forecast) == smape(forecast, actual)
    assert smape(actual, forecast) == pytest.approx((0 + 200 / 3 + 200) / 3)


@pytest.mark.parametrize(
    ("step", "season"),
    [("3600s", 24), ("900s", 96), ("86400s", 7), ("604800s", 52), ("1M", 12), ("3M", 4)]
    + [("12M", 1), ("1", 1), ("1s", 1), ("5M", 1)],
)
def test_season_follows_the_calendar(step: str, season: int):
    assert guess_season(step_from_json(step)) == season


@pytest.mark.parametrize("season", [4, 7, 24])
def test_season_is_found_by_autocorrelation_where_the_calendar_says_nothing(season: int):
    rng = np.random.default_rng(season)
    pattern = np.tile(rng.normal(size=season), 20)[:, None]
    trend = 0.05 * np.arange(len(pattern))[:, None]
    noise = 0.1 * rng.normal(size=pattern.shape)
    assert guess_season(1, pattern + trend + noise) == season
    assert guess_season(1, rng.normal(size=(300, 1))) == 1
    assert guess_season(1, np.ones((50, 2))) == 1
    assert guess_season(1, np.ones((2, 1))) == 1


@pytest.mark.parametrize("size", [1e300, 1e-300, 1e160, 5.0])
def test_numbers_of_any_size_are_scaled_alike(size: float):
    values = np.sin(np.arange(200.0) * np.pi / 6)[:, None]
    expected = Scaler.fit(values).transform(values)
    scaled = Scaler.fit(values * size).transform(values * size)
    # rtol: one rounding of the values times a size, another of its deviation
    np.testing.assert_allclose(scaled, expected, rtol=1e-13, atol=1e-14)
    assert guess_season(1, values * size) == guess_season(1, values) == 12


def test_a_number_whose_differences_overflow_is_refused():
    with pytest.raises(InputError, match=r"expected numbers up to 1e\+300, got 1.7e\+308"):
        Scaler.fit(np.array([[1.7e308], [-1.7e308]]))

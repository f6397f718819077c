"""Series as they were measured: missing rows and values, uneven times, columns that begin late."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tidegate as tg
from tidegate.data.series.series import Series, filled
from tidegate.data.series.windows import Rows, Windows
from tidegate.data.times.frequencies import binned, step_named
from tidegate.data.times.grid import step_to_json
from tidegate.errors import InputError

HORIZON, CONTEXT = 4, 24
OPTIONS: dict[str, Any] = {
    "horizon": HORIZON, "context": CONTEXT, "season": 12, "hidden_sizes": (6,), "max_steps": 8,
    "verbose": 0,
}  # fmt: skip


def waves(rows: int = 300) -> pd.DataFrame:
    """Two columns with holes: one begins late and lacks a day, the other ends early."""
    rng = np.random.default_rng(3)
    wave = np.sin(2 * np.pi * np.arange(rows) / 12)
    hours = pd.date_range("2024-01-01", periods=rows, freq="h")
    values = {"late": wave + 5, "early": 40 * np.roll(wave, 3)}
    frame = pd.DataFrame({"hour": hours, **values})
    frame[["late", "early"]] += rng.normal(size=(rows, 2)) * (0.1, 4)
    frame.loc[:70, "late"] = frame.loc[150:173, "late"] = np.nan
    frame.loc[rng.integers(0, rows, 20), "early"] = np.nan
    frame.loc[290:, "early"] = np.nan
    return frame


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return waves()


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> tg.Forecaster:
    torch.set_num_threads(1)
    options = OPTIONS | {"train_until": 200, "validate_until": 250}
    return tg.Forecaster(**options).fit(frame, fill_gaps=True)


def test_columns_that_begin_late_or_end_early_are_learned_and_forecast(
    model: tg.Forecaster, frame: pd.DataFrame
) -> None:
    assert np.isfinite(model.metrics_["mse"])
    assert model.metrics_["test_mse"] < model.metrics_["test_naive_mse"]
    ahead = model.forecast(frame, quantiles=(0.1, 0.9))
    assert ahead["hour"].iloc[0] == frame["hour"].iloc[-1] + pd.Timedelta(hours=1)
    assert np.isfinite(ahead.drop(columns="hour")).all(axis=None)


def test_a_missing_value_is_not_judged(model: tg.Forecaster, frame: pd.DataFrame) -> None:
    series = model.evaluate_series(frame, start=250)
    tests = range(250, 300 - HORIZON + 1)
    for c, name in enumerate(("late", "early")):
        own, errors = frame[name].to_numpy(), []
        for end in tests:
            missed = model.predict(frame.iloc[:end])[:, c] - own[end : end + HORIZON]
            errors += (
                [np.abs(missed[~np.isnan(missed)]).mean()] if (~np.isnan(missed)).any() else []
            )
        scale = model.windowing_.scaler.scale[c]
        # rtol: float32 of another batch
        assert series[name]["mae"] == pytest.approx(np.mean(errors) / scale, rel=1e-5)


def test_nothing_is_learned_from_a_missing_value(model: tg.Forecaster, frame: pd.DataFrame) -> None:
    w = model.windowing_
    rows = Rows(frame[["late", "early"]].to_numpy(), np.empty((300, 0)))
    windows = Windows(w, rows, np.arange(300 - CONTEXT - HORIZON + 1))
    every = np.arange(len(windows))
    targets = windows.targets(every)
    known = np.isfinite(rows.values)
    asked = every // 2 + CONTEXT
    np.testing.assert_array_equal(
        np.isfinite(targets), known[asked[:, None] + np.arange(HORIZON), (every % 2)[:, None]]
    )
    assert np.isfinite(windows.inputs(every)).all()
    learned = windows.answered
    assert (np.isfinite(targets[learned]).mean(1) >= 0.5).all()
    seen = known[every[:, None] // 2 + np.arange(CONTEXT), (every % 2)[:, None]].any(1)
    enough = (np.isfinite(targets).mean(1) >= 0.5) & seen
    np.testing.assert_array_equal(learned, every[enough])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=30), st.integers(1, 29))
def test_gaps_are_filled_from_their_own_series(holes: list[bool], cut: int) -> None:
    values = np.where(holes, np.nan, np.arange(len(holes)) + 1.0)[:, None]
    first = np.array([0, cut] if cut < len(holes) else [0])
    expected = [
        pd.Series(part[:, 0]).ffill().bfill().fillna(0) for part in np.split(values, first[1:])
    ]
    np.testing.assert_array_equal(filled(values, first)[:, 0], np.concatenate(expected))


def test_a_gap_is_refused_unless_it_is_asked_for(frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="expected finite numbers in 'late', got nan"):
        tg.Forecaster(**OPTIONS).fit(frame)


# uneven times


@pytest.mark.parametrize(
    ("name", "step"),
    [("15min", "900s"), ("h", "3600s"), ("2H", "7200s"), ("D", "86400s"), ("B", "1B"),
     ("W", "604800s"), ("W-SUN", "604800s"), ("MS", "1M"), ("M", "1M"), ("QE", "3M"),
     ("QS-JAN", "3M"), ("YS", "12M"), ("A", "12M"), ("30s", "30s"), ("10", "10"), (0.5, "0.5")],
)  # fmt: skip
def test_steps_have_the_names_that_pandas_gives_them(name: Any, step: str) -> None:
    assert step_to_json(step_named(name)) == step


@pytest.mark.parametrize("name", ["", "soon", "0h", "2B", "-1", "hh", None])
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(InputError, match="option every: expected a step as pandas names it"):
        step_named(name)


@pytest.mark.parametrize("name", ["15min", "h", "D", "W-MON", "MS", "QS"])
def test_rows_are_brought_to_a_grid_as_pandas_does(name: str) -> None:
    rng = np.random.default_rng(0)
    seconds = rng.integers(0, 200 * 86_400, 500)
    times = np.datetime64("2023-11-03", "s") + seconds.astype("timedelta64[s]")
    values = rng.normal(size=(500, 1))
    bins = binned(times, step_named(name))
    label = {"label": "left", "closed": "left"} if name == "W-MON" else {}
    theirs = pd.Series(values[:, 0], index=times).resample(name, **label).mean()
    there = theirs[theirs.notna()]
    np.testing.assert_array_equal(bins.times, there.index.to_numpy().astype("datetime64[s]"))
    np.testing.assert_allclose(bins.means(values)[:, 0], there.to_numpy())
    np.testing.assert_array_equal(bins.positions, np.flatnonzero(theirs.notna()))


def test_weekends_count_for_the_friday_before_of_business_days() -> None:
    days = np.datetime64("2024-03-01", "s") + np.arange(4) * np.timedelta64(86_400, "s")  # Friday
    bins = binned(days, step_named("B"))
    assert bins.times.astype("datetime64[D]").astype(str).tolist() == ["2024-03-01", "2024-03-04"]
    assert bins.which.tolist() == [0, 0, 0, 1]
    assert bins.positions.tolist() == [0, 1]


@pytest.mark.parametrize(("times", "step"), [("M", "10"), ("i", "h")])
def test_a_step_of_the_other_kind_of_times_is_refused(times: str, step: str) -> None:
    given = np.arange(9) if times == "i" else np.datetime64("2024", "s") + np.arange(9)
    with pytest.raises(InputError, match="option every: expected a step for times that are"):
        binned(given, step_named(step))


def test_uneven_rows_are_forecast_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    minutes = np.sort(rng.choice(300 * 60, 700, replace=False))
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(minutes, unit="min")
    values = np.sin(2 * np.pi * minutes / 720) + 0.1 * rng.normal(size=700)
    frame = pd.DataFrame({"at": times, "y": values})
    model = tg.Forecaster(**OPTIONS | {"verbose": 1, "max_steps": 2}).fit(frame, every="h")
    assert "values are missing: the last known one is read there" in capsys.readouterr().out
    ahead = model.forecast(frame)
    assert ahead["at"].diff().dropna().eq(pd.Timedelta(hours=1)).all()
    assert ahead["at"].iloc[0] == times[-1].floor("h") + pd.Timedelta(hours=1)
    series = Series.of(times, values, every="h")
    assert series.gaps
    assert np.isnan(series.values).sum() > 5

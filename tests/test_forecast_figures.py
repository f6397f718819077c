"""Forecasters: figures, backtests, the file, pictures."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.dates import num2date
from sklearn.metrics import mean_absolute_error, mean_squared_error
from tides import HORIZON, ROWS, SEASON, learned, small, tides

import tidegate as tg
from tidegate.data.series.naive import mase, near_zero, smape
from tidegate.data.series.series import Series
from tidegate.data.series.tables import read_series
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.tasks import load
from tidegate.tasks.forecast_plot import draw_forecast, plot_backtest, plot_forecast


@pytest.fixture(scope="module")
def series():
    return tides()


@pytest.fixture(scope="module")
def model(series):
    return learned(series)


@pytest.fixture(scope="module")
def with_covariate():
    return small(joint=False).fit(tides(covariates=True))


# figures


def test_figures_are_as_stated(model, series):
    start, end = 350, 375
    figures = model.evaluate(series, start, end)
    first_rows = range(start, end - HORIZON + 1)
    truth = np.stack([series.values[r : r + HORIZON] for r in first_rows])
    forecasts = {
        "": np.stack([model.forecast(series.rows(0, r)).values for r in first_rows]),
        "naive_": np.stack([np.tile(series.values[r - 1], (HORIZON, 1)) for r in first_rows]),
        "seasonal_naive_": np.stack(
            [series.values[r - SEASON : r - SEASON + HORIZON] for r in first_rows]
        ),
    }
    training = series.values[:280]
    deviation = training.std(0)
    for prefix, forecast in forecasts.items():
        y, f = ((a / deviation).reshape(-1, 2) for a in (truth, forecast))
        expected = {
            "mse": mean_squared_error(y, f),
            "mae": mean_absolute_error(y, f),
            "mase": mase(forecast - truth, training, SEASON),
            "smape": smape(truth[..., 1], forecast[..., 1]),  # "level" swings around zero
        }
        for name, value in expected.items():
            # batches of another size: float32 rounding
            assert figures[prefix + name] == pytest.approx(value, rel=1e-4), prefix + name
    assert figures["n"] == len(first_rows)


def test_a_percentage_of_values_near_zero_is_no_figure(model, series):
    figures = model.evaluate_series(series)
    assert np.isnan([figures["level"][f"{of}smape"] for of in ("", "naive_")]).all()
    assert 0 < figures["flow"]["smape"] < 200
    t = np.arange(500)
    assert [near_zero(values) for values in (np.sin(t), np.where(t % 3, t, 0.0))] == [True, True]
    steady = 3 + np.sin(t), np.full(9, 7.0), np.zeros(9)
    assert [near_zero(values) for values in steady] == [False] * 3


@pytest.mark.parametrize("names", [["level"], ["level", "flow"]])
def test_a_percentage_that_means_nothing_says_why_to_people_and_to_machines(
    names, tidegate, tmp_path, monkeypatch, series
):
    monkeypatch.chdir(tmp_path)
    values = series.values[:, [series.names.index(name) for name in names]]
    small(joint=False, max_steps=1).fit(Series.of(series.times, values, names=names)).save(
        "model.safetensors"
    )
    rows = [",".join(map(str, row)) for row in zip(series.times, *values.T, strict=True)]
    (tmp_path / "tides.csv").write_text("\n".join([",".join(["time", *names]), *rows]))
    told = tidegate("evaluate model.safetensors tides.csv --json").json
    shown = " ".join(tidegate("evaluate model.safetensors tides.csv").out.split())
    why = "undefined: values come so near zero that percentages of them mean nothing"
    if names == ["level"]:
        assert told["smape"] is None
        assert told["notes"] == {"smape": why}
        assert f"smape {why} naive mse" not in shown  # nor those of the baselines
        assert f"smape {why} coverage 80 " in shown
    else:
        assert told["smape_series"] == 1
        assert told["notes"] == {"smape": f"of 1 series; of the others {why}"}
        assert f"(of 1 series; of the others {why})" in shown


def test_figures_average_those_of_the_series(model, series):
    by_series = model.evaluate_series(series)
    assert list(by_series) == ["level", "flow"]
    figures = model.evaluate(series)
    assert figures.pop("smape_series") == 1  # of "flow" alone
    for name, value in figures.items():
        assert value == pytest.approx(np.nanmean([row[name] for row in by_series.values()]))
    assert list(by_series["flow"]) == list(figures)


def test_evaluation_begins_where_learning_ended(model, series):
    assert model.evaluate(series) == model.evaluate(series, start=340)
    assert model.evaluate(series)["mse"] == model.metrics_["test_mse"]
    newer = series.rows(300, ROWS)
    assert model.evaluate(newer)["n"] == model.evaluate(series)["n"]
    with pytest.raises(InputError, match=r"has not learned from, got 0; give newer rows"):
        model.evaluate(series.rows(0, 340))


def test_validation_figures_are_those_of_evaluate(series):
    model = small(refit=False).fit(series)
    figures = model.evaluate(series, start=280, end=340)
    assert figures["mse"] == pytest.approx(model.metrics_["mse"], rel=1e-5)
    assert figures["mae"] == pytest.approx(model.metrics_["mae"], rel=1e-5)


def test_a_season_longer_than_the_context_is_found_before_it(series):
    model = small(context=4, segment=2).fit(series)
    assert model.evaluate(series)["seasonal_naive_mse"] < model.evaluate(series)["naive_mse"]
    first = model.evaluate(series, start=0, end=ROWS)["n"]
    assert first == ROWS - SEASON - HORIZON + 1


def test_a_series_that_never_changes_has_no_mase(series):
    flat = dataclasses.replace(series, values=np.full_like(series.values, 7.0))
    model = small().fit(flat)
    figures = model.evaluate(flat)
    assert np.isnan(figures["mase"])
    assert figures["naive_mse"] == 0
    assert np.isfinite(model.forecast(flat).values).all()


def test_a_backtest_lies_end_to_end_and_reaches_the_end(model, series):
    backtest = model.backtest(series)
    assert np.array_equal(backtest.times.ravel(), series.times[340:])
    assert np.array_equal(backtest.truth.reshape(-1, 2), series.values[340:])


def test_forecast_times_follow_the_last_row(model, series):
    times = model.forecast(series).times
    assert times[0] - series.times[-1] == np.timedelta64(3600, "s")
    assert len(times) == HORIZON


# the file


def test_a_loaded_model_forecasts_the_same(with_covariate, tmp_path):
    series = tides(covariates=True)
    with_covariate.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors")
    assert isinstance(loaded, tg.Forecaster)
    assert np.array_equal(loaded.forecast(series).values, with_covariate.forecast(series).values)
    assert loaded.evaluate(series) == with_covariate.evaluate(series)
    assert loaded.get_params()["train_until"] == "280"


def test_integer_times_survive_the_file(tmp_path):
    yearly = Series.of(np.arange(1700, 1700 + ROWS), tides().values)
    model = small(train_until="1980", validate_until="2040").fit(yearly)
    model.save(tmp_path / "m.safetensors")
    loaded = tg.Forecaster.load(tmp_path / "m.safetensors")
    assert loaded.forecast(yearly).times.tolist() == list(range(2100, 2106))
    assert loaded.evaluate(yearly) == model.evaluate(yearly, start="2040")


@pytest.mark.parametrize(
    "damage",
    [
        lambda s: s.pop("unseen_from"),
        lambda s: s.update(unseen_from="soon"),
        lambda s: s.update(unseen_from=7),
        lambda s: s.update(naive_error=[1.0]),
        lambda s: s.update(naive_error=[1.0, -1.0]),
        lambda s: s.update(naive_error="much"),
        lambda s: s.update(naive_error=["1.0", "1.0"]),
        lambda s: s.update(unseen_from="now"),
        lambda s: s.update(unseen_from="NaT"),
        lambda s: s.update(unseen_from="-" * 9999),
        lambda s: s.update(windowing=[]),
        lambda s: s["windowing"].update(more=1),
        lambda s: s["windowing"].update(context=25),
        lambda s: s["windowing"].update(horizon=7),
        lambda s: s["windowing"].update(season=0),
        lambda s: s["windowing"].update(segment=True),
        lambda s: s["windowing"].update(joint=1),
        lambda s: s["windowing"].update(names=["a", "a"]),
        lambda s: s["windowing"].update(names=["a"]),
        lambda s: s["windowing"].update(names=[1, 2]),
        lambda s: s["windowing"].update(step="1 hour"),
        lambda s: s["windowing"].update(covariate_scaler={"mean": [0.0], "scale": [1.0]}),
        lambda s: s["windowing"]["scaler"].update(scale=[1.0, 0.0]),
        lambda s: s["windowing"]["scaler"].update(mean=[1.0]),
    ],
)
def test_scaling_out_of_schema_is_refused(model, tmp_path, damage):
    path = tmp_path / "m.safetensors"
    model.save(path)
    held = load_model(path)
    damage(held.scaling)
    save_model(path, held)
    with pytest.raises(ModelFileError, match="out of schema"):
        tg.Forecaster.load(path)


# pictures


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_pictures_show_forecasts(model, series, tmp_path, ending):
    forecast = model.forecast(series.rows(0, 380))
    plot_forecast(tmp_path / f"known.{ending}", series, forecast)
    plot_forecast(tmp_path / f"open.{ending}", series.rows(0, 380), forecast)
    plot_backtest(tmp_path / f"back.{ending}", model.backtest(series))
    sizes = {p.name: p.stat().st_size for p in tmp_path.iterdir()}
    assert len(sizes) == 3
    assert min(sizes.values()) > 5000
    assert len(set(sizes.values())) == 3
    if ending == "svg":
        text = (tmp_path / "known.svg").read_text()
        assert all(word in text for word in ("what came", "forecast", "level", "flow"))
        assert "what came" not in (tmp_path / "open.svg").read_text()


def clock_shown(axes):
    """The times of day that a time axis names, and those that stand there by UTC."""
    axes.figure.canvas.draw()
    named = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    found = [(label.get_text(), num2date(at)) for at, label in named if ":" in label.get_text()]
    assert found
    return [(f"2024-01-01 {text}", f"{moment:2024-01-01 %H:%M}") for text, moment in found]


@pytest.mark.parametrize("kind", ["file", "pandas", "backtest"])
def test_a_time_axis_shows_the_clock_of_its_source(kind, tmp_path):
    hours = pd.date_range("2024-01-01", periods=60, freq="h", tz="Asia/Karachi")
    frame = pd.DataFrame({"t": hours, "x": np.arange(60.0) % 12})
    frame.to_csv(tmp_path / "a.csv", index=False)
    model = tg.Forecaster(
        horizon=2, context=12, season=12, hidden_sizes=(2,), max_steps=1, refit=False, verbose=False
    ).fit(frame, time="t")
    if kind == "backtest":
        axes = model.plot_backtest(frame, 50)[-1]
    elif kind == "pandas":
        axes = model.plot_forecast(frame)[-1]
    else:
        series = read_series(tmp_path / "a.csv", "t", ["x"], ())
        axes = draw_forecast(series, model.forecast(series))[-1]
    assert axes.get_xlabel() == ("time (UTC+05:00)" if kind == "file" else "time (Asia/Karachi)")
    for shown, by_utc in clock_shown(axes):
        ahead = np.datetime64(shown) - np.datetime64(by_utc)
        assert ahead % np.timedelta64(24, "h") == np.timedelta64(5, "h")


def test_an_unknown_kind_of_picture_is_refused(model, series, tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf, got 'bmp'"):
        plot_forecast(tmp_path / "a.bmp", series, model.forecast(series))
    assert not list(tmp_path.iterdir())

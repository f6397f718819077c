"""The straight line beside a forecaster's network, and how far a forecast trusts either."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from tides import changed, small, tides

import tidegate as tg
from tidegate.data.series.line import fit_line, line_steps
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.season import guess_season, longer_seasons
from tidegate.data.series.series import Series
from tidegate.data.series.wandering import wanders
from tidegate.data.series.windowing import Windowing, choose_context
from tidegate.data.series.windows import Rows, Windows
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model

HOUR = np.timedelta64(3600, "s")


def lined(**options):
    return small(
        **{"linear": True, "max_steps": 20, "hidden_sizes": (6,), "refit": False} | options
    )


def walk(seed, rows=1000):
    return np.random.default_rng(seed).standard_normal(rows).cumsum()


def windowing(values, **changes):
    own = {
        "names": ("a",), "covariate_names": (), "step": 1, "context": 12, "horizon": 5, "season": 6,
        "segment": 3, "joint": False, "anchored": True, "scaler": Scaler.fit(values),
        "covariate_scaler": None,
    }  # fmt: skip
    return Windowing(**own | changes)


# the line


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.booleans())
def test_it_is_scikit_learn_s_ridge_of_the_same_windows(seed, anchored):
    values = np.random.default_rng(seed).standard_normal((200, 1)).cumsum(0)
    w = windowing(values, anchored=anchored)
    rows = Rows(values, np.empty((200, 0)))
    train = Windows(w, rows, np.arange(0, 120))
    line = fit_line(train, Windows(w, rows, np.arange(140, 180)), 4)
    x = train.inputs(np.arange(120)).swapaxes(0, 1).reshape(120, -1).astype(float)
    theirs = Ridge(alpha=line.penalty).fit(x, train.targets(np.arange(120)).astype(float))
    # atol: of normal equations in float64
    np.testing.assert_allclose(line.weights, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(line.intercept, theirs.intercept_, atol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
def test_a_series_that_a_straight_line_makes_is_forecast_exactly(joint):
    rows = np.arange(600)
    waves = np.stack([np.sin(rows * 0.3), np.cos(rows * 0.11) + 0.002 * rows], axis=1)
    series = Series.of(rows, waves)
    model = tg.Forecaster(
        horizon=10, context=24, season=1, joint=joint, hidden_sizes=(4,), max_steps=5,
        validate_until=500, verbose=0,
    ).fit(series)  # fmt: skip
    assert model.metrics_["test_mse"] < 1e-3 * model.metrics_["test_naive_mse"]


def test_a_line_reads_as_many_steps_as_its_equations_allow():
    assert line_steps(24, 96, 30) == 30
    assert line_steps(24 * 321, 24 * 321, 14) == 0
    assert line_steps(1, 720, 10_000) == 4096


# what is trusted


@pytest.mark.parametrize("seed", range(4))
def test_a_random_walk_never_loses_to_its_last_value(seed):
    series = Series.of(np.datetime64("2020-01-01T00", "h") + np.arange(1000), walk(seed))
    model = tg.Forecaster(
        horizon=24, validate_until=800, hidden_sizes=(8,), max_steps=30, verbose=0
    ).fit(series)
    assert model.metrics_["test_mse"] <= 1.01 * model.metrics_["test_naive_mse"]


def test_a_season_in_noise_is_repeated_where_nothing_more_can_be_learned():
    rng = np.random.default_rng(0)
    season = np.tile(rng.standard_normal(24), 20)
    series = Series.of(np.arange(480), season)
    model = small(season=24, context=48, segment=12, linear=True).fit(series)
    assert model.metrics_["test_mse"] < 1e-6
    told = model.provenance_
    assert told["naive_season"] == 24
    assert told["naive_mse"] < 1e-9


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("anchored", [False, True])
def test_an_untrusted_model_is_the_naive_forecast(monkeypatch, joint, anchored):
    """Of the last season, of the last value and of means, whatever the layout of inputs."""
    from tidegate.tasks import forecast_blend, forecast_naive

    monkeypatch.setattr(forecast_blend, "_least", lambda *_: (0.0, 0.0))
    monkeypatch.setattr(
        forecast_blend._Weighed, "better", lambda w, _: np.zeros((w.products.shape[1], 2))
    )
    noise = Series.of(np.arange(400), 50 + np.random.default_rng(1).normal(size=(400, 2)))
    model = lined(joint=joint, anchored=anchored, season=1).fit(noise)
    context = model.windowing_.context
    assert model.provenance_["naive"] == f"the mean of the last {context} rows"
    expected = np.tile(noise.values[-context:].mean(0), (model.windowing_.horizon, 1))
    np.testing.assert_allclose(model.forecast(noise).values, expected, atol=1e-4)
    series = tides(covariates=True)
    model = lined(joint=joint, anchored=anchored).fit(series)
    w = model.windowing_
    seasons = w.context // w.season
    assert model.provenance_["naive"] == f"the mean of the last {seasons} times {w.season} rows"
    profile = series.values[-seasons * w.season :].reshape(seasons, w.season, -1).mean(0)
    expected = profile[np.arange(w.horizon) % w.season]
    np.testing.assert_allclose(model.forecast(series).values, expected, atol=1e-3)
    monkeypatch.setattr(forecast_naive, "means", lambda *_: ())
    backtest = lined(joint=joint, anchored=anchored).fit(series).backtest(series)
    # atol: float32 of values around 50
    np.testing.assert_allclose(
        backtest.forecasts["model"], backtest.forecasts["seasonal_naive"], atol=1e-4
    )
    steady = Series.of(np.arange(400), np.stack([walk(1, 400), walk(2, 400)], axis=1))
    backtest = lined(joint=joint, anchored=anchored).fit(steady).backtest(steady)
    np.testing.assert_allclose(backtest.forecasts["model"], backtest.forecasts["naive"], atol=1e-4)


def test_noise_is_forecast_by_its_mean_which_is_the_baseline_too():
    demand = np.random.default_rng(4).poisson(0.5, 700).astype(float)  # of a part now and then
    model = tg.Forecaster(
        horizon=12, validate_until=560, hidden_sizes=(4,), max_steps=5, verbose=0
    ).fit(demand)
    assert model.provenance_["naive"].startswith("the mean of the last ")
    assert model.provenance_["baseline"].startswith("mean: of the last ")
    assert model.metrics_["test_mse"] < 0.65 * model.metrics_["test_naive_mse"]
    assert model.metrics_["mse"] <= 1.01 * model.metrics_["baseline_mse"]


@pytest.mark.parametrize(("mean", "kept"), [(0.7, 1.0), (0.3, 0.0)])
def test_where_windows_do_not_agree_the_better_of_naive_forecast_and_line_is_kept(mean, kept):
    from tidegate.tasks.forecast_blend import _Weighed

    products = np.zeros((4, 1, 5))
    products[:, 0, 0] = mean + np.array([5, -5, 5, -5])  # of the line and what is wanted
    products[:, 0, 2] = 1.0  # of the line with itself
    weighed = _Weighed(products)
    weights, trust = weighed.trusted(weighed.better(0.0))
    assert trust == 0
    np.testing.assert_array_equal(weights, [[kept, 0]])
    products[:, 0, 0] = mean + np.array([0.01, -0.01, 0.01, -0.01])
    weights, _ = _Weighed(products).trusted(weighed.better(0.0))
    np.testing.assert_allclose(weights, [[mean, 0]], atol=0.01)


def test_of_a_random_walk_the_line_must_be_clearly_better():
    from tidegate.tasks.forecast_blend import _Weighed

    products = np.zeros((4, 1, 5))
    products[:, 0, 0] = 0.7 + np.array([5, -5, 5, -5])
    products[:, 0, 2] = 1.0
    np.testing.assert_array_equal(_Weighed(products).better(1.64), [[0, 0]])
    products[:, 0, 0] = 0.7 + np.array([0.1, -0.1, 0.1, -0.1])
    np.testing.assert_array_equal(_Weighed(products).better(1.64), [[1, 0]])
    np.testing.assert_array_equal(_Weighed(products[:1]).better(1.64), [[0, 0]])  # tells no error


def test_random_walks_wander_and_what_can_be_forecast_does_not():
    assert np.mean([wanders(walk(seed)) for seed in range(100)]) > 0.93  # two tests, 1 % each
    t = np.arange(400)
    noise = np.random.default_rng(1).standard_normal(400)
    assert not wanders(noise)
    draw = np.random.default_rng(0)  # of few rows the first correlation tells what many hide
    assert np.mean([wanders(draw.standard_normal(50)) for _ in range(100)]) < 0.2
    assert not wanders(np.sin(t / 4) + 0.3 * noise)
    assert not wanders(0.5 * t + walk(3, 400))  # drifts
    assert not wanders(np.ones(400))
    assert not wanders(walk(3, 15))  # too few to tell
    gaps = np.where(t % 7 == 3, np.nan, walk(5, 400))
    assert wanders(gaps)


def test_the_figures_told_are_of_the_model_that_is_kept():
    series = tides()
    model = lined().fit(series)
    figures = model.evaluate(series, start=280, end=340)
    assert figures["mse"] == pytest.approx(model.metrics_["mse"], rel=1e-5)
    assert model.metrics_["mse"] <= 1.01 * model.provenance_["line_mse"]


def test_at_the_end_line_and_network_learn_from_the_rows_that_chose_them():
    series = tides()
    before, after = lined().fit(series), lined(refit=True).fit(series)
    assert after.metrics_["mse"] == before.metrics_["mse"]
    assert after.provenance_["refit_steps"] > 0
    judged = after.evaluate(series, start=280, end=340)["mse"]
    assert judged < before.metrics_["mse"]  # it has seen them
    for name in ("linear.weight", "recurrent.0.weight_hh_l0"):
        assert not np.array_equal(after.runtime_.tensors[name], before.runtime_.tensors[name])


def test_training_says_seasons_and_what_the_simple_forecasts_reach(capsys):
    lined(verbose=1, season=None).fit(tides())
    said = capsys.readouterr()
    text = said.out + said.err
    assert "season: 24 rows; a forecast of 6 rows reads 24" in text
    assert "the straight line alone" in text
    assert "again" in text


# seasons


def test_a_week_is_found_in_hours_and_covered_by_the_context():
    t = np.arange(24 * 7 * 8)
    load = np.sin(2 * np.pi * t / 24) * (1 + (t // 24 % 7 < 5))
    load = load[:, None] + 0.3 * np.random.default_rng(0).standard_normal((len(t), 1))
    assert guess_season(HOUR, load) == 24
    assert longer_seasons(HOUR, load, 24) == (168,)
    assert choose_context(len(load), 24, 24, longest=168) >= 168


def test_the_longest_season_and_the_horizon_may_take_half_of_the_rows():
    assert choose_context(448, 48, 24, longest=168) == 168  # a quarter is 112 rows
    assert choose_context(448, 56, 24, longest=168) == 168
    assert choose_context(448, 57, 24, longest=168) == 96
    assert choose_context(448, 48, 24) == 96


def test_unequal_series_with_weeks_are_forecast_better_than_by_their_last_day():
    """Levels from 1 to 100,000, four weeks to learn from: the week is read whole."""
    rng, t = np.random.default_rng(3), np.arange(700)
    day = np.sin(2 * np.pi * (t[:, None] - rng.uniform(0, 24, 60)) / 24)
    week = np.where(t[:, None] // 24 % 7 < 5, 1, rng.uniform(0, 1, 60))
    noise = 0.1 * rng.standard_normal((700, 60)) + 0.01 * rng.standard_normal((700, 60)).cumsum(0)
    values = 10 ** rng.uniform(0, 5, 60) * (1 + 0.4 * (day * week + noise))
    hours = np.datetime64("2020-01-01T00", "s") + t * HOUR
    model = lined(season=None, context=None, segment=None, horizon=48, validate_until=0.8)
    model.set_params(train_until=None, max_steps=1)
    figures = model.fit(Series.of(hours, values)).metrics_
    assert model.windowing_.context == 168
    assert figures["test_mase"] < 0.8 * figures["test_seasonal_naive_mase"]


def test_a_year_is_found_in_days_and_covered_by_the_context():
    t = np.arange(365 * 6)
    heat = np.sin(2 * np.pi * t / 365)[:, None]
    heat = heat + 0.5 * np.random.default_rng(0).standard_normal((len(t), 1))
    assert longer_seasons(np.timedelta64(86400, "s"), heat, 7) == (365,)
    assert choose_context(len(t), 24, 7, longest=365) == 371


def test_a_cycle_that_no_calendar_knows_is_found():
    t = np.arange(1500)
    spots = np.sin(2 * np.pi * t / 130)[:, None]
    spots = spots + 0.5 * np.random.default_rng(0).standard_normal((len(t), 1))
    (found,) = longer_seasons(np.timedelta64(1, "M"), spots, 12)
    assert abs(found - 130) <= 3


@pytest.mark.parametrize("drawn", [walk, lambda s, n: np.random.default_rng(s).random(n)])
def test_chance_has_no_longer_season(drawn):
    found = [longer_seasons(HOUR, drawn(seed, 1000)[:, None], 24) for seed in range(40)]
    assert sum(map(bool, found)) <= 4


# the same everywhere


def test_files_streams_and_torch_answer_as_the_model(tmp_path):
    series = tides(covariates=True)
    model = lined().fit(series)
    assert model.runtime_.architecture.linear_steps == 6
    ahead = model.forecast(series).values
    model.save(tmp_path / "m.safetensors")
    loaded = tg.Forecaster.load(tmp_path / "m.safetensors")
    assert np.array_equal(loaded.forecast(series).values, ahead)
    stream = loaded.stream()
    rows = np.concatenate([series.values, series.covariates], axis=1)
    np.testing.assert_allclose(stream.feed(rows), ahead, rtol=1e-6)
    inputs = np.random.default_rng(0).standard_normal((6, 3, model.windowing_.input_size))
    inputs = inputs.astype(np.float32)
    with torch.no_grad():
        theirs, _ = model.network_(torch.from_numpy(inputs))
    np.testing.assert_allclose(model.runtime_(inputs), theirs.numpy(), atol=1e-5)


def test_onnx_answers_as_the_model(tmp_path):
    pytest.importorskip("onnxruntime")
    model = lined().fit(tides())
    # held beside the network on fresh input before it is written
    model.export_onnx(tmp_path / "m.onnx", step=tmp_path / "step.onnx")
    assert (tmp_path / "step.onnx").stat().st_size > 0


def test_a_run_that_is_resumed_ends_with_the_same_bits(tmp_path):
    series = tides()
    steady = {"schedule": "constant", "evaluate_every": 4, "linear": True, "hidden_sizes": (6,)}
    straight = small(**steady, max_steps=20).fit(series)
    steady["run_folder"] = str(tmp_path / "run")
    small(**steady, max_steps=8).fit(series)
    resumed = small(**steady, max_steps=20, resume=True).fit(series)
    assert resumed.provenance_["steps"] == straight.provenance_["steps"] == 20
    for name, tensor in straight.runtime_.tensors.items():
        assert np.array_equal(tensor, resumed.runtime_.tensors[name]), name


def test_rows_after_the_validation_span_change_no_line():
    series = tides()
    one, other = (lined().fit(s) for s in (series, changed(series, slice(340, None))))
    line = "linear.weight"
    assert np.array_equal(one.runtime_.tensors[line], other.runtime_.tensors[line])


@pytest.mark.parametrize("longer", ["24", [24.0], [12], [36, 24], [2**40], [True]])
def test_longer_seasons_out_of_schema_are_refused(tmp_path, longer):
    path = tmp_path / "m.safetensors"
    lined().fit(tides()).save(path)
    held = load_model(path)
    assert held.scaling is not None
    held.scaling["windowing"]["longer_seasons"] = longer
    save_model(path, held)
    with pytest.raises(ModelFileError, match="longer_seasons"):
        tg.Forecaster.load(path)


def test_a_line_longer_than_the_context_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    model = lined().fit(tides())
    model.save(path)
    held = load_model(path)
    a = dataclasses.replace(held.architecture, linear_steps=9)
    tensors = held.tensors | {"linear.weight": np.zeros((6, 36), np.float32)}
    save_model(path, dataclasses.replace(held, architecture=a, tensors=tensors))
    with pytest.raises(ModelFileError, match="linear_steps"):
        tg.Forecaster.load(path)


def test_other_libraries_layers_have_no_place_for_a_line(tmp_path):
    from tidegate.interchange.model_file import read_tidegate
    from tidegate.interchange.settled import Answers

    path = tmp_path / "m.safetensors"
    lined().fit(tides()).save(path)
    with pytest.raises(InputError, match="straight line beside them"):
        read_tidegate(path, Answers())
    small().fit(tides()).save(path, force=True)
    assert read_tidegate(path, Answers()).layers

"""Forecasters: learning, causality, figures, what is chosen and refused, the file, pictures."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error, mean_squared_error

import tidegate as tg
from tidegate.checkpoint import ModelFileError, load_model, save_model
from tidegate.data.series import Series, mase, smape
from tidegate.data.tables import read_series
from tidegate.data.windowing import choose_context, choose_segment
from tidegate.errors import InputError
from tidegate.tasks import load
from tidegate.tasks.estimator import NotFittedError
from tidegate.tasks.forecast_plot import plot_backtest, plot_forecast

ROWS, SEASON, HORIZON, CONTEXT = 400, 12, 6, 24
SMALL = {
    "horizon": HORIZON,
    "context": CONTEXT,
    "season": SEASON,
    "segment": 4,
    "hidden_sizes": (12,),
    "batch_size": 32,
    "dropout": 0.0,
    "train_until": "280",
    "validate_until": "340",
    "show_progress": False,
}


def tides(rows=ROWS, covariates=False):
    """Two seasonal series with noise, on different scales and rising by different amounts."""
    rng = np.random.default_rng(1)
    t = np.arange(rows)
    wave = np.sin(2 * np.pi * t / SEASON)
    values = np.stack([wave, 50 + 9 * np.roll(wave, 3) + 0.01 * t], axis=1)
    values += rng.normal(size=values.shape) * (0.1, 0.9)
    times = np.datetime64("2020-01-01T00", "s") + t * np.timedelta64(3600, "s")
    extra = rng.normal(size=(rows, 1)) * 5 + 20 if covariates else None
    return Series.of(
        times,
        values,
        names=["level", "flow"],
        covariates=extra,
        covariate_names=["wind"] if covariates else None,
    )


def changed(series, rows, column=0, amount=100.0, covariate=False):
    """``series`` with ``amount`` added in ``rows`` of one column."""
    part = "covariates" if covariate else "values"
    array = getattr(series, part).copy()
    array[rows, column] += amount
    return dataclasses.replace(series, **{part: array})


def small(**options):
    return tg.Forecaster(**{**SMALL, "max_steps": 3, **options})


@pytest.fixture(scope="module")
def series():
    return tides()


@pytest.fixture(scope="module")
def model(series):
    torch.set_num_threads(1)
    return small(hidden_sizes=(24,), max_steps=400, learning_rate=1e-2).fit(series)


@pytest.fixture(scope="module")
def with_covariate():
    return small(joint=False).fit(tides(covariates=True))


# learning


def test_it_learns_a_season_better_than_repeating_it(model, series):
    figures = model.evaluate(series)
    assert figures["mse"] < figures["seasonal_naive_mse"] < 0.1 * figures["naive_mse"]
    assert figures["mase"] < figures["seasonal_naive_mase"]


def test_electricity_is_forecast_better_than_by_repeating_a_day(shared_data):
    file = shared_data / "timeseries" / "ETTh1.csv.gz"
    names = ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]
    series = read_series(file, "date", names).rows(0, 14_400)
    model = tg.Forecaster(
        train_until="8640",
        validate_until="11520",
        max_steps=150,
        hidden_sizes=(48,),
        learning_rate=1e-2,
        show_progress=False,
    ).fit(series)
    assert model.windowing_.context == 336
    assert model.windowing_.segment == model.windowing_.season == 24
    assert model.metrics_["test_mse"] < 0.9 * model.metrics_["test_seasonal_naive_mse"]
    # the field's protocol gives the seasonal naive forecast this figure
    assert model.metrics_["test_seasonal_naive_mse"] == pytest.approx(0.424, abs=5e-4)
    assert model.metrics_["test_n"] == 2880 - 24 + 1


def test_the_same_seed_gives_the_same_forecast(series):
    first, second, other = (small(seed=s).fit(series).forecast(series) for s in (3, 3, 4))
    assert np.array_equal(first.values, second.values)
    assert not np.array_equal(first.values, other.values)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru_reset_before"])
@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_every_cell_and_loss_trains(series, cell, loss):
    model = small(cell=cell, loss=loss, hidden_sizes=(5, 4), batch_norm=True).fit(series)
    assert model.forecast(series).values.shape == (HORIZON, 2)


# causality


@pytest.mark.parametrize("joint", [False, True])
def test_a_forecast_does_not_see_what_comes_after_its_origin(series, joint):
    model = small(joint=joint).fit(series)
    origin = 352
    forecast = model.backtest(series, start=origin).forecasts["model"][0]

    def after(change):
        return model.backtest(change, start=origin).forecasts["model"][0]

    assert np.array_equal(after(changed(series, slice(origin, None))), forecast)
    assert not np.array_equal(after(changed(series, [origin - 1])), forecast)
    # a batch of another size: float32 rounding
    assert np.allclose(model.forecast(series.rows(0, origin)).values, forecast, rtol=1e-5)


def test_covariates_after_the_origin_are_not_seen_and_before_it_are(with_covariate):
    series = tides(covariates=True)
    origin = 352

    def first(changed_series):
        return with_covariate.backtest(changed_series, start=origin).forecasts["model"][0]

    after = changed(series, slice(origin, None), covariate=True)
    assert np.array_equal(first(after), first(series))
    before = changed(series, [origin - CONTEXT], covariate=True)
    assert not np.array_equal(first(before), first(series))


def test_rows_after_the_training_span_scale_nothing(series):
    other = changed(changed(series, slice(280, None)), slice(280, None), column=1)
    w, w_other = small().fit(series).windowing_, small().fit(other).windowing_
    assert np.array_equal(w.scaler.mean, w_other.scaler.mean)
    assert np.array_equal(w.scaler.scale, w_other.scaler.scale)
    assert np.allclose(w.scaler.mean, series.values[:280].mean(0))
    assert not np.array_equal(
        w.scaler.mean, small().fit(changed(series, [279])).windowing_.scaler.mean
    )


def test_rows_after_the_validation_span_change_no_weight(series):
    one = small().fit(series)
    other = small().fit(changed(series, slice(340, None)))
    for a, b in zip(one.network_.parameters(), other.network_.parameters(), strict=True):
        assert torch.equal(a, b)
    assert one.metrics_["mse"] == other.metrics_["mse"]
    assert one.metrics_["test_mse"] != other.metrics_["test_mse"]


def test_only_the_context_is_read(model, series):
    values = model.forecast(series).values
    assert np.array_equal(model.forecast(series.rows(ROWS - CONTEXT, ROWS)).values, values)
    early = changed(series, slice(0, ROWS - CONTEXT))
    assert np.array_equal(model.forecast(early).values, values)


# what a network sees


def test_series_are_alone_unless_joint(series):
    other = changed(series, slice(ROWS - 5, ROWS), column=1)
    for joint in (False, True):
        model = small(joint=joint).fit(series)
        first, second = (model.forecast(s).values[:, 0] for s in (series, other))
        assert np.array_equal(first, second) is not joint


def test_an_anchored_forecast_moves_with_the_level(series):
    higher = changed(series, slice(None), amount=3.0)
    for anchored in (True, False):
        model = small(anchored=anchored).fit(series)
        moved = model.forecast(higher).values[:, 0] - model.forecast(series).values[:, 0]
        # float32 of scaled values around 5: 1e-5
        assert np.allclose(moved, 3.0, atol=1e-4) is anchored


def test_steps_read_segments_in_order(with_covariate):
    """The value h rows after the origin, and the one k before it, stand where they should."""
    from tidegate.data.windowing import Windows

    series, w = tides(covariates=True), with_covariate.windowing_
    windows = Windows(w, series, np.array([7, 9]))
    rows = np.array([3, 0])  # the second window of "flow", the first of "level"
    z = ((series.values - w.scaler.mean) / w.scaler.scale).astype(np.float32)
    inputs, targets = windows.inputs(rows), windows.targets(rows)
    assert inputs.shape == (CONTEXT // 4, 2, 8)
    for b, (start, c) in enumerate([(9, 1), (7, 0)]):
        anchor = z[start + CONTEXT - 1, c]
        future = z[start + CONTEXT : start + CONTEXT + HORIZON, c] - anchor
        assert np.array_equal(targets[b], future)
        for t in range(CONTEXT // 4):
            past = slice(start + 4 * t, start + 4 * t + 4)
            wind = (series.covariates[past, 0] - series.covariates[:280].mean()) / (
                series.covariates[:280].std()
            )
            assert np.array_equal(inputs[t, b, :4], z[past, c] - anchor)
            assert np.allclose(inputs[t, b, 4:], wind, atol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
def test_a_perfect_output_is_a_perfect_forecast(series, joint):
    from tidegate.data.windowing import Windows

    w = small(joint=joint).fit(series).windowing_
    windows = Windows(w, series, np.arange(30, 41))
    targets = windows.targets(np.arange(len(windows)))
    truth = np.stack([series.values[s + CONTEXT : s + CONTEXT + HORIZON] for s in range(30, 41)])
    assert np.allclose(windows.forecasts(targets), truth, atol=1e-4)  # float32, values near 60


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
            "smape": smape(truth, forecast),
        }
        for name, value in expected.items():
            # batches of another size: float32 rounding
            assert figures[prefix + name] == pytest.approx(value, rel=1e-4), prefix + name
    assert figures["n"] == len(first_rows)


def test_figures_average_those_of_the_series(model, series):
    by_series = model.evaluate_series(series)
    assert list(by_series) == ["level", "flow"]
    figures = model.evaluate(series)
    for name, value in figures.items():
        assert value == pytest.approx(np.mean([row[name] for row in by_series.values()]))
    assert list(by_series["flow"]) == list(figures)


def test_evaluation_begins_where_learning_ended(model, series):
    assert model.evaluate(series) == model.evaluate(series, start=340)
    assert model.evaluate(series)["mse"] == model.metrics_["test_mse"]
    newer = series.rows(300, ROWS)
    assert model.evaluate(newer)["n"] == model.evaluate(series)["n"]
    with pytest.raises(InputError, match=r"has not learned from, got 0; give newer rows"):
        model.evaluate(series.rows(0, 340))


def test_validation_figures_are_those_of_evaluate(model, series):
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


# what is chosen


@pytest.mark.parametrize(
    ("rows", "horizon", "season", "context", "segment"),
    [
        (8640, 24, 24, 336, 24),  # hours: two weeks, a day at a time
        (2900, 7, 7, 98, 7),  # days
        (115, 12, 12, 24, 2),  # months, few of them
        (1800, 4, 52, 416, 26),  # weeks
        (50_000, 144, 144, 1008, 72),  # ten minutes: 7 days
        (9000, 24, 1, 48, 4),  # no season
        (30, 3, 12, 7, 1),  # too few rows for whole seasons
        (10_000, 720, 24, 1440, 24),  # a long horizon
    ],
)
def test_context_and_segment_by_default(rows, horizon, season, context, segment):
    assert choose_context(rows, horizon, season) == context
    assert choose_segment(context, season) == segment


def test_a_given_segment_divides_the_chosen_context(series):
    assert small(context=None, segment=5).fit(series).windowing_.context % 5 == 0


def test_spans_are_times_rows_or_fractions(series):
    times = [str(series.times[row]) for row in (280, 340)]
    by_row = small(train_until="280", validate_until="340").fit(series)
    for train_until, validate_until in (times, ("0.7", "0.85")):
        same = small(train_until=train_until, validate_until=validate_until).fit(series)
        assert same.metrics_ == by_row.metrics_
    whole = small(train_until=None, validate_until=None).fit(series)
    assert whole.provenance_["training_rows"] == 320
    assert whole.provenance_["validation_rows"] == 80
    assert "test_mse" not in whole.metrics_


# order of learning


def objective_of(series, **options):
    from tidegate.data.windowing import Windows
    from tidegate.training.forecasting import Forecasting

    model = small(**options).fit(series)
    train = Windows(model.windowing_, series, np.arange(0, 60))
    return Forecasting(model.network_, train, train, loss="mae", batch_size=7, seed=5)


def test_processes_share_a_batch_and_a_resumed_epoch_goes_on(series):
    objective = objective_of(series)
    whole = list(objective.batches(2, 0, 0, 1))
    assert len(whole) == objective.steps_in_epoch() >= 100
    shares = [list(objective.batches(2, 0, rank, 2)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        together = [p for p in parts if p is not None]
        assert sum(len(p[1]) for p in together) == len(batch[1])
        for rank, part in enumerate(together):
            assert torch.equal(part[0], batch[0][:, rank::2])
            assert torch.equal(part[1], batch[1][rank::2])
    resumed = list(objective.batches(2, 40, 0, 1))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[40:], resumed, strict=True))
    other = next(iter(objective.batches(3, 0, 0, 1)))
    assert not torch.equal(other[0], whole[0][0])


def test_an_epoch_reads_every_window_equally_often(series):
    objective = objective_of(series)
    targets = torch.cat([batch[1] for batch in objective.batches(0, 0, 0, 1)])
    _, counts = targets.unique(dim=0, return_counts=True)
    assert len(counts) == len(objective.train)
    assert counts.unique().tolist() == [objective.passes]


def test_a_run_is_told_from_one_on_other_data(series):
    one, same = objective_of(series), objective_of(series)
    assert one.fingerprint() == same.fingerprint()
    assert one.describe() == same.describe()
    other = objective_of(changed(series, [20]))
    assert one.fingerprint() != other.fingerprint()


# what is refused


def test_a_missing_value_in_the_context_is_named(model, series):
    broken = changed(series, [ROWS - 2], column=1, amount=np.nan)
    with pytest.raises(InputError, match=r"column 'flow': expected a finite value at 2020-01-17T1"):
        model.forecast(broken)
    with pytest.raises(InputError, match="column 'flow'"):
        model.evaluate(broken)
    assert np.isfinite(model.forecast(changed(series, [0], amount=np.nan)).values).all()
    with pytest.raises(InputError, match="column 'level': expected a finite value"):
        small().fit(changed(series, [5], amount=np.inf))


def test_missing_covariates_are_named(with_covariate):
    broken = changed(tides(covariates=True), [ROWS - 1], amount=np.nan, covariate=True)
    with pytest.raises(InputError, match="column 'wind'"):
        with_covariate.forecast(broken)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.rows(0, CONTEXT - 1), "at least 24 rows, the context that is read, got 23"),
        (lambda s: dataclasses.replace(s, names=("flow", "level")), "level, flow, in this order"),
        (lambda _: tides(covariates=True), "the covariates it was trained on, none"),
        (
            lambda s: dataclasses.replace(s, step=np.timedelta64(60, "s")),
            "rows 3600s apart, as in training, got 60s",
        ),
        (lambda s: dataclasses.replace(s, step=1), "got 1"),
        (lambda s: dataclasses.replace(s, step=np.timedelta64(1, "M")), "got 1M"),
    ],
)
def test_another_kind_of_series_is_refused(model, series, change, problem):
    with pytest.raises(InputError, match=problem):
        model.forecast(change(series))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"segment": 5}, "option segment: expected a divisor of the context 24, got 5"),
        ({"horizon": 0}, "option horizon: expected a whole number at least 1, got 0"),
        ({"loss": "mape"}, "option loss: expected one of mse, mae, huber"),
        ({"train_until": "350"}, "option train_until: expected a moment before validate_until"),
        ({"train_until": "2031-01-01"}, "option train_until: expected a time from 2020"),
        ({"validate_until": "yesterday"}, "option validate_until: expected a time"),
        ({"context": 300, "segment": 10}, "expected room for 300 rows of context"),
        ({"season": 281}, "more than one season of 281, got 280"),
    ],
)
def test_options_that_cannot_be_used_are_named(series, options, problem):
    with pytest.raises(InputError, match=problem):
        small(**options).fit(series)


def test_a_short_series_is_refused():
    with pytest.raises(InputError, match="give more rows"):
        small(train_until=None, validate_until=None).fit(tides(rows=30))


def test_a_forecaster_that_has_learned_nothing_says_so(series):
    with pytest.raises(NotFittedError, match="fit"):
        small().forecast(series)
    copy: Any = clone(small(joint=True))
    assert copy.get_params()["joint"] is True


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


def test_an_unknown_kind_of_picture_is_refused(model, series, tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.svg, \.pdf, got 'bmp'"):
        plot_forecast(tmp_path / "a.bmp", series, model.forecast(series))
    assert not list(tmp_path.iterdir())

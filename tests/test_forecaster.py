"""Forecasters: learning, causality, what is seen, chosen and refused."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from tides import CONTEXT, HORIZON, ROWS, changed, learned, small, tides

import tidegate as tg
from tidegate.data.series.series import Series
from tidegate.data.series.tables import read_series
from tidegate.data.series.windowing import choose_context, choose_segment
from tidegate.data.series.windows import Rows, Windows
from tidegate.errors import InputError
from tidegate.tasks.estimator import NotFittedError


@pytest.fixture(scope="module")
def series():
    return tides()


@pytest.fixture(scope="module")
def model(series):
    return learned(series)


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
        verbose=0,
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
    series, w = tides(covariates=True), with_covariate.windowing_
    windows = Windows(w, Rows(series.values, series.covariates), np.array([7, 9]))
    rows = np.array([3, 0])  # the second window of "flow", the first of "level"
    z = (series.values - w.scaler.mean) / w.scaler.scale
    inputs, targets = windows.inputs(rows), windows.targets(rows)
    assert inputs.shape == (CONTEXT // 4, 2, 8)
    for b, (start, c) in enumerate([(9, 1), (7, 0)]):
        anchor = z[start + CONTEXT - 1, c]
        future = z[start + CONTEXT : start + CONTEXT + HORIZON, c] - anchor
        assert np.array_equal(targets[b], future.astype(np.float32))
        for t in range(CONTEXT // 4):
            past = slice(start + 4 * t, start + 4 * t + 4)
            wind = (series.covariates[past, 0] - series.covariates[:280].mean()) / (
                series.covariates[:280].std()
            )
            assert np.array_equal(inputs[t, b, :4], (z[past, c] - anchor).astype(np.float32))
            assert np.allclose(inputs[t, b, 4:], wind, atol=1e-6)


@pytest.mark.parametrize("joint", [False, True])
def test_a_perfect_output_is_a_perfect_forecast(series, joint):
    w = small(joint=joint).fit(series).windowing_
    windows = Windows(w, Rows(series.values, series.covariates), np.arange(30, 41))
    targets = windows.targets(np.arange(len(windows)))
    truth = np.stack([series.values[s + CONTEXT : s + CONTEXT + HORIZON] for s in range(30, 41)])
    assert np.allclose(windows.forecasts(targets), truth, atol=1e-4)  # float32, values near 60


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
        (10_000, 720, 24, 336, 24),  # a long horizon
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
    from tidegate.data.series.windows import Rows, Windows
    from tidegate.training.forecasting import Forecasting

    model = small(**options).fit(series)
    train = Windows(model.windowing_, Rows(series.values, series.covariates), np.arange(0, 60))
    return Forecasting(model.network_, train, train, loss="mae", batch_size=7, seed=5)


def test_processes_share_a_batch_and_a_resumed_epoch_goes_on(series):
    objective = objective_of(series)
    whole = list(objective.batches(2, 0, 0, 1))
    assert len(whole) == objective.steps_in_epoch() == 18
    shares = [list(objective.batches(2, 0, rank, 2)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        together = [p for p in parts if p is not None]
        assert sum(len(p[1]) for p in together) == len(batch[1])
        for rank, part in enumerate(together):
            assert torch.equal(part[0], batch[0][:, rank::2])
            assert torch.equal(part[1], batch[1][rank::2])
    resumed = list(objective.batches(2, 7, 0, 1))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[7:], resumed, strict=True))
    other = next(iter(objective.batches(3, 0, 0, 1)))
    assert not torch.equal(other[0], whole[0][0])


def test_an_epoch_reads_every_window_once(series):
    objective = objective_of(series)
    targets = torch.cat([batch[1] for batch in objective.batches(0, 0, 0, 1)])
    _, counts = targets.unique(dim=0, return_counts=True)
    assert len(counts) == len(objective.train)
    assert counts.unique().tolist() == [1]


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
        ({"segment": 5}, "option segment: expected a divisor of context, 24, got 5"),
        ({"horizon": 0}, "option horizon: expected a whole number at least 1, got 0"),
        ({"loss": "mape"}, "option loss: expected one of mse, mae, huber"),
        ({"train_until": "350"}, "option train_until: expected a moment before validate_until"),
        ({"train_until": "2031-01-01"}, "option train_until: expected a time from 2020"),
        ({"validate_until": "yesterday"}, "option validate_until: expected a time"),
        ({"context": 300, "segment": 10}, "expected 306 rows or more, 300 of context"),
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


def test_a_forecast_keeps_the_digits_of_a_large_reading_that_hardly_moves():
    """Of a meter that has come a long way float32 would keep multiples of 128."""
    rows = np.arange(ROWS)
    readings = np.where(rows < 10, 0.0, 1234567890.5) + 0.25 * (rows % 4)
    meter = Series.of(rows, readings)
    windows = Windows(
        small().fit(meter).windowing_,
        Rows(meter.values, meter.covariates),
        np.array([ROWS - CONTEXT]),
    )
    unmoved = windows.forecasts(np.zeros((1, HORIZON), np.float32))
    # rtol: the roundings of scaling in float64 and back
    np.testing.assert_allclose(unmoved, readings[-1], rtol=1e-15)


def test_an_array_is_read_as_the_frame_that_it_is_of():
    frame = pd.DataFrame(
        {"load": np.sin(np.arange(300) / 4), "heat": np.cos(np.arange(300) / 4)},
        index=pd.date_range("2024-01-01", periods=300, freq="h"),
    )
    model = tg.Forecaster(horizon=3, context=24, max_steps=3, verbose=0).fit(frame)
    np.testing.assert_array_equal(model.predict(frame.to_numpy()), model.predict(frame))
    assert model.forecast(frame.to_numpy()).times.tolist() == [300, 301, 302]

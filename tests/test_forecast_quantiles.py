"""Quantiles beside forecasts: calibrated on held-out windows, in frames, files and pictures."""

import json
from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tides import CONTEXT, HORIZON, changed, small, tides

import tidegate as tg
from tidegate.data.series.error_quantiles import (
    LEVELS,
    ErrorQuantiles,
    steps_kept,
    windows_kept,
)
from tidegate.data.series.held import Forecast
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.tasks.forecast_plot import plot_forecast

TENTHS = tuple(k / 10 for k in range(1, 10))


@pytest.fixture(scope="module")
def series():
    return tides()


@pytest.fixture(scope="module")
def model(series):
    return small().fit(series)


def noisy(rows, seed):
    """A season with normal noise of 0.5, and one whose noise is lopsided."""
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(rows) / 12)
    lopsided = rng.exponential(3.0, rows)
    return np.stack([wave + rng.normal(size=rows) * 0.5, 40 + 5 * wave + lopsided], axis=1)


def known_by(model) -> ErrorQuantiles:
    assert model.error_quantiles_ is not None
    return model.error_quantiles_


# what they are


@pytest.mark.parametrize("options", [{}, {"joint": True}, {"anchored": False}, {"refit": False}])
def test_four_fifths_of_fresh_windows_lie_in_the_interval_of_80_percent(options):
    learned = noisy(1600, 3)
    told = {"horizon": 6, "context": 24, "season": 12, "hidden_sizes": (8,), "max_steps": 20}
    model = tg.Forecaster(**told, **options, train_until=1000, verbose=0).fit(learned)
    figures = model.evaluate_series(noisy(3000, 4))
    for figure in figures.values():
        assert 0.75 < figure["coverage_80"] < 0.85
    assert 0.75 < model.metrics_["coverage_80"] < 0.85  # each half of the windows by the other


def test_quantiles_of_known_errors_are_those_of_their_distribution():
    rng = np.random.default_rng(0)
    errors = rng.normal(size=(20_000, 2, 1)) * [[[1.0]], [[3.0]]][0]
    errors[:, 1] *= 3
    known = ErrorQuantiles.of(errors, (1, 2))
    assert known is not None
    assert known.levels == LEVELS
    normal = {0.1: -1.2816, 0.5: 0.0, 0.9: 1.2816, 0.3: -0.5244, 0.15: -1.0364, 0.98: 2.0537}
    found = known.at(list(normal))[:, :, 0]
    # 20,000 draws: the outermost quantile has a standard error of 0.02, times 3 in the second row
    assert found == pytest.approx(np.outer(list(normal.values()), [1, 3]), abs=0.2)


@pytest.mark.parametrize("count", [9, 10, 19, 40, 99, 250])
def test_an_interval_of_few_errors_is_not_too_narrow(count):
    """The chance that a new error lies between the ranks r and s of n is (s - r) / (n + 1)."""
    known = ErrorQuantiles.of(np.arange(1.0, 1 + count)[:, None, None], (1,))
    assert known is not None
    low, high = known.at((0.1, 0.9))[:, 0, 0]
    assert (high - low) / (count + 1) >= 0.8 - 1e-9


def test_too_few_errors_tell_no_interval():
    assert ErrorQuantiles.of(np.zeros((8, 1, 1)), (1,)) is None
    known = ErrorQuantiles.of(np.zeros((9, 1, 1)), (1,))
    assert known is not None
    assert known.levels == TENTHS


def test_the_forecast_is_the_same_with_quantiles_and_without(model, series):
    ahead = model.forecast(series, quantiles=(0.9, 0.1, 0.25))
    assert np.array_equal(ahead.values, model.forecast(series).values)
    assert ahead.levels == (0.1, 0.25, 0.9)
    assert ahead.quantiles.shape == (3, HORIZON, 2)


def test_quantiles_never_cross(model, series):
    levels = np.linspace(known_by(model).levels[0], known_by(model).levels[-1], 57)
    found = model.forecast(series, quantiles=levels[1:-1]).quantiles
    assert (np.diff(found, axis=0) >= 0).all()
    assert (found[0] < found[-1]).all()


def test_quantiles_do_not_know_the_future(model, series):
    """Neither of the forecast's own rows, nor rows after the validation part calibrate."""
    later = changed(series, slice(340, 400))
    other = small().fit(later)
    assert np.array_equal(known_by(other).values, known_by(model).values)
    ahead = model.forecast(series.rows(0, 350), quantiles=TENTHS)
    held = model.forecast(changed(series, slice(350, 400)).rows(0, 350), quantiles=TENTHS)
    assert np.array_equal(ahead.quantiles, held.quantiles)


def test_errors_are_those_of_the_validation_windows(series):
    model = small(refit=False).fit(series)
    first = range(280, 340 - HORIZON + 1)
    errors = np.stack(
        [series.values[r : r + HORIZON] - model.forecast(series.rows(0, r)).values for r in first]
    )
    scale = model.windowing_.scaler.scale
    own = np.stack([series.values[r - CONTEXT : r].std(0) for r in first])[:, None]
    known = ErrorQuantiles.of(errors / np.sqrt(scale * own), range(1, HORIZON + 1))
    assert known is not None
    assert known.windows == known_by(model).windows == model.provenance_["interval_windows"]
    # batches of another size: float32 rounding
    assert known_by(model).values == pytest.approx(known.values, abs=1e-4)


def test_intervals_narrow_where_a_series_calms_down_and_not_without_end(model, series):
    def widths(size):
        last = series.values[-CONTEXT:]
        values = series.values.copy()
        values[-CONTEXT:] = last[-1] + size * (last - last[-1])
        ahead = model.forecast(replace(series, values=values), quantiles=(0.1, 0.9))
        return ahead.quantiles[1] - ahead.quantiles[0]

    assert widths(0.25) == pytest.approx(widths(1) / 2)
    assert widths(1e-9) == pytest.approx(widths(0))
    own = series.values[-CONTEXT:].std(0) / model.windowing_.scaler.scale
    assert widths(0) == pytest.approx(widths(1) * np.sqrt(0.01 / own))


def test_quantiles_of_older_files_are_in_deviations_of_training(model, series):
    told = known_by(model).to_json()
    assert told.pop("local") is True
    older = copy(model)
    older.error_quantiles_ = known = ErrorQuantiles.from_json(told, HORIZON, 2)
    ahead = older.forecast(series, quantiles=TENTHS)
    spread = known.at(TENTHS) * model.windowing_.scaler.scale
    assert ahead.quantiles == pytest.approx(ahead.values + spread)
    assert known.to_json() == told


def test_weights_that_learned_from_all_keep_the_errors_of_those_that_did_not(series):
    again, once = (small(max_steps=40, refit=r).fit(series) for r in (True, False))
    assert again.provenance_["refit_steps"] > 0
    assert np.array_equal(known_by(again).values, known_by(once).values)


def test_of_many_series_some_rows_ahead_are_kept():
    assert steps_kept(168, 7).tolist() == list(range(1, 169))
    kept = steps_kept(168, 400)
    assert (kept[0], kept[-1]) == (1, 168)
    assert 2 <= len(kept) < 12
    assert steps_kept(1, 10**6).tolist() == [1]
    errors = np.random.default_rng(0).normal(size=(500, 1, 3)) * np.sqrt(kept)[:, None]
    known = ErrorQuantiles.of(errors, kept.tolist())
    assert known is not None
    widths = np.diff(known.at((0.1, 0.9)), axis=0)[0]
    assert widths.shape == (168, 3)
    # between the rows kept, whose widths are right but for the draw, one interpolates
    assert widths == pytest.approx(
        2 * 1.2816 * np.sqrt(np.arange(1, 169))[:, None].repeat(3, 1), rel=0.25
    )


def test_thousands_of_series_take_few_numbers():
    steps = steps_kept(168, 3000)
    assert steps.tolist() == [1, 168]
    known = ErrorQuantiles.of(np.zeros((20, 2, 3000)), steps.tolist())
    assert known is not None
    assert known.levels == (0.1, 0.5, 0.9)


def test_of_very_many_windows_some_are_read():
    starts = np.arange(100_000)
    kept = windows_kept(starts, 24, 1)
    assert (len(kept), kept[0], kept[-1]) == (4096, 0, 99_999)
    assert windows_kept(starts[:50], 24, 1).tolist() == list(range(50))


# figures


def test_figures_of_quantiles_are_as_stated(model, series):
    figures = model.evaluate_series(series, 350, 375)
    first = range(350, 375 - HORIZON + 1)
    truth = np.stack([series.values[r : r + HORIZON] for r in first])
    ahead = [model.forecast(series.rows(0, r), quantiles=TENTHS).quantiles for r in first]
    found = np.stack(ahead, axis=1)  # [levels, windows, horizon, series]
    for c, name in enumerate(series.names):
        y = truth[..., c]
        covered = (found[0, ..., c] <= y) & (y <= found[-1, ..., c])
        assert figures[name]["coverage_80"] == pytest.approx(covered.mean(), abs=0.02)
        losses = [
            2 * np.maximum(q * (y - f), (q - 1) * (y - f)).sum() / np.abs(y).sum()
            for q, f in zip(TENTHS, found[..., c], strict=True)
        ]
        assert figures[name]["weighted_quantile_loss"] == pytest.approx(np.mean(losses), rel=1e-4)


def test_training_tells_figures_of_both_parts(model, series):
    for part in ("", "test_"):
        assert 0 <= model.metrics_[f"{part}coverage_80"] <= 1
        assert model.metrics_[f"{part}weighted_quantile_loss"] > 0
    assert model.evaluate(series)["coverage_80"] == model.metrics_["test_coverage_80"]


# what comes back


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_gets_a_column_for_each_quantile(model, series, library):
    times = series.times.astype("datetime64[us]")
    columns = {"when": times, **dict(zip(series.names, series.values.T, strict=True))}
    frame = (pd if library == "pandas" else pl).DataFrame(columns)
    ahead = model.forecast(frame, quantiles=(0.1, 0.5))
    assert type(ahead) is type(frame)
    assert list(ahead.columns) == [
        *("when", "level", "level q0.1", "level q0.5", "flow", "flow q0.1", "flow q0.5")
    ]
    assert (np.asarray(ahead["flow q0.1"]) <= np.asarray(ahead["flow q0.5"])).all()
    plain = model.forecast(frame)
    assert list(plain.columns) == ["when", "level", "flow"]
    assert np.array_equal(plain["flow"], ahead["flow"])


def test_a_series_of_pandas_or_polars_gives_a_frame(series):
    index = pd.date_range("2020-01-01", periods=400, freq="h")
    of_pandas = pd.Series(series.values[:, 1], index=index, name="flow")
    model = small(train_until=280, validate_until=340).fit(of_pandas)
    ahead = model.forecast(of_pandas, quantiles=[0.2, 0.8])
    assert list(ahead.columns) == ["flow", "flow q0.2", "flow q0.8"]
    assert ahead.index[0] == index[-1] + pd.Timedelta("1h")
    ahead = model.forecast(pl.Series("flow", series.values[:, 1]), quantiles=[0.2, 0.8])
    assert ahead.columns == ["flow", "flow q0.2", "flow q0.8"]


def test_joint_forecasts_and_covariates_have_quantiles():
    series = tides(covariates=True)
    for joint in (True, False):
        ahead = small(joint=joint).fit(series).forecast(series, quantiles=(0.1, 0.9))
        assert list(ahead.columns()) == [
            *("level", "level q0.1", "level q0.9", "flow", "flow q0.1", "flow q0.9")
        ]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ((0.1, 1.0), "between 0 and 1, got 1.0; give some such as"),
        ((0, 0.5), "between 0 and 1, got 0; give some such as"),
        ((float("nan"),), "between 0 and 1, got nan"),
        ((True,), "between 0 and 1, got True"),
        (("0.5",), "between 0 and 1, got '0.5'"),
        ((), "got none; give some such as"),
        (0.5, "several numbers between 0 and 1, got 0.5"),
        ("0.5", "several numbers between 0 and 1, got '0.5'"),
        ((0.5, 0.5), "each quantile once, to six figures, got 0.5 twice"),
        ((0.0001,), r"from 0\.0\d+ to 0\.9\d+, all that 55 held-out windows can tell, got 0\.0001"),
    ],
)
def test_what_is_no_quantile_is_refused_with_a_remedy(model, series, asked, problem):
    with pytest.raises(InputError, match=f"^option quantiles: expected .*{problem}"):
        model.forecast(series, quantiles=asked)


def test_a_series_that_is_called_like_a_quantile_is_named():
    ahead = Forecast(np.arange(2), ("a", "a q0.5"), np.zeros((2, 2)), (0.5,), np.zeros((1, 2, 2)))
    with pytest.raises(InputError, match=r"got one such as a q0\.5; rename that series"):
        ahead.columns()


# the file


def test_a_file_keeps_quantiles(model, series, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    loaded = tg.load(path)
    asked = (0.05, 0.33, 0.9)
    one, other = (m.forecast(series, quantiles=asked).quantiles for m in (model, loaded))
    assert np.array_equal(one, other)
    assert loaded.evaluate(series) == model.evaluate(series)


def test_a_file_of_before_there_were_quantiles_still_forecasts_and_says_so(
    model, series, saved, tidegate, monkeypatch, tmp_path
):
    path = tmp_path / "m.safetensors"
    model.save(path)
    held = load_model(path)
    assert held.scaling is not None
    del held.scaling["error_quantiles"], held.provenance["interval_windows"]
    save_model(path, held)
    old = tg.load(path)
    assert np.array_equal(old.forecast(series).values, model.forecast(series).values)
    assert "coverage_80" not in old.evaluate(series)
    with pytest.raises(InputError, match="got one without, of an older tidegate; train it again"):
        old.forecast(series, quantiles=(0.1,))
    monkeypatch.chdir(saved)
    asked = f"forecast {path} tides.csv --time time --target level,flow"
    assert tidegate(f"{asked} --plot {tmp_path / 'plain.svg'}").code == 0
    done = tidegate(f"{asked} --quantiles 0.1,0.9")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "got one without, of an older tidegate; train it again" in done.err


def test_too_few_rows_to_validate_by_are_named():
    values = tides().values[:, 1]
    model = small(train_until=333, validate_until=340).fit(values)
    assert model.error_quantiles_ is None
    problem = "got one with 2 windows to validate by, .* an earlier train_until"
    with pytest.raises(InputError, match=problem):
        model.forecast(values, quantiles=(0.5,))
    again = small(train_until=280, validate_until=340).fit(values)  # the remedy
    assert again.forecast(values, quantiles=(0.5,)).quantiles.shape == (1, HORIZON, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda q: q.pop("steps"),
        lambda q: q.update(more=1),
        lambda q: q.update(levels=[0.1, 0.9]),
        lambda q: q["levels"].__setitem__(0, 0.0),
        lambda q: q["levels"].__setitem__(0, "0.1"),
        lambda q: q["levels"].reverse(),
        lambda q: q.update(levels=[], values=[]),
        lambda q: q.update(levels=q["levels"][4:], values=q["values"][4:]),
        lambda q: q.update(steps=[1, 2, 3]),
        lambda q: q.update(steps=[1, 2, 3, 5, 4, 6]),
        lambda q: q.update(steps=[1, True, 3, 4, 5, 6]),
        lambda q: q.update(windows=0),
        lambda q: q.update(windows=1.5),
        lambda q: q["values"].reverse(),
        lambda q: q["values"].pop(),
        lambda q: q["values"][0].pop(),
        lambda q: q["values"][0].__setitem__(0, None),
        lambda q: q["values"][-1].__setitem__(0, True),
    ],
)
def test_quantiles_out_of_schema_are_refused(model, tmp_path, damage):
    path = tmp_path / "m.safetensors"
    model.save(path)
    held = load_model(path)
    assert held.scaling is not None
    damage(held.scaling["error_quantiles"])
    save_model(path, held)
    with pytest.raises(ModelFileError, match="out of schema"):
        tg.load(path)


# the command and its picture


@pytest.fixture(scope="module")
def saved(tmp_path_factory, series):
    folder = tmp_path_factory.mktemp("saved")
    named = Series.of(series.times, series.values, names=["level", "flow"])
    small().fit(named).save(folder / "model.safetensors")
    rows = [",".join(map(str, row)) for row in zip(series.times, *series.values.T, strict=True)]
    (folder / "tides.csv").write_text("\n".join(["time,level,flow", *rows]))
    return folder


def test_the_command_writes_quantiles_beside_the_forecast(saved, tidegate, monkeypatch):
    monkeypatch.chdir(saved)
    asked = "forecast model.safetensors tides.csv --time time --target level,flow"
    lines = tidegate(f"{asked} --quantiles 0.1,0.9").out.splitlines()
    assert lines[0] == "time,level,level q0.1,level q0.9,flow,flow q0.1,flow q0.9"
    assert len(lines) == 1 + HORIZON
    plain = tidegate(asked).out.splitlines()
    assert [line.split(",")[1] for line in lines] == [line.split(",")[1] for line in plain]
    told = json.loads(tidegate(f"{asked} --quantiles 0.1,0.9 --json").out)
    assert list(told["quantiles"]["flow"]) == ["0.1", "0.9"]
    assert told["quantiles"]["level"]["0.1"][0] == float(lines[1].split(",")[2])
    assert "quantiles" not in json.loads(tidegate(f"{asked} --json").out)


@pytest.mark.parametrize("wrong", ["0.1,1", "much", "0.1,,0.9", "", "0.5,0.5", "nan", "10"])
def test_the_command_refuses_what_are_no_quantiles(saved, tidegate, monkeypatch, wrong):
    monkeypatch.chdir(saved)
    done = tidegate("forecast", "model.safetensors", "tides.csv", "--quantiles", wrong)
    assert done.code == 2
    assert "--quantiles" in done.err
    assert "expected numbers between 0 and 1, each once" in done.err
    assert "give some such as 0.1,0.5,0.9" in done.err


def test_evaluate_prints_coverage_and_loss(saved, tidegate, monkeypatch):
    monkeypatch.chdir(saved)
    asked = "evaluate model.safetensors tides.csv --time time --target level,flow"
    told = tidegate(f"{asked} --json").json
    assert 0 <= told["coverage_80"] <= 1
    assert told["weighted_quantile_loss"] > 0
    shown = " ".join(tidegate(asked).out.split())
    assert "coverage 80 0." in shown
    assert "weighted quantile loss 0." in shown


def test_pictures_show_a_fan(model, series, tmp_path, saved, tidegate, monkeypatch):
    ahead = model.forecast(series.rows(0, 380), quantiles=(0.1, 0.25, 0.5, 0.75, 0.9))
    plot_forecast(tmp_path / "fan.svg", series, ahead)
    lopsided = model.forecast(series.rows(0, 380), quantiles=(0.1, 0.5))
    plot_forecast(tmp_path / "lopsided.svg", series, lopsided)
    text = (tmp_path / "fan.svg").read_text()
    assert all(word in text for word in ("80 % interval", "50 % interval", "q0.5", "what came"))
    assert "q0.1 to q0.5" in (tmp_path / "lopsided.svg").read_text()
    monkeypatch.chdir(saved)
    asked = "forecast model.safetensors tides.csv --time time --target level,flow"
    assert tidegate(f"{asked} --plot fan.svg").code == 0
    assert "80 % interval" in (saved / "fan.svg").read_text()

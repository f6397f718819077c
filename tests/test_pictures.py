"""Pictures and frames for notebooks: they show the figures that the model gives, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import LEARN, TINY, Tidegate, tidegate  # noqa: F401  a fixture
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from streamed_models import text_classifier
from tides import HORIZON, small, tides

import tidegate as tg
from tidegate.errors import InputError

TEXTS = ["the good film", "so bad", "not so good", "a film", "not bad, the good", "so so"] * 4
LABELS = ["good", "bad", "so so", "good", "bad", "good"] * 4


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    torch.set_num_threads(1)
    yield
    plt.close("all")


def is_shown(axes: Any) -> bool:
    """Whether a notebook would show the picture below its cell."""
    return plt.fignum_exists(axes.figure.number)


@pytest.fixture(scope="module")
def forecaster() -> Any:
    return small().fit(tides())


def test_a_confusion_matrix_is_drawn_as_it_is_counted() -> None:
    model = text_classifier()
    axes, matrix = model.plot_confusion_matrix(TEXTS, LABELS), model.confusion_matrix(TEXTS, LABELS)
    assert matrix.sum() == len(TEXTS)
    assert (matrix != matrix.T).any()  # else rows and columns could be exchanged
    for text in axes.texts:
        column, row = map(round, text.get_position())
        assert text.get_text() == str(matrix[row, column])
    assert len(axes.texts) == matrix.size
    told = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(told, matrix / matrix.sum(1, keepdims=True))
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == model.classes_.tolist()
    assert is_shown(axes)


def test_bars_of_calibration_are_shares_of_right_answers() -> None:
    model = text_classifier()
    axes, p = model.plot_calibration(TEXTS, LABELS), model.predict_proba(TEXTS)
    right, sure = model.predict(TEXTS) == np.array(LABELS), p.max(1)
    assert axes.patches
    for bar in axes.patches:
        begin, width = bar.get_x(), bar.get_width()
        within = (sure > begin - 1e-6) & (sure <= begin + width + 1e-6)
        assert bar.get_height() == pytest.approx(right[within].mean())
    assert is_shown(axes)


@pytest.mark.parametrize("method", ["plot_confusion_matrix", "plot_calibration"])
def test_pictures_of_labels_go_onto_axes_that_are_given(method: str) -> None:
    figure, axes = plt.subplots()
    assert getattr(text_classifier(), method)(TEXTS, LABELS, ax=axes) is axes
    assert plt.get_fignums() == [figure.number]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("method", ["plot_confusion_matrix", "plot_calibration"])
def test_pictures_of_several_labels_each_are_refused(method: str) -> None:
    quiet: dict[str, Any] = {"hidden_sizes": (4,), "embedding_size": 4, "max_steps": 2}
    sets = [[label, "said"] for label in LABELS]
    model = tg.TextClassifier(**quiet, verbose=0).fit(TEXTS, sets)
    with pytest.raises(InputError, match="got one of several; take the figures of evaluate"):
        getattr(model, method)(TEXTS, sets)


def line(axes: Any, label: str) -> np.ndarray:
    (found,) = (one for one in axes.lines if one.get_label() == label)
    return np.asarray(found.get_ydata())


def test_a_forecast_is_drawn_from_the_last_known_value_on(forecaster: Any) -> None:
    series = tides()
    panels, ahead = forecaster.plot_forecast(series), forecaster.forecast(series)
    assert [axes.get_ylabel() for axes in panels] == ["level", "flow"]
    for c, axes in enumerate(panels):
        begin = series.values[-1, c]
        np.testing.assert_allclose(line(axes, "forecast"), [begin, *ahead.values[:, c]])
        np.testing.assert_allclose(line(axes, "known"), series.values[-5 * HORIZON :, c])
        assert is_shown(axes)


def test_the_fan_of_a_forecast_is_its_quantiles(forecaster: Any) -> None:
    series, levels = tides(), (0.2, 0.8)
    panels = forecaster.plot_forecast(series, quantiles=levels)
    quantiles = forecaster.forecast(series, quantiles=levels).quantiles
    for c, axes in enumerate(panels):
        (band,) = axes.collections
        assert band.get_label() == "60 % interval"
        corners = band.get_paths()[0].vertices[:, 1]
        assert corners.min() == pytest.approx(min(quantiles[0, :, c].min(), series.values[-1, c]))
        assert corners.max() == pytest.approx(max(quantiles[1, :, c].max(), series.values[-1, c]))


def test_a_forecaster_that_has_no_quantiles_draws_none(forecaster: Any) -> None:
    known, forecaster.error_quantiles_ = forecaster.error_quantiles_, None
    try:
        assert all(not axes.collections for axes in forecaster.plot_forecast(tides()))
    finally:
        forecaster.error_quantiles_ = known


def test_the_last_forecasts_are_drawn_beside_what_came(forecaster: Any) -> None:
    series = tides()
    panels, judged = forecaster.plot_backtest(series, start=340), forecaster.backtest(series, 340)
    drawn = len(judged.times[-7:])
    assert len(panels) == 2
    for c, axes in enumerate(panels):
        np.testing.assert_allclose(line(axes, "what came"), judged.truth[-7:, :, c].ravel())
        first = judged.forecasts["model"][-7:][0, :, c]
        np.testing.assert_allclose(line(axes, "forecast"), first)
        colour = to_rgba(next(x for x in axes.lines if x.get_label() == "forecast").get_color())
        assert sum(to_rgba(x.get_color()) == colour for x in axes.lines) == drawn
        assert is_shown(axes)


def test_attention_is_drawn_for_each_of_the_first_texts() -> None:
    sources = ["abc", "bca", "cab", "acb"] * 4
    options: dict[str, Any] = {"hidden_sizes": (4,), "embedding_size": 4, "max_steps": 2}
    model = tg.SequenceToSequence(level="char", verbose=0, **options)
    model.fit(sources, [one[::-1] for one in sources])
    panels = model.plot_attention(sources[:2])
    for axes, text in zip(panels, sources, strict=False):
        attended = model.attend(text)
        told = np.asarray(axes.images[0].get_array())
        np.testing.assert_allclose(told, attended.weights)
        assert [tick.get_text() for tick in axes.get_xticklabels()] == list(attended.read)
        assert is_shown(axes)
    assert len(panels) == 2
    assert len(model.plot_attention("abc")) == 1
    assert len(model.plot_attention(sources)) == 6


def test_each_gate_has_a_panel_of_its_units() -> None:
    found = text_classifier().inspect("the good film, so bad")
    panels = found.plot()
    assert len(panels) == len(found.watched)
    for axes, gate in zip(panels, found.watched, strict=True):
        np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), gate.values.T)
        assert is_shown(axes)


def test_the_history_as_a_frame_has_a_row_for_each_evaluation(forecaster: Any) -> None:
    frame = forecaster.history_frame()
    assert {name: column.tolist() for name, column in frame.items()} == forecaster.history_


@pytest.fixture(scope="module")
def compared() -> Any:
    torch.set_num_threads(1)
    options: dict[str, Any] = {"hidden_sizes": (4,), "embedding_size": 4, "verbose": 0}
    model = tg.TextClassifier(**options, max_steps=4, evaluate_every=2, test_fraction=0.2)
    return tg.compare(model, TEXTS, LABELS, cells=("gru", "lstm"), seeds=2)


@pytest.mark.parametrize("across", ["step", "seconds"])
def test_curves_of_a_comparison_are_means_over_its_seeds(compared: Any, across: Any) -> None:
    axes, name = compared.plot_curves(across), compared.metric.drawn or compared.metric.name
    for cell, title in (("gru", "GRU"), ("lstm", "LSTM")):
        histories = [run.history for run in compared.runs if run.cell == cell]
        mean = np.mean([[row[name] for row in history] for history in histories], axis=0)
        np.testing.assert_allclose(line(axes, title), mean)
    assert is_shown(axes)


def test_the_reach_of_gradients_is_drawn_before_and_after_training(compared: Any) -> None:
    axes = compared.plot_gradient_reach()
    drawn = [np.asarray(one.get_ydata()) for one in axes.lines]
    for reach in compared.reach.values():
        for values in (reach.before, reach.after):
            assert any(len(one) == len(values) and one[0] == values[0] for one in drawn)
    assert is_shown(axes)


def test_a_comparison_as_a_frame_is_its_table(compared: Any) -> None:
    frame = compared.to_frame()
    assert frame["name"].tolist() == [row.name for row in compared.rows]
    assert frame["mean"].tolist() == [row.mean for row in compared.rows]
    for (low, high), row in zip(
        frame[["accuracy_low", "accuracy_high"]].to_numpy(), compared.rows, strict=True
    ):
        assert (low, high) == pytest.approx(tuple(row.interval))
    assert "interval" not in frame


def test_a_search_as_a_frame_and_its_picture_are_its_trials() -> None:
    options: dict[str, Any] = {"hidden_sizes": (4,), "embedding_size": 4, "verbose": 0}
    model = tg.TextClassifier(**options, max_steps=2, refit=False)
    found = tg.tune(model, TEXTS, LABELS, space={"dropout": (0.0, 0.5)}, trials=4, seeds=0)
    frame = found.to_frame()
    assert frame["trial"].tolist() == [trial.number for trial in found.trials]
    assert frame[found.metric.name].tolist() == [trial.value for trial in found.trials]
    drawn = [trial.options.get("dropout", np.nan) for trial in found.trials]  # nan: the default
    np.testing.assert_array_equal(frame["dropout"], drawn)
    axes = found.plot_importances()
    shares = [bar.get_bbox().width for bar in axes.patches][::-1]  # pyright: ignore
    np.testing.assert_allclose(shares, [100 * share for share in found.importances.values()])
    assert is_shown(axes)


@pytest.mark.parametrize("task", ["classifier", "series-classifier"])
def test_the_command_draws_labels_of_texts_and_of_sequences(
    tidegate: Tidegate,  # noqa: F811
    task: str,
) -> None:
    file, _, told = LEARN[task].partition(" ")
    assert tidegate(f"train {task} {file} {told} {TINY[task]} -o m.safetensors").code == 0
    figures = tidegate(f"evaluate m.safetensors {file} {told} --json").json
    drawn = tidegate(f"evaluate m.safetensors {file} {told} --json --plot labels.png")
    assert drawn.json == figures
    assert Path("labels.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_draws_no_labels_of_texts_that_have_several(
    tidegate: Tidegate,  # noqa: F811
) -> None:
    line = "graded.csv --text review --label tags --labels-separator ;"
    assert tidegate(f"train classifier {line} {TINY['classifier']} -o m.safetensors").code == 0
    refused = tidegate("evaluate m.safetensors graded.csv --plot labels.png")
    assert "expected a model of one label for each text to draw, got one of several" in refused.err
    assert not Path("labels.png").exists()


def test_no_figure_of_a_forecaster_is_called_validation_twice(
    tidegate: Tidegate,  # noqa: F811
) -> None:
    trained = tidegate(f"train forecaster {LEARN['forecaster']} {TINY['forecaster']} --loss mae")
    assert "validation loss " in trained.out
    assert "validation validation" not in trained.out

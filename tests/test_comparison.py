"""A comparison as a whole: the same parts for every run, their figures, files that stand alone."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import tidegate as tg
from tidegate.baselines.windows import LinearWindows
from tidegate.cells import title
from tidegate.comparison.experiments.of_tasks import EXPERIMENTS, experiment_of
from tidegate.comparison.experiments.texts import TextClassification
from tidegate.data.series.line import Line
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.intervals import wilson
from tidegate.tasks import TASKS
from tidegate.training import loop
from tidegate.training.objective import TrainingError

QUIET = {"verbose": 0, "max_steps": 6, "evaluate_every": 3}


def texts(count=40):
    words = ["lovely", "dreadful"]
    return [f"{words[i % 2]} film number {i}" for i in range(count)], [
        words[i % 2] for i in range(count)
    ]


def classifier(**options):
    sizes = {"embedding_size": 4, "hidden_sizes": (6,), "test_fraction": 0.2}
    return tg.TextClassifier(**{**QUIET, **sizes, **options})


def series(rows=400):
    t = np.arange(rows)
    noise = np.random.default_rng(0).normal(0, 0.1, (rows, 2))
    values = np.stack([np.sin(2 * np.pi * t / 24), np.cos(2 * np.pi * t / 24)], 1) + noise
    return Series.of(np.datetime64("2024-01-01T00") + t * np.timedelta64(1, "h"), values)


def forecaster(**options):
    sizes = {"hidden_sizes": (6,), "horizon": 6, "context": 48, "validate_until": "0.9"}
    return tg.Forecaster(**{**QUIET, **sizes, **options})


def gestures(count=60):
    """Sequences of 2 channels and unequal length that rise or fall."""
    rng = np.random.default_rng(0)
    labels = rng.choice(["fall", "rise"], count)
    lengths = rng.integers(12, 30, count)
    signs = np.where(labels == "rise", 1, -1)
    made = [
        s * np.linspace(-1, 1, n)[:, None] + rng.normal(0, 0.3, (n, 2))
        for s, n in zip(signs, lengths, strict=True)
    ]
    return made, labels


BOOK = "the cat sat on the mat and the dog sat on the log\n" * 20


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A classifier's comparison, and the folder it was written to."""
    folder = tmp_path_factory.mktemp("compared")
    result = tg.compare(
        classifier(), *texts(), cells=("lstm", "gru"), seeds=2, folder=folder, command="tidegate x"
    )
    return result, folder


# what every run is given


def test_every_run_learns_from_the_same_data_and_is_chosen_by_the_same(compared):
    _, folder = compared
    settings = [json.loads(p.read_text()) for p in folder.glob("runs/*/config.json")]
    assert len(settings) == 4
    assert len({s["fingerprint"] for s in settings}) == 1
    options = [{**s["options"], "cell": "", "seed": 0, "run_folder": ""} for s in settings]
    assert all(o == options[0] for o in options)
    assert {(s["options"]["cell"], s["options"]["seed"]) for s in settings} == {
        (cell, seed) for cell in ("lstm", "gru") for seed in (0, 1)
    }


def test_parts_are_drawn_by_the_models_own_seed():
    def held_out(seed):
        return experiment_of(classifier(seed=seed), texts(), None, None).scored.inputs

    assert held_out(0) == held_out(0)
    assert held_out(0) != held_out(5)


def test_parts_do_not_overlap_and_are_all_there_is():
    experiment = experiment_of(classifier(), texts(), None, None)
    parts = [experiment.train.inputs, experiment.validation.inputs, experiment.scored.inputs]
    assert sorted(sum(parts, [])) == sorted(texts()[0])


def test_a_label_that_would_be_held_out_alone_is_learned_from():
    rare = texts()
    rare[1][7] = "rare"
    for seed in range(20):
        experiment = experiment_of(classifier(seed=seed), rare, None, None)
        assert "rare" in experiment._given(experiment.train)[1]


def test_a_test_set_is_scored_and_nothing_is_chosen_on_it():
    """With its answers turned round, only the figures of the test part change."""
    inputs, labels = texts(20)
    turned = labels[1:] + labels[:1]
    results = [
        tg.compare(
            classifier(test_fraction=0.0),
            *texts(),
            cells=("lstm", "gru"),
            seeds=1,
            test=(inputs, answers),
        )
        for answers in (labels, turned)
    ]
    right, wrong = results
    assert right.held_out == wrong.held_out == "test"
    assert right.size == 20
    for a, b in zip(right.runs, wrong.runs, strict=True):
        assert a.held_out["accuracy"] == pytest.approx(1 - b.held_out["accuracy"])
        assert a.validation == b.validation
    assert (right.best.cell, right.best.seed) == (wrong.best.cell, wrong.best.seed)
    assert right.advice.cell == wrong.advice.cell
    assert [b.about for b in right.baselines] == [b.about for b in wrong.baselines]


def test_equal_parameters_give_each_cell_its_own_size():
    result = tg.compare(
        classifier(hidden_sizes=(64,), max_steps=1),
        *texts(),
        cells=("gru", "rnn"),
        seeds=1,
        equal_parameters=True,
    )
    gru, rnn = result.runs
    assert gru.hidden_sizes == (64,)
    assert rnn.parameters == pytest.approx(gru.parameters, rel=0.02)
    assert "as many parameters for every cell" in result.budget


# what comes of it


def test_figures_are_those_of_the_kept_models(compared):
    result, _ = compared
    experiment = experiment_of(classifier(), texts(), None, None)
    for run in result.runs:
        model = tg.TextClassifier.load(run.path)
        held_out, training = map(experiment._given, (experiment.scored, experiment.train))
        assert run.held_out["accuracy"] == model.evaluate(*held_out)["accuracy"]
        assert run.training["accuracy"] == model.evaluate(*training)["accuracy"]


def test_the_table_has_means_deviations_costs_and_gaps(compared):
    result, _ = compared
    assert {row.name for row in result.rows} == {"LSTM", "GRU", "TF-IDF + logistic regression"}
    runs = [run for run in result.runs if run.cell == "gru"]
    row = next(row for row in result.rows if row.name == "GRU")
    figures = [run.held_out["cross_entropy"] for run in runs]
    assert (row.mean, row.deviation) == (np.mean(figures), np.std(figures, ddof=1))
    assert row.gap == pytest.approx(np.mean([r.training["cross_entropy"] for r in runs]) - row.mean)
    assert row.accuracy == pytest.approx(np.mean([r.held_out["accuracy"] for r in runs]))
    assert row.parameters == runs[0].model.runtime_.architecture.parameter_count()
    assert row.seconds_per_epoch > 0
    assert row.seconds_to_best > 0
    means = [row.mean for row in result.rows]
    assert means == sorted(means)
    for name in ("LSTM", "GRU", "TF-IDF + logistic regression", "test", str(result.advice)):
        assert name in str(result)


def test_the_best_model_is_the_advised_cells_that_validates_best(compared):
    """Table, advice, report and JSON name one cell."""
    result, folder = compared
    advised = [run for run in result.runs if title(run.cell) == result.advice.cell]
    assert result.best in advised
    best = min(run.validation["cross_entropy"] for run in advised)
    assert result.best.validation["cross_entropy"] == best
    told = json.loads((folder / "comparison.json").read_text())
    assert told["advice"]["cell"] == result.advice.cell
    assert told["best_model"] == str(result.best.path)
    assert [r["name"] for r in told["table"] if "advised" in r["about"]] == [result.advice.cell]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("(best)") == 1
    assert f"{result.advice.cell}, seed {result.best.seed} (best)" in page
    assert page.count("units, advised") == 1
    assert result.best.path is not None
    assert result.best.path.exists()


def test_gradients_are_looked_at_before_and_after_training(compared):
    result, _ = compared
    assert set(result.reach) == {"lstm", "gru"}
    for reach in result.reach.values():
        assert reach.before[0] == reach.after[0] == pytest.approx(1)
        assert not np.allclose(reach.before, reach.after)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = tg.compare(classifier(), *texts(), cells=("gru",), seeds=1)
    assert list(tmp_path.iterdir()) == []
    assert result.best.path is None
    assert "GRU" in str(result)


def test_every_accuracy_has_an_interval_that_few_texts_make_wide(compared):
    result, folder = compared
    for row in result.rows:
        assert row.accuracy is not None
        assert row.interval == wilson(row.accuracy, 8)
        assert row.interval.wide
    assert str(result.rows[0].interval) in str(result)
    told = json.loads((folder / "comparison.json").read_text())
    assert told["table"][0]["interval"] == list(result.rows[0].interval)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "standard error" not in page
    assert "paired test on the losses of the same texts gives p &lt; 0.05" in page


def test_differences_in_the_json_are_those_of_the_advice(compared):
    """Of 8 texts to validate on, nothing can be told apart."""
    _, folder = compared
    advice = json.loads((folder / "comparison.json").read_text())["advice"]
    assert [d["part"] for d in advice["differences"]] == ["validation", "test"]
    assert [d["examples"] for d in advice["differences"]] == [8, 8]
    assert not any(d["told_apart"] for d in advice["differences"])
    for told in ("may be chance", "paired test on the same 8 texts"):
        assert told in advice["text"]


# files


class _Sources(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [v for k, v in attrs if k in ("src", "href", "xlink:href", "data")]


def test_the_report_needs_nothing_but_itself(compared):
    result, folder = compared
    page = (folder / "report.html").read_text(encoding="utf-8")
    parser = _Sources()
    parser.feed(page)
    assert parser.tags.count("svg") == 3
    assert not {"script", "link", "img", "iframe"} & set(parser.tags)
    assert all(source.startswith("#") for source in parser.found)  # parts of the pictures
    assert "@import" not in page
    assert "url(http" not in page
    for told in ("tidegate x", str(result.advice), "torch", "Seeds: 0, 1", result.best.path.name):
        assert told in page.replace("&#x27;", "'"), told


def test_pictures_are_beside_the_models(compared):
    _, folder = compared
    names = {"curve-time.png", "curve-steps.png", "gradient-reach.png"}
    assert names == {path.name for path in folder.glob("*.png")}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    assert json.loads((folder / "comparison.json").read_text())["advice"]


def test_no_legend_is_wider_than_its_picture():
    from dataclasses import replace
    from types import SimpleNamespace
    from typing import Any

    from matplotlib.figure import Figure

    from tidegate.comparison.experiments.experiment import BaselineScores, Metric
    from tidegate.comparison.report.drawing import curves

    history = [{"step": 1, "seconds": 1.0, "accuracy": 0.5}]
    runs: Any = [SimpleNamespace(cell=cell, history=history) for cell in ("gru", "lstm", "mgu")]
    short = BaselineScores(name="ridge", about="", validation=0.5, held_out=0.5, losses=np.zeros(0))
    metric = Metric(name="accuracy", label="accuracy")
    for baseline, columns in ((short, 4), (replace(short, name="a baseline of many words"), 3)):
        figure = Figure(figsize=(5.2, 3.5), dpi=180, layout="constrained")
        curves(runs, [baseline], metric, "step")(figure)
        (legend,) = figure.legends
        assert legend.get_window_extent().width <= figure.bbox.width
        assert legend._ncols == columns


def test_what_users_wrote_is_no_markup_in_the_report(tmp_path):
    tg.compare(
        classifier(),
        *texts(),
        cells=("gru",),
        seeds=1,
        folder=tmp_path,
        command="<script>x</script>",
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;x" in page


# going on, and going wrong


def test_finished_runs_are_not_repeated(compared, monkeypatch):
    result, folder = compared

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(loop._Run, "_train_step", refuse)
    again = tg.compare(classifier(), *texts(), cells=("gru", "lstm"), seeds=2, folder=folder)
    assert {(r.cell, r.seed): r.held_out for r in again.runs} == {
        (r.cell, r.seed): r.held_out for r in result.runs
    }


def test_a_folder_of_other_data_or_options_is_refused(compared):
    _, folder = compared
    inputs, labels = texts()
    with pytest.raises(InputError, match="expected the training data the run began with"):
        tg.compare(classifier(), inputs[::-1], labels, cells=("gru",), folder=folder)
    with pytest.raises(InputError, match="option dropout"):
        tg.compare(classifier(dropout=0.1), inputs, labels, cells=("gru",), folder=folder)


def test_a_run_that_fails_is_told_of_and_the_others_go_on(monkeypatch):
    fit = TextClassification.fit

    def fail(self, model):
        if model.cell == "lstm":
            raise TrainingError("step 3: the loss is nan")
        fit(self, model)

    monkeypatch.setattr(TextClassification, "fit", fail)
    result = tg.compare(classifier(), *texts(), cells=("lstm", "gru"), seeds=2)
    assert [run.cell for run in result.runs] == ["gru", "gru"]
    assert result.problems == [
        f"lstm, seed {seed}: TrainingError: step 3: the loss is nan" for seed in (0, 1)
    ]
    assert "failed: lstm, seed 1" in str(result)
    with pytest.raises(TrainingError, match="all runs failed; the first one: .*step 3"):
        tg.compare(classifier(), *texts(), cells=("lstm",), seeds=2)


def test_a_baseline_that_fails_is_told_of():
    inputs, labels = ["!!!", "???"] * 20, ["a", "b"] * 20
    result = tg.compare(classifier(), inputs, labels, cells=("gru",), seeds=1)
    assert result.baselines == []
    assert any("baselines: ValueError: empty vocabulary" in p for p in result.problems)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"cells": ("gru", "gruu")}, "gruu"),
        ({"cells": ("rnn", "rnn_tanh")}, "option cells: expected different cells"),
        ({"cells": ()}, "option cells"),
        ({"seeds": 0}, "option seeds: expected a whole number at least 1, got 0"),
        ({"test": texts(4)}, "option test_fraction: expected none beside test data"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        tg.compare(classifier(), *texts(), **changed)


# each task


def test_every_task_can_be_compared():
    assert set(EXPERIMENTS) == set(TASKS)


def test_forecasters_stand_beside_naive_forecasts_and_ridge():
    result = tg.compare(forecaster(), series(), cells=("gru",), seeds=1)
    rows = {row.name: row for row in result.rows}
    assert set(rows) == {"GRU", "naive", "seasonal naive", "mean", "ridge regression"}
    (run,) = result.runs
    assert rows["naive"].mean == run.held_out["naive_mse"]
    assert result.held_out == "test"
    assert run.held_out["n"] == result.size
    whole = tg.compare(forecaster(validate_until=None), series(), cells=("gru",), seeds=1)
    assert whole.held_out == "validation"
    (run,) = whole.runs
    assert run.held_out["mse"] == pytest.approx(run.validation["mse"], rel=1e-5)  # float32


def test_ridge_is_measured_on_the_very_windows_of_the_forecaster():
    """A map to zero forecasts the last value again: both count the same errors of it."""
    model, data = forecaster(), series()
    experiment = experiment_of(model, (data,), None, None)
    experiment.fit(model)
    windows = experiment._windows(model, experiment.scored)
    w = model.windowing_
    zero = LinearWindows(Line(np.zeros((w.horizon, w.context)), np.zeros(w.horizon), penalty=0.0))
    held_out, _ = experiment.score(model)
    errors = zero.figures(windows)
    assert errors["mse"] == pytest.approx(held_out["naive_mse"], rel=1e-5)  # float32 windows
    assert errors["mae"] == pytest.approx(held_out["naive_mae"], rel=1e-5)


def test_ridge_is_that_of_scikit_learn():
    from sklearn.linear_model import Ridge as Peer

    model, data = forecaster(), series()
    experiment = experiment_of(model, (data,), None, None)
    experiment.fit(model)
    train, validation = (
        experiment._windows(model, p) for p in (experiment.learned, experiment.chosen)
    )
    ridge = LinearWindows.fit(train, validation)
    rows = np.arange(len(train))
    x = train.inputs(rows).swapaxes(0, 1).reshape(len(rows), -1).astype(np.float64)
    peer = Peer(alpha=ridge.line.penalty).fit(x, train.targets(rows))
    np.testing.assert_allclose(ridge.line.weights, peer.coef_, atol=1e-5)  # of targets in float32


def test_language_models_stand_beside_n_grams_and_write():
    model = tg.LanguageModel(
        **QUIET, embedding_size=4, hidden_sizes=(6,), bptt=8, test_fraction=0.1
    )
    result = tg.compare(model, BOOK, cells=("gru", "rnn"), seeds=1)
    assert any("-grams" in row.name for row in result.rows)
    assert set(result.samples) == {"gru", "rnn_tanh"}
    assert all(len(text) == 300 for text in result.samples.values())
    _, _, test = model.split(BOOK, None, "char")
    tokens = result.runs[0].model.encoder_.encode(test)
    assert result.runs[0].held_out["tokens"] == len(tokens) - 1  # as many as the n-grams predict
    assert result.held_out == "test"


def test_language_models_of_words_take_texts_and_a_test_set():
    model = tg.LanguageModel(**QUIET, level="word", embedding_size=4, hidden_sizes=(6,), bptt=8)
    lines = BOOK.splitlines()
    result = tg.compare(model, lines, test=lines[:3], cells=("gru",), seeds=1)
    assert result.held_out == "test"
    assert result.size == sum(len(line) + 1 for line in lines[:3])


def test_classifiers_of_sequences_stand_beside_the_nearest_neighbour():
    model = tg.SequenceClassifier(**QUIET, hidden_sizes=(6,), test_fraction=0.3)
    result = tg.compare(model, *gestures(), cells=("gru",), seeds=1)
    rows = {row.name: row for row in result.rows}
    for name in ("1-nearest neighbour", "ridge on convolutions"):
        accuracy = rows[name].accuracy
        assert accuracy is not None
        assert accuracy > 0.9  # rising and falling are easily told apart
    assert result.unit == "sequences"


def test_regressors_of_sequences_stand_beside_ridge_and_the_mean():
    model = tg.SequenceRegressor(**QUIET, hidden_sizes=(6,), test_fraction=0.3)
    sequences, _ = gestures()
    numbers = [float(s[-1].mean() - s[0].mean()) for s in sequences]
    result = tg.compare(model, sequences, numbers, cells=("gru",), seeds=1)
    rows = {row.name: row for row in result.rows}
    assert rows["ridge regression"].mean < 0.5 * rows["mean"].mean
    assert rows["ridge on convolutions"].mean < 0.5 * rows["mean"].mean
    (run,) = result.runs
    assert rows["mean"].mean == pytest.approx(run.held_out["mean_mse"])


def test_few_sequences_still_have_a_part_to_compare_by():
    experiment = experiment_of(tg.SequenceClassifier(), gestures(), None, None)
    assert len(experiment.validation.inputs) == 12
    with pytest.raises(InputError, match="option validation_fraction: expected more than 0"):
        experiment_of(tg.SequenceClassifier(validation_fraction=0), gestures(), None, None)


def test_a_network_without_any_weight_beside_the_line_has_no_reach(monkeypatch) -> None:
    from types import SimpleNamespace

    from tidegate.comparison import compare

    told = iter([np.array([1.0, 0.5]), np.array([]), np.array([1.0, 0.5]), np.array([1.0, 0.25])])
    monkeypatch.setattr(compare, "gradient_reach", lambda *_: next(told))
    model = SimpleNamespace(
        initial_network=lambda _: None, network_=None, runtime_=SimpleNamespace(architecture=None)
    )
    experiment = SimpleNamespace(batch=lambda _: (), reader=lambda network: network)
    reach = compare._reach(experiment, [SimpleNamespace(model=model)] * 2)
    np.testing.assert_allclose(reach.before, [1.0, 0.5])
    np.testing.assert_allclose(reach.after, [1.0, 0.25])

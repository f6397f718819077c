"""What a model shows of itself: layers, history, a picture, a table, its options' help."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from tides import small, tides

import tidegate as tg
from tidegate.tasks import TASKS, load, task_class
from tidegate.tasks.estimator import NotFittedError
from tidegate.tasks.summary import layers_of

TEXTS = [f"a {word} film" for word in ("good", "bad", "fine", "poor")] * 6
LABELS = [0, 1, 0, 1] * 6
QUIET: dict[str, Any] = {"verbose": 0, "hidden_sizes": (4,), "max_steps": 6, "evaluate_every": 2}


@pytest.fixture(scope="module")
def models() -> list[Any]:
    torch.set_num_threads(1)
    block = np.random.default_rng(0).normal(size=(24, 9))
    return [
        tg.TextClassifier(**QUIET, embedding_size=4, validation_fraction=0.2).fit(TEXTS, LABELS),
        tg.LanguageModel(**QUIET, sample_steps=()).fit(TEXTS),
        small(max_steps=6, evaluate_every=2).fit(tides()),
        tg.SequenceClassifier(**QUIET).fit(block, LABELS),
        tg.SequenceRegressor(**QUIET, validation_fraction=0.2).fit(block, LABELS),
    ]


def test_the_history_is_kept_in_the_file(models: list[Any], tmp_path: Path) -> None:
    for model in models:
        model.save(tmp_path / "m.safetensors")
        again = load(tmp_path / "m.safetensors")
        assert again.history_ == model.history_
        assert again.history_["step"] == [2, 4, 6]
        at_the_end = ("test_", "baseline_", "coverage_", "weighted_", "counts_", "network_")
        figures = {name for name in model.metrics_ if not name.startswith(at_the_end)}
        assert set(again.history_) >= {"epoch", "train_loss", *figures}
        assert {len(column) for column in again.history_.values()} == {3}


def test_a_very_long_history_is_thinned_in_the_file(models: list[Any], tmp_path: Path) -> None:
    model = models[3]
    short = model.history_
    model.history_ = {"step": list(range(25_000)), "train_loss": [0.5] * 25_000}
    model.save(tmp_path / "m.safetensors")
    model.history_ = short
    assert load(tmp_path / "m.safetensors").history_["step"] == list(range(0, 25_000, 3))


def test_the_history_is_plotted_before_and_after_the_file(
    models: list[Any], tmp_path: Path
) -> None:
    for model in models:
        model.save(tmp_path / "m.safetensors")
        for one in (model, load(tmp_path / "m.safetensors")):
            axes = one.plot_history()
            assert axes[0].lines[0].get_xdata().tolist() == [2, 4, 6]
            assert plt.fignum_exists(axes[0].figure.number)  # which a notebook shows
            plt.close(axes[0].figure)


def test_the_table_of_layers_adds_up(models: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    for model in models:
        network = model.network_
        layers = layers_of(network.architecture)
        total = sum(p.numel() for p in network.parameters())
        assert sum(layer.parameters for layer in layers) == total
        assert model.summary() is None
        printed = capsys.readouterr().out
        assert f"{total:,} parameters".replace(",", " ") in printed
        assert all(layer.name in printed and layer.output in printed for layer in layers)
        assert len({len(line) for line in printed.splitlines()[1:-1]}) == 1  # a table


@pytest.mark.parametrize("options", [
    {"cell": "lstm", "hidden_sizes": (6, 4), "batch_norm": True, "readout": "last+max"},
    {"cell": "rnn", "bidirectional": False, "evidence": False},
], ids=str)  # fmt: skip
def test_what_a_layer_is_said_to_put_out_is_what_it_puts_out(options: dict[str, Any]) -> None:
    network = tg.TextClassifier(**QUIET | options, embedding_size=4).fit(TEXTS, LABELS).network_
    told = {layer.name: layer.output for layer in layers_of(network.architecture)}
    for name, module in network.named_modules():
        width = getattr(module, "out_features", getattr(module, "embedding_dim", None))
        width = len(getattr(module, "running_mean", ())) or width
        if hasattr(module, "hidden_size"):
            width = module.hidden_size * network.architecture.directions
        if name in told:
            assert told[name].endswith(f", {width}]"), name
    assert "recurrent.0" in told


def test_tied_weights_are_counted_once() -> None:
    model = tg.LanguageModel(**QUIET, embedding_size=4, tie_embeddings=True, sample_steps=())
    network = model.fit(TEXTS).network_
    layers = layers_of(network.architecture)
    assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in network.parameters())


def test_info_shows_the_layers_without_torch(models: list[Any], tmp_path: Path) -> None:
    models[0].save(tmp_path / "m.safetensors")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"from tidegate.cli import main; main(['info', {str(tmp_path / 'm.safetensors')!r}])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "recurrent.0" in run.stdout, run.stderr
    assert "GRU, both directions" in run.stdout


def test_what_is_not_fitted_says_so() -> None:
    for call in ("summary", "plot_history"):
        with pytest.raises(NotFittedError, match="call fit or load first"):
            getattr(tg.TextClassifier(), call)()


def test_a_notebook_is_shown_options_and_figures(models: list[Any]) -> None:
    shown = models[0]._repr_html_()
    assert "<b>TextClassifier</b> (text-classifier, fitted)" in shown
    table = tables(shown)
    assert table["options that differ from the defaults"]["hidden_sizes"] == ["(4,)"]
    layers = table["layers; T steps, B sequences"]
    assert [name for name in layers if name] == [
        one.name for one in layers_of(models[0].runtime_.architecture)
    ]
    (figures,) = (rows for title, rows in table.items() if title.startswith("figures; 6 steps in "))
    assert figures[""] == ["validation", "validation baseline"]
    told = [f"{models[0].metrics_[name]:.4g}" for name in ("accuracy", "baseline_accuracy")]
    assert figures["accuracy"] == told
    hostile = tg.TextClassifier(run_folder="<script>", verbose=0)._repr_html_()
    assert "(text-classifier, not fitted)" in hostile
    assert "&lt;script&gt;" in hostile


def tables(page: str) -> dict[str, dict[str, list[str]]]:
    """By their titles the tables of a page: cells by the first of their row."""
    found = {}
    for table in re.findall("<table>.*?</table>", page):
        rows = re.findall("<tr>(.*?)</tr>", table)
        cells = [
            [unescape(cell) for cell in re.findall("<t[hd].*?>(.*?)</t[hd]>", row)] for row in rows
        ]
        title = re.search("<caption.*?>(.*?)</caption>", table)
        found[unescape(title[1]) if title else ""] = {name: others for name, *others in cells}
    return found


@pytest.mark.parametrize("task", TASKS)
def test_the_docstring_explains_every_option(task: str) -> None:
    estimator = task_class(task)
    text = estimator.__doc__ or ""
    assert text.index("Parameters\n") > 100  # after what the estimator is
    for f in fields(estimator):  # pyright: ignore
        assert f"\n{f.name} : " in text
        assert re.split("DEFAULT|MOST_REFIT|`", f.metadata["help"][:30])[0].rstrip("(") in " ".join(
            text.split()
        )
    assert "DEFAULT_" not in text
    assert all(len(line) <= 100 for line in text.splitlines())

"""The examples of examples/keras, at small size: each runs, and learns what it says."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "keras"

# Keras' own variables, as of NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a file with these arguments: what it defined, and with ``printed`` what it wrote."""

    def run(name: str, *arguments: object) -> dict[str, Any]:
        path = str(FOLDER / name)
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        defined = runpy.run_path(path, run_name="__main__")
        return defined | {"printed": capsys.readouterr().out}

    return run


def figures(defined: dict[str, Any], name: str) -> list[float]:
    """A metric over the epochs of ``fit``."""
    return defined["history"].history[name]


@pytest.mark.parametrize(
    ("name", "epochs", "accuracy"),
    [
        ("lstm.py", 2, 0.85),
        ("gru.py", 2, 0.85),
        ("bidirectional.py", 2, 0.9),
        ("masking.py", 3, 0.9),
        ("dropout.py", 4, 0.4),  # of ten classes
    ],
)
def test_an_answer_is_right_on_what_was_not_learned_from(example, name, epochs, accuracy):
    assert figures(example(name, epochs), "val_accuracy")[-1] > accuracy


def test_tags_are_better_than_the_most_frequent_one(example):
    defined = example("tagging.py", 2)
    share = defined["y"].mean()
    assert figures(defined, "val_accuracy")[-1] > max(share, 1 - share) + 0.1


def test_a_curve_goes_on_as_predicted(example):
    defined = example("simple_rnn.py", 2)
    assert figures(defined, "val_loss")[-1] < defined["y"].var() / 10


def test_one_number_becomes_a_curve(example):
    defined = example("one_to_many.py", 10)
    assert figures(defined, "val_loss")[-1] < defined["y"].var() / 4
    assert defined["printed"].count("*\n") == defined["STEPS"]


def test_a_state_that_is_kept_is_known_fifty_steps_later(example):
    assert example("stateful.py", 12)["accuracy"] > 0.9


def test_a_decoder_writes_backwards_what_the_encoder_read(example):
    assert example("encoder_decoder.py", 4)["right"] > 0.3  # by chance 0.1


def test_phrases_are_learned_by_heart(example):
    defined = example("sentiment.py", 40)
    learned, validated = (figures(defined, name) for name in ("loss", "val_loss"))
    assert figures(defined, "accuracy")[-1] == 1
    assert defined["lowest"] < len(validated) - 1
    assert validated[-1] > min(validated) + 0.1
    assert learned[-1] < learned[defined["lowest"]]
    assert "on unseen phrases" in defined["printed"]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_reviews_that_were_made_up_are_told_apart(example, cell):
    assert example("imdb.py", "--cell", cell, "--epochs", 3)["accuracy"] > 0.8


def test_reviews_are_read_from_a_folder(example, tmp_path):
    import gzip

    for part in ("train", "test"):
        rows = [f"{k % 2}\tid\t7\tit is {('bad', 'good')[k % 2]} <br />" for k in range(20)]
        with gzip.open(tmp_path / f"{part}.tsv.gz", "wt", encoding="utf-8") as file:
            file.write("\n".join(["label\tid\tstars\ttext", *rows]))
    defined = example("imdb.py", "--data", tmp_path, "--epochs", 1)
    assert defined["x"].shape == (20, 80)
    assert defined["y"].tolist() == [0, 1] * 10


def test_characters_are_foretold_better_than_by_frequency(example):
    defined = example("characters.py", 5)
    share = np.bincount(defined["y"].argmax(axis=1)) / len(defined["y"])
    assert figures(defined, "loss")[-1] < -(share[share > 0] * np.log(share[share > 0])).sum() - 0.3
    assert "--- temperature 1.0" in defined["printed"]


def test_sums_are_better_than_chance(example):
    defined = example("addition.py", 5, 2)
    most_frequent = defined["y"].mean(axis=0).max(axis=1).mean()
    assert figures(defined, "val_accuracy")[-1] > most_frequent + 0.05
    assert "=" in defined["printed"]


def test_each_example_tells_how_it_is_run(example, capsys):
    for path in sorted(FOLDER.glob("*.py")):
        with pytest.raises(SystemExit) as left:
            example(path.name, "--help")
        assert not left.value.code
        assert f"KERAS_BACKEND=torch python examples/keras/{path.name}" in capsys.readouterr().out


def test_each_example_differs_from_keras_in_one_import():
    for path in sorted(FOLDER.glob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        (ours,) = (line for line in lines if "tidegate" in line and not line.startswith(" "))
        imported, _, theirs = ours.partition("  # in Keras: ")
        assert theirs == imported.replace("tidegate.keras", "keras.layers"), path.name
        assert len(lines) <= 80, path.name

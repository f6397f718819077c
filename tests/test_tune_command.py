"""What is said of a search's gain, and the command."""

from __future__ import annotations

import re
import shlex
from typing import Any

import numpy as np
import pytest
from command_line import LEARN, TINY, Tidegate
from searches import SPACE, classifier, fails_after, searched

import tidegate as tg
from tidegate.comparison.report.advice import Scores, margin
from tidegate.tasks import TASKS
from tidegate.tuning.gain import Gain

# the gain


def scores(mean: float, seed: int, seeds: int, examples: int) -> Scores:
    losses = mean + 0.01 * np.random.default_rng(seed).standard_normal((seeds, examples))
    return Scores([float(one.mean()) for one in losses], losses)


def gain(winner: float, defaults: float, seeds: int = 3, examples: int = 100) -> Gain:
    mine, theirs = (scores(m, k, seeds, examples) for k, m in enumerate((winner, defaults)))
    found = margin("winner", mine, "defaults", theirs, "test")
    return Gain(
        defaults=defaults, winner=winner, seeds=seeds, examples="texts", label="loss", margin=found
    )


def test_a_gain_beyond_noise_is_told_with_its_size() -> None:
    said = str(gain(0.5, 0.6))
    assert said.startswith("Gain: loss: defaults 0.6, winner 0.5, 17 % lower than the defaults'")
    assert "p < 0.001 on the same 100 held-out texts" in said


@pytest.mark.parametrize(
    ("winner", "defaults", "examples", "said"),
    [
        (0.6, 0.5, 100, "No gain: the winner of the search is no better on the part held out."),
        (0.5, 0.5001, 100, "No gain beyond noise: the difference may be chance."),
        (0.5, 0.5001, 8, "No gain beyond noise: .*and 8 texts are few to tell by."),
    ],
)
def test_no_gain_is_said_where_there_is_none(
    winner: float, defaults: float, examples: int, said: str
) -> None:
    assert re.match(said, str(gain(winner, defaults, examples=examples)))


def test_no_gain_is_said_on_pure_noise() -> None:
    rng = np.random.default_rng(3)
    inputs = [" ".join(rng.choice(list("abcdefgh"), 6)) for _ in range(80)]
    labels = rng.choice(["x", "y"], 80).tolist()
    result = searched(inputs, labels, trials=4, seeds=2)
    assert result.verdict.startswith("No gain")
    assert result.gain is None or not result.gain.beyond_noise


def test_defaults_and_winner_are_measured_alike() -> None:
    fast = {"space": {**SPACE, "learning_rate": (0.05, 0.1)}, "model": classifier(max_steps=3)}
    result = searched(trials=3, seeds=2, **fast)
    assert result.gain is not None, "no trial was better"
    assert result.gain.seeds == 2
    assert result.gain.margin.part == "test"
    assert result.gain.margin.examples == 12 == result.held_out
    assert result.model.cell == result.best.options["cell"]
    assert result.model.seed in (1, 2)
    assert result.model.max_steps == 3


# the command


@pytest.mark.parametrize("about", TASKS.values(), ids=lambda about: about.command)
def test_the_command_that_trains_the_winner_runs(tidegate: Tidegate, about: Any) -> None:
    tiny = TINY[about.command].replace("--validate-until 0.9", "")
    file, _, columns = LEARN[about.command].partition(" ")
    line = f"tune {about.command} {file} {columns} {tiny} --trials 2 --seeds 1 --json --verbose 0"
    told = tidegate(line)
    assert told.code == 0, told.err
    found = told.json
    assert found["task"] == next(name for name, one in TASKS.items() if one is about)
    assert sum(found["trials"].values()) == 2
    assert found["command"].startswith(f"tidegate train {about.command} {file} ")
    trained = tidegate(f"{shlex.join(shlex.split(found['command'])[1:])} --json -o w.safetensors")
    assert trained.code == 0, trained.err
    model = tg.load("w.safetensors")
    for name, value in found["best"]["options"].items():
        kept = getattr(model, name)
        assert (list(kept) if isinstance(kept, tuple) else kept) == value


LINE = f"tune classifier reviews.csv --text review --label sentiment {TINY['classifier']}"


def test_a_search_ends_with_table_picture_and_command(tidegate: Tidegate, tmp_path: Any) -> None:
    told = tidegate(f"{LINE} --trials 3 --seeds 1 --verbose 0 --space learning_rate=1e-2:1e-1")
    assert told.code == 0, told.err
    assert "trial" in told.out
    assert "\nTrain the winner with:\ntidegate train classifier reviews.csv" in told.out
    folder = tmp_path / "reviews-text-classifier-tuning"
    assert (folder / "study.db").stat().st_size > 0
    assert b"made by tidegate" in (folder / "importances.png").read_bytes()
    more = tidegate(f"{LINE} --trials 1 --seeds 0 --verbose 0 --space learning_rate=1e-2:1e-1")
    assert more.code == 2
    assert "add trials to it with --resume" in more.err
    line = f"{LINE} --trials 2 --seeds 0 --space learning_rate=1e-2:1e-1 --resume"
    resumed = tidegate(f"{line} --json")
    assert resumed.json["trials"] == {"complete": 5}
    assert set(resumed.json["importances"]) == set(resumed.json["table"][0]["drawn"])


def test_an_interrupted_search_says_what_is_done_and_how_to_go_on(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_after(monkeypatch, 2, KeyboardInterrupt(), times=1)
    told = tidegate(f"{LINE} --trials 4")
    assert told.code == 130
    assert "Train the winner with:" in told.out
    assert told.err.startswith("interrupted; go on with: tidegate tune classifier reviews.csv")
    assert told.err.rstrip().endswith("--trials 4 --resume")


def test_the_space_is_shown_without_a_file(tidegate: Tidegate) -> None:
    told = tidegate("tune forecaster --show-space --fix cell=lstm --space units=16:64")
    assert told.code == 0, told.err
    assert "units of hidden_sizes   16 to 64, logarithmic" in told.out
    assert "\ncell " not in told.out
    assert "loss                    mse, mae, huber" in told.out


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("", "expected --max-minutes or --trials, got neither; say how long to search"),
        ("--max-minutes 0", "option --max-minutes: expected a number above 0, got 0.0"),
        ("--trials 1 --fix cell", "option --fix: expected OPTION=VALUE, got 'cell'; write it so"),
        ("--trials 1 --fix hue=3", "option --fix: expected an option of the network .*got 'hue'"),
        ("--trials 1 --fix bidirectional=2", "option --bidirectional: expected yes or no, got '2'"),
        ("--trials 1 --fix dropout=2", "option --dropout: expected a number at least 0 and below"),
        ("--trials 1 --space units", "option --space: expected NAME=LOW:HIGH or NAME=A,B,C, got"),
        ("--trials 1 --space dropout=a:b", "option --space: expected numbers for dropout, got 'a'"),
        ("--trials 1 --dropout 0.1 --space dropout=0:0.2", "expected no dropout, since --dropout"),
        ("--trials 1 --pruner x", "option --pruner: expected one of median, hyperband, none"),
        ("--trials 1 --resume", "option --resume: expected a study to go on with, got none"),
        ("--trials 1 --storage x", "option --storage: expected the URL of a database"),
        ("--trials 1 -o a%b", "a folder whose name a URL can hold.*name another with -o"),
        ("--trials 1 -o reviews.csv", "expected a folder to write to, got the file"),
    ],
)
def test_a_wrong_line_is_told_in_one_line(tidegate: Tidegate, typed: str, advice: str) -> None:
    told = tidegate(f"{LINE} {typed}")
    assert told.code == 2
    assert re.search(advice, told.err), told.err
    assert told.err.count("\n") == 1


def test_without_a_file_the_command_says_so(tidegate: Tidegate) -> None:
    told = tidegate("tune classifier --text review --label sentiment --trials 1")
    assert told.code == 2
    assert "FILE" in told.err

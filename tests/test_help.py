"""What each command says of itself."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from command_line import Tidegate

from tidegate.data.sequences.rolls.midi import midi_bytes
from tidegate.tasks import TASKS, task_class


def test_help_imports_click_and_nothing_else_that_is_not_pythons_own() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from tidegate.cli import main; code = main(['--help'])\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(code, sorted(names - sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "0 ['click', 'tidegate']"


def _commands() -> list[str]:
    return [f"train {task.command}" for task in TASKS.values()] + [
        "evaluate",
        "predict",
        "generate",
        "forecast",
        "detect",
        "info",
        "inspect",
        "convert",
        "cells",
        "bench",
        "sample",
        "compare",
    ]


@pytest.mark.parametrize("command", _commands())
def test_every_command_explains_itself_with_an_example(tidegate: Tidegate, command: str) -> None:
    outcome = tidegate(f"{command} --help")
    assert outcome.code == 0
    assert f"tidegate {command} " in outcome.out.split("Example:")[1]
    assert "--json" in outcome.out


@pytest.mark.parametrize("command", ["", "train", "export", "export onnx", "convert", *_commands()])
def test_help_says_file_and_not_what_python_makes_of_it(tidegate: Tidegate, command: str) -> None:
    shown = tidegate(f"{command} --help").out
    assert "Usage: " in shown
    assert not re.search("<[a-zA-Z]+>", shown)


@pytest.mark.parametrize("command", _commands())
def test_no_help_text_names_two_defaults_or_a_limit_that_limits_nothing(
    tidegate: Tidegate, command: str
) -> None:
    for flag in ("--help", "--help-all"):
        shown = tidegate(f"{command} {flag}").out
        # an option's rows, without the breaks of its lines
        for row in (" ".join(row.split()) for row in re.split(r"\n  (?=--)", shown)):
            assert row.count("default:") <= 1, row
            assert not re.search(r"at least 0|default: 0 if|DEFAULT_|\bNone\b", row), row
            told = row.split(" (default")[0].split("; or ")
            assert not any(a != b and a.endswith(b) for a in told for b in told), row


@pytest.mark.parametrize("task", TASKS)
def test_every_option_of_an_estimator_is_one_of_its_command(tidegate: Tidegate, task: str) -> None:
    shown = tidegate(f"train {TASKS[task].command} --help-all").out
    for f in fields(task_class(task)):  # pyright: ignore[reportArgumentType]
        assert re.search(rf"--{f.name.replace('_', '-')}\s", shown), f.name


@pytest.mark.parametrize("task", TASKS)
def test_help_lists_what_people_use_first_and_says_how_to_see_the_rest(
    tidegate: Tidegate, task: str
) -> None:
    few = tidegate(f"train {TASKS[task].command} --help").out
    shown = set(re.findall(r"--[a-z][a-z-]+", few)) - {"--help", "--help-all"}
    assert {"--output", "--epochs", "--cell", "--resume"} <= shown
    assert len(shown) <= 18  # with --no-..., and the columns of a table
    (more,) = re.findall(r"--help-all +show (\d+) more options", few)
    every = tidegate(f"train {TASKS[task].command} --help-all").out
    assert every.count("\n  --") - few.count("\n  --") == int(more)


@pytest.mark.parametrize("command", ["", "train", "export onnx", *_commands()])
@pytest.mark.parametrize("columns", [72, 80])
def test_help_fits_the_terminal_and_breaks_no_word(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch, command: str, columns: int
) -> None:
    wide = tidegate(f"{command} --help-all").out or tidegate(f"{command} --help").out
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = tidegate(f"{command} --help-all").out or tidegate(f"{command} --help").out
    assert max(map(len, narrow.splitlines())) <= columns
    words = {word for word in re.findall(r"[a-z-]+", wide) if len(word) < 20}
    assert words <= set(re.findall(r"[a-z-]+", narrow))


def test_an_example_that_is_broken_stays_one_command_for_a_shell(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = tidegate("train series-classifier --help").out
    (example,) = re.findall(r"Example: (.*?)\n\n", shown, re.DOTALL)
    assert example.count("\n") >= 1
    line = f"tidegate train series-classifier {TASKS['series-classifier'].example}"
    assert shlex.split(example.replace("\\\n", "")) == line.split()


def test_panels_stand_in_one_order_and_what_is_required_first(tidegate: Tidegate) -> None:
    for task, about in TASKS.items():
        shown = tidegate(f"train {about.command} --help").out
        panels = re.findall(r"^(\w+):$", shown, re.MULTILINE)
        assert panels == ["Arguments", "Data", "Model", "Training", "Run", "Options"], task
        required = [row.split()[-1] == "[required]" for row in shown.split("\n  --")[1:]]
        assert required == sorted(required, reverse=True), task


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("trian", "no such command 'trian'. Did you mean 'train'? see tidegate --help"),
        ("train forecastr", "Did you mean 'forecaster'? see tidegate train --help"),
        ("poetry", "no such command 'poetry'; see tidegate --help"),
        ("train", "missing command; see tidegate train --help"),
        ("info m --jsn", "Did you mean '--json'? see tidegate info --help"),
        ("info", "missing argument 'MODEL'; see tidegate info --help"),
        ("info m n", "unexpected extra argument (n); see tidegate info --help"),
        (
            "train forecaster f.csv --target OT --resume runs/f",
            "(runs/f); --resume takes no value: leave it out; see tidegate train forecaster --help",
        ),
        (
            "train classifier f.csv --text the review --label y",
            "(review); a value with spaces needs quotes, as in --text 'the review'; "
            "see tidegate train classifier --help",
        ),
        (
            "train forecaster f.csv",
            "missing option '--target'; see tidegate train forecaster --help",
        ),
    ],
)
def test_a_typing_error_names_what_is_nearest_and_the_help(
    tidegate: Tidegate, typed: str, said: str
) -> None:
    outcome = tidegate(typed)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: ")
    assert outcome.err.endswith(f"{said}\n")


TINY = "--max-steps 1 --hidden-sizes 4"


def test_every_example_runs_as_it_is_written(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training is made short; the models of the examples are those that the others use."""
    table = Path("gestures.csv").read_text()
    header, *rows = Path("reviews.csv").read_text().splitlines()
    starred = [f"{header},stars", *(f"{row},{i % 5}" for i, row in enumerate(rows))]
    Path("reviews.csv").write_text("\n".join(starred) + "\n")
    Path("runs.csv").write_text(
        table.replace("gesture,t,x,y,kind,force", "run,t,speed,pulse,k,score")
    )
    Path("walks.csv").write_text(
        table.replace("gesture,t,x,y,kind,force,phase", "walk,t,x,y,k,force,activity")
    )
    Path("trips.csv").write_text(
        table.replace("gesture,t,x,y,kind,force,phase", "trip,t,speed,pulse,k,load,phase")
    )
    rows = ("1\tthe\t_\tDET", "2\tcat\t_\tNOUN")
    sentence = "".join(f"{row}" + "\t_" * 6 + "\n" for row in rows) + "\n"
    Path("train.conllu").write_text(sentence * 20)
    Path("dev.conllu").write_text(sentence)
    Path("songs").mkdir()
    for k in range(3):
        notes = np.eye(88, dtype=np.uint8)[30 + k : 50]
        Path(f"songs/{k}.mid").write_bytes(midi_bytes(notes, range(21, 109), 2, 120))
    monkeypatch.setattr("tidegate.serving.server.Server.run", lambda *a, **how: None)  # noqa: ARG005
    for command in [*_commands(), "compare"]:
        if command == "bench":
            continue  # minutes long; tests of its own run it
        piped = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"bad\n")))
        monkeypatch.setattr("sys.stdin", piped)
        shown = tidegate(f"{command} --help").out
        (example,) = re.findall(r"Example: .*?tidegate (.*?)\n\n", shown, re.DOTALL)
        example = example.replace("\\\n", " ")
        if command == "compare":
            example += f" {TINY} --seeds 1"
        outcome = tidegate(f"{example} {TINY}" if command.startswith("train") else example)
        assert outcome.code == 0, (example, outcome.err)


def test_without_a_command_the_help_is_shown(tidegate: Tidegate) -> None:
    assert "Commands" in tidegate("").out

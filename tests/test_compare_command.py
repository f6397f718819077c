"""``tidegate compare``: what it prints, writes and takes up again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from command_line import EVENTS, Tidegate

from tidegate.cli.compare import _DECIDED
from tidegate.tasks import TASKS, task_class

RUNS = {
    "classifier": "reviews.csv --text review --label sentiment --embedding-size 4",
    "language-model": "book.txt --embedding-size 4 --bptt 8",
    "forecaster": "load.csv --time date --target OT --horizon 6 --context 24 --validate-until 0.9",
    "music": EVENTS,
}
FIGURES = {
    "classifier": "cross-entropy",
    "language-model": "nats per token",
    "forecaster": "error",
    "music": "nats per step",
}
BASELINES = {
    "classifier": "TF-IDF + logistic regression",
    "language-model": "-grams",
    "forecaster": "seasonal naive",
    "music": "frequencies after the last step",
}
SMALL = "--hidden-sizes 4 --max-steps 4 --seeds 2 --cells lstm,gru"


def line(task: str) -> str:
    return f"compare {RUNS[task]} --task {task} {SMALL}"


@pytest.mark.parametrize("task", RUNS)
def test_a_table_advice_and_a_report_come_of_one_command(tidegate: Tidegate, task: str) -> None:
    outcome = tidegate(line(task))
    assert outcome.code == 0, outcome.err
    for told in ("LSTM", "GRU", FIGURES[task], BASELINES[task], "±", "2 seeds"):
        assert told in outcome.out
    report, best = re.findall(
        r"^(?:report|best model of the advised cell): (.*)$", outcome.out, re.MULTILINE
    )
    page = Path(report).read_text(encoding="utf-8")
    assert f"tidegate {line(task)}" in page
    assert ("What they write" in page) == (task == "language-model")
    # the file that is named is a model like any other, and remembers its columns
    data = RUNS[task].split()[0]
    assert tidegate(f"evaluate {best} {data}").code == 0


def test_json_stands_alone_on_stdout(tidegate: Tidegate) -> None:
    outcome = tidegate(f"{line('language-model')} --json --max-minutes 5")
    assert len(outcome.out.splitlines()) == 1
    assert "5 minutes" in outcome.json["budget"]
    assert {row["name"] for row in outcome.json["table"]} >= {"LSTM", "GRU"}
    assert len(outcome.json["runs"]) == 4
    assert Path(outcome.json["report"]).exists()
    assert Path(outcome.json["best_model"]).exists()
    assert json.loads(Path(outcome.json["report"]).with_name("comparison.json").read_text())
    assert "LSTM, seed 0" in outcome.err


def test_a_test_file_gives_the_figures(tidegate: Tidegate) -> None:
    figures = tidegate(f"{line('classifier')} --test test.csv --json").json
    assert figures["measured_on"] == "test"
    assert figures["texts"] == 40


def test_the_same_command_goes_on_where_it_was_interrupted(
    tidegate: Tidegate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tidegate.training.language_modelling import LanguageModelling

    seen: list[int] = []

    def interrupt(self: LanguageModelling, step: int, network: object) -> None:  # noqa: ARG001
        seen.append(step)
        if len(seen) == 6:  # in the second run
            raise KeyboardInterrupt

    monkeypatch.setattr(LanguageModelling, "at_step", interrupt)
    wanted = f"{line('language-model')} --checkpoint-seconds 0"
    outcome = tidegate(wanted)
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1] == f"interrupted; go on with: tidegate {wanted}"
    seen.clear()
    seen += [0] * 6
    again = tidegate(wanted)
    assert again.code == 0, again.err
    # of 4 runs of 4 steps the first was done, and of the second all but two or three steps
    assert len(seen) - 6 in (10, 11)


@pytest.mark.parametrize("task", TASKS)
def test_every_option_of_a_task_is_one_of_the_comparison(tidegate: Tidegate, task: str) -> None:
    about = TASKS[task]
    shown = tidegate(f"compare --task {about.command} --help-all").out
    assert f"tidegate compare {about.example.split()[0]} --task" in shown.split("Example:")[1]
    for f in fields(task_class(task)):  # pyright: ignore[reportArgumentType]
        found = re.search(rf"--{f.name.replace('_', '-')}\s", shown)
        assert bool(found) == (f.name not in _DECIDED), f.name


def test_help_without_a_task_says_which_there_are(tidegate: Tidegate) -> None:
    shown = tidegate("compare --help").out
    assert all(about.command in shown for about in TASKS.values())
    assert "tidegate compare reviews.csv --task classifier" in shown.split("Example:")[1]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("compare book.txt", "--task"),
        ("compare book.txt --task poetry", "option --task: expected one of classifier, "),
        ("compare book.txt --task poetry --text a", "option --task: expected one of classifier, "),
        ("compare book.txt --text a", "missing option '--task'"),
        (f"{line('language-model')} --cells gruu", "gruu"),
        (f"{line('language-model')} --seeds 0", "option --seeds"),
        (f"{line('language-model')} --dropout 2", "option --dropout"),
        (f"{line('language-model')} -o there/here", "there"),
        ("compare nothing.txt --task language-model", "nothing.txt"),
        (f"{line('classifier')} --validation book.txt", "book.txt"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tidegate: Tidegate, typed: str, expected: str) -> None:
    outcome = tidegate(typed)
    assert outcome.code == 2
    assert re.fullmatch(r"error: [^\n]+\n", outcome.err), outcome.err
    assert expected in outcome.err


@pytest.mark.usefixtures("tidegate")
def test_without_scikit_learn_the_command_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from tidegate.cli import main\n"
        f"sys.exit(main({line('forecaster').split()!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == (
        "error: this command needs sklearn; install it with: pip install 'tidegate[compare]'\n"
    )
    assert not list(Path.cwd().glob("*-comparison"))

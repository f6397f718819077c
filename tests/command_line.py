"""The command line as a test runs it, in a folder with a file for each task."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tidegate.cli import main

TINY = {
    "classifier": "--embedding-size 4 --hidden-sizes 4 --max-steps 4 --min-count 1",
    "regressor": "--embedding-size 4 --hidden-sizes 4 --max-steps 4",
    "language-model": "--embedding-size 4 --hidden-sizes 4 --max-steps 4 --bptt 8",
    "forecaster": "--hidden-sizes 4 --max-steps 4 --horizon 6 --context 24 --validate-until 0.9",
    "series-classifier": "--hidden-sizes 4 --max-steps 4",
    "series-regressor": "--hidden-sizes 4 --max-steps 4",
    "series-tagger": "--hidden-sizes 4 --max-steps 4",
    "tagger": "--embedding-size 4 --hidden-sizes 4 --letter-hidden-size 3 --max-steps 4",
    "music": "--hidden-sizes 4 --max-steps 4",
    "seq2seq": "--embedding-size 4 --hidden-sizes 4 --max-steps 4",
    "series-to-series": "--hidden-sizes 4 --max-steps 4",
}


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Tidegate = Callable[..., Outcome]


@pytest.fixture
def tidegate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Tidegate:
    """Run a command line, in an empty folder that has the files of ``write_data``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_data(tmp_path)

    def run(line: str, *more: str) -> Outcome:
        code = main([*shlex.split(line), *more])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def write_data(folder: Path) -> None:
    rows = [f"{word} film number {i},{label}" for i in range(20) for word, label in WORDS]
    table = "review,sentiment\n" + "\n".join(rows) + "\n"
    (folder / "reviews.csv").write_text(table)
    (folder / "test.csv").write_text(table)
    graded = [f"{word} film number {i},{stars},{tags},{i % 3},{i % 2 + 1}"
              for i in range(20) for word, stars, tags in GRADED]  # fmt: skip
    (folder / "graded.csv").write_text("review,stars,tags,kind,times\n" + "\n".join(graded) + "\n")
    (folder / "book.txt").write_text("the cat sat on the mat and the dog sat on the log\n" * 20)
    times = np.datetime64("2024-01-01T00") + np.arange(24 * 14) * np.timedelta64(1, "h")
    values = np.sin(np.arange(len(times)) * 2 * np.pi / 24) + 0.1 * np.cos(np.arange(len(times)))
    lines = [f"{t},{v:.5f},{i % 7}" for i, (t, v) in enumerate(zip(times, values, strict=True))]
    (folder / "load.csv").write_text("date,OT,day\n" + "\n".join(lines) + "\n")
    steps = [(i, t, np.sin(t + i), i % 3) for i in range(20) for t in range(5 + i % 4)]
    rows = [
        f"g{i},{t},{x:.5f},{x * x:.5f},k{kind},{kind}.5,{'high' if x > 0 else 'low'}"
        for i, t, x, kind in steps
    ]
    table = "gesture,t,x,y,kind,force,phase\n" + "\n".join(rows) + "\n"
    (folder / "gestures.csv").write_text(table)
    (folder / "new.csv").write_text(table)
    said = [f"We O\nmet O\n{name} B-PER\n{'Lee I-PER' if i % 2 else 'twice O'}\n"
            for i, name in enumerate(["Anna", "Bob", "Zoë", "Ilja"] * 6)]  # fmt: skip
    (folder / "names.conll").write_text("\n".join(said))
    bought = [
        (i, day, what) for i in range(9) for day in range(3 + i % 4) for what in BASKETS[day % 2]
    ]
    rows = [f"c{i},{day},{what}" for i, day, what in bought]
    (folder / "baskets.csv").write_text("customer,day,bought\n" + "\n".join(rows) + "\n")
    pairs = [f"is {word} {i} good?\t{i} is {label}" for i in range(10) for word, label in WORDS]
    (folder / "pairs.tsv").write_text("question\tanswer\n" + "\n".join(pairs) + "\n")
    rows = [f"r{i},{t},{x:.5f},{f'{x / 2:.5f}' if t < 3 + i % 2 else ''}" for i, t, x, _ in steps]
    (folder / "halves.csv").write_text("run,t,x,half\n" + "\n".join(rows) + "\n")


BASKETS = [("bread", "milk"), ("tea",)]

WORDS = [("lovely", "positive"), ("dreadful", "negative")]

GRADED = [("lovely", "4.5", "warm;long"), ("dreadful", "1", ""), ("quiet", "3", "long")]

STEPS = "gestures.csv --id gesture --time t --values x,y"
EVENTS = "baskets.csv --id customer --time day --item bought"

HALVES = "halves.csv --id run --values x --target half"

# What each task learns from, of the files that `write_data` writes.
LEARN = {
    "classifier": "reviews.csv --text review --label sentiment",
    "regressor": "graded.csv --text review --target stars",
    "language-model": "book.txt",
    "forecaster": "load.csv --time date --target OT",
    "series-classifier": f"{STEPS} --label kind",
    "series-regressor": f"{STEPS} --target force",
    "series-tagger": f"{STEPS} --label phase",
    "tagger": "names.conll",
    "music": EVENTS,
    "seq2seq": "pairs.tsv --source question --target answer",
    "series-to-series": HALVES,
}

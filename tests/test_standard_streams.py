"""Standard input and output stand where a file may: ``-`` is never a file of that name."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import STEPS, TINY, Outcome, Tidegate

import tidegate as tg
from tidegate.cli import main

TEXTS = f"--text review --label sentiment {TINY['classifier']}"
SERIES = f"--time date --target OT {TINY['forecaster']}"
PLAIN: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 2, "verbose": 0}


def given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)), "ascii")  # pyright: ignore
    monkeypatch.setattr("sys.stdin", stream)


def written_as(folder: Path, ending: str) -> bytes:
    """The table of gestures in another format."""
    frame, path = pd.read_csv(folder / "gestures.csv"), folder / f"other.{ending}"
    if ending == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif ending == "parquet":
        import polars

        polars.from_dicts(frame.to_dict("records")).write_parquet(path)
    elif ending == "npz":
        np.savez(path, X=np.arange(60.0).reshape(20, 3), y=np.array(["a", "b"] * 10))
    elif ending == "ts":
        lines = [f"{i},{i + 1},{i * i}:{'ab'[i % 2]}" for i in range(20)]
        path.write_text("@univariate true\n@classLabel true a b\n@data\n" + "\n".join(lines))
    else:
        frame.to_csv(path, index=False)
    return path.read_bytes()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "npz", "ts", "csv.gz"])
def test_standard_input_is_read_whatever_kind_of_file_it_holds(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    content = written_as(tmp_path, ending)
    about = "" if ending in ("npz", "ts") else STEPS.partition(" ")[2] + " --label kind"
    line = f"train series-classifier FILE {about} {TINY['series-classifier']} --json"
    of_file = tidegate(line.replace("FILE", f"other.{ending}"))
    assert of_file.code == 0, of_file.err
    given(monkeypatch, content)
    outcome = tidegate(line.replace("FILE", "-"))
    assert outcome.code == 0, outcome.err
    assert outcome.json["validation"] == of_file.json["validation"]
    model = outcome.json["model"]
    wanted = tidegate(f"predict {model} other.{ending}").out
    given(monkeypatch, content)
    assert tidegate(f"predict {model} -").out == wanted


def test_every_command_reads_standard_input(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command, file, about, then in (
        ("classifier", "reviews.csv", TEXTS, ["evaluate M -", "predict M - --text review"]),
        ("forecaster", "load.csv", SERIES, ["evaluate M -", "forecast M -"]),
        ("language-model", "book.txt", TINY["language-model"], ["evaluate M -"]),
    ):
        lines = [f"train {command} - {about} -o M --run-folder runs/{command} --force", *then]
        if command == "classifier":
            lines += [f"compare - --task {command} {about} --cells gru --seeds 1 -o found"]
        for line in lines:
            given(monkeypatch, Path(file).read_bytes())
            outcome = tidegate(line)
            assert outcome.code == 0, outcome.err
            if line.startswith(("evaluate", "forecast", "predict")):
                assert outcome.out == tidegate(line.replace(" M -", f" M {file}")).out


def test_a_pipe_is_read_as_its_file_is(tidegate: Tidegate, tmp_path: Path) -> None:
    assert tidegate(f"train forecaster load.csv {SERIES}").code == 0
    wanted = tidegate("forecast load-forecaster.safetensors load.csv").out
    os.mkfifo(tmp_path / "pipe")
    content = (tmp_path / "load.csv").read_bytes()
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
    writer.start()
    assert tidegate("forecast load-forecaster.safetensors pipe").out == wanted
    writer.join()
    line = "forecast load-forecaster.safetensors"
    assert in_bash(f"{line} <(cat load.csv)") == wanted
    assert in_bash(f"{line} /dev/stdin < load.csv") == wanted
    assert in_bash(f"{line} load.csv -o - | cat") == wanted


def in_bash(line: str) -> str:
    shell = f"{shlex.quote(sys.executable)} -m tidegate {line}"
    return subprocess.run(
        ["bash", "-c", shell], capture_output=True, check=True, text=True, timeout=120
    ).stdout


def test_an_error_in_standard_input_names_its_line_and_row(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, b"review,sentiment\ngood,1\n,0\n" + b"fine,1\nbad,0\n" * 9)
    outcome = tidegate(f"train classifier - {TEXTS}")
    assert outcome.code == 2
    assert "standard input, line 3, column 'review'" in outcome.err
    assert tidegate(f"train classifier reviews.csv {TEXTS}").code == 0
    given(monkeypatch, b"review,sentiment\ngood,positive\nbad,mediocre\n")
    outcome = tidegate("evaluate reviews-text-classifier.safetensors -")
    assert "standard input, line 3, column 'sentiment'" in outcome.err


# Where standard output or input cannot be, who follows the advice can go on.
REFUSED = {
    "a model on stdout": (
        f"train language-model book.txt {TINY['language-model']} -o -",
        "standard output (-), which is for text; name a file",
        f"train language-model book.txt {TINY['language-model']} -o m.safetensors",
    ),
    "a folder on stdout": (
        f"train language-model book.txt {TINY['language-model']} --run-folder -",
        "expected a folder, got -, for standard output; name one",
        f"train language-model book.txt {TINY['language-model']} --run-folder f -o n.safetensors",
    ),
    "a comparison on stdout": (
        f"compare book.txt --task language-model {TINY['language-model']} --cells gru --seeds 1 "
        "-o -",
        "got standard output (-); name a folder",
        f"compare book.txt --task language-model {TINY['language-model']} --cells gru --seeds 1 "
        "-o found",
    ),
    "a picture on stdout": (
        "forecast f.safetensors load.csv --plot -",
        "standard output (-), which is for text; name a file",
        "forecast f.safetensors load.csv --plot a.png",
    ),
    "a table and JSON on stdout": (
        "forecast f.safetensors load.csv -o - --json",
        "expected none beside an output to stdout, got both; name a file",
        "forecast f.safetensors load.csv -o a.csv --json",
    ),
    "a model on stdin": (
        "info -",
        "standard input (-); write it to a file and name that",
        "info f.safetensors",
    ),
    "stdin for several processes": (
        f"train language-model - {TINY['language-model']} --devices 2",
        "write what comes from it to a file and name that",
        f"train language-model book.txt {TINY['language-model']}",
    ),
    "a table of sequences for texts": (
        "evaluate c.safetensors - --text review --label sentiment",
        "got what looks like a .npz file; write it as CSV",
        "evaluate c.safetensors reviews.csv --text review --label sentiment",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_follows_the_advice_on_a_stream_can_go_on(
    fitted_in_python: Tidegate, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    typed, advice, followed = REFUSED[case]
    np.savez("q.npz", X=np.ones((3, 3)))
    given(monkeypatch, Path("q.npz").read_bytes())
    before = set(os.listdir())
    outcome = fitted_in_python(typed)
    assert outcome.code == 2
    assert advice in outcome.err
    assert set(os.listdir()) == before
    done = fitted_in_python(followed)
    assert done.code == 0, done.err


def test_a_benchmark_on_standard_output_is_its_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {"machine": {}, "rows": []}
    monkeypatch.setattr("tidegate.bench.run.run", lambda *_: found)  # it takes seconds
    assert main(["bench", "-o", "-"]) == 0
    assert json.loads(capfd.readouterr().out)["rows"] == []
    assert main(["bench", "-o", "-", "--json"]) == 2
    assert "option --json" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture
def fitted_in_python(tidegate: Tidegate) -> Tidegate:
    """Models that were fitted in Python, on frames and arrays: c, f, and the series' s."""
    table = pd.read_csv("reviews.csv")
    texts = tg.TextClassifier(**PLAIN, embedding_size=4).fit(table.review, table.sentiment)
    texts.save("c.safetensors")
    series = pd.read_csv("load.csv", index_col="date", parse_dates=True)[["OT"]]
    tg.Forecaster(**PLAIN, horizon=6, context=24).fit(series).save("f.safetensors")
    return tidegate


def test_a_model_fitted_in_python_is_asked_by_the_command_line(
    fitted_in_python: Tidegate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(line: str) -> Outcome:
        outcome = fitted_in_python(line)
        assert outcome.code == 0, outcome.err
        return outcome

    given(monkeypatch, b"lovely\ndreadful\n")
    assert len(ran("predict c.safetensors -").out.splitlines()) == 2
    assert ran("forecast f.safetensors load.csv").out.startswith("date,OT\n")
    ran("evaluate f.safetensors load.csv --start 0.9")
    # text and label are the names of columns that Python was not told
    Path("own.csv").write_text(
        Path("reviews.csv").read_text().replace("review,sentiment", "text,label")
    )
    assert ran("predict c.safetensors own.csv").out
    ran("evaluate c.safetensors own.csv")
    outcome = fitted_in_python("evaluate c.safetensors reviews.csv")
    assert "expected a column 'text', got 'review', 'sentiment'; name one of these" in outcome.err
    ran("evaluate c.safetensors reviews.csv --text review --label sentiment")
    assert "(default: as in training, else text)" in " ".join(ran("predict --help").out.split())

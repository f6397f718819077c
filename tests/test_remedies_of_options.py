"""What an error about options or about Python's data advises, followed: the call works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tidegate as tg
from tidegate.cli import main
from tidegate.errors import InputError

TINY = "--hidden-sizes 4 --max-steps 1"
MODEL = f"train language-model d.txt {TINY} --embedding-size 4 --bptt 8"
CLASSIFY = f"train classifier d.csv --text t --label k {TINY} --embedding-size 4"
FORECAST = f"train forecaster n.csv --time t --target v {TINY} --horizon 3 --context 8"
SEQUENCES = f"train series-classifier q.csv --id g --time t --values v --label k {TINY}"
COMPARE = f"compare q.csv --task series-classifier --id g --time t --values v --label k {TINY}"
COMPARE += " --cells gru --seeds 1"

# What was typed, what the error advises, what is typed by who follows it.
CASES = {
    "momentum": (
        f"{MODEL} --optimizer adam --momentum 0.5",
        "leave it out, or choose sgd or nesterov or rmsprop as --optimizer",
        f"{MODEL} --optimizer rmsprop --momentum 0.5",
    ),
    "fewest steps": (
        f"{MODEL} --fewest-steps 5",
        "expected at most --max-steps, 1, got 5; lower it",
        f"{MODEL} --fewest-steps 1",
    ),
    "no layer": (f"{MODEL} --hidden-sizes ,", "such as 128", f"{MODEL} --hidden-sizes 128"),
    "size of a layer": (
        f"{MODEL} --hidden-sizes 4,0",
        "whole numbers at least 1, such as 64,32",
        f"{MODEL} --hidden-sizes 64,32",
    ),
    "cell": (f"{MODEL} --cell gruu", "such as gru, .*tidegate cells lists", f"{MODEL} --cell rnn"),
    "choices": (f"{MODEL} --schedule x", "one of cosine, linear", f"{MODEL} --schedule linear"),
    "tied": (
        f"{MODEL} --tie-embeddings --embedding-size 8",
        "--embedding-size: expected 4, the last of --hidden-sizes",
        f"{MODEL} --tie-embeddings --embedding-size 4",
    ),
    "vocabulary": (
        f"{MODEL} --vocabulary-size 1",
        "--vocabulary-size: expected 2 to 1114112",
        f"{MODEL} --vocabulary-size 2",
    ),
    "fractions": (
        f"{MODEL} --validation-fraction 0.6 --test-fraction 0.6",
        "expected a sum with --test-fraction below 1, got 1.2; lower one",
        f"{MODEL} --validation-fraction 0.6 --test-fraction 0.2",
    ),
    "nothing left": (
        f"{CLASSIFY} --validation-fraction 0.5 --test-fraction 0.5",
        "or a smaller --validation-fraction or --test-fraction",
        f"{CLASSIFY} --validation-fraction 0.2 --test-fraction 0.2",
    ),
    "frozen": (
        f"{CLASSIFY} --freeze-embeddings",
        "expected --embeddings or --init-from beside it, got neither; leave it out",
        CLASSIFY,
    ),
    "vectors of letters": (
        f"{CLASSIFY} --level char --embeddings v.txt",
        "leave it out, or give --level word",
        f"{CLASSIFY} --level word --embeddings v.txt",
    ),
    "vectors of another size": (
        f"{CLASSIFY} --embeddings v.txt --embedding-size 5",
        "--embedding-size: expected 4, as in v.txt, got 5; leave it out",
        f"{CLASSIFY} --embeddings v.txt",
    ),
    "readout": (
        f"{CLASSIFY} --readout first",
        "such as 'mean.max'",
        f"{CLASSIFY} --readout mean+max",
    ),
    "weights of labels": (
        f"{CLASSIFY} --class-weight rare",
        "--class-weight: expected 'balanced'",
        f"{CLASSIFY} --class-weight balanced",
    ),
    "segment": (
        f"{FORECAST} --segment 6",
        "expected a divisor of --context, 8, got 6; .*such as 2",
        f"{FORECAST} --segment 2",
    ),
    "training ends late": (
        f"{FORECAST} --train-until 50 --validate-until 40",
        r"a moment before --validate-until \(row 40\), got row 50; choose an earlier one",
        f"{FORECAST} --train-until 30 --validate-until 40",
    ),
    "moment": (
        f"{FORECAST} --train-until soon",
        "a row number or a fraction such as 0.8",
        f"{FORECAST} --train-until 0.8",
    ),
    "tab": (f"{FORECAST} --separator ''", "such as ';', or 'tab'", f"{FORECAST} --separator ,"),
    "about tables": (f"{MODEL} --separator ,", "d.txt is no table, .*leave it out", MODEL),
    "encoding": (f"{MODEL} --encoding x", "such as cp1252", f"{MODEL} --encoding cp1252"),
    "a table's option": (f"{FORECAST} --sheet a", "none for a .csv file, .*leave it out", FORECAST),
    "no time of sequences": (
        f"train series-classifier q.csv --time t --label k {TINY}",
        "or give --id, too",
        f"train series-classifier q.csv --time t --id g --label k {TINY}",
    ),
    "columns of sequences": (
        f"train series-classifier q.csv --id g --values v --label k --channels 2 {TINY}",
        "use --values",
        f"train series-classifier q.csv --id g --values v --label k {TINY}",
    ),
    "output is the input": (f"{MODEL} -o d.txt", "name another", f"{MODEL} -o m.safetensors"),
    "output is another's": (f"{MODEL} -o v.txt", "with --force", f"{MODEL} -o v.txt --force"),
    "output in no folder": (
        f"{MODEL} -o none/m.safetensors",
        "name another|make it first",
        f"{MODEL} -o m.safetensors",
    ),
    "output in the run": (
        f"{MODEL} -o run/curve.png --run-folder run",
        "another folder with --run-folder",
        f"{MODEL} -o run/curve.png --run-folder else",
    ),
    "nothing to resume": (
        f"{MODEL} --resume",
        "or begin a new run: leave out --resume",
        MODEL,
    ),
    "json on stdout": (f"{MODEL} -o /dev/stdout", "name a file", f"{MODEL} -o m.safetensors"),
    "no validation": (
        f"{COMPARE} --validation-fraction 0",
        "such as --validation-fraction 0.1",
        f"{COMPARE} --validation-fraction 0.1",
    ),
    "cells": (f"{COMPARE} --cells gru,gru", "such as gru,lstm", f"{COMPARE} --cells gru,lstm"),
}  # fmt: skip


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d.txt").write_text("one two three four five six\n" * 40)
    rows = [f"film {i},{'good' if i % 2 else 'bad'}\n" for i in range(20)]
    Path("d.csv").write_text("t,k\n" + "".join(rows))
    Path("n.csv").write_text("t,v\n" + "".join(f"{i},{i % 5}.5\n" for i in range(60)))
    rows = [f"{i // 3},{i % 3},{i},k{i // 3 % 2}\n" for i in range(60)]
    Path("q.csv").write_text("g,t,v,k\n" + "".join(rows))
    Path("run").mkdir()
    Path("v.txt").write_text("film 1 2 3 4\ngood 4 3 2 1\n")


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("case", CASES)
def test_who_follows_the_advice_on_an_option_can_go_on(
    capsys: pytest.CaptureFixture[str], case: str
) -> None:
    typed, advice, followed = CASES[case]
    assert main([*shlex.split(typed), "--json"]) == 2
    problem = capsys.readouterr().err.splitlines()[-1]
    assert re.search(advice, problem), problem
    code = main([*shlex.split(followed), "--json"])
    assert code == 0, capsys.readouterr().err


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("more", ["--resume", "--force", "--run-folder another"])
def test_a_run_that_is_there_is_continued_replaced_or_left(
    capsys: pytest.CaptureFixture[str], more: str
) -> None:
    assert main(shlex.split(MODEL)) == 0
    assert main(shlex.split(MODEL)) == 2
    assert more.split()[0] in capsys.readouterr().err
    assert main(shlex.split(f"{MODEL} {more}")) == 0


@pytest.mark.usefixtures("_files")
def test_a_run_is_resumed_with_the_options_it_began_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(shlex.split(MODEL)) == 0
    assert main(shlex.split(f"{MODEL} --resume --learning-rate 0.1")) == 2
    told = "--learning-rate: expected 0.004, as when the run began, got 0.1; give it as it was"
    assert told in capsys.readouterr().err
    assert main(shlex.split(f"{MODEL} --resume --learning-rate 0.004")) == 0


@pytest.mark.usefixtures("_files")
def test_weights_that_are_not_finite_are_not_written_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(shlex.split(f"{MODEL} --learning-rate 1e38")) != 0
    problem = capsys.readouterr().err
    assert "lower --learning-rate" in problem
    assert "write it elsewhere" not in problem
    assert main(shlex.split(f"{MODEL} --learning-rate 0.01 --force")) == 0


PLAIN: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 1, "verbose": 0}
TEXTS, LABELS = [f"film {i}" for i in range(20)], ["a", "b"] * 10
ROWS = np.random.default_rng(0).normal(size=(20, 9))
DAYS = pd.date_range("2016-01-01", periods=60)
FRAME = pd.DataFrame({"v": np.arange(60) % 7 + 0.5}, index=DAYS)


def texts(inputs: Any = TEXTS, labels: Any = LABELS, **options: Any) -> tg.TextClassifier:
    return tg.TextClassifier(**PLAIN | {"embedding_size": 4} | options).fit(inputs, labels)


def weighted(weights: Any) -> tg.SequenceClassifier:
    return tg.SequenceClassifier(**PLAIN).fit(ROWS, LABELS, sample_weight=weights)


def regressed(y: Any) -> tg.SequenceRegressor:
    return tg.SequenceRegressor(**PLAIN).fit(ROWS, y)


def forecast(data: Any, **options: Any) -> tg.Forecaster:
    return tg.Forecaster(**PLAIN | {"horizon": 2, "context": 7} | options).fit(data)


WIDE = FRAME.assign(name="x")
PANEL = pd.concat([FRAME], keys=["north"]).swaplevel()
# A call, what the error advises, the call of who follows it.
IN_PYTHON: dict[str, tuple[Callable[[], Any], str, Callable[[], Any]]] = {
    "one text": (
        lambda: texts().predict("film 1"), r"pass \[text\]", lambda: texts().predict(["film 1"]),
    ),
    "a number among texts": (
        lambda: texts([*TEXTS[:-1], 3]), "make it a str", lambda: texts([*TEXTS[:-1], "3"]),
    ),
    "labels of two types": (
        lambda: texts(labels=[1, "b"] * 10), "make them all str",
        lambda: texts(labels=["1", "b"] * 10),
    ),
    "labels in two columns": (
        lambda: texts(labels=pd.DataFrame({"a": LABELS, "b": LABELS})),
        r"frame\['NAME'\]",
        lambda: texts(labels=pd.DataFrame({"a": LABELS, "b": LABELS})["a"]),
    ),
    "labels in a square": (
        lambda: texts(labels=np.array([LABELS])), "flatten it",
        lambda: texts(labels=np.array([LABELS]).ravel()),
    ),
    "new label": (
        lambda: texts().evaluate(TEXTS, ["a", "c"] * 10), "mend the label",
        lambda: texts().evaluate(TEXTS, ["a", "b"] * 10),
    ),
    "all weights 0": (
        lambda: weighted([0] * 20), "sample_weight or class_weight some that are",
        lambda: weighted([1] * 20),
    ),
    "a weight below 0": (
        lambda: weighted([-1] + [1] * 19), "a finite number from 0",
        lambda: weighted([0] + [1] * 19),
    ),
    "large numbers": (
        lambda: regressed([1e300] * 10 + [2e300] * 10), "divide all by a power of ten",
        lambda: regressed([1.0] * 10 + [2.0] * 10),
    ),
    "a missing number": (
        lambda: regressed([float("nan"), *range(19)]), "fill it in", lambda: regressed(range(20)),
    ),
    "a column of text": (
        lambda: forecast(WIDE), "leave the column out", lambda: forecast(WIDE.drop(columns="name")),
    ),
    "series in levels": (
        lambda: forecast(PANEL), r"frame.unstack\(0\)|of its own", lambda: forecast(FRAME),
    ),
    "a date": (
        lambda: forecast(FRAME, train_until=date(2016, 2, 10)), "expected text or a number",
        lambda: forecast(FRAME, train_until=str(date(2016, 2, 10))),
    ),
    "short past": (
        lambda: forecast(FRAME).forecast(FRAME[:3]), "with a shorter context",
        lambda: forecast(FRAME, context=2).forecast(FRAME[:3]),
    ),
    "seen rows": (
        lambda: forecast(FRAME).evaluate(FRAME), "or an earlier start",
        lambda: forecast(FRAME).evaluate(FRAME, 50),
    ),
    "unfitted": (
        lambda: tg.Forecaster().forecast(FRAME), "call fit or load",
        lambda: forecast(FRAME).forecast(FRAME),
    ),
    "temperature": (
        lambda: tg.LanguageModel(**PLAIN).fit("hello " * 40).generate("h", 3, temperature=0),
        "greedy=True always takes the likeliest",
        lambda: tg.LanguageModel(**PLAIN).fit("hello " * 40).generate("h", 3, greedy=True),
    ),
    "file of another kind": (
        lambda: texts().save("d.csv"), "with force=True", lambda: texts().save("d.csv", force=True),
    ),
}  # fmt: skip


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("case", IN_PYTHON)
def test_who_follows_the_advice_in_python_can_go_on(case: str) -> None:
    call, advice, followed = IN_PYTHON[case]
    with pytest.raises(InputError, match=advice) as error:
        call()
    assert not re.search(" --[a-z]", str(error.value))  # no flags of the command line
    followed()

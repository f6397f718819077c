"""What reaches a terminal is printable, short, and ends quietly however a command ends."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Tidegate

import tidegate as tg
from tidegate.cli import main
from tidegate.errors import InputError
from tidegate.tasks import TASKS, task_class
from tidegate.tasks.estimator import default_model_path
from tidegate.terminal import elided, one_line, printable, quoted, quoted_path

TRAIN = f"train language-model book.txt {TINY['language-model']} --sample-steps 2"
MODEL = "book-language-model.safetensors"
HOSTILE = "a\x1b[31mred\x1b]0;title\x07\u202egnp\x9b2J\x7f"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PROGRAM = [sys.executable, "-m", "tidegate"]


@pytest.fixture
def model(tidegate: Tidegate) -> str:
    assert tidegate(TRAIN).code == 0
    return MODEL


# what is printable


def test_control_characters_are_written_out_and_others_stay() -> None:
    assert printable("a\x1b[1m\r\n\t\x7f\x9b\u2028\u202e\ud800") == (
        r"a\x1b[1m\r\n\t\x7f\x9b\u2028\u202e\ud800"
    )
    assert printable("a\r\n\tb\x1b", lines=True) == "a\n\tb\\x1b"
    assert printable("naïve žluťoučký 東京 שלום 👩‍👩‍👧") == "naïve žluťoučký 東京 שלום 👩‍👩‍👧"
    assert printable(os.fsdecode(b"b\xffook")) == r"b\xffook"


def test_a_long_message_keeps_its_beginning_and_its_end() -> None:
    error = InputError("expected a, got " + "x" * 7000 + "; do this", file="data.csv")
    assert str(error).startswith("data.csv: expected a, got xxx")
    assert str(error).endswith("xxx; do this")
    assert len(str(error)) < 1010
    assert elided(str(error)) == one_line(str(error)) == str(error)


@pytest.mark.parametrize(
    "name",
    ["plain", "-dash", "with space", "it's", 'a "b" $HOME `id` \\', "new\nline", "tab\t\x1b[0m"]
    + [os.fsdecode(b"not \xff utf-8 \xc3"), "ž\x01'\\"],
)
def test_a_quoted_name_is_that_name_to_a_shell(name: str) -> None:
    for shown in (quoted(name), quoted_path(name)):
        assert RAW.search(shown) is None
        assert "\n" not in shown
        command = ["bash", "-c", f"printf '%s' {shown}"]
        said = subprocess.run(command, capture_output=True, check=True).stdout
        assert said.removeprefix(b"./") == os.fsencode(name)
    assert not quoted_path(name).startswith("-")


def test_a_quoted_name_is_one_that_stdout_can_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    shown = quoted("über it's.txt")
    assert shown.isascii()
    said = subprocess.run(["bash", "-c", f"printf '%s' {shown}"], capture_output=True, check=True)
    assert said.stdout == "über it's.txt".encode()


# doors


def test_what_a_model_file_holds_is_printed_without_control_characters(
    tidegate: Tidegate,
) -> None:
    from tidegate.model.checkpoint import load_model, save_model

    line = "train classifier reviews.csv --text review --label sentiment"
    assert tidegate(f"{line} {TINY['classifier']}").code == 0
    name = "reviews-text-classifier.safetensors"
    held = load_model(name)
    held.provenance[HOSTILE] = held.provenance["data"] = HOSTILE * 300
    held.labels = [f"positive{HOSTILE}", "negative"]
    held.metrics[HOSTILE] = 1.0
    held.options["device"] = "cpu"
    save_model(name, held)
    Path("lines.txt").write_text(f"a film {HOSTILE}\n")
    Path("reviews.csv").write_text(f"review,sentiment\na,{HOSTILE}\n")
    for command in (
        f"info {name}",
        f"predict {name} lines.txt",
        f"evaluate {name} reviews.csv",
        f"predict {name} lines.txt --json",
        f"info {name} --json",
    ):
        outcome = tidegate(command)
        assert RAW.search(outcome.out + outcome.err) is None, command
        assert "--json" in command or len(outcome.out) < 8000
    assert tidegate(f"info {name} --json").json["provenance"]["data"] == HOSTILE * 300


@pytest.mark.parametrize(
    "line",
    ["info {}", "predict {} -", "train language-model {}", "evaluate {} {}", "{}", "info x {}"],
)
def test_an_error_about_a_hostile_name_is_one_printable_line(
    tidegate: Tidegate,
    line: str,
) -> None:
    for name in (HOSTILE, "x" * 7000, os.fsdecode(b"\xff\xfe")):
        outcome = tidegate(line.format(*2 * [shlex.quote(name)]))
        assert outcome.code == 2
        assert RAW.search(outcome.err) is None
        assert len(outcome.err.splitlines()) == 1
        assert len(outcome.err) < 1100


def test_a_hostile_column_is_printed_without_control_characters(tidegate: Tidegate) -> None:
    Path("bad.csv").write_text(f"{HOSTILE},sentiment\na,b\nc,d\n")
    outcome = tidegate("train classifier bad.csv --text review --label sentiment")
    assert outcome.code == 2
    assert RAW.search(outcome.err) is None


def test_generated_text_is_raw_in_a_pipe_and_printable_on_a_terminal(
    tidegate: Tidegate,
) -> None:
    Path("book.txt").write_text("a\x1b[31mb\x9b" * 200)
    outcome = tidegate(TRAIN)
    assert outcome.code == 0, outcome.err
    assert RAW.search(outcome.out) is None  # the samples
    command = [*PROGRAM, "generate", MODEL, "--length", "60", "--seed", "1"]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"\x1b" in piped
    parent, child = pty.openpty()
    subprocess.run(command, stdout=child, check=True)
    os.close(child)
    shown = os.read(parent, 10_000)
    os.close(parent)
    assert b"\x1b" not in shown
    assert rb"\x1b" in shown


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.usefixtures("tidegate")
def test_a_console_that_cannot_show_a_character_gets_it_written_out(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    Path("book.txt").write_text("žluťoučký kůň “pěl” ódy\n" * 40)
    for line in (TRAIN, f"generate {MODEL} --seed 1", f"generate {MODEL} --seed 1 --json"):
        console = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", console)
            assert main(shlex.split(line)) == 0
        written = console.buffer.getvalue()  # pyright: ignore
        assert b"\\u01" in written
        if "--json" in line:
            assert set(json.loads(written)["text"]) & set("žťůňě")


def test_training_from_python_goes_on_where_the_console_cannot_show_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr("sys.stdout", console)
    model = tg.LanguageModel(max_steps=2, hidden_sizes=(4,), bptt=8, sample_steps=(1,))
    model.fit("žluťoučký kůň\n" * 40)
    assert b"--- step 1" in console.buffer.getvalue()  # pyright: ignore


@pytest.mark.parametrize(
    "name",
    [
        os.fsdecode(b"b\xffook.txt"),
        ".txt",
        "-book.txt",
        "n\nl 'c'.txt",
    ],
)
def test_a_file_of_any_name_is_learned_from_and_the_next_command_works(
    tidegate: Tidegate,
    name: str,
) -> None:
    Path("book.txt").rename(name)
    outcome = tidegate(TRAIN.replace("book.txt", ""), "--", name)
    assert outcome.code == 0, outcome.err
    following = outcome.out.splitlines()[-1].removeprefix("next:  tidegate ")
    shell = f"{shlex.quote(sys.executable)} -m tidegate {following}"
    run = subprocess.run(["bash", "-c", shell], capture_output=True, check=True)
    assert len(run.stdout) > 500
    told = tidegate(TRAIN.replace("book.txt", "--force --json"), "--", name).json
    assert tidegate("info --json --", told["model"]).json["task"] == "language-model"
    assert Path(os.fsdecode(os.fsencode(told["model"]))).exists()
    resumed = tidegate(TRAIN.replace("book.txt", "--resume --json"), "--", name)
    assert resumed.code == 0, resumed.err


def test_the_default_model_file_is_named_after_any_data() -> None:
    named = {".txt": "txt", ".hidden.txt": "hidden", "-": "model", "a/b.csv.gz": "b", "--x": "x"}
    for data, name in named.items():
        assert default_model_path("forecaster", data) == Path(f"{name}-forecaster.safetensors")


def test_an_interrupted_run_on_a_file_after_two_dashes_is_resumed_by_its_message(
    tidegate: Tidegate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tidegate.training.language_modelling import LanguageModelling

    def interrupt(self: Any, step: int, network: Any) -> None:  # noqa: ARG001
        if step == 3:
            raise KeyboardInterrupt

    Path("book.txt").rename("-n\nl.txt")
    with monkeypatch.context() as patch:
        patch.setattr(LanguageModelling, "at_step", interrupt)
        line = TRAIN.replace("book.txt", "--checkpoint-seconds 0")
        outcome = tidegate(line, "--", "-n\nl.txt")
    assert outcome.code == 130
    command = outcome.err.removeprefix("interrupted; go on with: tidegate")
    shell = f"{shlex.quote(sys.executable)} -m tidegate {command}"
    subprocess.run(["bash", "-c", shell], capture_output=True, check=True)


@pytest.mark.parametrize("seed", ["-1", "1.5", "x", str(2**63), "9" * 5000])
def test_a_seed_that_is_none_is_an_error_of_one_line(
    tidegate: Tidegate,
    model: str,
    seed: str,
) -> None:
    for line in (TRAIN, f"generate {model}"):
        outcome = tidegate(f"{line} --seed {seed}")
        assert outcome.code == 2
        assert "seed" in outcome.err
        assert len(outcome.err.splitlines()) == 1
        assert len(outcome.err) < 1100


def test_a_seed_that_is_none_is_an_error_in_python_and_the_largest_is_one() -> None:
    model = tg.LanguageModel(max_steps=1, hidden_sizes=(2,), bptt=8, verbose=0)
    model.set_params(seed=2**63 - 1).fit("the cat sat on the mat\n" * 20)
    assert len("".join(model.generate(length=3, seed=2**63 - 1))) == 3
    for seed in (-1, 2**63, 1.5, True, "1"):
        with pytest.raises(InputError, match="option seed: expected a whole number at least 0 and"):
            model.generate(seed=seed)  # pyright: ignore
        with pytest.raises(InputError, match="option seed: expected a whole number at least 0 and"):
            model.set_params(seed=seed).fit("the cat")


# ends


@pytest.mark.parametrize("line", [f"info {MODEL}", f"info {MODEL} --json", f"generate {MODEL}"])
def test_a_full_or_closed_stdout_is_one_line_and_a_broken_one_none(model: str, line: str) -> None:
    command = shlex.join([*PROGRAM, *line.split()])
    for end, code, said in (
        ("> /dev/full", 1, b"error: standard output: expected a place to write to"),
        (">&-", 1, b"error: standard output: expected an open one"),
        ("| true; exit ${PIPESTATUS[0]}", 141, b""),
    ):
        run = subprocess.run(["bash", "-c", f"{command} {end}"], capture_output=True, check=False)
        assert run.stderr.startswith(said)
        assert len(run.stderr.splitlines()) == bool(said), run.stderr
        # a short text may be in the pipe before nobody reads it
        assert run.returncode == code or (code == 141 and run.returncode == 0)
    assert model


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_interrupted_says_so_in_one_line(model: str, number: int) -> None:
    """Also while modules are loaded; only Python's own start is not ours."""
    for wait in (0.0, 0.02, 0.1, 0.5):
        program = (
            "import os, threading, time\n"
            f"threading.Timer({wait}, lambda: os.kill(os.getpid(), {int(number)})).start()\n"
            "import sys; from tidegate.__main__ import run; sys.exit(run())"
        )
        command = [sys.executable, "-c", program, "generate", model, "--length", "100000"]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if wait < 0.1 and run.returncode in (-number, 1):
            continue  # before the first line of ours
        assert run.returncode == 128 + number
        assert run.stderr == "interrupted\n"


def test_ctrl_c_that_a_library_made_another_error_of_is_an_interruption(
    tidegate: Tidegate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("a half-loaded module") from None

    monkeypatch.setattr("tidegate.model.checkpoint.load_model", load)
    outcome = tidegate("info m.safetensors")
    assert (outcome.code, outcome.err) == (130, "interrupted\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# options and numbers


@pytest.mark.parametrize("task", TASKS)
def test_every_boolean_option_can_be_switched_on_and_off(tidegate: Tidegate, task: str) -> None:
    about = TASKS[task]
    shown = tidegate(f"train {about.command} --help-all").out
    listed = [*fields(task_class(task)), *fields(about.source)]  # pyright: ignore
    flags = [f.name.replace("_", "-") for f in listed if isinstance(f.default, bool)]
    assert "force" in flags
    for flag in flags:
        # --no-time is switched off by naming what it denies
        off = flag.removeprefix("no-") if flag.startswith("no-") else f"no-{flag}"
        on_and_off = rf"--{flag} / --{off}\s" if off.startswith("no-") else rf"--{off}\s"
        assert re.search(on_and_off, shown), flag
    for command, flag in (("generate", "greedy"), ("compare", "equal-parameters")):
        assert f"--no-{flag}" in tidegate(f"{command} --help").out


def test_a_finite_number_never_gives_nan() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 12)), rng.standard_normal(20)
    options: dict[str, Any] = {"max_steps": 2, "hidden_sizes": (4,), "verbose": 0}
    for value in (1e-300, 1e10, 1e29):
        strange = X.copy()
        strange[3, 4] = value
        assert np.isfinite(tg.SequenceRegressor(**options).fit(X, y).predict(strange)).all()
    for value in (1e31, 1e160, 1e300, -1.7e308):
        strange, goal = X.copy(), y.copy()
        strange[3, 4] = goal[3] = value
        with pytest.raises(InputError, match=r"sequence 3: .*standard deviations away; check its"):
            tg.SequenceRegressor(**options).fit(X, y).predict(strange)
        if abs(value) > 1e150:
            with pytest.raises(InputError, match=r"up to 1e\+150.*divide all by a power"):
                tg.SequenceRegressor(**options).fit(X, goal)
        if abs(value) > 1e300:
            # learned from, or held out and beyond what was
            wanted = r"up to 1e\+300.*divide all by a power|standard deviations away; check its"
            with pytest.raises(InputError, match=wanted):
                tg.SequenceRegressor(**options).fit(strange, y)
    for big in (1e140, 1e-200):
        model = tg.SequenceRegressor(**options).fit(X * big, y * big)  # as the remedy says
        assert np.isfinite(model.predict(X * big)).all()

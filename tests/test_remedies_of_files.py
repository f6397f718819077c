"""What errors about models, runs, files of sequences and of vectors advise, followed: it works."""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import STEPS, TINY, Outcome, Tidegate, write_data
from test_outputs import fill, tiny_disk

from tidegate.cli import main
from tidegate.output.lock import lock

MODEL = f"train language-model book.txt {TINY['language-model']} -o m.safetensors"
TEXTS = f"train classifier reviews.csv --text review --label sentiment {TINY['classifier']}"
SEQUENCES = f"{TINY['series-classifier']} -o s.safetensors"
FOLLOWED = "predict t.safetensors book.txt"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a language model m, a classifier of texts t and a forecaster f."""
    folder = tmp_path_factory.mktemp("trained")
    write_data(folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        for line in (
            MODEL,
            f"{TEXTS} -o t.safetensors",
            f"train forecaster load.csv --time date --target OT {TINY['forecaster']} "
            "-o f.safetensors",
        ):
            assert main(shlex.split(line)) == 0
    finally:
        os.chdir(before)
    shutil.copy(folder / "t.safetensors", folder / "whole.safetensors")
    return folder


@pytest.fixture
def world(tidegate: Tidegate, trained: Path, tmp_path: Path) -> Tidegate:
    """Run a command line in a copy of that folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tidegate


def advised(outcome: Outcome, advice: str) -> str:
    """The message of a refusal, in one line, which gives the advice."""
    assert outcome.code == 2, outcome
    assert re.search(advice, outcome.err), outcome.err
    assert len(outcome.err.splitlines()) == 1
    return outcome.err


def worked(outcome: Outcome) -> None:
    assert outcome.code == 0, outcome.err


# a model that is damaged, missing or another

DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda data: data[:500], "cut short.*or copy it again"),
    "cut late": (lambda data: data[:-9], "copy the file again from where it came"),
    "longer": (lambda data: data + b"x", "copy the file again from where it came"),
    "empty": (lambda _: b"", "copy the file again from where it came"),
    "a flipped bit": (
        lambda data: data[:-2000] + bytes([data[-2000] ^ 64]) + data[-1999:],
        "digest differs .*; copy the file again from where it came",
    ),
    "another kind": (lambda _: b"review,sentiment\ngood,1\n" * 9, "name the right one"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model_is_copied_again(world: Tidegate, damage: str) -> None:
    change, advice = DAMAGE[damage]
    path = Path("t.safetensors")
    path.write_bytes(change(path.read_bytes()))
    for line in ("info t.safetensors", FOLLOWED):
        assert "t.safetensors" in advised(world(line), advice)
    path.write_bytes(Path("whole.safetensors").read_bytes())
    worked(world("info t.safetensors"))
    worked(world(FOLLOWED))


def test_a_damaged_model_is_trained_again_onto_its_place(world: Tidegate) -> None:
    path = Path("m.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    advised(world("info m.safetensors"), "or train the model again")
    worked(world(f"{MODEL} --run-folder again"))
    worked(world("info m.safetensors"))


def test_a_model_that_is_none_is_named_rightly(world: Tidegate) -> None:
    Path("models").mkdir()
    Path("t.safetensors").rename("models/t.safetensors")
    advised(world("info t.safetensors"), "No such file.*check the path")
    advised(world("info models"), "got a folder, .*name a file in it")
    worked(world("info models/t.safetensors"))
    os.mkfifo("pipe")
    advised(world("info pipe"), "got a pipe or a device, .*write it to a file, and name that")
    worked(world("info whole.safetensors"))


@pytest.mark.parametrize(
    ("line", "advice", "followed"),
    [
        ("predict m.safetensors book.txt", "with tidegate generate", "generate m.safetensors"),
        ("generate t.safetensors", "use it with tidegate predict", FOLLOWED),
        ("generate f.safetensors", "with tidegate forecast", "forecast f.safetensors load.csv"),
        ("forecast t.safetensors load.csv", "or name another", "forecast f.safetensors load.csv"),
        (
            "evaluate t.safetensors test.csv --start 3",
            "--start: expected none .*leave it out",
            "evaluate t.safetensors test.csv",
        ),
        (
            f"{MODEL.replace('-o m', '-o n')} --init-from t.safetensors --run-folder r",
            "expected a model of language-model, .*; name one",
            f"{MODEL.replace('-o m', '-o n')} --init-from m.safetensors --run-folder r",
        ),
    ],
)  # fmt: skip
def test_a_model_of_another_task_is_used_as_the_message_says(
    world: Tidegate, line: str, advice: str, followed: str
) -> None:
    advised(world(line), advice)
    worked(world(followed))


# generate, bench, compare


@pytest.mark.parametrize(
    ("typed", "advice", "followed"),
    [
        ("--length -1", "at least 0, got -1", "--length 0"),
        ("--top-k 0", "at least 1, got 0; .*leave it out", "--top-k 1"),
        ("--top-p 2", "above 0 and at most 1, got 2.0; .*leave it out", ""),
        ("--temperature 0", "--greedy always takes the likeliest", "--greedy"),
        ("--seed -1", "at least 0", "--seed 0"),
    ],
)
def test_an_option_of_generate_is_given_as_the_message_says(
    world: Tidegate, typed: str, advice: str, followed: str
) -> None:
    message = advised(world(f"generate m.safetensors {typed}"), advice)
    assert f"option {typed.split()[0]}: " in message
    worked(world(f"generate m.safetensors --length 5 {followed}"))


@pytest.mark.parametrize(
    ("typed", "advice", "followed"),
    [
        ("--cells x", "option --cells: .*, mgu, .*choose among these", "--cells mgu"),
        ("--cells ,", "option --cells: .*got none; leave it out for the usual ones", ""),
        ("--figures x", "option --figures: .*layers.*choose among these", "--figures layers"),
        ("--peers x", "option --peers: .*torch.*choose among these", "--peers torch"),
        ("--shapes 3", "option --shapes: .*such as 64x200x128x128", "--shapes 64x200x128x128"),
        ("--shapes 1x1x1x99999999", "at most 1,073,741,824 numbers.*lower a size", ""),
        ("-o none/a.json", "make it first", "-o a.json"),
        ("-o book.txt", "with --force", "-o book.txt --force"),
    ],
)
def test_an_option_of_bench_is_given_as_the_message_says(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch, typed: str, advice: str, followed: str
) -> None:
    found: dict[str, Any] = {"machine": {}, "rows": []}
    monkeypatch.setattr("tidegate.bench.run.run", lambda *_: found)
    advised(tidegate(f"bench {typed}"), advice)
    worked(tidegate(f"bench {followed}"))


def test_options_of_compare_are_given_as_the_messages_say(tidegate: Tidegate) -> None:
    line = f"compare book.txt --task language-model {TINY['language-model']}"
    line = line.replace("--max-steps 4", "--max-steps 1")
    for typed, advice in (
        ("--cells x", "such as gru, .*tidegate cells lists all of them"),
        ("--cells gru,gru", "such as gru,lstm.*name each once"),
        ("--seeds 0", "option --seeds: .*at least 1"),
        ("-o none/found", "make it first"),
        ("-o book.txt", "name another folder"),
        ("--validation none.txt", "check the path"),
    ):
        advised(tidegate(f"{line} {typed}"), advice)
    advised(tidegate("compare book.txt --task x"), "option --task: expected one of .*choose one")
    worked(tidegate(f"{line} --cells gru --seeds 1 -o found --validation book.txt"))


# files of sequences

TS = "@univariate true\n@classLabel true a b\n@data\n" + "1,2,3:a\n4,5,6:b\n" * 9
# What a .ts holds, what the message advises, what is written by who follows it.
OF_TS: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "flag": ("true a b", "yes a b|expected @classlabel true or false.*write one of them", str),
    "no labels": ("@classLabel true a b\n", "add them, and a line that says so", str),
    "no data": ("@data\n", "sequences come after a line @data", str),
    "no answer": ("1,2,3:a\n", "or is the answer missing|no colon; add it", str),
    "label": ("4,5,6:b\n", "correct it, or @classLabel", str),
    "number": ("1,2,3:a\n", "correct it, or write \\? where it is missing", str),
}
WRONG_TS = {
    "flag": "maybe a b",
    "no labels": "",
    "no data": "",
    "no answer": "1,2,3\n",
    "label": "4,5,6:c\n",
    "number": "1,2,x:a\n",
}


@pytest.mark.parametrize("case", OF_TS)
def test_a_wrong_ts_file_is_mended_as_the_message_says(tidegate: Tidegate, case: str) -> None:
    right, advice, _ = OF_TS[case]
    Path("d.ts").write_text(TS.replace(right, WRONG_TS[case], 1))
    line = f"train series-classifier d.ts {SEQUENCES}"
    assert "d.ts, line " in advised(tidegate(line), advice)
    Path("d.ts").write_text(TS)
    worked(tidegate(line))


def test_what_a_ts_file_lets_choose_helps_either_way(tidegate: Tidegate) -> None:
    line = f"train series-classifier d.ts {SEQUENCES} --run-folder "
    unequal = TS.replace("@data", "@equalLength true\n@seriesLength 3\n@data") + "1,2:a\n"
    Path("d.ts").write_text(unequal)
    advised(tidegate(f"{line} r1"), "or write @equalLength false")
    Path("d.ts").write_text(unequal.replace("@equalLength true", "@equalLength false"))
    worked(tidegate(f"{line} r1"))
    Path("d.ts").write_text(TS.replace("1,2,3:a", "1,x,3:a"))
    advised(tidegate(f"{line} r2"), r"write \? where it is missing")
    Path("d.ts").write_text(TS.replace("1,2,3:a", "1,?,3:a"))
    worked(tidegate(f"{line} r2"))
    numbers = TS.replace("@classLabel true a b", "@targetLabel true")
    Path("d.ts").write_text(re.sub(":[ab]", ":3", numbers) + "1,2,3:4\n")
    advised(tidegate(f"{line} r3"), "got numbers; train a series-regressor")
    worked(tidegate(f"{line} r3".replace("series-classifier", "series-regressor") + " --force"))
    with_times = TS.replace("@univariate true", "@timeStamps true")
    Path("d.ts").write_text(with_times)
    advised(tidegate(f"{line} r4"), "write them as a table with a column of ids and one of times")
    worked(tidegate(f"train series-classifier {STEPS} --label kind {SEQUENCES} --run-folder r4"))


X, Y = np.arange(60.0).reshape(20, 3), np.array(["a", "b"] * 10)
HOLES = np.where(X == 7, np.inf, X)
# What a .npz holds, what the message advises, what it holds by who follows it.
OF_NPZ: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "names": ({"x": X, "y": Y}, "expected the arrays X .*; rename them", {"X": X, "y": Y}),
    "no answers": ({"X": X}, "expected an array y, .*; add it", {"X": X, "y": Y}),
    "too few answers": (
        {"X": X, "y": Y[1:]}, r"\[20\], got .*\[19\]; give as many", {"X": X, "y": Y},
    ),
    "infinity": (
        {"X": HOLES, "y": Y}, "correct it, or put NaN", {"X": np.where(X == 7, np.nan, X), "y": Y},
    ),
    "objects": (
        {"X": np.array([[1.0, 2.0], [3.0]], dtype=object), "y": Y},
        "write it with numpy.savez, without object arrays", {"X": X, "y": Y},
    ),
    "no lengths": (
        {"values": X.ravel(), "y": Y}, "add how long each one is",
        {"values": X.ravel(), "lengths": np.full(20, 3), "y": Y},
    ),
    "sum of lengths": (
        {"values": X.ravel(), "lengths": np.full(20, 4), "y": Y},
        "a sum of 60 values, got 80; count the rows of each sequence",
        {"values": X.ravel(), "lengths": np.full(20, 3), "y": Y},
    ),
    "a length of 0": (
        {"X": X, "lengths": np.arange(20) % 4, "y": Y}, "from 1, got .* with 0; count the steps",
        {"X": X, "lengths": np.arange(20) % 3 + 1, "y": Y},
    ),
    "too long": (
        {"X": X, "lengths": np.full(20, 4), "y": Y}, "up to 3, the steps of X, got 4; correct them",
        {"X": X, "lengths": np.full(20, 3), "y": Y},
    ),
    "shape": ({"X": X[0], "y": Y}, "X: expected numbers .*; reshape it", {"X": X, "y": Y}),
    "empty label": (
        {"X": X, "y": np.where(np.arange(20) == 3, "", Y)}, "or leave its sequence out",
        {"X": np.delete(X, 3, 0), "y": np.delete(Y, 3)},
    ),
    "missing label": (
        {"X": X, "y": np.where(np.arange(20) == 3, np.nan, np.arange(20) % 2)},
        "leave its sequence out", {"X": np.delete(X, 3, 0), "y": np.delete(Y, 3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OF_NPZ)
def test_a_wrong_npz_file_is_mended_as_the_message_says(tidegate: Tidegate, case: str) -> None:
    wrong, advice, right = OF_NPZ[case]
    np.savez("d.npz", **wrong)
    line = f"train series-classifier d.npz {SEQUENCES}"
    assert "d.npz: " in advised(tidegate(line), advice)
    np.savez("d.npz", **right)
    worked(tidegate(line))


def test_options_of_tables_are_left_out_for_other_files(tidegate: Tidegate) -> None:
    np.savez("d.npz", X=X, y=Y)
    line = f"train series-classifier d.npz {SEQUENCES}"
    advised(tidegate(f"{line} --label k"), "--label: .*leave it out|about tables.*leave it out")
    advised(tidegate(f"{line} --separator ;"), "about tables.*leave it out")
    worked(tidegate(line))


# word vectors

VECTORS = "lovely 1 2 3 4\nfilm 4 3 2 1\n"


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ("lovely 1 2 3 4\nfilm 4 3\n", "v.txt, line 2: .*mend the line"),
        ("lovely 1 x 3 4\n", "v.txt, line 1"),
        ("fein 1 2 3 4\n", "is the file of this language"),
        ("", "expected"),
    ],
)
def test_a_wrong_file_of_vectors_is_mended_as_the_message_says(
    tidegate: Tidegate, content: str, advice: str
) -> None:
    Path("v.txt").write_text(content)
    line = f"{TEXTS.replace('--embedding-size 4', '')} --level word --embeddings v.txt"
    message = advised(tidegate(line), advice)
    assert ";" in message or "?" in message
    Path("v.txt").write_text(VECTORS)
    worked(tidegate(line))


def test_vectors_that_are_no_gzip_are_renamed_or_packed(tidegate: Tidegate) -> None:
    Path("v.txt.gz").write_text(VECTORS)
    line = f"{TEXTS.replace('--embedding-size 4', '')} --level word --embeddings v.txt"
    advised(tidegate(f"{line}.gz"), "rename or gzip it")
    Path("v.txt.gz").rename("v.txt")
    worked(tidegate(f"{line} --run-folder r1"))
    Path("v.txt.gz").write_bytes(gzip.compress(VECTORS.encode()))
    worked(tidegate(f"{line}.gz --run-folder r2"))


# runs: their states, their locks, their places

STATE = Path("runs/m/state.safetensors")


@pytest.mark.parametrize(
    "change",
    [lambda d: d[:-9], lambda _: b"", lambda d: d[:-50] + b"?" * 50],
    ids=["cut", "empty", "changed"],
)
def test_a_run_whose_state_is_damaged_is_begun_anew(
    world: Tidegate, change: Callable[[bytes], bytes]
) -> None:
    STATE.write_bytes(change(STATE.read_bytes()))
    message = advised(
        world(f"{MODEL} --resume --max-steps 6"), "begin a new run: leave out --resume"
    )
    assert "and name another --run-folder" in message
    worked(world(f"{MODEL} --max-steps 6 --run-folder another"))


def test_a_state_that_is_gone_is_a_run_to_replace_or_leave(world: Tidegate) -> None:
    STATE.unlink()
    advised(world(f"{MODEL} --resume"), "or begin a new run: leave out --resume")
    advised(world(MODEL), "its state is gone, so replace it with --force, or name another folder")
    worked(world(f"{MODEL} --run-folder another"))
    worked(world(f"{MODEL} --force"))


def test_a_run_on_other_data_gets_the_same_files_or_another_folder(world: Tidegate) -> None:
    before = Path("book.txt").read_text()
    Path("book.txt").write_text(before + "and the frog sat on the bog\n")
    line = f"{MODEL} --resume --max-steps 6"
    advised(world(line), "give the same files .*, or begin a new run in another folder")
    worked(world(f"{MODEL} --run-folder another"))
    Path("book.txt").write_text(before)
    worked(world(line))


@contextmanager
def held(path: str) -> Iterator[None]:
    with lock(Path(path), path, "a lock"):
        yield


def test_a_place_that_another_run_holds_is_waited_for_or_another_is_named(world: Tidegate) -> None:
    line = f"{MODEL} --resume --max-steps 6"
    with held("runs/m/.lock"):
        message = advised(world(line), "wait until it has ended, stop it, or name another place")
        assert f"process {os.getpid()} on " in message
        worked(world(f"{MODEL.replace('m.safetensors', 'n.safetensors')} --run-folder another"))
    worked(world(line))


def test_a_full_disk_is_freed_or_another_place_is_named(world: Tidegate, tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "small") as small:
        fill(small)
        for line in (
            "forecast f.safetensors load.csv -o small/a.csv",
            "forecast f.safetensors load.csv --plot small/a.png",
            f"{MODEL.replace('m.safetensors', 'small/m.safetensors')} --run-folder other --force",
        ):
            advised(world(line), "free some space, let yourself write there or name another place")
            worked(world(line.replace("small/", "")))
        (small / "rest").unlink()
        worked(world("forecast f.safetensors load.csv -o small/a.csv"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_lets_nobody_write_is_changed_or_another_is_named(world: Tidegate) -> None:
    Path("mine").mkdir(mode=0o500)
    line = "forecast f.safetensors load.csv -o mine/a.csv"
    advised(world(line), "let yourself write there or name another place")
    worked(world(line.replace("mine/", "")))
    Path("mine").chmod(0o700)
    worked(world(line))


# what is no file, as an input


def test_a_device_a_folder_or_an_empty_file_is_another_input(world: Tidegate) -> None:
    Path("folder").mkdir()
    Path("empty.txt").touch()
    for given, advice in (
        ("/dev/zero", "got a device; name one"),
        ("folder", "name a file in it"),
        ("empty.txt", "got an empty file; check it"),
        ("none.txt", "check the path"),
    ):
        message = advised(world(MODEL.replace("book.txt", given) + " --force"), advice)
        assert shlex.quote(given) in message
    worked(world(f"{MODEL} --force"))


def test_several_processes_are_as_many_as_the_run_began_with(world: Tidegate) -> None:
    line = f"{MODEL} --devices 0 --force"
    advised(world(line), "leave it out for one process")
    worked(world(line.replace("--devices 0", "")))

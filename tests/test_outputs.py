"""What is written, and where: never over data, and never found impossible after the work."""

from __future__ import annotations

import os
import re
import resource
import shlex
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, Tidegate

import tidegate as tg
from tidegate.errors import InputError
from tidegate.model.checkpoint import is_model_file
from tidegate.output.places import check_output, is_marked
from tidegate.output.writing import write_atomically
from tidegate.training.language_modelling import LanguageModelling

TRAIN = f"train language-model book.txt {TINY['language-model']} --sample-steps 1"
FORECASTER = f"train forecaster load.csv --time date --target OT {TINY['forecaster']}"


@pytest.fixture
def forecaster(tidegate: Tidegate) -> str:
    """The name of a forecaster's file."""
    outcome = tidegate(FORECASTER)
    assert outcome.code == 0, outcome.err
    return "load-forecaster.safetensors"


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# onto an input, onto someone's file


@pytest.mark.parametrize("name", ["book.txt", "./book.txt", "symbolic", "hard", "folder/book.txt"])
def test_training_onto_its_input_is_refused_under_any_name(
    tidegate: Tidegate,
    tmp_path: Path,
    name: str,
) -> None:
    (tmp_path / "symbolic").symlink_to("book.txt")
    (tmp_path / "hard").hardlink_to(tmp_path / "book.txt")
    (tmp_path / "folder").symlink_to(tmp_path)
    before = content(tmp_path)
    outcome = tidegate(f"{TRAIN} -o {name} --force")  # not even then
    assert outcome.code == 2
    assert "the same file; name another one" in outcome.err
    assert content(tmp_path) == before


def test_every_file_that_a_training_reads_is_an_input(tidegate: Tidegate) -> None:
    Path("more.txt").write_text("the dog sat on the mat\n" * 9)
    Path("vectors.txt").write_text("the 1 2 3 4\ncat 1 2 3 4\n")
    assert tidegate(f"{TRAIN} -o first.safetensors").code == 0
    for given, output in (
        ("--validation more.txt", "more.txt"),
        ("--level word --embeddings vectors.txt", "vectors.txt"),
        ("--init-from first.safetensors", "first.safetensors"),
    ):
        before = Path(output).read_bytes()
        outcome = tidegate(f"{TRAIN} {given} -o {output} --run-folder other --force")
        assert outcome.code == 2
        assert f"got {output}, the same file" in outcome.err
        assert Path(output).read_bytes() == before


def test_a_run_folder_that_would_replace_an_input_is_refused(tidegate: Tidegate) -> None:
    Path("mine").mkdir()
    for name in ("config.json", "metrics.csv", "curve.png"):
        Path("book.txt").rename(f"mine/{name}")
        line = TRAIN.replace("book.txt", f"mine/{name}")
        outcome = tidegate(f"{line} --run-folder mine -o m.safetensors --force")
        assert outcome.code == 2
        assert "the same file" in outcome.err
        Path(f"mine/{name}").rename("book.txt")


@pytest.mark.parametrize("output", ["load.csv", "MODEL", "link"])
def test_a_forecast_onto_what_it_reads_is_refused(
    tidegate: Tidegate,
    forecaster: str,
    output: str,
) -> None:
    Path("link").symlink_to("load.csv")
    name = forecaster if output == "MODEL" else output
    before = Path(name).read_bytes()
    outcome = tidegate(f"forecast {forecaster} load.csv -o {name} --force")
    assert outcome.code == 2
    assert "none of the files that are read" in outcome.err
    assert Path(name).read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        f"{TRAIN} -o mine.csv",
        "forecast MODEL load.csv -o mine.csv",
        "forecast MODEL load.csv --plot mine.png",
        "evaluate MODEL load.csv --plot mine.svg",
        "bench --figures layers --shapes 1x1x1x1 --cells gru --peers torch --repeats 1 -o mine.csv",
    ],
)
def test_a_file_that_is_not_ours_is_replaced_by_force_alone(
    tidegate: Tidegate,
    forecaster: str,
    line: str,
) -> None:
    line = line.replace("MODEL", forecaster)
    output = Path(line.split()[-1])
    output.write_text("years of work")
    outcome = tidegate(line)
    assert outcome.code == 2
    assert "a file that tidegate did not write" in outcome.err
    assert "--force" in outcome.err
    assert output.read_text() == "years of work"
    done = tidegate(f"{line} --force")
    assert done.code == 0, done.err
    assert output.read_bytes() != b"years of work"


def test_our_own_models_pictures_and_empty_files_are_replaced(
    tidegate: Tidegate,
    forecaster: str,
) -> None:
    for name in ("a.png", "a.svg", "a.pdf"):
        for _ in range(2):
            assert tidegate(f"forecast {forecaster} load.csv --json --plot {name}").code == 0
        assert is_marked(name)
    assert tidegate(f"{FORECASTER} --run-folder again").code == 0
    assert is_model_file(forecaster)
    Path("empty.csv").touch()
    assert tidegate(f"forecast {forecaster} load.csv -o empty.csv").code == 0


def test_a_training_state_is_no_model_to_be_replaced(tidegate: Tidegate) -> None:
    assert tidegate(TRAIN).code == 0
    state = Path("runs/book-language-model/state.safetensors")
    before = state.read_bytes()
    outcome = tidegate(f"{TRAIN} -o {state} --run-folder other")
    assert outcome.code == 2
    assert state.read_bytes() == before


def test_saving_from_python_spares_what_tidegate_did_not_write(tmp_path: Path) -> None:
    model = tg.SequenceRegressor(max_steps=1, hidden_sizes=(2,), verbose=0)
    model.fit(np.arange(40.0).reshape(10, 4), np.arange(10.0))
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="did not write; name another one, or .*force=True"):
        model.save(tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_text() == "a,b\n1,2\n"
    model.save(tmp_path / "data.csv", force=True)
    model.save(tmp_path / "data.csv")  # which is ours now


def test_a_new_run_spares_files_that_are_of_no_run(tidegate: Tidegate) -> None:
    Path("mine").mkdir()
    for name in ("config.json", "metrics.csv", "curve.png"):
        file = Path("mine") / name
        file.write_text('{"mine": 1}')
        outcome = tidegate(f"{TRAIN} --run-folder mine")
        assert outcome.code == 2
        assert f"got one with a {name}" in outcome.err
        assert file.read_text() == '{"mine": 1}'
        file.unlink()
    Path("mine/config.json").write_text('{"mine": 1}')
    assert tidegate(f"{TRAIN} --run-folder mine --force").code == 0
    again = tidegate(f"{TRAIN} --run-folder mine --force --max-steps 2 --json")
    assert again.json["steps"] == 2  # a new run, in the place of the old one


def test_a_comparison_spares_a_report_that_is_not_ours(tidegate: Tidegate) -> None:
    line = "compare book.txt --task language-model --embedding-size 4 --hidden-sizes 4 --bptt 8 "
    line += "--max-steps 2 --seeds 1 --cells gru -o found"
    for name in ("report.html", "comparison.json", "curve-time.png", "gru-seed-0.safetensors"):
        Path("found").mkdir(exist_ok=True)
        (Path("found") / name).write_text("mine")
        outcome = tidegate(line)
        assert outcome.code == 2
        assert f"found/{name}" in outcome.err
        assert sorted(p.name for p in Path("found").iterdir()) == [name]
        (Path("found") / name).unlink()
    for _ in range(2):  # its own it replaces
        assert tidegate(line).code == 0
    Path("book.txt").rename("found/report.html")
    outcome = tidegate(line.replace("book.txt", "found/report.html") + " --force")
    assert outcome.code == 2
    assert "the same file" in outcome.err


@pytest.mark.parametrize("output", ["runs", "runs/m", "run/curve.png"])
def test_an_output_in_the_way_of_the_run_folder_is_refused(
    tidegate: Tidegate,
    output: str,
) -> None:
    folder = "run" if output == "run/curve.png" else "runs/m"
    if output == "run/curve.png":
        Path("run").mkdir()
    outcome = tidegate(f"{TRAIN} -o {output} --run-folder {folder}")
    assert outcome.code == 2
    assert "--run-folder" in outcome.err or "make it first" in outcome.err


@pytest.mark.parametrize("option", ["--run-folder=~/run", "--output=~/m.safetensors"])
def test_a_home_that_no_shell_wrote_out_is_no_folder_of_that_name(
    tidegate: Tidegate, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    Path("home").mkdir()
    outcome = tidegate(f"{TRAIN} {option}")
    assert outcome.code == 2
    written = outcome.err.strip().rpartition("; write ")[2]
    assert not Path("~").exists()
    assert tidegate(f"{TRAIN} {option.partition('=')[0]}={written}").code == 0
    assert Path(written).exists()
    assert tidegate(f"{TRAIN} --force -o ~mine.safetensors").code == 0  # a name like any other


def test_two_outputs_are_two_files(tidegate: Tidegate, forecaster: str) -> None:
    outcome = tidegate(f"forecast {forecaster} load.csv -o a.png --plot ./a.png")
    assert outcome.code == 2
    assert not Path("a.png").exists()


def test_a_series_with_any_name_is_drawn(tidegate: Tidegate) -> None:
    table = Path("load.csv").read_text().replace("OT", "$\\bad{\x1b", 1)
    Path("load.csv").write_text(table)
    line = FORECASTER.replace("--target OT", "")
    assert tidegate(line, "--target", "$\\bad{\x1b").code == 0
    drawn = tidegate("forecast load-forecaster.safetensors load.csv --json --plot a.svg")
    assert drawn.code == 0, drawn.err


# what is no regular file


def test_devices_and_pipes_are_written_to_as_they_stand(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    taken: list[bytes] = []
    reader = threading.Thread(target=lambda: taken.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    check_output(tmp_path / "pipe")
    write_atomically(tmp_path / "pipe", b"x" * 100_000)
    reader.join()
    assert taken == [b"x" * 100_000]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

    (tmp_path / "null").symlink_to("/dev/null")
    check_output(tmp_path / "null")
    write_atomically(tmp_path / "null", b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(InputError, match="No space left on device"):
        write_atomically("/dev/full", b"x")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("end", ["/dev/stdout | cat", "/dev/stdout > out", ">(cat > out); sleep 1"])
def test_the_standard_output_is_an_output(
    tidegate: Tidegate,
    forecaster: str,
    end: str,
) -> None:
    assert tidegate(f"forecast {forecaster} load.csv -o wanted.csv").code == 0
    line = f"forecast {forecaster} load.csv -o {end}"
    assert output_of_shell(line, "| cat" in end) == Path("wanted.csv").read_bytes()


def test_a_model_on_the_standard_output_is_mixed_with_nothing(tidegate: Tidegate) -> None:
    Path("m").write_bytes(output_of_shell(f"{TRAIN} -o /dev/stdout | cat", True))
    assert tidegate("info m").code == 0


def output_of_shell(line: str, on_stdout: bool) -> bytes:
    """What the line writes to its stdout, or to the file "out"."""
    shell = f"{shlex.quote(sys.executable)} -m tidegate {line}"
    run = subprocess.run(["bash", "-c", shell], capture_output=True, check=True)
    return run.stdout if on_stdout else Path("out").read_bytes()


def test_json_and_a_model_do_not_share_stdout(tidegate: Tidegate) -> None:
    outcome = tidegate(f"{TRAIN} -o /dev/stdout --json")
    assert outcome.code == 2
    assert "option --json" in outcome.err


# what cannot be written, before and after the work


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("-o there/m.safetensors", "make it first"),
        ("-o book.txt/m.safetensors", "Not a directory"),
        (f"-o {'x' * 300}", "File name too long"),
        ("-o runs", "got a folder"),
        (f"--run-folder {'x' * 300}", "255 bytes"),
        ("--run-folder book.txt", "got the file"),
        ("--run-folder book.txt/run", "got the file"),
        ("-o /proc/m.safetensors", "expected a folder to write to"),
        ("--run-folder /proc/run", "expected a folder to write to"),
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_training(
    tidegate: Tidegate,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    told: str,
) -> None:
    Path("runs").mkdir()
    monkeypatch.setattr(tg.LanguageModel, "fit", lambda *_: pytest.fail("trained for nothing"))
    outcome = tidegate(f"{TRAIN} {where}")
    assert outcome.code == 2
    assert told in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_name_as_long_as_a_name_can_be_is_written(tmp_path: Path) -> None:
    check_output(tmp_path / ("x" * 255))
    write_atomically(tmp_path / ("x" * 255), b"1")
    assert [p.name for p in tmp_path.iterdir()] == ["x" * 255]


@contextmanager
def tiny_disk(folder: Path) -> Iterator[Path]:
    """A folder on a disk of its own of 256 kB; the test is skipped where none can be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs more rights")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no room on the disk of ``folder``."""
    with suppress(OSError), (folder / "rest").open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@contextmanager
def at_step(patch: pytest.MonkeyPatch, step: int, act: Callable[[], object]) -> Iterator[None]:
    """Do ``act`` after optimiser step ``step`` of a language model."""
    before = LanguageModelling.at_step

    def then(self: Any, at: int, network: Any) -> str | None:
        if at == step:
            act()
        return before(self, at, network)

    with patch.context() as inside:
        inside.setattr(LanguageModelling, "at_step", then)
        yield


@contextmanager
def no_file_grows(largest: int) -> Iterator[Callable[[], None]]:
    """What is called inside lets no file be longer than ``largest`` bytes: a full disk for all."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def followed(message: str) -> str:
    """The command line at the end of a message."""
    return message.rstrip().rpartition(": tidegate ")[2]


def test_a_disk_that_is_full_is_found_before_training(tidegate: Tidegate, tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "small") as small:
        fill(small)
        for where in ("-o small/m.safetensors", "--run-folder small/run"):
            outcome = tidegate(f"{TRAIN} {where}")
            assert outcome.code == 2
            assert "No space left on device" in outcome.err
            assert os.listdir(small) == ["rest"]


def test_a_read_only_place_is_found_before_training(tidegate: Tidegate, tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "small") as small:
        remount = ["mount", "-o", "remount,ro", str(small)]
        if subprocess.run(remount, capture_output=True, check=False).returncode:
            pytest.skip("mounting read-only needs more rights")
        for where in ("-o small/m.safetensors", "--run-folder small/run"):
            outcome = tidegate(f"{TRAIN} {where}")
            assert outcome.code == 2
            assert "Read-only file system" in outcome.err


def test_the_remedy_gets_at_a_model_whose_disk_filled_up_without_training_again(
    tidegate: Tidegate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        tiny_disk(tmp_path / "small") as small,
        at_step(monkeypatch, 3, lambda: fill(small)),
    ):
        outcome = tidegate(f"{TRAIN} -o small/m.safetensors")
        assert outcome.code == 2
        assert len(outcome.err.splitlines()) == 1
        assert "No space left on device" in outcome.err
        assert os.listdir(small) == ["rest"]
    with at_step(monkeypatch, 1, lambda: pytest.fail("trained again")):
        again = tidegate(followed(outcome.err))
    assert again.code == 0, again.err
    whole = tidegate(f"{TRAIN} -o whole.safetensors --json").json
    assert whole["steps"] == 4
    text = [
        tidegate(f"generate {name} --seed 1 --length 50").out
        for name in ("elsewhere.safetensors", "whole.safetensors")
    ]
    assert text[0] == text[1]


def test_a_run_folder_on_a_full_disk_stops_the_run_and_loses_nothing(
    tidegate: Tidegate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = f"{TRAIN} --checkpoint-seconds 0 --max-steps 9 --evaluate-every 2"
    state = Path("runs/book-language-model/state.safetensors")
    for largest in (100, 0):
        with no_file_grows(largest) as now, at_step(monkeypatch, 6, now):
            outcome = tidegate(f"{line} --force")
        assert outcome.code == 2
        assert re.fullmatch(r"error: [^\n]+File too large[^\n]+\n", outcome.err), outcome.err
        assert "is kept" in outcome.err
        assert state.exists()
        assert not list(state.parent.glob(".*"))  # nothing half-written, no lock
        resumed = tidegate(f"{followed(outcome.err)} --json")
        assert resumed.json["steps"] == 9
    whole = tidegate(f"{line} --run-folder whole -o whole.safetensors --json").json
    differing = {"model", "run_folder", "seconds"}
    assert {k: v for k, v in resumed.json.items() if k not in differing} == {
        k: v for k, v in whole.items() if k not in differing
    }


def test_a_metrics_file_that_cannot_grow_is_one_line(
    tidegate: Tidegate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics = Path("runs/book-language-model/metrics.csv")

    def lose() -> None:
        metrics.unlink()
        metrics.mkdir()

    with at_step(monkeypatch, 2, lose):
        outcome = tidegate(TRAIN)
    assert outcome.code == 2
    assert "metrics.csv" in outcome.err
    assert len(outcome.err.splitlines()) == 1

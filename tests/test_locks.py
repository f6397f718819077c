"""Two runs never write one place; what a killed run held is free; its steps are not lost."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import TINY, Tidegate

from tidegate.errors import InputError
from tidegate.output.lock import lock, output_lock

TRAIN = "train language-model book.txt --embedding-size 4 --hidden-sizes 4 --bptt 8 --max-steps 9"
LONG = TRAIN.replace("--max-steps 9", "--max-steps 100000000 --checkpoint-seconds 0")


@contextmanager
def living(line: str) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own, which has saved its state; killed at the end."""
    state = Path("runs/book-language-model/state.safetensors")
    run = subprocess.Popen(
        [sys.executable, "-m", "tidegate", *line.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        for _ in range(600):
            if state.exists() or run.poll() is not None:
                break
            time.sleep(0.1)
        assert run.poll() is None, run.stderr
        yield run
    finally:
        run.kill()
        run.communicate()


@pytest.mark.usefixtures("tidegate")
def test_a_second_run_is_refused_and_a_killed_ones_place_is_free(tidegate: Tidegate) -> None:
    folder = Path("runs/book-language-model")
    with living(LONG) as run:
        for line in (
            TRAIN,
            f"{TRAIN} --force",
            f"{LONG} --resume",
            f"{TRAIN} --run-folder other",  # the same output
            f"{LONG} -o other.safetensors --run-folder {folder} --resume",  # the same run folder
        ):
            outcome = tidegate(line)
            assert outcome.code == 2
            assert f"process {run.pid} on " in outcome.err or "holds a run" in outcome.err
            assert len(outcome.err.splitlines()) == 1
            assert not Path("other").exists() or not any(Path("other").iterdir())
        assert run.poll() is None  # none of these did it any harm
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert (folder / ".lock").exists()  # nobody could remove it
    steps = len((folder / "metrics.csv").read_text().splitlines())
    assert steps > 1
    resumed = tidegate(f"{LONG} --resume --max-minutes 0.001 --json")
    assert resumed.code == 0, resumed.err
    assert not list(Path.cwd().rglob("*.lock"))
    assert not list(Path.cwd().rglob("*.partial"))


def test_ctrl_c_and_sigterm_let_go_of_the_locks_and_keep_the_run(tidegate: Tidegate) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        shutil.rmtree("runs", ignore_errors=True)
        with living(LONG) as run:
            run.send_signal(number)
            _, err = run.communicate(timeout=60)
            assert run.returncode == code
            assert err == f"interrupted; go on with: tidegate {LONG} --resume\n"
        assert not list(Path.cwd().rglob("*.lock"))
    assert tidegate(f"{LONG} --resume --max-minutes 0.001").code == 0


def test_a_comparison_holds_its_folder(tidegate: Tidegate) -> None:
    line = "compare book.txt --task language-model --max-steps 2 --seeds 1 --cells gru -o found"
    Path("found").mkdir()
    with lock(Path("found/.lock"), "found", "a free folder"):
        outcome = tidegate(line)
    assert outcome.code == 2
    assert f"process {os.getpid()} on " in outcome.err


def test_processes_that_train_together_share_the_lock(tidegate: Tidegate) -> None:
    line = f"{TRAIN} --devices 2 --device cpu --json --sample-steps 1"
    command = [sys.executable, "-m", "tidegate", *line.split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with output_lock("book-language-model.safetensors"):  # by another run
        run = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=200
        )
        assert run.returncode == 2
        assert run.stderr.startswith("error: book-language-model.safetensors: expected an output")
        assert len(run.stderr.splitlines()) == 1
    assert tidegate("info book-language-model.safetensors").code == 2  # nothing was written


def test_one_process_holds_a_lock_once(tmp_path: Path) -> None:
    with (
        lock(tmp_path / "l", tmp_path, "a free folder"),
        pytest.raises(InputError, match=rf"expected a free folder, got .* {os.getpid()} on .*stop"),
        lock(tmp_path / "l", tmp_path, "a free folder"),
    ):
        pytest.fail("two hold it")
    assert not list(tmp_path.iterdir())


def test_links_to_one_output_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    with (
        output_lock(tmp_path / "real"),
        pytest.raises(InputError, match="no other run writes"),
        output_lock(tmp_path / "link"),
    ):
        pytest.fail("two hold it")
    with output_lock("/dev/null"), output_lock("/dev/null"):
        pass


def test_where_there_are_no_locks_the_file_tells_whether_its_owner_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    path = tmp_path / "l"
    with lock(path, tmp_path, "a free folder"):
        mine: dict[str, Any] = json.loads(path.read_text())
    ended = subprocess.Popen(["true"])
    ended.wait()
    lives = [
        (mine, True),
        (mine | {"host": "another machine"}, True),
        (mine | {"process": ended.pid}, False),
        (mine | {"started": mine["started"] - 1}, False),  # another process of that number
        ({}, False),
        ({"process": "?"}, False),
    ]
    for owner, alive in lives:
        path.write_text(json.dumps(owner))
        try:
            with lock(path, tmp_path, "a free folder"):
                taken = True
        except InputError:
            taken = False
        assert taken is not alive, owner


KILLED = """
import sys
from tidegate.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.usefixtures("tidegate")
def test_a_run_on_two_threads_killed_at_any_moment_ends_with_the_bits_of_one_that_was_not() -> None:
    line = (
        f"train language-model book.txt {TINY['language-model']} --hidden-sizes 48 --batch-size 8"
    )
    line += " --max-steps 80 --evaluate-every 8 --checkpoint-seconds 0 --sample-steps 999"
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", KILLED, *line.split()]
    whole = [*command, "--run-folder", "whole", "-o", "whole.safetensors"]
    subprocess.run(whole, env=environment, check=True, capture_output=True)

    metrics, state = (Path("runs/book-language-model") / n for n in ("metrics.csv", "state"))
    kills = 0
    for rows in (0, 3, 6):  # evaluations after which it is killed, at whatever it is doing
        resume = ["--resume"] if state.with_suffix(".safetensors").exists() else ["--force"]
        run = subprocess.Popen(
            [*command, *resume], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        while run.poll() is None and not (metrics.exists() and count(metrics) > rows):
            time.sleep(0.001)
        run.kill()
        _, err = run.communicate()
        assert err == b""
        kills += run.returncode == -signal.SIGKILL
    assert kills >= 2
    subprocess.run([*command, "--resume"], env=environment, check=True, capture_output=True)
    tensors = [tensors_of(n) for n in ("book-language-model.safetensors", "whole.safetensors")]
    assert tensors[0] == tensors[1]
    assert not list(Path("runs/book-language-model").glob(".*"))


def count(metrics: Path) -> int:
    return len(metrics.read_text().splitlines()) - 1


def tensors_of(model: str) -> dict[str, bytes]:
    from tidegate.model.checkpoint import load_model

    return {name: array.tobytes() for name, array in load_model(model).tensors.items()}

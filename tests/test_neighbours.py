"""Beside busy processes: what is measured of it, and that results stay the same to the bit."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from any_cell import layer_of

from tidegate.bench import figures, limits, report, run
from tidegate.bench.neighbours import busy, fair_share, shares
from tidegate.cli import main

_LINE = shlex.split("bench --figures neighbours --shapes 3x5x4x8 --repeats 1 --peers torch")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def _becomes_true(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


# busy processes


def test_busy_processes_compute_until_the_block_is_left() -> None:
    with busy(2) as neighbours:
        pids = [process.pid for process in neighbours]
        assert len(set(pids)) == 2
        time.sleep(0.1)
        assert all(process.poll() is None for process in neighbours)
        assert all(map(_runs, pids))
    assert not any(map(_runs, pids))


def test_busy_processes_end_with_an_error_in_the_block() -> None:
    with pytest.raises(ValueError, match="of the block"), busy(2) as neighbours:
        raise ValueError("of the block")
    assert all(process.poll() is not None for process in neighbours)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_busy_processes_end_however_their_parent_ends(sent: signal.Signals) -> None:
    code = (
        "import time\nfrom tidegate.bench.neighbours import busy\n"
        "with busy(2) as neighbours:\n"
        "    print(*(process.pid for process in neighbours), flush=True)\n    time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.stdout.close()
    assert len(pids) == 2
    assert all(map(_runs, pids))
    parent.send_signal(sent)
    assert parent.wait(20) != 0
    assert _becomes_true(lambda: not any(map(_runs, pids)))


# shares


@pytest.mark.parametrize(
    ("neighbours", "threads", "processors", "share"),
    [(0, 2, 2, 1), (1, 2, 2, 2 / 3), (4, 2, 2, 1 / 3), (1, 1, 2, 1), (2, 1, 2, 2 / 3)],
)
def test_the_fair_share_is_that_of_as_many_threads_among_all(
    neighbours: int, threads: int, processors: int, share: float
) -> None:
    assert fair_share(neighbours, threads, processors) == pytest.approx(share)


def test_threads_beyond_the_processors_are_no_loss_of_the_speed_alone() -> None:
    assert fair_share(0, 4, 2) == 1
    assert fair_share(4, 4, 2) == pytest.approx(0.5)


def _row(neighbours: int, mode: str, **seconds: float) -> dict[str, Any]:
    row = {"figure": "neighbours", "cell": "gru", "shape": [3, 5, 4, 8], "mode": mode}
    timed = {name: [s, s, s] for name, s in seconds.items()}
    return {**row, "neighbours": neighbours, "seconds": timed}


def test_shares_are_of_the_speed_alone_of_the_same_work() -> None:
    alone = _row(0, "training", tidegate=1.0, torch=2.0)
    other = _row(0, "adam", tidegate=100.0, torch=100.0)
    beside = _row(3, "training", tidegate=4.0, torch=20.0)
    assert shares(beside, [other, alone, beside]) == {"tidegate": 0.25, "torch": 0.1}


# the figure


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_NEIGHBOURS", (0, 2))
    monkeypatch.setattr(figures, "_LONG_TURN_S", 1e-3)
    monkeypatch.setattr(figures, "_ADAM_VOCABULARY", 20)
    monkeypatch.setattr(limits, "product", lambda: lambda _calls: 0.01)
    monkeypatch.setattr(limits, "bandwidth", lambda _turns: 1e10)


@pytest.mark.usefixtures("tiny")
def test_the_figure_has_shares_of_the_speed_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "layers.json"
    assert main([*_LINE, "--output", str(output)]) == 0
    results = json.loads(output.read_text())
    rows = results["rows"]
    assert [(row["mode"], row["neighbours"]) for row in rows] == [
        ("training", 0), ("training", 2), ("adam", 0), ("adam", 2)
    ]  # fmt: skip
    for alone, beside in (rows[:2], rows[2:]):
        assert alone["shares"] == {"tidegate": 1.0}
        assert beside["shares"] == shares(beside, [alone])
        assert beside["fair_share"] == fair_share(
            2, results["machine"]["threads"], results["machine"]["processors"]
        )
    assert "beside 2: share tidegate" in capsys.readouterr().out
    text = report.block(results)
    assert "| busy processes beside it | 2 |" in text
    assert f"a GRU layer's training: tidegate | **{rows[1]['shares']['tidegate']:.2f}** |" in text


@pytest.mark.usefixtures("tiny")
def test_ctrl_c_in_the_figure_ends_the_busy_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    in_turns = run.in_turns

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if started:
            assert all(process.poll() is None for process in started)
            raise KeyboardInterrupt
        return in_turns(*arguments, **options)

    monkeypatch.setattr("tidegate.bench.neighbours.subprocess.Popen", Recorded)
    monkeypatch.setattr(run, "in_turns", interrupted)
    assert main(_LINE) == 130
    assert "interrupted" in capsys.readouterr().err
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


# the engine


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_busy_neighbours_change_no_bit(cell: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.manual_seed(0)
        layer = layer_of(cell, 24, 40)
        x = torch.randn(60, 33, 24, requires_grad=True)
        lengths = torch.randint(1, 61, (33,))

        def results() -> list[torch.Tensor]:
            found = []
            for of_rows in (None, lengths):
                y, _ = layer(x, lengths=of_rows)
                gradients = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
                found += [y.detach(), *gradients]
            return found

        alone = results()
        with busy(2 * (os.cpu_count() or 1)):
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                assert all(map(torch.equal, results(), alone))
    finally:
        torch.set_num_threads(threads)

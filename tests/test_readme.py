"""What README.md shows works: its commands in their order, its Python as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import TINY, write_data

from tidegate.cli import main

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_commands_work_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    lines = [line for block in _blocks("sh") for line in block.splitlines() if line]
    assert len(lines) >= 8
    for line in lines:
        before, _, command = line.rpartition("| tidegate ")
        arguments = shlex.split(command.removeprefix("tidegate "))
        if before:
            text = tmp_path / "stdin.txt"
            text.write_text(shlex.split(before)[1])
            arguments[-1] = str(text)
        if arguments[0] == "train":
            arguments += shlex.split(TINY[arguments[1]])
        elif arguments[0] == "compare":
            arguments += shlex.split(TINY[arguments[arguments.index("--task") + 1]])
        assert main(arguments) == 0, line


@pytest.mark.parametrize("block", _blocks("python"))
def test_the_python_runs(block: str, tmp_path: Path) -> None:
    write_data(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.returncode == 0, run.stderr
    promised = re.findall(r"print\(.*\)  # (.*)$", block, re.MULTILINE)
    printed = iter(run.stdout.splitlines())  # what training tells stands between
    for promise in promised:
        # words after what is printed are for the reader
        assert any(line and promise.startswith(line) for line in printed), (promise, run.stdout)

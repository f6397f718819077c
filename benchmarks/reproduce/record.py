"""What every command of this folder writes: rows of figures, when, where and with what measured."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"

Row = dict[str, Any]


class Clock:
    """Seconds since it was made: on the wall, and of processor over all threads.

    The second is what the computing took where other work shared the machine.
    """

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Keys: seconds, cpu_seconds."""
        wall, processor = time.perf_counter(), time.process_time()
        return {
            "seconds": round(wall - self._wall, 1),
            "cpu_seconds": round(processor - self._processor, 1),
        }


class Record:
    """``benchmarks/results/NAME.json``: one row per ``key``, the one that was added last.

    ``versions``: of what was measured beside tidegate and torch.
    """

    def __init__(
        self, name: str, key: Sequence[str], versions: Mapping[str, str] | None = None
    ) -> None:
        self._path, self._key = RESULTS / f"{name}.json", key
        self._versions = versions or {}

    @property
    def rows(self) -> list[Row]:
        """What the file holds now: several commands may write to it."""
        if not self._path.exists():
            return []
        return json.loads(self._path.read_text(encoding="utf-8"))["rows"]

    def add(self, row: Row) -> None:
        """Print the row, and write it with date, machine and versions."""
        from tidegate.machine import describe  # which interpreters of other libraries have not

        measured = describe(("torch",))
        row = row | {"measured": measured | {"versions": measured["versions"] | self._versions}}
        print(json.dumps(row), flush=True)
        rows = {self._of(known): known for known in self.rows} | {self._of(row): row}
        self._write(rows)

    def amend(self, key: Row, figures: Row) -> None:
        """Put ``figures`` into the row of this key, which keeps its date, machine and versions."""
        row = next(row for row in self.rows if self._of(row) == self._of(key))
        rows = {self._of(known): known for known in self.rows}
        self._write(rows | {self._of(row): row | figures})

    def _write(self, rows: Mapping[tuple[Any, ...], Row]) -> None:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps({"rows": list(rows.values())}, indent=1)
        self._path.write_text(text + "\n", encoding="utf-8")

    def _of(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._key)


def versions_of(modules: Sequence[str], python: str = sys.executable) -> dict[str, str]:
    """By name the version of each of these modules that this interpreter has."""
    asked = (
        "import json, sys, importlib.metadata as m; has = m.packages_distributions(); "
        "print(json.dumps({n: m.version(has[n][0]) for n in sys.argv[1:] if n in has}))"
    )
    answer = subprocess.run([python, "-c", asked, *modules], check=True, stdout=subprocess.PIPE)
    return json.loads(answer.stdout)


def times_as_long(name: str, ours: str) -> Callable[[Row], str]:
    """A column: how many times our milliseconds a step of this contestant took, if it was there."""

    def show(row: Row) -> str:
        ms = row["ms_per_step"]
        return f"{ms[name] / ms[ours]:.2f}" if name in ms else ""

    return show


def markdown(rows: Sequence[Row], columns: dict[str, Callable[[Row], Any]]) -> str:
    """A table: a line per row, a column for each title and what it shows of a row."""
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[str(show(row)) for show in columns.values()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

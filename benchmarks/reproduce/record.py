"""What every command of this folder writes: rows of figures, when, where and with what measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tidegate.machine import describe

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
    """``benchmarks/results/NAME.json``: one row per ``key``, the one that was added last."""

    def __init__(self, name: str, key: Sequence[str]) -> None:
        self._path, self._key = RESULTS / f"{name}.json", key

    @property
    def rows(self) -> list[Row]:
        """What the file holds now: several commands may write to it."""
        if not self._path.exists():
            return []
        return json.loads(self._path.read_text(encoding="utf-8"))["rows"]

    def add(self, row: Row) -> None:
        """Print the row, and write it with date, machine and versions."""
        row = row | {"measured": describe(("torch",))}
        print(json.dumps(row), flush=True)
        rows = {self._of(known): known for known in self.rows} | {self._of(row): row}
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps({"rows": list(rows.values())}, indent=1)
        self._path.write_text(text + "\n", encoding="utf-8")

    def _of(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._key)


def markdown(rows: Sequence[Row], columns: dict[str, Callable[[Row], Any]]) -> str:
    """A table: a line per row, a column for each title and what it shows of a row."""
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[str(show(row)) for show in columns.values()] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""Busy neighbours: processes that take a processor each, and what speed is left beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

# Says that it runs, then computes until its parent ends it or is no more.
_BUSY = """
import os, sys
print(flush=True)
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""
_LONGEST_END_S = 10.0


@contextmanager
def busy(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """``count`` processes that compute from entry to exit, whatever ends the block."""
    command = [sys.executable, "-I", "-S", "-c", _BUSY, str(os.getpid())]
    with ExitStack() as stack:
        neighbours = []
        for _ in range(count):
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            stack.callback(_end, process)
            neighbours.append(process)
        for process in neighbours:
            assert process.stdout is not None
            process.stdout.readline()
        yield neighbours


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    if process.stdout is not None:
        process.stdout.close()
    process.wait(_LONGEST_END_S)


def fair_share(neighbours: int, threads: int, processors: int) -> float:
    """Of its speed alone, what ``threads`` keep that get as much processor time as each neighbour.

    Each neighbour has one thread.
    """
    alone = min(1.0, processors / threads)
    return min(1.0, processors / (threads + neighbours)) / alone


def shares(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of each contestant's speed alone, what is left in ``row``; ``rows`` hold the one alone."""
    work = "figure", "cell", "shape", "mode"
    alone = next(
        r for r in rows if r.get("neighbours") == 0 and all(r[name] == row[name] for name in work)
    )
    return {name: alone["seconds"][name][0] / spread[0] for name, spread in row["seconds"].items()}

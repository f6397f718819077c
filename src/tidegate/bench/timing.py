"""Taking turns: contestants are timed one after another, over and over, so that drift meets all."""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

# Seconds per call of so many calls, one after another.
Timed = Callable[[int], float]
# Median, least and greatest seconds per call.
Spread = list[float]

FEWEST_TURNS, MOST_TURNS = 5, 25
SHORTEST_TURN_S = 0.01  # shorter calls are repeated within a turn
_LONGEST_WAIT_S = 0.2


def seconds_per_call(call: Callable[[], Any], calls: int) -> float:
    """One turn: so many calls, after one more that is not timed.

    That one brings back what the other contestants' turns drove out of caches, and wakes threads:
    the system may put a thread it wakes on its caller's core and leave it there for milliseconds,
    so that a call on two cores takes the time of one.
    """
    call()
    began = time.perf_counter()
    for _ in range(calls):
        call()
    seconds = (time.perf_counter() - began) / calls
    _wait_for_idle_threads()
    return seconds


def _wait_for_idle_threads() -> None:
    """Sleep until no other thread of this process runs or wants to.

    Worker threads of ONNX Runtime, OpenMP and XLA spin for up to some 50 ms after their work, in
    case there is more; without this the next contestant's turn would be short of a core.  So each
    library keeps its own way of spinning, and nobody pays for another's.
    """
    began = time.perf_counter()
    while time.perf_counter() - began < _LONGEST_WAIT_S and _others_run():
        time.sleep(0.001)


def _others_run() -> bool:
    """Whether another thread is in state R; taken for granted where the system does not tell.

    The processor time used so far would not do: it lags behind by a tick of the scheduler's clock.
    """
    own = str(threading.get_native_id())
    try:
        others = [task for task in os.listdir("/proc/self/task") if task != own]
    except OSError:
        return True
    for task in others:
        try:
            with open(f"/proc/self/task/{task}/stat", encoding="utf-8") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:  # it has ended
            continue
        if state == "R":
            return True
    return False


def in_turns(
    contestants: Mapping[str, Timed],
    turns: int | None = None,
    seconds: float = 3.0,
    shortest: float = SHORTEST_TURN_S,
) -> tuple[dict[str, Spread], int]:
    """Seconds per call of each contestant, and how many turns each had.

    ``turns`` None takes as many as fill ``seconds``, 5 to 25.  A turn has as many calls as fill
    ``shortest`` seconds.  The order changes from turn to turn,
    so that none always follows the same neighbour.
    """
    calls, length = {}, 0.0
    for name, timed in contestants.items():
        began = time.perf_counter()
        one = timed(1)
        calls[name] = max(1, round(shortest / one))
        length += time.perf_counter() - began + (calls[name] - 1) * one
    if turns is None:
        turns = min(MOST_TURNS, max(FEWEST_TURNS, int(seconds / length)))
    order, shuffle = list(contestants), random.Random(0).shuffle
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(turns):
        shuffle(order)
        for name in order:
            times[name].append(contestants[name](calls[name]))
    return {n: [statistics.median(t), min(t), max(t)] for n, t in times.items()}, turns

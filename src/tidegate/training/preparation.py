"""The minutes before a network's first step: what of the data there is time to prepare.

Reading, counting, ridges and baselines come first.  They may take half of the minutes, so that the
other half is the network's.  What a piece of work costs is measured on a few rows of the very data,
on this machine as busy as it is; of data that would take longer, a part is learned from.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidegate.training.options import TrainingOptions

_SHARE = 0.5  # of the minutes
_LEAST = 0.1  # of the minutes: for what cannot be left out, though reading a file took the rest
_PART = "part of "  # and a name: what a run folder has each part by
_FIRST = 4  # rows that are worked on untimed, so that all is loaded
_PILOT = 0.05  # of its time: what a piece of work is timed for before it is begun
_TELLING_S = 0.05  # so long a trial tells that there is time for all where half of it would do
_TRIALS = 2  # at least, of which the difference tells what a row costs
_LEAST_SLOPE = 0.2  # of the mean cost of a row: less than that is chance
_FASTER = 16  # times as many rows in the next trial, at most


class Preparation:
    """What the clock decides before the first step of a run that ``began`` at that moment.

    ``decided`` holds it by name: a run that goes on in its folder decides the same.
    """

    def __init__(self, options: TrainingOptions, began: float) -> None:
        self.began = began
        # several processes would each decide by their own clock
        alone = os.environ.get("WORLD_SIZE", "1") == "1"
        self._minutes = options.max_minutes if alone else None
        self._worked = time.process_time(), time.monotonic()
        self._before: dict[str, float] | None = None
        if options.resume and options.run_folder is not None:
            self._before = _decided_before(Path(options.run_folder))
        self.decided: dict[str, float] = {}
        self.each_s = 0.0  # what a row took, of the work that was measured last

    def seconds(self, share: float = 1.0) -> float:
        """What preparing may still take, or a share of it; infinite without minutes."""
        if self._minutes is None:
            return math.inf
        total = 60 * self._minutes
        return share * max(_SHARE * total - (time.monotonic() - self.began), _LEAST * total)

    def leave(self, seconds: float) -> None:
        """Count no more of what went by than leaves so many seconds of the minutes."""
        if self._minutes is not None:
            self.began = max(self.began, time.monotonic() - 60 * self._minutes + seconds)

    @property
    def slowness(self) -> float:
        """Seconds on the clock for each that the processor has worked: others work, too."""
        processor, clock = self._worked
        worked = time.process_time() - processor
        return max(1.0, (time.monotonic() - clock) / max(worked, 0.1))

    def part(
        self, name: str, count: int, work: Callable[[int], object], share: float = 1.0
    ) -> float:
        """Which part of ``count`` rows there is time to work on; ``work`` does so for a few.

        ``share``: of the time that is left for preparing.  The part is decided once by ``name``.
        """
        return self.decide(name, lambda: self._affordable(count, work, self.seconds(share)))

    def decide(self, name: str, choose: Callable[[], float]) -> float:
        """A part from above 0 to 1 that ``choose`` gives, or that was chosen before the run."""
        if self._before is not None:
            part = self._before.get(_PART + name, 1.0)
        else:
            part = 1.0 if self._minutes is None else choose()
        if part < 1:
            self.decided[_PART + name] = part
        return part

    def _affordable(self, count: int, work: Callable[[int], object], seconds: float) -> float:
        """Which part of ``count`` rows ``seconds`` are enough for."""
        if not count:
            return 1.0
        ends, enough, rows = time.monotonic() + seconds, _PILOT * seconds, min(count, _FIRST)
        trials = [(0, 0.0)]
        try:
            work(rows)  # what is loaded for the first ones is no cost of the others
            while True:
                began = time.monotonic()
                work(rows)
                took = time.monotonic() - began
                trials.append((rows, took))
                plenty = took >= _TELLING_S and count * took / rows < seconds / 2
                long = took >= enough and (len(trials) > _TRIALS or took >= seconds / 4)
                if rows == count or plenty or long:
                    break
                more = enough / max(took, 1e-9)
                rows = min(count, round(rows * min(max(more, 2.0), _FASTER)))
        except ValueError:  # a few rows may lack what all together have
            return 1.0
        # what the last rows took more than those before: the rest is done once
        before, spent = trials[-2]
        self.each_s = max((took - spent) / (rows - before), _LEAST_SLOPE * took / rows)
        if plenty or rows == count:
            return 1.0
        once_s = took - self.each_s * rows
        affordable = (ends - time.monotonic() - once_s) / self.each_s
        return min(1.0, max(1, int(affordable)) / count)


def _decided_before(folder: Path) -> dict[str, float]:
    """What the run decided that ``folder`` holds; nothing where there is none."""
    try:
        settings: Any = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}  # the folder is refused later, in words
    found = settings.get("objective") if isinstance(settings, dict) else None
    found = found if isinstance(found, dict) else {}
    return {k: v for k, v in found.items() if k.startswith(_PART) and type(v) is float}

"""What a search shows while it goes: a bar with the best figure so far, a line for each trial."""

from __future__ import annotations

import math
import time

from tidegate.terminal import say
from tidegate.training.progress import live_bar

_REFRESH_S = 0.2


class TuningProgress:
    """A bar on stderr if that is a terminal, or in the cell of a notebook; lines on stdout.

    ``began`` and ``until``: the whole of the time, by ``time.monotonic`` (``until`` infinite: the
    bar goes by the trials).  Nothing at all unless ``show``.
    """

    def __init__(self, show: bool, began: float, until: float) -> None:
        self._show, self._bar = show, live_bar() if show else None
        self._began, self._until = began, until
        self._about, self._trials_done, self._due = "", 0.0, 0.0
        self.best = math.inf

    def __enter__(self) -> TuningProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, about: str, done: float) -> None:
        """Name what is being done now, when this part of all trials is ``done``."""
        self._about, self._trials_done, self._due = about, done, 0.0
        self.moved(0.0)

    def moved(self, fraction: float) -> None:
        """So much of the present run is done."""
        now = time.monotonic()
        if self._bar is None or now < self._due:
            return
        self._due = now + _REFRESH_S
        whole = self._until - self._began
        by_time = (now - self._began) / whole if math.isfinite(whole) and whole > 0 else 0.0
        best = f"best {self.best:.4g}  " if math.isfinite(self.best) else ""
        shown = min(max(self._trials_done, by_time), 1.0)
        self._bar.show(shown, self._about, f"{best}this run {fraction:.0%}")

    def done(self, text: str) -> None:
        """Something has ended: say with what."""
        if self._show:
            say(text)

"""What a run shows while it goes: one live line on a terminal, and the texts of ``at_step``."""

from __future__ import annotations

import sys
import time
from functools import cache
from typing import Any

from tidegate.terminal import say

_REFRESH_S = 0.1


class Progress:
    """A bar on stderr if ``show`` and that is a terminal; texts on stdout in any case."""

    def __init__(self, show: bool, unit: str) -> None:
        self._unit = unit
        self._bar: Any = None
        self._due = 0.0
        self._loss: float | None = None
        self._figure = ""
        self._units = 0.0
        if show and sys.stderr.isatty():
            self._bar = _bar()

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0, figures="")
            self._began = self._counted_since = time.monotonic()
            self._fraction_before: float | None = None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, fraction: float, epoch: int, loss: float, units: float) -> None:
        """One optimiser step is done, and with it ``fraction`` of the run."""
        if self._bar is None:
            return
        self._loss = loss if self._loss is None else 0.95 * self._loss + 0.05 * loss
        self._units += units
        now = time.monotonic()
        if self._fraction_before is None:  # above 0 when resumed
            self._fraction_before = fraction
        if now < self._due:
            return
        self._due = now + _REFRESH_S
        rate = self._units / max(now - self._counted_since, 1e-9)
        if now - self._counted_since > 10:  # a rate of the last seconds, not of the whole run
            self._units, self._counted_since = 0.0, now
        gained = fraction - self._fraction_before
        left = (now - self._began) * (1 - fraction) / gained if gained > 0 else None
        figures = [f"loss {self._loss:.4f}", self._figure, f"{_short(rate)} {self._unit}/s"]
        figures.append(f"{_clock(left)} left" if left is not None else "")
        self._bar.update(
            self._task,
            completed=min(fraction, 1.0),
            description=f"epoch {epoch + 1}",
            figures="  ".join(filter(None, figures)),
        )

    def evaluated(self, name: str, value: float) -> None:
        self._figure = f"{name.replace('_', ' ')} {value:.4g}"
        # an evaluation is no training: leave its time out of the rate
        self._units, self._counted_since = 0.0, time.monotonic()

    def say(self, text: str) -> None:
        say(text)


@cache
def console() -> Any:
    """The one console on stderr: bars that are on it at once stand one below the other."""
    from rich.console import Console

    return Console(stderr=True)


def _bar() -> Any:
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console(),
        # above the bar if both are on the terminal, else where stdout leads
        redirect_stdout=sys.stdout.isatty(),
        refresh_per_second=5,
    )


def _short(number: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.1f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

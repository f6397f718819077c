"""What a run shows while it goes: a live line, or a line per evaluation; texts of ``at_step``."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

from tidegate.terminal import say
from tidegate.training.curve import COLUMNS
from tidegate.training.notebook_bar import NotebookBar, in_notebook

_REFRESH_S = 0.1


class Progress:
    """What ``verbose`` says: 0 nothing, 1 a bar, 2 a line per evaluation; with both, texts.

    The bar stands on stderr if that is a terminal, or in the cell of a notebook, there with the
    curves so far; lines and texts go to stdout.
    """

    def __init__(self, verbose: int, unit: str) -> None:
        self._unit, self._silent, self._lines = unit, verbose == 0, verbose == 2
        self._bar: Bar | None = live_bar() if verbose == 1 else None
        self._due = 0.0
        self._loss: float | None = None
        self._figure = ""
        self._units = 0.0
        self._rows: list[Mapping[str, float]] = []

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
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
        if now < self._due and fraction < 1:
            return
        self._due = now + _REFRESH_S
        rate = self._units / max(now - self._counted_since, 1e-9)
        if now - self._counted_since > 10:  # a rate of the last seconds, not of the whole run
            self._units, self._counted_since = 0.0, now
        gained = fraction - self._fraction_before
        left = (now - self._began) * (1 - fraction) / gained if gained > 0 else None
        figures = [f"loss {self._loss:.4f}", self._figure, f"{_short(rate)} {self._unit}/s"]
        figures.append(f"{_clock(left)} left" if left is not None else "")
        shown = "  ".join(filter(None, figures))
        self._bar.show(min(fraction, 1.0), f"epoch {epoch + 1}", shown)

    def evaluated(self, row: Mapping[str, float], metric: str) -> None:
        """An evaluation is done: its row of the history, in which ``metric`` counts most."""
        self._figure = f"{metric.replace('_', ' ')} {row[metric]:.4g}"
        self._rows.append(row)
        if self._bar is not None:
            self._bar.evaluated(self._rows)
        # an evaluation is no training: leave its time out of the rate
        self._units, self._counted_since = 0.0, time.monotonic()
        if self._lines:
            told = [f"epoch {row['epoch']:.0f}  step {row['step']:.0f}  {_clock(row['seconds'])}"]
            left_out = {*_PLACE, *_said_twice(row, metric)}
            told += [f"{n.replace('_', ' ')} {v:.4g}" for n, v in row.items() if n not in left_out]
            self.say("  ".join(told))

    def say(self, text: str) -> None:
        if not self._silent:
            say(text)


_PLACE = ("step", "epoch", "seconds", "learning_rate")


def _said_twice(row: Mapping[str, float], metric: str) -> list[str]:
    """Figures that are the validation loss under another name, such as a cross-entropy.

    Of ``metric``, which chooses the best weights, its own name stays.
    """
    loss = row.get("validation_loss", math.nan)
    same = [n for n, v in row.items() if n not in COLUMNS and math.isclose(v, loss, rel_tol=1e-5)]
    return ["validation_loss", *(n for n in same if n != metric)] if metric in same else same


class Bar(Protocol):
    """A line that is drawn over and over."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def show(self, fraction: float, about: str, figures: str) -> None: ...

    def evaluated(self, rows: Sequence[Mapping[str, float]]) -> None: ...


def live_bar() -> Bar | None:
    """The bar for where this runs; None where a line cannot be drawn over."""
    if in_notebook():
        return NotebookBar()
    return TerminalBar() if sys.stderr.isatty() else None


class TerminalBar:
    """One line on stderr; further bars stand below it."""

    def start(self) -> None:
        self._lines = _terminal_lines()
        self._lines.start()
        self._task = self._lines.add_task("", total=1.0, figures="")

    def stop(self) -> None:
        self._lines.stop()

    def show(self, fraction: float, about: str, figures: str) -> None:
        self._lines.update(self._task, completed=fraction, description=about, figures=figures)

    def evaluated(self, rows: Sequence[Mapping[str, float]]) -> None:
        """A line has no room for curves."""


@cache
def console() -> Any:
    """The one console on stderr: bars that are on it at once stand one below the other."""
    from rich.console import Console

    return Console(stderr=True)


def _terminal_lines() -> Any:
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

"""What a comparison shows while it goes: a bar over its runs, and a line for each that is done."""

from __future__ import annotations

import sys
from typing import Any

from tidegate.terminal import say
from tidegate.training.progress import console


class RunsProgress:
    """A bar on stderr, above that of the run, if that is a terminal; lines on stdout.

    Nothing at all unless ``show``.
    """

    def __init__(self, show: bool, runs: int) -> None:
        self._show, self._bar = show, None
        if show and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task("", total=runs)

    def __enter__(self) -> RunsProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, what: str) -> None:
        """Name what is being done now."""
        if self._bar is not None:
            self._bar.update(self._task, description=what)

    def done(self, text: str) -> None:
        """A run has ended: say with what."""
        if self._show:
            say(text)
        if self._bar is not None:
            self._bar.advance(self._task)


def _bar() -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("runs, left"),
        TimeRemainingColumn(),
        console=console(),
        redirect_stdout=sys.stdout.isatty(),
        # runs take minutes: the default forgets all but the last half minute
        speed_estimate_period=24 * 3600,
        refresh_per_second=5,
    )

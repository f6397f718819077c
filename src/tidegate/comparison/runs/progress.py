"""What a comparison shows while it goes: a bar over its runs, and a line for each that is done."""

from __future__ import annotations

import sys
from typing import Any

from tidegate.terminal import say
from tidegate.training.notebook_bar import NotebookBar, in_notebook
from tidegate.training.progress import console


class RunsProgress:
    """A bar on stderr, above that of the run, if that is a terminal, or in the cell of a notebook;
    lines on stdout.

    Nothing at all unless ``show``.
    """

    def __init__(self, show: bool, runs: int) -> None:
        self._show, self._bar = show, None
        self._in_cell: NotebookBar | None = None
        self._runs, self._done, self._about = runs, 0, ""
        if show and in_notebook():
            self._in_cell = NotebookBar()
        elif show and sys.stderr.isatty():
            self._bar = _bar()
            self._task = self._bar.add_task("", total=runs)

    def __enter__(self) -> RunsProgress:
        for bar in filter(None, (self._bar, self._in_cell)):
            bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for bar in filter(None, (self._bar, self._in_cell)):
            bar.stop()

    def begin(self, what: str) -> None:
        """Name what is being done now."""
        self._about = what
        if self._bar is not None:
            self._bar.update(self._task, description=what)
        self._show_in_cell()

    def done(self, text: str) -> None:
        """A run has ended: say with what."""
        if self._show:
            say(text)
        self._done += 1
        if self._bar is not None:
            self._bar.advance(self._task)
        self._show_in_cell()

    def _show_in_cell(self) -> None:
        if self._in_cell is not None:
            part = self._done / max(self._runs, 1)
            self._in_cell.show(part, self._about, f"{self._done} of {self._runs} runs")


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

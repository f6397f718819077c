"""Somebody who looks on while a network trains, and may end the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class Watcher(Protocol):
    """What the loop tells.  An exception that a watcher raises ends the run."""

    def wants_figures(self, fraction: float) -> bool:
        """Asked after each step, when ``fraction`` of the run is done: evaluate now?

        The run does so when its minutes leave time for it.
        """
        ...

    def evaluated(self, fraction: float, row: Mapping[str, float]) -> None:
        """A row of the history, when ``fraction`` of the run is done."""
        ...


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Every ``fit`` inside is told to ``watcher``."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def present_watcher() -> Watcher | None:
    """Who looks on here."""
    return _watcher.get()

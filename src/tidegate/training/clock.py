"""The moment from which the minutes of a run count."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_began: ContextVar[float | None] = ContextVar("began", default=None)


@contextmanager
def counting_from(moment: float) -> Iterator[None]:
    """The work of a ``fit`` inside began at ``moment``, by ``time.monotonic``: data were read."""
    token = _began.set(moment)
    try:
        yield
    finally:
        _began.reset(token)


def work_began() -> float:
    """When the work that calls this began: now, unless ``counting_from`` says when."""
    moment = _began.get()
    return time.monotonic() if moment is None else moment

"""Ctrl-C between two steps, so that what is saved is a whole number of them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruption_noted() -> Iterator[Callable[[], bool]]:
    """Inside, a first Ctrl-C is only noted, which the function given tells; a second interrupts.

    Python hands signals to the main thread alone: in another nothing is changed.
    """
    noted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if noted and callable(before):
            before(number, frame)
        noted = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: noted
    finally:
        signal.signal(signal.SIGINT, before)

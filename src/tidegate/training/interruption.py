"""Ctrl-C or a polite kill between two steps, so that what is saved is a whole number of them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruption_noted() -> Iterator[Callable[[], int]]:
    """Inside, a first Ctrl-C is only noted: the function given tells its number, 0 before it.

    A second one does what it did outside.  So it is with SIGTERM, where the program handles that.
    Python hands signals to the main thread alone: in another nothing is changed.
    """
    noted = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        if noted:
            before[number](number, frame)
        noted = number

    before: dict[int, Callable[[int, FrameType | None], object]] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):  # not where it is ignored, or ends the process
                before[number] = handler
    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

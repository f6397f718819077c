"""How a command ends that is interrupted, or whose output nobody takes."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tidegate.cli.processes import process_rank

# What printing fails with; files that are read and written have errors of their own.
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class Signals:
    """Ctrl-C and SIGTERM are a KeyboardInterrupt inside ``raised``; ``number`` is the last one's.

    Library code may make another error of a KeyboardInterrupt, or drop it: so it is noted.
    """

    def __init__(self) -> None:
        self.number = 0

    @property
    def exit_code(self) -> int:
        """As a shell counts: 130 for Ctrl-C."""
        return 128 + (self.number or signal.SIGINT)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """In another thread than the main one, which Python gives no signals to, changes nothing.

        A signal that is ignored, as in a job in the background, stays so.  One of several
        processes leaves SIGTERM alone, by which their launcher ends them while they wait for each
        other.
        """
        before: dict[int, Any] = {}
        numbers = (signal.SIGINT, signal.SIGTERM) if process_rank() is None else (signal.SIGINT,)
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, self._raise)
        unraisable, sys.unraisablehook = sys.unraisablehook, self._report
        try:
            yield
        finally:
            sys.unraisablehook = unraisable
            for number, handler in before.items():
                signal.signal(number, handler)

    def _raise(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.number = number
        raise KeyboardInterrupt

    def _report(self, about: Any) -> None:
        """What cannot be raised where it happens, unless it is the interruption."""
        if not issubclass(about.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(about)


def prepare_streams() -> None:
    """Let stdout and stderr take every character: what they cannot encode is written out."""
    if sys.stderr is None:  # it was closed; print would take stdout instead
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore


def stdout_problem() -> OSError | None:
    """What keeps the rest of the output from being written, None where nothing does."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as e:
        return e
    return None


def drop_stdout() -> None:
    """Let the rest of the output go, so that the interpreter does not complain of it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)

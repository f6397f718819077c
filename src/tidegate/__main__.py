"""The ``tidegate`` command, and ``python -m tidegate``, which each of several processes runs."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def run() -> int:
    """Run the command of ``sys.argv``; its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from tidegate.cli import main

    code = main()
    if code > 128:  # Python would end itself by the signal if it came while a module was executed
        sys.stdout.flush()
        os._exit(code)
    return code


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """End at once: modules are being loaded, and nothing is begun that could be lost."""
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(run())

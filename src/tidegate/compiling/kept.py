"""Where compiled cells are kept: one file of each, whole or not there.

A file is the library and a digest of it, which loaders ignore, so that half a file is known as such
before any of it runs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

from tidegate.errors import InputError
from tidegate.output import file_lock
from tidegate.output.writing import write_atomically


def folder() -> Path:
    """TIDEGATE_CACHE, or the system's folder for what can be made again: ~/.cache/tidegate."""
    if told := os.environ.get("TIDEGATE_CACHE"):
        return Path(told)
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/tidegate"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidegate"


def kept(name: str, make: Callable[[], bytes]) -> Path:
    """The file called ``name``, of what ``make`` gives where it is not there yet, or not whole.

    Of several processes that want it one makes it.  Where nothing can be kept, the file lives as
    long as this process.
    """
    try:
        path = folder() / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_whole(path):
            return path
        with _alone(path):
            if not is_whole(path):
                library = make()
                write_atomically(path, library + sha256(library).digest())
        return path
    except (OSError, RuntimeError, InputError) as e:  # no home, no place, or no space
        warnings.warn(
            f"compiled cells cannot be kept ({str(e):.200}): each process compiles its own; name a "
            "folder for them in the environment variable TIDEGATE_CACHE", RuntimeWarning,
            stacklevel=2,
        )  # fmt: skip
        path = Path(_of_this_process(os.getpid()).name, name)
        if not path.exists():
            path.write_bytes(make())
        return path


def is_whole(path: Path) -> bool:
    """Whether all of a library is there, written by this user."""
    try:
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            return False
        data = path.read_bytes()
    except OSError:
        return False
    return len(data) > 32 and sha256(data[:-32]).digest() == data[-32:]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of what is to be made; the kernel lets go of a process that ends."""
    lock = path.with_suffix(".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        with suppress(OSError):  # a file system without locks: two may make the same
            file_lock.take(descriptor, wait=True)
        yield
    finally:
        file_lock.remove(lock, descriptor)


@cache
def _of_this_process(_: int) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tidegate-")

"""A lock that a run holds on the place it writes to, with the name of the process that holds it."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tidegate.errors import InputError
from tidegate.output import file_lock
from tidegate.output.writing import is_special, own_descriptor, write_all

# What flock fails with on file systems that have no locks, such as some network ones.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def output_lock(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock of the file that ``path`` is to be; a device or a pipe has none.

    Raises InputError, naming the process that holds it.
    """
    if own_descriptor(path) is not None or is_special(path):
        yield
        return
    target = Path(os.path.realpath(path))
    # a digest, since the name itself may be as long as a name can be
    name = f".tidegate-{sha256(os.fsencode(target.name)).hexdigest()[:16]}.lock"
    with lock(target.with_name(name), path, "an output that no other run writes"):
        yield


@contextmanager
def lock(path: Path, subject: str | os.PathLike[str], expected: str) -> Iterator[None]:
    """Hold the lock file ``path``; it is removed at the end.

    The kernel lets go of it when the process ends, however that happens, so a killed run's lock is
    free.  On a file system without locks the file says whose it is, and the lock of a process that
    is gone, or of another one by that number, is free.  Raises InputError about ``subject``,
    which should have been ``expected``.
    """
    descriptor = _taken(path, subject, expected)
    try:
        yield
    finally:
        file_lock.remove(path, descriptor)


def _taken(path: Path, subject: str | os.PathLike[str], expected: str) -> int:
    """The descriptor of the lock file, whose lock is ours."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as e:
            raise InputError(
                f"expected {expected}, got: {e.strerror} for its lock {path.name}; free some "
                "space, let yourself write there or name another place",
                file=subject,
            ) from e
        try:
            held = not _lock(descriptor)
            owner = _owner(descriptor)
            if held:
                raise InputError(f"expected {expected}, got one of {_told(owner)}", file=subject)
            if not _is_at(path, descriptor):  # removed by its owner since it was opened
                os.close(descriptor)
                continue
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            write_all(descriptor, _record())
        except OSError as e:
            os.close(descriptor)
            raise InputError(
                f"expected {expected}, got: {e.strerror}; free some space or name another place",
                file=subject,
            ) from e
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _lock(descriptor: int) -> bool:
    """Take the lock; False where another process holds it."""
    try:
        file_lock.take(descriptor)
    except BlockingIOError:
        return False
    except OSError as e:
        if e.errno not in _NO_LOCKS:
            raise
        return not _lives(_owner(descriptor))
    return True


def _record() -> bytes:
    process = os.getpid()
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    owner = {"process": process, "host": socket.gethostname(), "since": since}
    return json.dumps(owner | {"started": _started(process)}).encode()


def _owner(descriptor: int) -> dict[str, Any]:
    """What the lock file says; nothing where it is not written yet, or damaged."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        owner = json.loads(os.read(descriptor, 4096))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) and type(owner.get("process")) is int else {}


def _told(owner: dict[str, Any]) -> str:
    if not owner:
        return "another process; wait until it has ended, or name another place"
    return (
        f"process {owner['process']} on {owner.get('host')}, since {owner.get('since')}; wait "
        "until it has ended, stop it, or name another place"
    )


def _lives(owner: dict[str, Any]) -> bool:
    """Whether the owner runs; of another machine nobody can tell, so it does.

    Nor is it asked on Windows, where the signal 0 would end it.
    """
    if not owner:
        return False
    if sys.platform == "win32" or owner.get("host") != socket.gethostname():
        return True
    try:
        os.kill(owner["process"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return _started(owner["process"]) == owner.get("started")


def _started(process: int) -> int | None:
    """When a process began, in the kernel's ticks, which tells it from others of its number."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False

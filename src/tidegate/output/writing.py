"""Bytes to a path: a regular file atomically, a device or a pipe straight."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from stat import S_ISREG

from tidegate.errors import InputError

_OWN = re.compile(r"/dev/(stdout|stderr)|(?:/dev|/proc/self)/fd/(\d+)")


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace ``path`` by ``data``, so that a reader sees all of the old file or all of the new.

    Holds through a kill or a power cut at any moment: the bytes are on the disk under another name
    in the same folder before the name changes.  A device, a pipe or an own descriptor, such as
    ``/dev/stdout``, is written to as it stands.  Raises InputError where it cannot be written, and
    BrokenPipeError where nobody reads on.
    """
    try:
        if (descriptor := own_descriptor(path)) is not None:
            sys.stdout.flush()  # what was printed before stands before
            write_all(descriptor, data)
        elif is_special(path):
            descriptor = os.open(path, os.O_WRONLY)
            try:
                write_all(descriptor, data)
            finally:
                os.close(descriptor)
        else:
            _replace(Path(os.path.realpath(path)), data)  # a link stays a link
    except BrokenPipeError:
        raise
    except OSError as e:
        raise InputError(
            f"expected a place to write {len(data)} bytes to, got: {e.strerror}; "
            "make the folder, free some space or name another file",
            file=path,
        ) from e


def own_descriptor(path: str | os.PathLike[str]) -> int | None:
    """The descriptor of this process that ``path`` is another name of, None if it is of none."""
    found = _OWN.fullmatch(os.path.abspath(path))
    if found is None:
        return None
    return {"stdout": 1, "stderr": 2}[found[1]] if found[1] else int(found[2])


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is there and no regular file, such as a device or a pipe."""
    try:
        return not S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def write_partial(folder: Path, data: bytes) -> Path:
    """A new file in ``folder`` with ``data``, which are on the disk.  Raises OSError, leaving none.

    Its name is short: one with the target's name in it could be too long where that is not.
    """
    partial = folder / f".{os.urandom(8).hex()}.partial"
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


def write_all(descriptor: int, data: bytes) -> None:
    """Every byte of ``data``, of which one call may take a part only."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _replace(target: Path, data: bytes) -> None:
    partial = write_partial(target.parent, data)
    try:
        os.replace(partial, target)
        if os.name == "posix":  # elsewhere a folder cannot be opened, nor needs to be
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        partial.unlink(missing_ok=True)

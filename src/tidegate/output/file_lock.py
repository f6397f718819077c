"""The system's own lock of an open file: flock, and on Windows LockFile."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    # Nobody else can read what is locked; so it is a byte that no lock file has.
    _BEYOND = 1 << 30

    def take(descriptor: int, *, wait: bool = False) -> None:
        """Lock the open file.  Where another process has: raises BlockingIOError, or waits, though
        ten seconds at most.
        """
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError as e:
            if e.errno not in (errno.EACCES, errno.EDEADLK):
                raise
            raise BlockingIOError(errno.EWOULDBLOCK, "another process holds the lock") from e

    def remove(path: Path, descriptor: int) -> None:
        """Remove a lock file of ours and let go of it; an open file cannot be removed."""
        os.close(descriptor)
        try:
            path.unlink()
        except OSError:  # another process has opened it meanwhile: it is that one's
            return

else:
    import fcntl

    def take(descriptor: int, *, wait: bool = False) -> None:
        """Lock the open file.  Where another process has: raises BlockingIOError, or waits."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

    def remove(path: Path, descriptor: int) -> None:
        """Remove a lock file of ours and let go of it, in this order: no other can hold it."""
        path.unlink(missing_ok=True)
        os.close(descriptor)

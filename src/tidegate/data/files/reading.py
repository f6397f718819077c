"""Bytes of a user's file, of standard input or of a pipe, or one line that says what is wrong."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final

from tidegate.errors import InputError

__all__ = [
    "File",
    "Taken",
    "can_be_read_again",
    "check_unpacked",
    "is_read_once",
    "name_of",
    "open_bytes",
    "read_bytes",
    "taken",
]

_GZIP_MAGIC: Final = b"\x1f\x8b"
_PIECE: Final = 2**24  # bytes read at once
# No honest file shrinks to less than a hundredth and is large besides; one that does is refused
# before it fills the memory.
_LARGE: Final = 2**28  # bytes
_MOST_SHRUNK: Final = 100
_MOST_OF_A_PIPE: Final = 2**32  # bytes; a pipe may never end
_OPEN: Final = re.compile(r"/dev/(stdin|fd/\d+)$|/proc/(self|\d+)/fd/\d+$")


@dataclass(frozen=True)
class Taken(PathLike[str]):
    """Standard input or a pipe, with its content, which is gone once it has been read.

    Its path has no ending of a file's name: what kind of file it is, the content tells.
    """

    path: str
    content: bytes = field(repr=False)

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return str(name_of(self.path))


File = str | Taken  # what a command is given to read


def taken(path: str | PathLike[str]) -> File:
    """A file's path as it is; standard input (``-``) or a pipe with its content."""
    if isinstance(path, Taken) or not is_read_once(path):
        return path if isinstance(path, Taken) else os.fspath(path)
    return Taken(os.fspath(path), read_bytes(path))


def is_read_once(path: str | PathLike[str]) -> bool:
    """Whether a path is standard input (``-``), a pipe, or one that is open (``/dev/fd/3``)."""
    if isinstance(path, Taken):
        return False
    return str(path) == "-" or bool(_OPEN.match(os.path.abspath(path))) or Path(path).is_fifo()


def read_bytes(path: str | PathLike[str]) -> bytes:
    """The content of a file (``-``: of standard input), unpacked if it is gzip.

    Raises InputError unless there is some.
    """
    if isinstance(path, Taken):
        return path.content
    pieces: list[bytes] = []
    size = 0
    with open_bytes(path) as file:
        while piece := file.read(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if isinstance(file, gzip.GzipFile):
                check_unpacked(size, _bytes_taken(file), path, "unpack it with gunzip")
            elif size > _MOST_OF_A_PIPE and not can_be_read_again(path):
                problem = f"expected a pipe that ends, got more than {_MOST_OF_A_PIPE} bytes"
                raise InputError(f"{problem}; write them to a file", file=name_of(path))
    if not pieces:
        problem = "expected some content, got an empty file; check it"
        raise InputError(problem, file=name_of(path))
    return b"".join(pieces)


def check_unpacked(unpacked: int, packed: int, path: str | PathLike[str], remedy: str) -> None:
    """Raise InputError for bytes that unpack to so much that the file must be a trap."""
    if unpacked > _LARGE and unpacked > _MOST_SHRUNK * packed:
        problem = f"expected a file that unpacks to at most {_MOST_SHRUNK} times its size"
        got = f"got one of {packed} bytes that unpacks to {unpacked} or more"
        raise InputError(f"{problem}, {got}; if it is right, {remedy}", file=name_of(path))


def can_be_read_again(path: str | PathLike[str]) -> bool:
    """Whether a path is of a file, not of standard input or a pipe, whose content is gone."""
    return isinstance(path, Taken) or (not is_read_once(path) and Path(path).is_file())


def name_of(path: str | PathLike[str]) -> str | PathLike[str]:
    """What an error calls the file."""
    return "standard input" if str(path) == "-" else path


@contextmanager
def open_bytes(path: str | PathLike[str], title: str | None = None) -> Iterator[BinaryIO]:
    """A file to read from (``-``: standard input), unpacked as it is read if it is gzip.

    A ``title`` stands beside a bar on the terminal that shows how much has been read.  Raises
    InputError for a file that cannot be read.
    """
    with _open(path) as opened, _watched(opened, title) as file:
        head = file.peek(2)
        if not head.startswith(_GZIP_MAGIC):
            if str(path).endswith(".gz") and head:
                problem = "expected gzip data as the name says, got something else"
                raise InputError(f"{problem}; rename or gzip it", file=path)
            yield file
            return
        try:
            yield gzip.GzipFile(fileobj=file)  # pyright: ignore[reportReturnType]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            problem = f"expected a whole gzip file, got a damaged one ({error}); fetch it again"
            raise InputError(problem, file=name_of(path)) from None


@contextmanager
def _open(path: str | PathLike[str]) -> Iterator[io.BufferedReader]:
    if str(path) == "-":
        if sys.stdin is None:
            problem = "expected an open one, got a closed one; write < FILE behind the command"
            raise InputError(problem, file=name_of(path))
        yield sys.stdin.buffer  # pyright: ignore[reportReturnType]
        return
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not file.isatty()):
                raise InputError("expected a file or a pipe, got a device; name one", file=path)
            yield file
    except FileNotFoundError:
        problem = f"expected a file, got nothing of that name in {Path.cwd()}; check the path"
        raise InputError(problem, file=path) from None
    except IsADirectoryError:
        raise InputError("expected a file, got a folder; name a file in it", file=path) from None
    except PermissionError as error:
        problem = f"expected a readable file, got '{error.strerror}'; check its permissions"
        raise InputError(problem, file=path) from None
    except OSError as error:
        problem = f"expected a readable file, got '{error.strerror or error}'; check the path"
        raise InputError(problem, file=path) from None


@contextmanager
def _watched(file: io.BufferedReader, title: str | None) -> Iterator[Any]:
    # a base install has no rich: it reads without a bar
    if title is None or not sys.stderr.isatty() or find_spec("rich") is None:
        yield file
        return
    from rich.console import Console
    from rich.progress import wrap_file

    size = os.fstat(file.fileno()).st_size
    with wrap_file(file, size, description=title, console=Console(stderr=True)) as watched:
        yield io.BufferedReader(watched, 2**20)  # pyright: ignore[reportArgumentType]


def _bytes_taken(file: gzip.GzipFile) -> int:
    """How much of a packed file has been read so far; 0 of a pipe, which cannot tell."""
    try:
        return file.fileobj.tell()  # pyright: ignore
    except OSError:
        return 0

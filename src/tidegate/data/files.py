"""Bytes and UTF-8 text of a user's file, or one line that says what is wrong with it."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final

from tidegate.errors import InputError

__all__ = ["decode_utf8", "open_bytes", "read_bytes"]

_GZIP_MAGIC: Final = b"\x1f\x8b"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def read_bytes(path: str | PathLike[str]) -> bytes:
    """The content of a file, unpacked if it is gzip.  Raises InputError unless there is some."""
    with open_bytes(path) as file:
        data = file.read()
    if not data:
        raise InputError("expected some content, got an empty file; check it", file=path)
    return data


@contextmanager
def open_bytes(path: str | PathLike[str], title: str | None = None) -> Iterator[BinaryIO]:
    """A file to read from, unpacked as it is read if it is gzip.

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
            raise InputError(problem, file=path) from None


def _open(path: str | PathLike[str]) -> io.BufferedReader:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        problem = f"expected a file, got nothing of that name in {Path.cwd()}; check the path"
        raise InputError(problem, file=path) from None
    except IsADirectoryError:
        raise InputError("expected a file, got a folder; name a file in it", file=path) from None
    except OSError as error:
        problem = f"expected a readable file, got '{error.strerror}'; check its permissions"
        raise InputError(problem, file=path) from None


@contextmanager
def _watched(file: io.BufferedReader, title: str | None) -> Iterator[Any]:
    if title is None or not sys.stderr.isatty():
        yield file
        return
    from rich.console import Console
    from rich.progress import wrap_file

    size = os.fstat(file.fileno()).st_size
    with wrap_file(file, size, description=title, console=Console(stderr=True)) as watched:
        yield io.BufferedReader(watched, 2**20)  # pyright: ignore[reportArgumentType]


def decode_utf8(data: bytes, path: str | PathLike[str]) -> str:
    """The text of UTF-8 bytes without their byte order mark, line ends as they are.

    Raises InputError with the line of the first byte that cannot be text.
    """
    if data.startswith(_UTF16_MARKS):
        problem = "expected UTF-8, got UTF-16; convert it with iconv -f utf-16 -t utf-8"
        raise InputError(problem, file=path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # counted in error.object: the decoder has taken the byte order mark off
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        problem = (
            f"expected UTF-8, got byte 0x{byte:02X}; "
            "if the file is Latin-1, convert it with iconv -f latin1 -t utf-8"
        )
        raise InputError(problem, file=path, line=line) from None
    if (position := text.find("\0")) >= 0:
        problem = "expected text, got a NUL byte; this is a binary file, or one in UTF-16"
        raise InputError(problem, file=path, line=text.count("\n", 0, position) + 1)
    return text

"""Texts that others wrote, such as file names, labels and samples, as a terminal may be given them.

A control character in them could move the cursor, colour or hide what is shown.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import TextIO

LONGEST = 1000  # characters of a message or of a cell of a table

# Control characters of ASCII and Latin-1, line separators, changes of the writing direction, and
# halves of characters, which no encoding can write.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NO_ASCII = re.compile("[^ -~]")
_UNSAFE_IN_LINES = re.compile(UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def printable(text: str, *, lines: bool = False) -> str:
    r"""``text`` with its control characters written out, such as ``\x1b``.

    Line ends and tabs stay as they are with ``lines``.
    """
    if lines:
        return _UNSAFE_IN_LINES.sub(_written_out, text.replace("\r\n", "\n"))
    return UNSAFE.sub(_written_out, text)


def one_line(text: str) -> str:
    """``text`` as a message: printable, in one line, the middle left out where it is very long."""
    return elided(printable(" ".join(text.split())))


def elided(text: str) -> str:
    """``text``, or its beginning and its end where it is longer than ``LONGEST``."""
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST * 6 // 10]} [...] {text[-LONGEST * 3 // 10 :]}"


def path_text(path: str | os.PathLike[str]) -> str:
    r"""A file's name as text that is valid UTF-8: a byte that is not stands there as ``\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def quoted(argument: str) -> str:
    """An argument as a shell takes it, in one line of characters that stdout can print."""
    shown = argument.isascii() or _encoded(argument, sys.stdout) == argument
    if shown and printable(argument) == argument:
        return shlex.quote(argument)
    written = argument.replace("\\", r"\\").replace("'", r"\'")
    unsafe = UNSAFE if shown else _NO_ASCII
    return f"$'{unsafe.sub(_in_octal, written)}'"  # of bash and zsh


def quoted_path(path: str | os.PathLike[str]) -> str:
    """A file's name as an argument that no command takes for an option, or for stdin."""
    name = os.fspath(path)
    return quoted(f"./{name}" if name.startswith("-") else name)


def say(text: str, file: TextIO | None = None) -> None:
    """Print lines on ``file``, by default stdout; what it cannot encode is written out."""
    stream = sys.stdout if file is None else file
    print(_encoded(printable(text, lines=True), stream), file=stream, flush=True)


def _encoded(text: str, stream: TextIO | None) -> str:
    """``text``, what ``stream`` cannot encode written out, such as half of a character."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file's name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()


def _in_octal(found: re.Match[str]) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(found[0]))

"""What commands read from a user's files, with errors that say which file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate.errors import InputError


@contextlib.contextmanager
def about_file(file: Path) -> Iterator[None]:
    """Name ``file`` in an InputError that names none, unless it is about an option."""
    try:
        yield
    except InputError as e:
        if e.file is not None or str(e).startswith("option"):
            raise
        raise InputError(str(e), file=file) from e


def column_names(given: Sequence[str]) -> list[str]:
    """``a,b`` and ``c`` as a, b, c."""
    return [name.strip() for part in given for name in part.split(",") if name.strip()]


def text_lines(file: str) -> list[str]:
    """The lines of a text file, or of stdin for ``-``; empty ones are left out."""
    if file == "-":
        content = sys.stdin.read()
    else:
        from tidegate.data.text import read_text

        content = read_text(file)
    lines = [line for line in content.splitlines() if line.strip()]
    if not lines:
        raise InputError("expected a text on each line, got none", file=file)
    return lines

"""What a user gave cannot be used: one line that says where, what came, what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from reprlib import Repr
from typing import Any

from tidegate.terminal import one_line, quoted


class InputError(ValueError):
    """A file, a value or an option of the user's that cannot be used.

    ``problem`` reads "expected ..., got ...; remedy".  ``file`` (``-``: standard input), ``line``
    (1-based) and ``column`` (a name) say where, or ``option``, a name as in Python, which is shown
    as its user spells it.  The text is one line of printable characters, not a long one; the
    command line prints it and exits with 2.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | PathLike[str] | None = None,
        line: int | None = None,
        column: str | None = None,
        option: str | None = None,
    ) -> None:
        place = ["standard input" if str(file) == "-" else str(file)] if file is not None else []
        if line is not None:
            place.append(f"line {line}")
        if column is not None:
            place.append(f"column {column!r}")
        if option is not None:
            place.append(f"option {spelled(option)}")
        message = f"{', '.join(place)}: {problem}" if place else problem
        super().__init__(one_line(message))
        self.file, self.line, self.column = file, line, column


def shown(value: Any, longest: int = 80) -> str:
    """A value that a stranger gave, of at most ``longest`` characters, control ones escaped."""
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = longest
    short.maxlist = short.maxdict = short.maxset = 6
    text = re.sub(r"\s*\n\s*", " ", short.repr(value))  # arrays of NumPy take several lines
    return text if len(text) <= longest else text[: longest - 3] + "..."


_as_flags = False  # how the user of this process spells options


@contextmanager
def options_as_flags(wanted: bool = True) -> Iterator[None]:
    """Within this, messages spell options as the command line does, or do not."""
    global _as_flags  # noqa: PLW0603
    before, _as_flags = _as_flags, wanted
    try:
        yield
    finally:
        _as_flags = before


def spelled(name: str, value: Any = None) -> str:
    """An option as its user writes it, alone or with a value: ``--min-count 2``, ``min_count=2``.

    On the command line, True is the flag alone, and False the flag with --no-.
    """
    if not _as_flags:
        return name if value is None else f"{name}={value!r}"
    flag = ("--no-" if value is False else "--") + name.replace("_", "-")
    if value is None or isinstance(value, bool):
        return flag
    return f"{flag} {quoted(value) if isinstance(value, str) else written(value)}"


def written(value: Any) -> str:
    """A value of an option as its user writes it: on the command line ``64,32``, not (64, 32)."""
    if not _as_flags:
        return shown(value)
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        return ",".join(item if isinstance(item, str) else written(item) for item in value)
    return shown(value)

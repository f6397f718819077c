"""What a user gave cannot be used: one line that says where, what came, what was expected."""

from __future__ import annotations

from os import PathLike
from reprlib import Repr
from typing import Any

from tidegate.terminal import one_line


class InputError(ValueError):
    """A file, a value or an option of the user's that cannot be used.

    ``problem`` reads "expected ..., got ...; remedy".  ``file``, ``line`` (1-based) and ``column``
    (a name) say where.  The text is one line of printable characters, not a long one; the command
    line prints it and exits with 2.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | PathLike[str] | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        place = [str(file)] if file is not None else []
        if line is not None:
            place.append(f"line {line}")
        if column is not None:
            place.append(f"column {column!r}")
        message = f"{', '.join(place)}: {problem}" if place else problem
        super().__init__(one_line(message))
        self.file, self.line, self.column = file, line, column


def shown(value: Any, longest: int = 80) -> str:
    """A value that a stranger gave, of at most ``longest`` characters, control ones escaped."""
    short = Repr()
    short.maxstring = short.maxother = short.maxlong = longest
    short.maxlist = short.maxdict = short.maxset = 6
    text = short.repr(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."

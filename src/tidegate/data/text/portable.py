r"""Regular expressions that mean the same in every engine, for readers in other languages.

What ``\w``, ``\s`` and ``\d`` are differs from engine to engine.  Here they are written out, as
Python has them, so that Python's ``re`` and JavaScript's RegExp (flag ``u``) find the same.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_LAST = 0x110000


def portable(pattern: str) -> str:
    r"""``pattern`` with ``\w``, ``\d``, ``\s`` and ``\S`` written out as ranges of characters."""
    parts, in_class = [], False
    for token in re.findall(r"\\.|.", pattern, re.DOTALL):
        name = token[1:].lower() if token in (r"\w", r"\d", r"\s", r"\S") else ""
        if token == "[":
            in_class = True
        elif token == "]":
            in_class = False
        if not name:
            parts.append(token)
        elif in_class:
            assert token != r"\S"  # a class within a class
            parts.append(_ranges(name))
        else:
            parts.append(f"[{'^' if token.isupper() else ''}{_ranges(name)}]")
    return "".join(parts)


def of_any_case(letters: str) -> str:
    """A pattern for ``letters`` in any case, for engines that fold cases each in their own way."""
    return "".join(_any_case(letter) for letter in letters)


@cache
def of_categories(*initials: str) -> str:
    """The ranges of all characters of Unicode categories that begin with one of ``initials``."""
    return as_ranges([unicodedata.category(chr(code))[0] in initials for code in range(_LAST)])


@cache
def _any_case(letter: str) -> str:
    if not letter.isalpha():
        return letter
    folded = re.compile(letter, re.IGNORECASE)
    return f"[{''.join(c for c in map(chr, range(0x3000)) if folded.fullmatch(c))}]"


@cache
def _ranges(name: str) -> str:
    found = re.compile(rf"\{name}")
    return as_ranges([found.match(chr(code)) is not None for code in range(_LAST)])


def as_ranges(members: list[bool]) -> str:
    """The characters that are in, by code, as the inside of a class; what means something escaped.

    ``members``: of the first codes, or of all.
    """
    parts, start = [], None
    for code, is_in in enumerate([*members, False]):
        if 0xD800 <= code < 0xE000:  # half characters, which no text has
            is_in = False
        if is_in and start is None:
            start = code
        elif not is_in and start is not None:
            first, last = _written(start), _written(code - 1)
            parts.append(first if start == code - 1 else f"{first}-{last}")
            start = None
    return "".join(parts)


def _written(code: int) -> str:
    # separators end a line in some engines, marks would join the character before
    return chr(code) if code > 0xFFFF or chr(code).isalnum() else f"\\u{code:04x}"

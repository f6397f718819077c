"""Docstrings name arguments in lines of their own, ``x: [T, B, I]``: these become lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_ARGUMENT = re.compile(r"(\w+(?:, \w+)*): (\S.*)")
_OUTSIDE_CODE = re.compile(r"\|(?=(?:[^`]|`[^`]*`)*$)")
_AS_LIST = r"``\1``\n    \2"


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", lambda *about: _rewrite(about[-1]))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _rewrite(lines: list[str]) -> None:
    # |a| is an absolute value
    lines[:] = [_OUTSIDE_CODE.sub(r"\|", line) for line in with_lists(lines)]


def with_lists(lines: list[str]) -> list[str]:
    """The lines, those that explain arguments as a list of definitions in reStructuredText.

    Such a paragraph begins with an argument and has nothing but arguments, and indented lines.
    """
    found: list[str] = []
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line)
            continue
        rest = [one for one in paragraph if not one.startswith(" ")]
        if rest and all(_ARGUMENT.fullmatch(one) for one in rest):
            paragraph = [
                text for one in paragraph for text in _ARGUMENT.sub(_AS_LIST, one).split("\n")
            ]
        found += [*paragraph, line]
        paragraph = []
    return found

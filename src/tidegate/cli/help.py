"""How a page of help is laid out: text, then rows of names and what they mean, by panel."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# The order of panels; those of other names follow in the order that they are declared in.
PANELS = ("Arguments", "Comparison", "Data", "Model", "Training", "Run")
_WIDEST = 100  # columns; longer lines are hard to read
_LONGEST_NAME = 26  # columns; what a longer one means begins on the next line
_LONG_LIST = 20  # columns; a shorter one, such as 128,64, stays on one line

Rows = Sequence[tuple[str, str]]


def page(usage: Sequence[str], text: str | None, panels: Mapping[str, Rows]) -> str:
    """The help of a command: how it is called, what it does, its parameters by panel."""
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    blocks = [f"Usage: {' '.join(usage)}"]
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        blocks.append("\n".join(_paragraph(" ".join(paragraph.split()), width)))
    names = [len(name) for rows in panels.values() for name, _ in rows]
    column = 4 + max((n for n in names if n <= _LONGEST_NAME), default=0)
    known = {name: k for k, name in enumerate(PANELS)}
    for title in sorted(panels, key=lambda title: known.get(title, len(known))):
        if panels[title]:
            lines = [line for row in panels[title] for line in _row(*row, column, width)]
            blocks.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(blocks)


class _Wrapper(textwrap.TextWrapper):
    """Breaks lines at spaces, and a long list of names after its commas; never --max-steps."""

    def __init__(self, width: int, **about: Any) -> None:
        super().__init__(width, break_on_hyphens=False, **about)

    def _split(self, text: str) -> list[str]:
        words = super()._split(text)
        return [
            part
            for word in words
            for part in (re.split("(?<=,)", word) if len(word) > _LONG_LIST else [word])
        ]


def _paragraph(text: str, width: int) -> list[str]:
    """Lines; an example stays one command for a shell, broken before options alone."""
    if not re.match(r"(Example|Try): ", text):
        return _Wrapper(width).wrap(text)
    kept = re.sub(r" (?!-|\|)", "\0", text)
    lines = textwrap.wrap(
        kept, width - 2, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False
    )
    return " \\\n".join(lines).replace("\0", " ").split("\n")


def _row(name: str, text: str, column: int, width: int) -> Iterator[str]:
    kept = text.replace("[default: ", "[default:\0")
    lines = [line.replace("\0", " ") for line in _Wrapper(width - column).wrap(kept)] or [""]
    if len(name) > column - 4:
        yield f"  {name}"
    else:
        yield f"  {name:<{column - 2}}{lines.pop(0)}".rstrip()
    for line in lines:
        yield " " * column + line

"""The ``.ts`` text format of the UCR/UEA archives of time series classification and regression.

Lines of the header begin with ``@``, comments with ``#``.  After ``@data`` each line is a sequence:
its dimensions, split by colons, then its label or number; the values of a dimension are split by
commas, a missing one is ``?``.  Source: "ts File Format v1.0", sktime's documentation.
"""

from __future__ import annotations

import contextlib
import re
from os import PathLike

import numpy as np

from tidegate.data.files.encodings import decode, lines_of
from tidegate.data.files.items import label_text
from tidegate.data.files.reading import read_bytes
from tidegate.data.sequences.sequences import Answers, SequenceSet, parse_number
from tidegate.errors import InputError, shown

__all__ = ["read_ts"]

_FLAGS = ("timestamps", "univariate", "equallength", "classlabel", "targetlabel")
_COUNTS = ("dimensions", "dimension", "serieslength")  # sktime writes the second, too


def read_ts(
    path: str | PathLike[str], answers: Answers, encoding: str | None = None
) -> SequenceSet:
    """The sequences of a ``.ts`` file, also gzipped, named by their number from 1.

    Raises InputError, with the line, for a malformed file, and for one whose header promises other
    answers than those asked for.
    """
    header = _Header()
    values: list[np.ndarray] = []
    found: list[str | float] = []
    content = decode(read_bytes(path), path, encoding)
    for number, text in enumerate(lines_of(content), 1):
        line = text.strip()
        if not line or line.startswith("#"):
            continue
        try:
            if not header.complete:
                header.read(line, answers)
            else:
                value, answer = header.sequence(line, answers)
                values.append(value)
                found.append(answer)
        except ValueError as problem:
            raise InputError(str(problem), file=path, line=number) from None
    if not values:
        missing = "sequences after @data" if header.complete else "a line @data"
        raise InputError(f"expected {missing}, got none; is the file whole?", file=path)
    names = [str(i) for i in range(1, len(values) + 1)]
    return SequenceSet(values, names, None if answers is None else np.array(found))


class _Header:
    """What the lines before ``@data`` say of those after it.  Its methods raise ValueError."""

    def __init__(self) -> None:
        self.complete = False
        self.flags: dict[str, bool] = {}
        self.dimensions: int | None = None
        self.length: int | None = None
        self.labels: list[str] = []

    def read(self, line: str, answers: Answers) -> None:
        """Take in one line of the header."""
        if not line.startswith("@"):
            raise ValueError(
                f"expected a line of the header such as @univariate true, got {shown(line)}; "
                "sequences come after a line @data"
            )
        tag, *words = line[1:].split()
        tag, first = tag.lower(), words[0].lower() if words else ""
        if tag in _FLAGS:
            if first not in ("true", "false"):
                got = shown(" ".join(words))
                raise ValueError(f"expected @{tag} true or false, got {got}; write one of them")
            self.flags[tag] = first == "true"
        elif tag in _COUNTS:
            if not re.fullmatch(r"[1-9]\d{0,8}", first):
                problem = f"expected @{tag} and a whole number, got {shown(first)}"
                raise ValueError(f"{problem}; write it, or leave the line out")
            if tag == "serieslength":
                self.length = int(first)
            else:
                self.dimensions = int(first)
        if tag == "timestamps" and self.flags[tag]:
            raise ValueError(
                "expected values alone (@timeStamps false), got them with times; write them as a "
                "table with a column of ids and one of times"
            )
        if tag == "classlabel":
            self.labels = words[1:]
        if tag == "data":
            self.complete = True
            self._check(answers)

    def _check(self, answers: Answers) -> None:
        """Hold what is known by ``@data`` against what is asked for."""
        if self.flags.get("univariate"):
            self.dimensions = 1
        if not self.flags.get("equallength"):
            self.length = None
        asked = {"label": "classlabel", "number": "targetlabel"}
        if answers is not None and not self.flags.get(asked[answers]):
            other = {"label": "number", "number": "label"}[answers]
            got = f"{other}s" if self.flags.get(asked[other]) else "none"
            remedy = {"label": "a series-regressor", "number": "a series-classifier"}[answers]
            remedy = f"train {remedy}" if got != "none" else "add them, and a line that says so"
            raise ValueError(f"expected {answers}s (@{asked[answers]} true), got {got}; {remedy}")

    def sequence(self, line: str, answers: Answers) -> tuple[np.ndarray, str | float]:
        """Values [T, I] and the answer on a line after ``@data``."""
        parts = line.split(":")
        answer = ""
        if self.flags.get("classlabel") or self.flags.get("targetlabel"):
            if len(parts) < 2:
                raise ValueError("expected values, a colon and the answer, got no colon; add it")
            answer = parts.pop().strip()
        self.dimensions = self.dimensions or len(parts)
        if len(parts) != self.dimensions:
            raise ValueError(
                f"expected {self.dimensions} dimensions split by colons, got {len(parts)}; "
                "are there too many, or is the answer missing?"
            )
        columns = [_numbers(part) for part in parts]
        lengths = sorted({len(column) for column in columns})
        if len(lengths) > 1:
            raise ValueError(f"expected dimensions of one length, got {lengths}; fill up with ?")
        if self.length is not None and lengths[0] != self.length:
            raise ValueError(
                f"expected {self.length} values as @seriesLength says, got {lengths[0]}; "
                "correct it, or write @equalLength false"
            )
        return np.column_stack(columns), self._answer(answer, answers)

    def _answer(self, text: str, answers: Answers) -> str | float:
        if answers == "number":
            return parse_number(text)
        if answers == "label" and (not text or (self.labels and text not in self.labels)):
            expected = f"one of {', '.join(self.labels[:10])}" if self.labels else "a label"
            raise ValueError(f"expected {expected}, got {shown(text)}; correct it, or @classLabel")
        return label_text(text)


def _numbers(part: str) -> np.ndarray:
    """The values of one dimension, float64 [T]."""
    cells = [cell.strip() for cell in part.split(",")]
    if re.fullmatch(r"[0-9eE+\-.,\s]*", part):
        with contextlib.suppress(ValueError):
            numbers = np.array(cells, dtype=np.float64)
            if np.isfinite(numbers).all():
                return numbers
    try:
        return np.array([np.nan if c in ("?", "NaN", "nan") else parse_number(c) for c in cells])
    except ValueError as error:
        raise ValueError(f"{error}, or write ? where it is missing") from None

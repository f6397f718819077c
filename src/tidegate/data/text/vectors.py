"""Word vectors that others have trained, from a text file of GloVe, word2vec or fastText.

Each line holds a word and its numbers, with single spaces between; word2vec and fastText begin with
a line that says how many words and how many numbers there are.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import BinaryIO, Final

import numpy as np

from tidegate.data.files.reading import open_bytes
from tidegate.errors import InputError

__all__ = ["read_vectors"]

_LONGEST: Final = 2**24  # bytes of a line: a million numbers of 16
_SHOWN: Final = 40  # bytes of a line in a message


def read_vectors(
    path: str | PathLike[str],
    words: Sequence[str],
    *,
    lowercase: bool = False,
    title: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions in ``words`` of those that the file knows, int64 [K], and their vectors [K, D].

    Of lines with the same word the first counts; with ``lowercase`` a word in capitals serves where
    there is none without.  Numbers are float32.  Only what is asked for is kept in memory; a
    ``title`` stands beside a bar that shows how much has been read.  Raises InputError, with the
    line, for one that is not a word and D numbers (of other words their count alone is looked at),
    and where none of the words is there.
    """
    positions = {word.encode(): i for i, word in enumerate(words)}
    exact: dict[int, np.ndarray] = {}
    folded: dict[int, np.ndarray] = {}
    with open_bytes(path, title) as file:
        for line, word, numbers in _entries(file, path):
            found, position = exact, positions.get(word)
            if position is None and lowercase:
                found = folded
                position = positions.get(word.decode("utf-8", "replace").lower().encode())
            if position is not None and position not in found:
                found[position] = _vector(path, line, numbers)
    vectors = folded | exact
    if not vectors:
        raise InputError(
            f"expected vectors of the vocabulary's {len(words)} words, got one of none; "
            "is the file of this language, and in lower case where the vocabulary is?",
            file=path,
        )
    return np.array(list(vectors)), np.stack(list(vectors.values()))


def _entries(lines: BinaryIO, path: str | PathLike[str]) -> Iterator[tuple[int, bytes, bytes]]:
    """Line, word and numbers of every entry, which are as many as in the first."""
    size = 0
    for line, content in enumerate(_lines(lines, path), 1):
        word, _, numbers = content.rstrip(b" \r\n").partition(b" ")
        count = numbers.count(b" ") + bool(numbers)
        if line == 1 and count == 1 and word.isdigit() and numbers.isdigit():
            size = int(numbers)
            continue
        size = size or count
        if count > size:  # GloVe has words with spaces in them, but none that ends in a number
            word, *rest = content.rstrip(b" \r\n").rsplit(b" ", size)
            numbers = b" ".join(rest)
            if math.isnan(_number(word.rpartition(b" ")[2])):
                count = size
        if count == size > 0:
            yield line, word, numbers
        elif content.strip():
            shown = content[:_SHOWN].decode("utf-8", "replace").strip()
            problem = f"expected a word and {size or 'its'} numbers, one space between, got {count}"
            remedy = "mend the line; vectors in a binary form must be written as text first"
            raise InputError(f"{problem} after {shown!r}; {remedy}", file=path, line=line)


def _lines(file: BinaryIO, path: str | PathLike[str]) -> Iterator[bytes]:
    """The lines of a file without a byte order mark, none of them too long for memory."""
    line = file.readline(_LONGEST).removeprefix(codecs.BOM_UTF8)
    while line:
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            problem = f"expected lines of words and numbers, got one of {_LONGEST} bytes or more"
            remedy = "vectors in a binary form must be written as text first"
            raise InputError(f"{problem}; {remedy}", file=path)
        yield line
        line = file.readline(_LONGEST)


def _vector(path: str | PathLike[str], line: int, numbers: bytes) -> np.ndarray:
    fields = numbers.split(b" ")
    vector = np.array([_number(field) for field in fields])
    good = np.abs(vector) <= np.finfo(np.float32).max  # NaN is not
    if not good.all():
        wrong = fields[int(good.argmin())].decode("utf-8", "replace")
        raise InputError(f"expected finite numbers, got {wrong!r}; mend it", file=path, line=line)
    return vector.astype(np.float32)


def _number(text: bytes) -> float:
    try:
        return math.nan if b"_" in text else float(text)
    except ValueError:
        return math.nan

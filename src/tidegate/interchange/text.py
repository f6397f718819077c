"""Text by a network that another library wrote: its tokens are named by a list of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

from tidegate.data.files.encodings import decode
from tidegate.data.files.reading import name_of, read_bytes
from tidegate.errors import InputError, shown, spelled
from tidegate.interchange.layers import Embedding
from tidegate.interchange.network import Network


def continued(
    network: Network,
    vocabulary: str | PathLike[str] | None,
    prompt: str,
    length: int,
    **choice: Any,
) -> Iterator[str]:
    """The ``length`` tokens that follow those of ``prompt``, which are set apart by spaces.

    ``vocabulary``: a file of the tokens, one a line, the first is token 0; None: tokens are
    written as numbers.  ``choice``: options of `Network.generate`.  Raises InputError.
    """
    words = None if vocabulary is None else _words(network, vocabulary)
    given = prompt.split()
    if words is None:
        for token in given:
            if not (token.isascii() and token.isdecimal() and len(token) < 10):
                raise InputError(
                    f"expected token numbers, got {shown(token)}; say what the tokens are with "
                    f"{spelled('vocabulary')}",
                    option="prompt",
                )
        return map(str, network.generate([int(token) for token in given], length, **choice))
    numbers = {word: k for k, word in reversed(list(enumerate(words)))}
    for token in given:
        if token not in numbers:
            raise InputError(
                f"expected tokens of the vocabulary, got {shown(token)}; leave it out",
                option="prompt",
            )
    tokens = network.generate([numbers[token] for token in given], length, **choice)
    return (words[token] for token in tokens)


def _words(network: Network, path: str | PathLike[str]) -> list[str]:
    lines = decode(read_bytes(path), name_of(path), None).splitlines()
    first = network.layers[0]
    known = len(first.weight) if isinstance(first, Embedding) else 0
    if len(lines) != known:
        raise InputError(
            f"expected {known} lines, one for each token of the model, got {len(lines)}; give "
            "all of its tokens",
            file=path,
        )
    return lines

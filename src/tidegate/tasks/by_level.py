"""Options of language models whose defaults depend on the unit of text, and on each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# None: by the others.  Words are many: a softmax over them costs more than all the rest, and that
# in proportion to the features, so that these are few; tied, they are vectors of words, too.
_OF_CHARACTERS: dict[str, Any] = {
    "hidden_sizes": (384,),
    "embedding_size": None,
    "tie_embeddings": False,
    "bptt": 100,
    "dropout": 0.1,
    "counts": None,  # where they tell enough: to look them up takes longer than a network's step
}
_OF_WORDS: dict[str, Any] = {
    "hidden_sizes": (200,),
    "embedding_size": None,
    "tie_embeddings": None,
    "bptt": 35,
    "dropout": 0.3,
    "counts": True,
}
_EMBEDDING_SIZE = 128  # where it is not tied


def by_level(level: str, given: Mapping[str, Any], projection_size: int | None) -> dict[str, Any]:
    """The options with a value each: as ``given``, or where that is None, by the level; ``counts``
    may stay None.

    ``projection_size``: of the output of the network's layers, None for half of their units, 0 for
    all of them.
    """
    values = _OF_CHARACTERS if level == "char" else _OF_WORDS
    found = {n: default if given[n] is None else given[n] for n, default in values.items()}
    last = found["hidden_sizes"][-1]
    width = last if projection_size == 0 else projection_size or last // 2
    if found["embedding_size"] is None:
        found["embedding_size"] = _EMBEDDING_SIZE if found["tie_embeddings"] is False else width
    if found["tie_embeddings"] is None:
        found["tie_embeddings"] = found["embedding_size"] == width
    return found

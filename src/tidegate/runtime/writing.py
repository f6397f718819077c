"""Token after token, each read back in by the network that gave its probability."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tidegate.runtime.network import Network
from tidegate.sampling import sample


def next_tokens(
    network: Network,
    read: np.ndarray,
    length: int,
    frame: tuple[int | None, int | None],
    rng: np.random.Generator,
    choice: dict[str, Any],
) -> Iterator[int]:
    """The ``length`` tokens that follow those of ``read`` [T], T from 1.

    ``choice``: options of ``sample``, which draws them.  ``frame``: the tokens that open and close
    a sentence as it is read.  The one that opens it is given after the one that closes the
    sentence before.
    """
    opening, closing = frame
    features, state = network.features(read[:, None])
    latest = features[-1]
    for _ in range(length):
        token = sample(network.output(latest)[0], rng, **choice)
        yield token
        latest = network.step(np.array([token]), state)
        if token == closing:
            latest = network.step(np.array([opening]), state)

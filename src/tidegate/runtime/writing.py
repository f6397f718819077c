"""Token after token, each read back in by the network that gave its probability."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tidegate.data.sequences.sequences import with_condition
from tidegate.runtime.mixture import Mixture, follow, nothing_read
from tidegate.runtime.network import Network
from tidegate.sampling import sample

Watch = Callable[[np.ndarray], None]


def next_tokens(
    network: Network,
    read: np.ndarray,
    length: int,
    frame: tuple[int | None, int | None],
    rng: np.random.Generator,
    choice: dict[str, Any],
    mixture: Mixture | None = None,
    watch: Watch | None = None,
) -> Iterator[int]:
    """The ``length`` tokens that follow those of ``read`` [T], T from 1.

    ``choice``: options of ``sample``, which draws them.  ``watch`` is given the logits [V] of each
    token before it is drawn.  ``frame``: the tokens that open and close
    a sentence as it is read.  The one that opens it is given after the one that closes the
    sentence before.  ``mixture``: with what the network is mixed.
    """
    opening, closing = frame
    features, state = network.features(read[:, None])
    latest, recent = features[-1], nothing_read(1)
    if mixture is not None:
        follow(recent[0], read)
    for _ in range(length):
        outputs = network.output(latest)
        if mixture is not None:
            outputs = mixture.log_probabilities(outputs, recent)
        if watch is not None:
            watch(outputs[0])
        token = sample(outputs[0], rng, **choice)
        yield token
        given = [token, opening] if token == closing and opening is not None else [token]
        for one in given:
            latest = network.step(np.array([one]), state)
        if mixture is not None:
            follow(recent[0], np.array(given))


def text_to_its_end(
    network: Network,
    read: np.ndarray,
    length: int,
    closing: int,
    condition: np.ndarray,
    rng: np.random.Generator,
    choice: dict[str, Any],
    watch: Watch | None = None,
) -> Iterator[int]:
    """The tokens that follow those of ``read`` [T], T from 1, to the one that closes the text.

    That one is left out.  ``length``: the most tokens.  ``condition``: float32 [C], of the text.
    ``choice``: options of ``sample``.  ``watch`` is given each token's logits before it is drawn.
    """
    features, state = network.features(with_condition(read[:, None], condition[None]))
    latest = features[-1]
    for _ in range(length):
        outputs = network.output(latest)[0]
        if watch is not None:
            watch(outputs)
        token = sample(outputs, rng, **choice)
        if token == closing:
            return
        yield token
        latest = network.step(with_condition(np.array([token]), condition[None]), state)

"""What a language model's network is mixed with: counted n-grams, in shares fitted afterwards."""

from __future__ import annotations

import math

import numpy as np

from tidegate.data.text.ngrams import KneserNey
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network
from tidegate.runtime.scoring import token_nats, total
from tidegate.terminal import say

_KEPT = 1 << 20  # n-grams, 16 MB of a model file
_COUNTED = 1 << 24  # tokens, the last ones of a training text: they take 3 GB and a minute
_FITTED = 1 << 15  # tokens of the validation part, by which the shares are fitted


def learn_mixture(
    network: Network,
    train: np.ndarray,
    validation: np.ndarray,
    kinds: tuple[int, int | None],
    *,
    longest: int,
    everything: np.ndarray | None,
    speaks: bool,
) -> tuple[Mixture, dict[str, float]]:
    """The mixture that predicts ``validation`` best, and its figures there.

    ``network`` has not learned from it.  train, validation: int32 tokens; ``kinds``: how many there
    are, and the one never predicted.  ``longest``: tokens in an n-gram, at most.  ``everything``:
    what is counted in the end, in place of ``train``.
    """
    nats = token_nats(network, validation, kinds[1])
    counted = KneserNey.fit(train[-_COUNTED:], validation, *kinds, longest).pruned(_KEPT)
    mixture = Mixture.fit(counted, validation[:_FITTED], nats[:_FITTED])
    entropies = {
        "": total(mixture.nats(validation, nats)).cross_entropy,
        "network_": total(nats).cross_entropy,
    }
    figures = {f"{name}perplexity": math.exp(min(e, 700.0)) for name, e in entropies.items()}
    if speaks:
        mixed, alone = (f"{p:.4g}" for p in figures.values())
        say(f"validation perplexity: {mixed} with counts, {alone} of the network alone")
    if everything is not None:
        more = KneserNey.count(everything[-_COUNTED:], *kinds, counted.length).pruned(_KEPT)
        if more.length == counted.length:  # longer n-grams may all be left out
            mixture = Mixture(more, mixture.shares)
    return mixture, {"cross_entropy": entropies[""], **figures}

"""What a language model's network is mixed with: counted n-grams, in shares fitted afterwards."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

import numpy as np

from tidegate.baselines.language import last_of
from tidegate.data.text.ngrams import KneserNey
from tidegate.runtime.mixture import Mixture
from tidegate.runtime.network import Network
from tidegate.runtime.scoring import token_nats, total
from tidegate.terminal import say

_KEPT = 1 << 20  # n-grams, 16 MB of a model file
_COUNTED = 1 << 24  # tokens, the last ones of a training text: they take 3 GB and a minute
_FEWEST = 3  # tokens in an n-gram, for which there should be time ...
_COUNTED_A_SECOND = 1_000_000  # ... on one core: so many tokens are counted, of one length
_FITTED = 1 << 15  # tokens of the validation part, by which the shares are fitted


@dataclass(frozen=True, eq=False)
class Counted:
    """N-grams of a training text: the ``whole`` of them, and those that a model keeps.

    ``of_what``: which tokens were counted, where these are not all of the text.  ``seconds``: what
    counting took, and will once more take at the end, as the shares may; ``token_s``: what it
    takes to look a token up.
    """

    whole: KneserNey
    kept: KneserNey
    tokens: int
    of_what: str
    seconds: float
    token_s: float

    @classmethod
    def of(
        cls,
        train: np.ndarray,
        validation: np.ndarray,
        kinds: tuple[int, int | None],
        longest: int,
        seconds: float,
    ) -> Self:
        """Count in ``train``, int32 [T]; how long the n-grams are ``validation`` decides.

        ``kinds``: how many tokens there are, and the one never predicted.  ``longest``: tokens in
        an n-gram, at most.  In few ``seconds`` shorter ones are counted, of long texts the end.
        """
        began = time.monotonic()
        most = min(_COUNTED, len(train), max(10_000, seconds * _COUNTED_A_SECOND / _FEWEST))
        most = int(most)
        counted = train[len(train) - most :]
        whole = KneserNey.fit(counted, validation, *kinds, longest, seconds)
        kept = whole.pruned(_KEPT)
        of_what = last_of(most, len(train))
        counted_s = time.monotonic() - began
        some = validation[:_FITTED]
        kept.evidence(some)
        kept.nats(some)
        token_s = (time.monotonic() - began - counted_s) / len(some)
        return cls(whole, kept, most, of_what, counted_s, token_s)

    def mixed_with(
        self,
        network: Network,
        validation: np.ndarray,
        *,
        everything: np.ndarray | None,
        speaks: bool,
    ) -> tuple[Mixture, dict[str, float]]:
        """The mixture that predicts ``validation`` best, and its figures there.

        ``network`` has not learned from it.  ``everything``: what is counted in the end, in place
        of the training text.
        """
        kinds = self.whole.size, self.whole.never_target
        nats = token_nats(network, validation, kinds[1])
        mixture = Mixture.fit(self.kept, validation[:_FITTED], nats[:_FITTED])
        entropies = {
            "": total(mixture.nats(validation, nats)).cross_entropy,
            "network_": total(nats).cross_entropy,
            "counts_": self.kept.cross_entropy(validation),
        }
        figures = {f"{name}perplexity": math.exp(min(e, 700.0)) for name, e in entropies.items()}
        if speaks:
            mixed, alone, counts = (f"{p:.4g}" for p in figures.values())
            say(
                f"validation perplexity: {mixed} with counts, {alone} of the network alone, "
                f"{counts} of the counts alone"
            )
        if everything is not None:
            more = KneserNey.count(everything[-_COUNTED:], *kinds, self.kept.length).pruned(_KEPT)
            if more.length == self.kept.length:  # longer n-grams may all be left out
                mixture = Mixture(more, mixture.shares)
        return mixture, {"cross_entropy": entropies[""], **figures}

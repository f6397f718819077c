"""Dynamic evaluation: a language model goes on learning from the text on which it is measured.

Each piece of the text is predicted first, by weights that have learned from the pieces before it.
Then the weights take one step down its loss, and a small part of the way back to where training
left them.  So no token is predicted by what has seen it.

Source: Krause et al. 2018, arXiv:1709.07432.  Their steps are scaled by a mean square of the
gradients over the training text, which a model file does not hold; these by that over the text read
so far, as RMSprop's and Adam's are.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from tidegate.nn.network import SequenceNetwork, detach_state
from tidegate.runtime.scoring import IGNORED, total
from tidegate.training.judging import TorchReader, nats
from tidegate.training.progress import live_bar
from tidegate.training.randomness import denormals_flushed

_PIECE = 20  # tokens between two steps
_RATE, _BACK = 5e-5, 1e-3  # docs/notebook/language-models.md#dynamic-evaluation
_WARM_UP = 50  # steps, in which the rate grows: of one gradient no scale is known
_REFRESH_S = 0.2


def adapted_nats(
    network: SequenceNetwork,
    tokens: np.ndarray,
    never_target: int | None = None,
    *,
    speaks: bool = False,
) -> np.ndarray:
    """-log p of each token of a text by a network that learns from the text as it reads.

    ``tokens``: int [T].  Returns what `token_nats` returns: float32 [T], NaN where none is scored.
    ``network`` itself stays as it is.  The text is read in one stream, so that this takes about as
    long as one epoch of training with a batch of one.  With ``speaks`` a bar shows how far it is.
    """
    learner = copy.deepcopy(network).eval()
    reader, state = TorchReader(learner), None
    optimizer = torch.optim.Adam(learner.parameters(), betas=(0.0, 0.999), fused=True)
    found, last = np.full(len(tokens), np.nan, np.float32), len(tokens) - 1
    with denormals_flushed(), _progress(speaks) as show:
        for step, first in enumerate(range(0, last, _PIECE), 1):
            end = min(first + _PIECE, last)
            inputs = torch.from_numpy(tokens[first:end].astype(np.int64)).to(learner.device)
            targets = tokens[first + 1 : end + 1].astype(np.int64)[:, None]
            if never_target is not None:
                targets[targets == never_target] = IGNORED
            features, state = learner.features(inputs[:, None], state=state)
            state = detach_state(state)
            found[first + 1 : end + 1] = reader.nats(features.detach(), targets)[:, 0]
            loss, count = nats(learner, features, torch.from_numpy(targets).to(learner.device))
            if count:
                optimizer.zero_grad()
                (loss / count).backward()
                optimizer.param_groups[0]["lr"] = _RATE * min(1.0, step / _WARM_UP)
                optimizer.step()
                with torch.no_grad():
                    for weight, trained in zip(
                        learner.parameters(), network.parameters(), strict=True
                    ):
                        weight.lerp_(trained, _BACK)
            show(end / last, found[1 : end + 1])
    return found


@contextmanager
def _progress(speaks: bool) -> Iterator[Callable[[float, np.ndarray], None]]:
    """What shows how far a text is read, and with which nats so far."""
    bar, due = (live_bar() if speaks else None), 0.0

    def show(fraction: float, found: np.ndarray) -> None:
        nonlocal due
        if bar is None or (now := time.monotonic()) < due:
            return
        due = now + _REFRESH_S
        perplexity = math.exp(min(total(found).cross_entropy, 700.0))
        bar.show(fraction, "reading and learning", f"perplexity so far {perplexity:.4g}")

    if bar is not None:
        bar.start()
    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()

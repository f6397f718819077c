"""How far a network that began as its evidence is trusted: as held-out sequences say.

A network that has read three dozen sequences two hundred times knows them by heart, and what it
adds to the evidence on others is noise.  So its answers are those of the evidence and a share of
the way to its own.  The share is the least that is as good as the best one within two standard
errors on held-out sequences (after Breiman et al. 1984, whose rule has one); of few of them, none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tidegate.runtime.network import Network

_FEWEST = 10  # held-out sequences that can tell
SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)


def least_share(losses: np.ndarray) -> float:
    """The share of SHARES, of their losses of each held-out sequence, [shares, N]."""
    count = losses.shape[1]
    if count < _FEWEST:
        return SHARES[0]
    differences = losses - losses[losses.mean(1).argmin()]
    error = differences.std(1, ddof=1) / np.sqrt(count)
    return SHARES[int((differences.mean(1) <= 2 * error).argmax())]


def blended(network: Network, share: float) -> Network:
    """The network whose answers are ``share`` of the way from its evidence's to its own."""
    from tidegate.runtime.network import Network

    tensors = dict(network.tensors)
    for name in ("dense.weight", "dense.bias"):
        tensors[name] = np.float32(share) * tensors[name]
    return Network(network.architecture, tensors)

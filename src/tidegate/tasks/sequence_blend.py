"""How far a network that began as its evidence is trusted: as held-out sequences say.

A network that has read three dozen sequences two hundred times knows them by heart, and what it
adds to the evidence on others is noise.  So its answers are those of the evidence and a share of
the way to its own.  The share is the least that is as good as the best one within two standard
errors on held-out sequences (after Breiman et al. 1984, whose rule has one); of few of them, none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.data.sequences.mixing import log_loss, squared_error

if TYPE_CHECKING:
    from tidegate.runtime.network import Network

_FEWEST = 10  # held-out sequences that can tell
SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)


def least_share(
    evidence: np.ndarray, own: np.ndarray, answers: np.ndarray, counts: np.ndarray
) -> float:
    """The share of SHARES, by what evidence and network say of held-out sequences, [N, O] each.

    ``answers``: positions of labels, int64 [N], or scaled numbers, [N]; ``counts`` [N]: how much
    each counts.  Logits are judged as ``mixing.log_loss`` does: of few sequences, all told right,
    none can be told with certainty.
    """
    count = len(answers)
    if count < _FEWEST:
        return SHARES[0]
    of_labels = answers.dtype.kind == "i"
    loss = log_loss(answers) if of_labels else squared_error(answers[:, None])
    mixed = (evidence + np.float64(share) * (own - evidence) for share in SHARES)
    losses = np.stack([counts * loss(outputs, outputs[None])[0] for outputs in mixed])
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

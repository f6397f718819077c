"""How far a network and the evidence beside it are trusted: as held-out sequences say.

Network and evidence learn apart, so that each is judged by what it says alone: a network that has
read three dozen sequences two hundred times knows them by heart, and what it says of others may be
noise.  The answer is a sum of both, in the proportion that does best on held-out sequences; but of
few it is the evidence alone where two factors more are not worth it (Schwarz 1978): where N
sequences gain less than log N nats by them, errors of numbers being taken as normal, and less than
log E more, since they have also chosen one of E networks, the weights of so many steps.  Of many
sequences a network learns what is no noise, and two factors cannot know a hundred others by heart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tidegate.data.sequences.mixing import best_mixture, log_loss, squared_error

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.network import Network

_FEWEST = 10  # held-out sequences that can tell
_MANY, _MANY_JUDGES = 900, 100  # to learn from, and held out, that need no price: 1,000 have both
_EXACT = 1e-12  # a squared error of scaled numbers that is none

Trust = tuple[float, float]  # factors on what evidence and network say


def keep_apart(network: SequenceNetwork) -> None:
    """Let the network learn nothing of evidence, the last columns of what it reads.

    They are zeros while it is trained, so that weights on them which are zero remain so.
    """
    import torch

    outputs, a = network.architecture.output_size, network.architecture
    assert network.linear is not None
    with torch.no_grad():
        network.linear.weight.zero_()
        for name, tensor in network.recurrent[0].named_parameters():
            declared = name.removesuffix("_reverse").removesuffix("_l0")
            if a.layer_cells[0].parameters[declared].role == "input":
                tensor[..., -outputs:] = 0
    network.linear.weight.requires_grad_(False)


def trust(
    evidence: np.ndarray,
    own: np.ndarray,
    answers: np.ndarray,
    counts: np.ndarray,
    learned: int,
    chosen_of: int = 1,
) -> Trust:
    """By what evidence and network say of held-out sequences, logits or scaled numbers [N, O].

    ``answers``: positions of labels, int64 [N], or scaled numbers, [N]; ``counts`` [N]: how much
    each counts; ``learned``: from how many sequences the network has learned; ``chosen_of``: how
    many networks these sequences have chosen it of.  Logits are judged as
    ``log_loss`` does: of few sequences, all told right, none can be told with certainty.
    """
    if len(answers) < _FEWEST:
        return 1.0, 0.0
    of_labels = answers.dtype.kind == "i"
    loss = log_loss(answers) if of_labels else squared_error(answers[:, None])
    both, share = np.stack([evidence, own]).astype(np.float64), counts / counts.sum()
    factors, joined = best_mixture(both, loss, counts)
    alone = float(share @ loss(both[0], both)[0])
    gain = alone - joined if of_labels else np.log((alone + _EXACT) / (joined + _EXACT)) / 2
    many = learned >= _MANY and len(answers) >= _MANY_JUDGES
    price = 0.0 if many else np.log(len(answers)) + np.log(chosen_of)
    if not len(answers) * gain > price:
        return 1.0, 0.0
    return float(factors[0]), float(factors[1])


def blended(network: Network, strength: float, trusted: Trust) -> Network:
    """The network with the sum in its weights; evidence times ``strength`` is what it says."""
    from tidegate.runtime.network import Network

    outputs, tensors = network.architecture.output_size, dict(network.tensors)
    line = np.zeros_like(tensors["linear.weight"])
    line[:, -outputs:] = trusted[0] * strength * np.eye(outputs)
    tensors["linear.weight"] = line
    for name in ("dense.weight", "dense.bias"):
        tensors[name] = np.float32(trusted[1]) * tensors[name]
    return Network(network.architecture, tensors)

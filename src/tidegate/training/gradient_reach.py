"""How far back in time a loss reaches: the gradient's length against its distance from the end.

Source: Bengio, Simard & Frasconi 1994, Learning long-term dependencies with gradient descent is
difficult; Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, section 2.1.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from tidegate.nn.network import Inputs, SequenceNetwork

FADED = 1e-3  # of the gradient at the last step: what counts as not reaching any more


def gradient_reach(
    network: SequenceNetwork, inputs: Inputs, lengths: Tensor, targets: Tensor
) -> np.ndarray:
    """‖∂loss_T/∂h_t‖ over ‖∂loss_T/∂h_T‖ for the distances T - t = 0, 1, ..., float64.

    inputs: [T, B] tokens or [T, B, I] values, or tokens and evidence; lengths: int64 [B], 1 or
    more; targets: int64 [B] classes, for the cross-entropy, or float [B, O] values, for the squared
    error.  The loss is that of the last true step alone, whatever else the readout sees; h is the
    state of the last recurrent layer, forward in time.  Geometric mean over the rows that are long
    enough; rows without any gradient at the last step (a loss of 0) are left out.  In float64, so
    that little is not yet nothing.
    """
    import torch
    from torch.nn import functional as F  # noqa: N812

    from tidegate.nn import reference
    from tidegate.nn.network import (
        ConditionedTokens,
        SentencedTokens,
        SpelledTokens,
        TokensAndEvidence,
    )

    network = copy.deepcopy(network).double().eval().requires_grad_(False)
    if isinstance(inputs, SentencedTokens):  # the last layer's steps are sentences
        lengths = inputs.sentences.amax(0).long()
    if isinstance(inputs, TokensAndEvidence | SpelledTokens | SentencedTokens):
        inputs = inputs._replace(evidence=inputs.evidence.double())
    elif isinstance(inputs, ConditionedTokens):
        inputs = inputs._replace(condition=inputs.condition.double())
    elif inputs.is_floating_point():
        inputs = inputs.double()
    layer_inputs, outputs, past = _of_last_layer(network, inputs, lengths)
    layer = network.recurrent[-1]
    step = reference.Step(layer.cell, layer.layer_weights(0))
    rows = torch.arange(len(lengths))
    with torch.enable_grad():
        products = step.of_inputs(layer_inputs)
        widths = layer.state_sizes
        state = tuple(products.new_zeros(len(rows), w, requires_grad=True) for w in widths)
        steps: list[Tensor] = []
        for t in range(len(products)):
            new = step(products[t], state)
            steps.append(new[0])
            alive = (t < lengths).unsqueeze(1)  # [B, 1]
            state = tuple(torch.where(alive, n, s) for n, s in zip(new, state, strict=True))
        backward = outputs[lengths - 1, rows][:, widths[0] :]  # has read the last step alone
        seen = torch.cat([state[0], backward], dim=1)  # of one step mean, max and last are the same
        if past is not None:  # a shortcut gives it as much, whatever the states are
            seen = seen + past[lengths - 1, rows]
        read = network.output(seen.repeat(1, network.architecture.readout.count("+") + 1))
        if targets.dtype == torch.bool:  # several labels, each held or not
            loss = F.binary_cross_entropy_with_logits(read, targets.double(), reduction="sum")
        elif targets.is_floating_point():
            loss = (read - targets.double()).square().sum()
        else:
            loss = F.cross_entropy(read, targets, reduction="sum")
        norms = torch.stack(torch.autograd.grad(loss, steps)).norm(dim=2).numpy()  # [T, B]
    return _relative(norms, lengths.numpy())


def _of_last_layer(
    network: SequenceNetwork, inputs: Inputs, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What the last recurrent layer reads [T, B, I] and puts out [T, B, directions * H], and what
    goes past it to be added, or None.
    """
    import torch

    seen, past = [], []
    hooks = [
        network.recurrent[-1].register_forward_hook(
            lambda _, arguments, results: seen.extend((arguments[0], results[0]))
        ),
        network.recurrent.shortcuts[-1].register_forward_hook(
            lambda _, __, result: past.append(result)
        ),
    ]
    with torch.no_grad():
        network.features(inputs, lengths)
    for hook in hooks:
        hook.remove()
    return seen[0], seen[1], past[0] if past else None


def _relative(norms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Norms [T, B] by step as geometric means [max length] by distance from each row's last."""
    last = norms[lengths - 1, np.arange(len(lengths))]
    rows = [norms[length - 1 :: -1, b] / last[b] for b, length in enumerate(lengths) if last[b] > 0]
    longest = max(map(len, rows), default=0)
    with np.errstate(divide="ignore"):
        logarithms = [np.log(row) for row in rows]
    means = [np.mean([r[d] for r in logarithms if len(r) > d]) for d in range(longest)]
    return np.exp(means)

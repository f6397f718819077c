"""A linear-chain conditional random field, in torch, for training; numpy's is runtime/crf.py."""

from __future__ import annotations

import torch
from torch import Tensor


def negative_log_likelihood(
    weights: Tensor, transitions: Tensor, labels: Tensor, lengths: Tensor
) -> Tensor:
    """-log p of the labels of each of B sequences, in nats, [B].

    weights: [T, B, L], of each label at each step; transitions: [L + 1, L + 1], of label after
    label, whose last row is the start and whose last column is the end; labels: int64 [T, B], any
    from 0 to L - 1 beyond a length; lengths: [B], from 0 to T.  A sequence of no step has 0.
    Source: Lafferty, McCallum & Pereira 2001; forward pass in logarithms.
    """
    steps, _, count = weights.shape
    lengths = lengths.to(weights.device)
    inside = torch.arange(steps, device=weights.device)[:, None] < lengths  # [T, B]
    between, first = transitions[:count, :count], transitions[count, :count]
    last = transitions[:count, count]

    own = weights.gather(2, labels[..., None]).squeeze(2)
    told = torch.where(inside, own, 0.0).sum(0)
    moves = between[labels[:-1], labels[1:]]
    told = told + torch.where(inside[1:], moves, 0.0).sum(0)
    ends = labels.gather(0, (lengths - 1).clamp(min=0)[None]).squeeze(0)
    told = told + first[labels[0]] + last[ends]

    alpha = first + weights[0]  # [B, L]
    for t in range(1, steps):
        reached = torch.logsumexp(alpha[:, :, None] + between, dim=1) + weights[t]
        alpha = torch.where(inside[t][:, None], reached, alpha)
    everything = torch.logsumexp(alpha + last, dim=1)
    return torch.where(lengths > 0, everything - told, 0.0)

"""Cross-entropy of a softmax layer whose logits are never all in memory.

Of 3200 tokens and 50,000 words the logits alone take 640 MB, and their softmax and gradient as much
again.  Here they are made for some tokens at a time, and what these add to the gradients at once
with them (Wijmans et al. 2024, arXiv:2411.09009; Hsu et al. 2024, arXiv:2410.10989).  The result is
exact: the sums of the whole, in another order.  (torch has one from 2.13 on; we run from 2.6.)
On the CPU the engine makes softmax and gradient in the logits' place (csrc/softmax.h): torch's five
operations on them, each with fresh memory, take longer than the products do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tidegate.engine import compiled
from tidegate.nn.engine_calls import new_array, view
from tidegate.nn.products import multiply
from tidegate.runtime.probabilities import rows_at_once


def summed_cross_entropy(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Sum over N tokens of -log softmax(features @ weight.T + bias) at each one's target, in nats.

    features: [N, F]; weight: [V, F]; bias: [V]; targets: int64 [N].  Takes, beside these and their
    gradients, memory for 2**22 logits, or 256 * V where that is more (twice that elsewhere than on
    the CPU in float32).  Can be differentiated once.
    """
    learning = torch.is_grad_enabled()
    return _SummedCrossEntropy.apply(features, weight, bias, targets, learning)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def cross_entropies(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """The same of each token, [N], without gradients."""
    nats = features.new_empty(len(features))
    size = rows_at_once(len(weight))
    logits = _new(features, (min(size, len(features)), len(weight)))
    for first in range(0, len(features), size):
        x = features[first : first + size]
        some = logits[: len(x)]
        multiply(x, weight.t(), some, bias)
        nats[first : first + size] = _nats(some, targets[first : first + size], False)
    return nats


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, learning: bool
    ) -> Tensor:
        total = features.new_zeros(())
        parameters = (features, weight, bias) if learning else ()
        gradients = [_new(t, t.shape).zero_() for t in parameters]
        size = rows_at_once(len(weight))
        logits = _new(features, (min(size, len(features)), len(weight)))
        for first in range(0, len(features), size):
            rows = slice(first, first + size)
            x = features[rows]
            some = logits[: len(x)]  # [rows, V]
            multiply(x, weight.t(), some, bias)
            total += _nats(some, targets[rows], learning).sum()
            if gradients:  # which now stand where the logits were
                d_features, d_weight, d_bias = gradients
                multiply(some, weight, d_features[rows])
                multiply(some.t(), x, d_weight, adds=True)
                d_bias += some.sum(0)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        scaled = (torch.mul(g, grad, out=_new(g, g.shape)) for g in ctx.saved_tensors)
        return *scaled, None, None


def _nats(logits: Tensor, targets: Tensor, learning: bool) -> Tensor:
    """-log softmax(logits [N, V]) at the targets, [N]; ``learning`` puts gradients in the logits'
    place: their softmax, less one at the target.
    """
    if _in_engine(logits):
        nats, threads = logits.new_empty(len(logits)), torch.get_num_threads()
        compiled.softmax_cross_entropy(view(logits), view(targets), view(nats), learning, threads)
        return nats
    log_p = torch.log_softmax(logits, dim=1)
    at = targets.unsqueeze(1)
    nats = -log_p.gather(1, at).squeeze(1)
    if learning:
        torch.exp(log_p, out=logits).scatter_add_(1, at, log_p.new_full(at.shape, -1.0))
    return nats


def _new(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undefined values; where it can be, in memory that the engine keeps from call to call."""
    return new_array(like, shape) if _in_engine(like) else like.new_empty(shape)


def _in_engine(t: Tensor) -> bool:
    return t.device.type == "cpu" and t.dtype == torch.float32

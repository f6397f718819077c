"""Cross-entropy of a softmax layer whose logits are never all in memory.

Of 3200 tokens and 50,000 words the logits alone take 640 MB, and their softmax and gradient as much
again.  Here they are made for some tokens at a time, and what these add to the gradients at once
with them (Wijmans et al. 2024, arXiv:2411.09009; Hsu et al. 2024, arXiv:2410.10989).  The result is
exact: the sums of the whole, in another order.  (torch has one from 2.13 on; we run from 2.6.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK_LOGITS = 2**22  # 16 MiB in float32
_FEWEST_ROWS = 128  # below, adding to the weights' gradient takes longer than making what is added


def summed_cross_entropy(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Sum over N tokens of -log softmax(features @ weight.T + bias) at each one's target, in nats.

    features: [N, F]; weight: [V, F]; bias: [V]; targets: int64 [N].  Takes, beside these and their
    gradients, memory for two times 2**22 logits, or two times 128 * V where that is more.  Can be
    differentiated once.
    """
    learning = torch.is_grad_enabled()
    return _SummedCrossEntropy.apply(features, weight, bias, targets, learning)  # pyright: ignore[reportReturnType]


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, learning: bool
    ) -> Tensor:
        total = features.new_zeros(())
        gradients = [torch.zeros_like(t) for t in (features, weight, bias)] if learning else []
        size = max(_FEWEST_ROWS, _CHUNK_LOGITS // len(weight))
        for first in range(0, len(features), size):
            rows = slice(first, first + size)
            x, target = features[rows], targets[rows].unsqueeze(1)
            log_p = torch.log_softmax(torch.addmm(bias, x, weight.t()), dim=1)  # [rows, V]
            total -= log_p.gather(1, target).sum()
            if gradients:
                d_features, d_weight, d_bias = gradients
                d_logits = log_p.exp_()  # softmax less one at the target
                d_logits.scatter_add_(1, target, d_logits.new_full(target.shape, -1.0))
                torch.mm(d_logits, weight, out=d_features[rows])
                d_weight.addmm_(d_logits.t(), x)
                d_bias += d_logits.sum(0)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        d_features, d_weight, d_bias = (grad * gradient for gradient in ctx.saved_tensors)
        return d_features, d_weight, d_bias, None, None

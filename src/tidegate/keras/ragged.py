"""Keras' masks as ragged batches.

A masked step keeps the state, so the true steps of each row are a shorter sequence.  The output of
a masked step is that of the step before, zero at the start, or always zero if the layer says so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tidegate.nn.engine_reach import is_recorded


class Steps:
    """Which steps of a batch are true, and where they stand.

    mask: [B, T], true where a step is to be computed; None: everywhere.
    ``backwards``: the last step is computed first, and outputs stand in the order of computing.
    ``lengths``, int64 [B] or None, and ``reverse`` are what `recurrence` takes.

    Where the true steps are the first of each row, they stay where they are.  Otherwise one gather
    moves them there, and another one moves their outputs back.
    """

    def __init__(self, mask: Tensor | None, backwards: bool) -> None:
        self.lengths: Tensor | None = None
        self.reverse = backwards
        self._mask: Tensor | None = None  # [B, T], in the order of computing
        self._moved: tuple[Tensor, Tensor] | None = None  # [T * B] of [B * T], and the way back
        if mask is None:
            return
        mask = mask.to(torch.bool)
        B, T = mask.shape  # noqa: N806
        lengths, t = mask.sum(1), torch.arange(T, device=mask.device)
        if not is_recorded():  # what is recorded must not depend on values
            if mask.all():
                return
            if torch.equal(mask, t < lengths.unsqueeze(1)):
                self.lengths = lengths
                self._mask = mask.flip(1) if backwards else mask
                return
        self.lengths, self.reverse = lengths, False
        self._mask = mask = mask.flip(1) if backwards else mask
        masked = lengths.unsqueeze(1) + (~mask).cumsum(1)
        place = torch.where(mask, mask.cumsum(1), masked) - 1  # true steps first
        step = torch.empty_like(place).scatter_(1, place, t.expand(B, T))
        rows = torch.arange(B, device=mask.device).unsqueeze(1)
        place = place * B + rows
        if backwards:
            step, place = T - 1 - step, place.flip(1)
        self._moved = (rows * T + step).t().flatten(), place.flatten()

    def taken(self, x: Tensor) -> Tensor:
        """[B, T, W] -> [T, B, W], where each row begins with its true steps."""
        if self._moved is None:
            return x.transpose(0, 1).contiguous()  # once: the pass back reads it, too
        B, T, W = x.shape  # noqa: N806
        rows = x.reshape(B * T, W)
        if is_recorded():  # whatever compiles it finds a way back of its own
            return rows.index_select(0, self._moved[0]).view(T, B, W)
        return _Permuted.apply(rows, *self._moved).view(T, B, W)  # pyright: ignore

    def placed(self, y: Tensor, zero: bool) -> Tensor:
        """[T, B, W], zero from each row's length on -> [B, T, W], outputs at their steps.

        ``zero``: those of masked steps are zero; else that of the step before is repeated.
        """
        T, B, _ = y.shape  # noqa: N806
        backwards = self.reverse  # then masked steps come first, and are zero in any case
        if self._mask is None or (self._moved is None and (zero or backwards)):
            return (y.flip(0) if backwards else y).transpose(0, 1)
        step = self._mask.cumsum(1) - 1  # the last true one so far
        inside = self._mask if zero else step >= 0
        step = torch.where(inside, step, T - 1)  # where a row that has masked steps is zero
        rows = torch.arange(B, device=y.device).unsqueeze(1)
        return nn.functional.embedding(step * B + rows, y.flatten(0, 1))

    def last(self, h: Tensor, zero: bool) -> Tensor:
        """The output of the last step, [B, W], from the final state."""
        if self._mask is None:
            return h
        computed = self._mask[:, -1:] if zero else self._mask.any(1, keepdim=True)
        return torch.where(computed, h, 0)


class _Permuted(torch.autograd.Function):
    """Rows in another order; the way back is a gather too, where torch's own would add."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(order, inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        order, inverse = ctx.saved_tensors
        return _Permuted.apply(gradients[0], inverse, order), None, None  # pyright: ignore

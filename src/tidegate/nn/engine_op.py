"""The engine as one opaque torch operator: one layer in one direction, forward and backward.

The engine's calls themselves: nn/engine_calls.py.  Letters: T time, B batch, I input, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate.cells import get_cell
from tidegate.nn import engine_calls, reference
from tidegate.nn.engine_reach import is_recorded, is_traced, reason_against_memory

State = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]

_NO_MEMORY = torch.empty(0, dtype=torch.float32, device="cpu")

# whether the backward pass that runs now was asked to retain_graph
_keeps_graph: Callable[[], bool] = getattr(
    torch._C._autograd,  # pyright: ignore[reportAttributeAccessIssue]
    "_get_current_graph_task_keep_graph",
    lambda: True,
)


def run(
    cell: str,
    x: Tensor,
    state: State,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    lengths: Tensor | None = None,
    reverse: bool = False,
    recurrent_mask: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Hidden states of one layer in one direction; float32 on the CPU, ``cell`` in the engine.

    x: [T, B, I]; state: [B, H] each; lengths: int64 [B] on the CPU or None; recurrent_mask: [B, H]
    or None.  Returns y [T, B, H], zero from each row's length on, and the final state.
    """
    inputs = [x, *state, weight_ih, weight_hh, bias_ih, bias_hh]
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    second = state[1] if len(state) > 1 else None
    arguments = (
        cell, x, state[0], second,  # pyright: ignore[reportGeneralTypeIssues]
        weight_ih, weight_hh, bias_ih, bias_hh, lengths,
        recurrent_mask, reverse,
    )  # fmt: skip
    if is_recorded():
        # what is exported or traced will infer; trained all the same, it computes forward twice
        for_inference = torch.compiler.is_exporting() or is_traced()
        saves = training and not for_inference
        y, h, c, *_ = torch.ops.tidegate.recurrence(*arguments, saves)
        if saves:  # the backward pass reads y, which may be changed in place; the default compiler
            y = y.clone()  # drops the copy where it sees that it is not
    elif training:
        y, h, c, *_ = _Recurrence.apply(*arguments)  # pyright: ignore[reportGeneralTypeIssues]
    else:
        y, h, c = engine_calls.infer(*arguments)
    return y, (h,) if second is None else (h, c)


class _Recurrence(torch.autograd.Function):
    """The operator in eager mode, where one of torch.library costs 0.1 ms more.

    As with torch.nn's layers, what the backward pass does not need may be changed in place before
    it: the biases, the input and the first state where their weights are frozen, weight_ih where
    the input needs no gradient.  So may the output, which it does need: an output that was changed
    is computed again.
    """

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        cell, x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, mask, reverse = arguments
        y, h, c, *saved = engine_calls.forward(*arguments, True)  # pyright: ignore[reportCallIssue]
        inputs = (x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh)
        of_x, _, _, of_weight_ih, of_weight_hh, _, _ = ctx.needs_input_grad[1:8]
        is_needed = (of_weight_ih, of_weight_hh, True, of_x, True, False, False)
        ctx.unneeded = tuple(None if n else t for t, n in zip(inputs, is_needed, strict=True))
        ctx.versions = _versions(ctx.unneeded)
        needed = (t if n else None for t, n in zip(inputs, is_needed, strict=True))
        # the kernels read h0 all the same; [B, H] is little to copy
        ctx.start = None if of_weight_hh else h0.clone()
        # y.data: the same memory under a version counter of its own, so that y may be changed
        ctx.save_for_backward(*needed, lengths, mask, y.data, *saved)
        # this has the version counter of y without its memory, which hooks may have moved elsewhere
        ctx.witness = y.detach()
        ctx.witness.data = _NO_MEMORY
        ctx.version = ctx.witness._version
        ctx.cell, ctx.reverse, ctx.owns_saved = cell, reverse, True
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*saved)
        return y, h, c, *saved

    @staticmethod
    def backward(ctx: Any, *incoming: Any) -> tuple[Tensor | None, ...]:
        *needed, lengths, mask, y, gates, extra, cells, threads = ctx.saved_tensors
        saved = (y, gates, extra, cells, threads)
        inputs = [u if n is None else n for n, u in zip(needed, ctx.unneeded, strict=True)]
        was_changed = _was_changed(ctx)
        by_reference = _is_for_the_reference(incoming)
        if (was_changed or by_reference) and _versions(ctx.unneeded) != ctx.versions:
            raise RuntimeError(
                "backward: expected all that the layer was given as it was in its forward pass, as "
                "its output was changed in place or second derivatives are asked for; got a tensor "
                "changed in place too: change a clone of it"
            )
        if by_reference:
            gradients = _reference_gradients(ctx, inputs, lengths, mask, incoming)
        else:
            if was_changed:
                given: Any = (*inputs, lengths, mask, ctx.reverse)
                saved = engine_calls.forward(ctx.cell, *given, training=True)
                saved = [saved[0], *saved[3:]]
            if ctx.start is not None:
                inputs[1] = ctx.start
            gradients = _engine_gradients(ctx, inputs, lengths, mask, saved, incoming)
        return None, *gradients, None, None, None


@torch.compiler.disable
def _was_changed(ctx: Any) -> bool:
    """Whether the output was changed in place; compiled autograd would trace a tensor's version."""
    return ctx.witness._version != ctx.version


def _setup_operator(ctx: Any, inputs: tuple, output: tuple) -> None:
    cell, *tensors, reverse, saves = inputs
    y, _, _, *saved = output
    ctx.save_for_backward(*tensors, *((y, *saved) if saves else ()))
    # recorded, they are outputs like any other
    ctx.cell, ctx.reverse, ctx.owns_saved = cell, reverse, False
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*saved)


def _operator_backward(ctx: Any, *incoming: Any) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors  # once: a checkpoint computes them anew at each asking
    *inputs, lengths, mask = tensors[:9]
    saved = tensors[9:]
    if _is_for_the_reference(incoming):
        gradients = _reference_gradients(ctx, inputs, lengths, mask, incoming)
    else:
        if not saved:  # the operator was recorded where no gradients were wanted
            y, _, _, *rest = torch.ops.tidegate.recurrence(
                ctx.cell, *inputs, lengths, mask, ctx.reverse, True
            )
            saved = (y, *rest)
        gradients = _engine_gradients(ctx, inputs, lengths, mask, saved, incoming)
    return None, *gradients, None, None, None, None


def _is_for_the_reference(incoming: Gradients) -> bool:
    """Whether gradients will themselves be differentiated, or are not plain tensors.

    They are batched where Jacobians are vectorised.
    """
    plain = [g for g in incoming[:3] if g is not None]
    return torch.is_grad_enabled() or reason_against_memory(plain) is not None


def _engine_gradients(
    ctx: Any, inputs: Any, lengths: Tensor | None, mask: Tensor | None, saved: Any, incoming: Any
) -> tuple[Tensor | None, ...]:
    needs = ctx.needs_input_grad[1:8]  # x, h0, c0, the weights, the biases
    arguments: Any = (
        ctx.cell, *incoming[:3], *inputs[:5], lengths, mask, *saved, ctx.reverse, *needs[:2],
    )  # fmt: skip
    if is_recorded():
        gradients = torch.ops.tidegate.recurrence_backward(*arguments)
    else:  # without retain_graph nobody will read the saved gates again
        overwrite = ctx.owns_saved and not _keeps_graph()
        gradients = engine_calls.backward(*arguments, overwrite=overwrite)
    return tuple(g if n else None for g, n in zip(gradients, needs, strict=True))


def _reference_gradients(
    ctx: Any, inputs: Any, lengths: Tensor | None, mask: Tensor | None, incoming: Any
) -> tuple[Tensor | None, ...]:
    """The same gradients, through the reference."""
    x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh = inputs
    state = (h0,) if c0 is None else (h0, c0)
    with torch.enable_grad():
        y, final = reference.unroll(
            get_cell(ctx.cell), F.linear(x, weight_ih, bias_ih), state, weight_hh, bias_hh,
            lengths, ctx.reverse, mask,
        )  # fmt: skip
    reached = [(o, g) for o, g in zip((y, *final), incoming, strict=False) if g is not None]
    outputs, gradients = zip(*reached, strict=True)
    needs = ctx.needs_input_grad[1:8]
    wanted = [t for t, n in zip(inputs, needs, strict=True) if n]
    found = iter(
        torch.autograd.grad(
            outputs, wanted, gradients, create_graph=torch.is_grad_enabled(), allow_unused=True
        )
    )
    return tuple(next(found) if n else None for n in needs)


def _versions(tensors: tuple[Tensor | None, ...]) -> list[int]:
    return [t._version for t in tensors if t is not None and not t.is_inference()]


def _fake_forward(cell, x, h0, c0, weight_ih, weight_hh, *rest):  # noqa: ARG001
    shapes = engine_calls.output_shapes(cell, x, c0, weight_hh, training=rest[-1])
    return (*map(x.new_empty, shapes), torch.empty((), dtype=torch.int64, device="cpu"))


def _fake_backward(cell, d_y, d_h, d_c, x, h0, c0, weight_ih, weight_hh, *rest):  # noqa: ARG001
    shapes = engine_calls.gradient_shapes(x, h0, c0, weight_ih, weight_hh, needs_x=rest[8])
    return tuple(map(x.new_empty, shapes))


def _register() -> None:
    forward = torch.library.custom_op("tidegate::recurrence", engine_calls.forward, mutates_args=())
    forward.register_fake(_fake_forward)
    forward.register_autograd(_operator_backward, setup_context=_setup_operator)
    backward = torch.library.custom_op(
        "tidegate::recurrence_backward", engine_calls.backward, mutates_args=()
    )
    backward.register_fake(_fake_backward)


_register()

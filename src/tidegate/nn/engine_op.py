"""The engine as one opaque torch operator: one layer in one direction, forward and backward.

The engine's calls themselves: nn/engine_calls.py.  Letters: T time, B batch, I input, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from tidegate import _engine
from tidegate.cells import get_cell
from tidegate.nn import engine_calls, reference

State = tuple[Tensor, ...]

_CELLS = frozenset(_engine.cells())

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
        recurrent_mask, reverse, training,
    )  # fmt: skip
    if torch.compiler.is_compiling():
        y, h, c, *_ = torch.ops.tidegate.recurrence(*arguments)
    elif training:
        y, h, c, *_ = _Recurrence.apply(*arguments)  # pyright: ignore[reportGeneralTypeIssues]
    else:
        y, h, c = engine_calls.infer(*arguments[:-1])
    return y, (h,) if second is None else (h, c)


def reason_against(cell: str, x: Tensor) -> str | None:
    """Why the engine cannot run this layer; None if it can."""
    if cell not in _CELLS:
        return f"the engine has no kernel for {cell}"
    if x.device.type != "cpu":
        return f"the engine runs on the CPU, the input is on {x.device}"
    if x.dtype != torch.float32:
        return f"the engine computes in float32, the input is {x.dtype}"
    if x.numel() == 0:
        return "there is nothing to compute: T, B or I is 0"
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    if functorch.peek_interpreter_stack() is not None:
        return "the engine has no rule for torch.func transforms"
    return None


def _fake_forward(cell, x, h0, c0, weight_ih, weight_hh, *rest):  # noqa: ARG001
    shapes = engine_calls.output_shapes(cell, x, c0, weight_hh, training=rest[-1])
    return (*map(x.new_empty, shapes), torch.empty((), dtype=torch.int64))


def _setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
    cell, x, h0, c0, w_ih, w_hh, bias_ih, bias_hh, lengths, mask, reverse, _ = inputs
    y, _, _, *saved = output
    ctx.save_for_backward(x, h0, c0, w_ih, w_hh, lengths, mask, y, *saved, bias_ih, bias_hh)
    ctx.cell, ctx.reverse = cell, reverse
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*saved)


def _backward(
    run_backward: Callable[..., tuple[Tensor, ...]],
    ctx: Any,
    d_y: Tensor | None,
    d_h: Tensor | None,
    d_c: Tensor | None,
    *_: Any,
) -> tuple[Tensor | None, ...]:
    *saved, bias_ih, bias_hh = ctx.saved_tensors
    needs = ctx.needs_input_grad[1:8]  # x, h0, c0, the weights, the biases
    if torch.is_grad_enabled():  # create_graph: these gradients will be differentiated
        gradients = _differentiable_gradients(ctx, (*saved[:7], bias_ih, bias_hh), (d_y, d_h, d_c))
    else:
        gradients = run_backward(ctx.cell, d_y, d_h, d_c, *saved, ctx.reverse, needs[0], needs[1])
    kept = (g if n else None for g, n in zip(gradients, needs, strict=True))
    return None, *kept, None, None, None, None


def _differentiable_gradients(
    ctx: Any, saved: tuple[Tensor | None, ...], incoming: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    """The same gradients, from the reference."""
    x, h0, c0, weight_ih, weight_hh, lengths, mask, bias_ih, bias_hh = saved
    inputs = (x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh)
    state: Any = (h0,) if c0 is None else (h0, c0)
    assert x is not None
    assert weight_ih is not None
    assert weight_hh is not None
    y, final = reference.unroll(
        get_cell(ctx.cell), F.linear(x, weight_ih, bias_ih), state, weight_hh, bias_hh,
        lengths, ctx.reverse, mask,
    )  # fmt: skip
    reached = [(o, g) for o, g in zip((y, *final), incoming, strict=False) if g is not None]
    outputs, gradients = zip(*reached, strict=True)
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    found = iter(
        torch.autograd.grad(outputs, wanted, gradients, create_graph=True, allow_unused=True)
    )
    return tuple(next(found) if t is not None and t.requires_grad else None for t in inputs)


def _run_eager_backward(*arguments: Any) -> tuple[Tensor, ...]:
    # without retain_graph nobody will read the saved gates again
    return engine_calls.backward(*arguments, overwrite=not _keeps_graph())


def _fake_backward(cell, d_y, d_h, d_c, x, h0, c0, weight_ih, weight_hh, *rest):  # noqa: ARG001
    shapes = engine_calls.gradient_shapes(x, h0, c0, weight_ih, weight_hh, needs_x=rest[8])
    return tuple(map(x.new_empty, shapes))


class _Recurrence(torch.autograd.Function):
    """The same in eager mode, where an operator of torch.library costs 0.1 ms more."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        output = engine_calls.forward(*arguments)
        _setup_context(ctx, arguments, output)
        return output

    backward = staticmethod(partial(_backward, _run_eager_backward))


def _register() -> None:
    backward = torch.library.custom_op(
        "tidegate::recurrence_backward", engine_calls.backward, mutates_args=()
    )
    backward.register_fake(_fake_backward)
    forward = torch.library.custom_op("tidegate::recurrence", engine_calls.forward, mutates_args=())
    forward.register_fake(_fake_forward)
    forward.register_autograd(partial(_backward, backward), setup_context=_setup_context)


_register()

"""The engine as one opaque torch operator: one layer in one direction, forward and backward.

Outside of recordings: nn/engine_autograd.py.  Letters: T time, B batch, I input, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tidegate.nn import engine_calls, engine_gradients, engine_values
from tidegate.nn.engine_autograd import (
    Call,
    Recurrence,
    engine_gradients_of,
    is_for_the_reference,
    reference_gradients,
    roles_of,
)
from tidegate.nn.engine_reach import is_recorded, is_traced
from tidegate.nn.step_values import StepValues

State = tuple[Tensor, ...]


def run(
    cell: str,
    x: Tensor,
    state: State,
    weights: Sequence[Tensor | None],
    lengths: Tensor | None = None,
    reverse: bool = False,
    recurrent_mask: Tensor | None = None,
    input_mask: Tensor | None = None,
    noise: Tensor | None = None,
    seen: StepValues | None = None,
) -> tuple[Tensor, State]:
    """The output of one layer in one direction; float32 on the CPU, ``cell`` in the engine.

    x: [T, B, I]; state: [B, its width] each; weights: as the cell declares its parameters, None for
    a bias that is not there; lengths: int64 [B] on the CPU or None; recurrent_mask: [B, W], or
    [G, B, W], or None; input_mask: [G, B, I] or None; noise: [T, B, noises*H] or None.
    ``seen`` receives gates and states of every step, outside of recordings.  Returns y, zero from
    each row's length on, and the final state.
    """
    inputs = (x, *state, *weights)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    if is_recorded():
        # what is exported or traced will infer; trained all the same, it computes forward twice
        for_inference = torch.compiler.is_exporting() or is_traced()
        saves = training and not for_inference
        given = [w for w in weights if w is not None]
        y, *outputs = torch.ops.tidegate.recurrence(
            cell, x, list(state), given, lengths, recurrent_mask, reverse, saves, input_mask, noise
        )
        if saves:  # the backward pass reads y, which may be changed in place; the default compiler
            y = y.clone()  # drops the copy where it sees that it is not
    elif training:
        call = Call(cell, len(state), reverse)
        y, *outputs = Recurrence.apply(  # pyright: ignore[reportGeneralTypeIssues]
            call, lengths, recurrent_mask, input_mask, noise, *inputs
        )
    elif seen is not None:
        y, *outputs = engine_calls.forward(
            cell, x, state, weights, lengths, recurrent_mask, reverse, True, input_mask, noise
        )
    else:
        y, *outputs = engine_calls.infer(
            cell, x, state, weights, lengths, recurrent_mask, reverse, input_mask, noise
        )
    if seen is not None:
        saved = outputs[len(state) :]
        engine_values.fill(seen, cell, x, weights, lengths, reverse, y, saved)
    return y, tuple(outputs[: len(state)])


def _operator(
    cell: str,
    x: Tensor,
    state: list[Tensor],
    weights: list[Tensor],  # an optional one in a list would get no gradient
    lengths: Tensor | None,
    mask: Tensor | None,
    reverse: bool,
    training: bool,
    input_mask: Tensor | None,
    noise: Tensor | None,
) -> list[Tensor]:
    return engine_calls.forward(
        cell,
        x,
        state,
        _declared(cell, weights),
        lengths,
        mask,
        reverse,
        training,
        input_mask,
        noise,
    )


def _declared(cell: str, weights: Sequence[Tensor]) -> list[Tensor | None]:
    """A layer's weights as its cell declares them, None for the biases that it does without."""
    roles = roles_of(cell)
    if len(weights) == len(roles):
        return list(weights)
    given = iter(weights)
    return [None if role.endswith("bias") else next(given) for role in roles]


def _setup_operator(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    cell, x, state, weights, lengths, mask, reverse, saves, input_mask, noise = inputs
    ctx.call, ctx.owns_saved = Call(cell, len(state), reverse), False  # saved are outputs, too
    y, _, saved = ctx.call.parts(output)
    ctx.weights = len(weights)
    kept = (y, *saved) if saves else ()
    ctx.save_for_backward(lengths, mask, input_mask, noise, x, *state, *weights, *kept)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*saved)


def _operator_backward(ctx: Any, incoming: Sequence[Tensor | None]) -> tuple[Any, ...]:
    call = ctx.call
    # once: a checkpoint computes them anew each time
    lengths, mask, input_mask, noise, *tensors = ctx.saved_tensors
    count = 1 + call.states + ctx.weights
    x, state, given = call.parts(tensors[:count])
    kept = tensors[count:]  # y and what is saved
    weights = _declared(call.cell, given)
    inputs = [x, *state, *weights]
    _, of_x, of_state, of_given, *_ = ctx.needs_input_grad
    wanted = iter(of_given)
    needs = [of_x, *of_state, *(w is not None and next(wanted) for w in weights)]
    d_y, d_final, _ = call.parts(incoming)
    incoming = (d_y, *d_final)
    if is_for_the_reference(incoming):
        gradients = reference_gradients(
            call, inputs, lengths, mask, input_mask, noise, incoming, needs
        )
    else:
        if not kept:  # the operator was recorded where no gradients were wanted
            outputs = torch.ops.tidegate.recurrence(
                call.cell, x, state, given, lengths, mask, call.reverse, True, input_mask, noise
            )
            y, _, saved = call.parts(outputs)
            kept = [y, *saved]
        y, *saved = kept
        gradients = engine_gradients_of(
            ctx, inputs, lengths, mask, input_mask, y, saved, incoming, needs
        )
    d_x, d_state, d_weights = call.parts(gradients)
    d_given = [d for d, w in zip(d_weights, weights, strict=True) if w is not None]
    others = len(ctx.needs_input_grad) - 4  # torch leaves out what was given as its default
    return None, d_x, list(d_state), d_given, *[None] * others


def _fake_forward(cell, x, state, weights, lengths, mask, reverse, training, *_):  # noqa: ARG001
    shapes = engine_calls.output_shapes(cell, x, state, _declared(cell, weights), training)
    return [*map(x.new_empty, shapes), torch.empty((), dtype=torch.int64, device="cpu")]


def _operator_of_backward(
    cell: str,
    d_y: Tensor | None,
    d_final: list[Tensor | None],
    x: Tensor,
    state: list[Tensor],
    weights: list[Tensor | None],
    lengths: Tensor | None,
    mask: Tensor | None,
    y: Tensor,
    saved: list[Tensor],
    reverse: bool,
    needs: list[bool],
    input_mask: Tensor | None,
) -> list[Tensor]:
    gradients = engine_gradients.backward(
        cell, d_y, d_final, x, state, weights, lengths, mask, y, saved, reverse, needs, input_mask
    )
    # an operator returns no tensor twice
    return [g if n else x.new_empty(0) for g, n in zip(gradients, needs, strict=True)]


def _fake_backward(cell, d_y, d_final, x, state, weights, *rest):  # noqa: ARG001
    _, _, _, _, _, needs, *_ = rest
    return [*map(x.new_empty, engine_gradients.gradient_shapes(x, state, weights, needs))]


def _register() -> None:
    forward = torch.library.custom_op("tidegate::recurrence", _operator, mutates_args=())
    forward.register_fake(_fake_forward)
    forward.register_autograd(_operator_backward, setup_context=_setup_operator)
    backward = torch.library.custom_op(
        "tidegate::recurrence_backward", _operator_of_backward, mutates_args=()
    )
    backward.register_fake(_fake_backward)


_register()

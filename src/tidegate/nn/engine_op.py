"""The engine as one opaque torch operator: one layer in one direction, forward and backward.

The engine's calls themselves: nn/engine_calls.py.  Letters: T time, B batch, I input, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tidegate.cells import CELLS
from tidegate.nn import engine_calls, reference
from tidegate.nn.engine_reach import is_recorded, is_traced, reason_against_memory

State = tuple[Tensor, ...]
Gradients = Sequence[Tensor | None]

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
    weights: Sequence[Tensor | None],
    lengths: Tensor | None = None,
    reverse: bool = False,
    recurrent_mask: Tensor | None = None,
) -> tuple[Tensor, State]:
    """The output of one layer in one direction; float32 on the CPU, ``cell`` in the engine.

    x: [T, B, I]; state: [B, its width] each; weights: as the cell declares its parameters, None for
    a bias that is not there; lengths: int64 [B] on the CPU or None; recurrent_mask: [B, W], or
    [G, B, W], or None.  Returns y, zero from each row's length on, and the final state.
    """
    inputs = (x, *state, *weights)
    training = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
    if is_recorded():
        # what is exported or traced will infer; trained all the same, it computes forward twice
        for_inference = torch.compiler.is_exporting() or is_traced()
        saves = training and not for_inference
        given = [w for w in weights if w is not None]
        y, *outputs = torch.ops.tidegate.recurrence(
            cell, x, list(state), given, lengths, recurrent_mask, reverse, saves
        )
        if saves:  # the backward pass reads y, which may be changed in place; the default compiler
            y = y.clone()  # drops the copy where it sees that it is not
    elif training:
        call = Call(cell, len(state), reverse)
        y, *outputs = _Recurrence.apply(call, lengths, recurrent_mask, *inputs)  # pyright: ignore[reportGeneralTypeIssues]
    else:
        y, *outputs = engine_calls.infer(cell, x, state, weights, lengths, recurrent_mask, reverse)
    return y, tuple(outputs[: len(state)])


class Call(NamedTuple):
    """What a call of the engine is beside its tensors, and where each of these stands in a row."""

    cell: str
    states: int
    reverse: bool

    def inputs(self, row: Sequence[Any]) -> tuple[Any, Sequence[Any], Sequence[Any]]:
        """Of what belongs to x, the states and the weights, each part."""
        return row[0], row[1 : 1 + self.states], row[1 + self.states :]

    def outputs(self, row: Sequence[Any]) -> tuple[Any, Sequence[Any], Sequence[Any]]:
        """Of what belongs to y, the final states and what is saved, each part."""
        return self.inputs(row)


@cache
def _read_by_backward(call: Call, needs: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which of x, the states and the weights the gradients that are needed are made from."""
    of_x, _, of_weights = call.inputs(needs)
    roles = _ROLES[call.cell]
    learned = {role for role, needed in zip(roles, of_weights, strict=True) if needed}
    of_others = {"input": of_x, "input bias": False, "recurrent bias": False}
    others = (of_others.get(role, True) for role in roles)
    return ("input" in learned, "recurrent" in learned, *[True] * (call.states - 1), *others)


_ROLES = {name: tuple(p.role for p in cell.parameters.values()) for name, cell in CELLS.items()}


class _Recurrence(torch.autograd.Function):
    """The operator in eager mode, where one of torch.library costs 0.1 ms more.

    As with torch.nn's layers, what the backward pass does not need may be changed in place before
    it: the biases, the input and the first state where their weights are frozen, weight_ih where
    the input needs no gradient.  So may the output, which it does need: an output that was changed
    is computed again.
    """

    @staticmethod
    def forward(
        ctx: Any, call: Call, lengths: Tensor | None, mask: Tensor | None, *inputs: Any
    ) -> tuple[Tensor, ...]:
        x, state, weights = call.inputs(inputs)
        outputs = engine_calls.forward(
            call.cell, x, state, weights, lengths, mask, call.reverse, True
        )
        y, _, saved = call.outputs(outputs)
        is_read = _read_by_backward(call, ctx.needs_input_grad[-len(inputs) :])
        ctx.unread = tuple(None if r else t for t, r in zip(inputs, is_read, strict=True))
        ctx.versions = _versions(ctx.unread)
        read = (t if r else None for t, r in zip(inputs, is_read, strict=True))
        # the kernels read the first state all the same; [B, H] is little to copy
        ctx.start = None if is_read[1] else state[0].clone()
        # y.data: the same memory under a version counter of its own, so that y may be changed
        ctx.save_for_backward(lengths, mask, y.data, *read, *saved)
        # this has the version counter of y without its memory, which hooks may have moved elsewhere
        ctx.witness = y.detach()
        ctx.witness.data = _NO_MEMORY
        ctx.version = ctx.witness._version
        ctx.call, ctx.owns_saved = call, True
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*saved)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *incoming: Any) -> tuple[Tensor | None, ...]:
        call, count = ctx.call, len(ctx.unread)
        lengths, mask, y, *others = ctx.saved_tensors
        read, saved = others[:count], others[count:]
        inputs = [u if r is None else r for r, u in zip(read, ctx.unread, strict=True)]
        d_y, d_final, _ = call.outputs(incoming)
        incoming = (d_y, *d_final)
        was_changed = _was_changed(ctx)
        by_reference = _is_for_the_reference(incoming)
        if (was_changed or by_reference) and _versions(ctx.unread) != ctx.versions:
            raise RuntimeError(
                "backward: expected all that the layer was given as it was in its forward pass, as "
                "its output was changed in place or second derivatives are asked for; got a tensor "
                "changed in place too: change a clone of it"
            )
        needs = ctx.needs_input_grad[-count:]
        if by_reference:
            gradients = _reference_gradients(call, inputs, lengths, mask, incoming, needs)
        else:
            if was_changed:
                x, state, weights = call.inputs(inputs)
                outputs = engine_calls.forward(
                    call.cell, x, state, weights, lengths, mask, call.reverse, True
                )
                y, _, saved = call.outputs(outputs)
            if ctx.start is not None:
                inputs[1] = ctx.start
            gradients = _engine_gradients(ctx, inputs, lengths, mask, y, saved, incoming, needs)
        return None, None, None, *gradients


@torch.compiler.disable
def _was_changed(ctx: Any) -> bool:
    """Whether the output was changed in place; compiled autograd would trace a tensor's version."""
    return ctx.witness._version != ctx.version


def _operator(
    cell: str,
    x: Tensor,
    state: list[Tensor],
    weights: list[Tensor],  # an optional one in a list would get no gradient
    lengths: Tensor | None,
    mask: Tensor | None,
    reverse: bool,
    training: bool,
) -> list[Tensor]:
    return engine_calls.forward(
        cell, x, state, _declared(cell, weights), lengths, mask, reverse, training
    )


def _declared(cell: str, weights: Sequence[Tensor]) -> list[Tensor | None]:
    """A layer's weights as its cell declares them, None for the biases that it does without."""
    roles = _ROLES[cell]
    if len(weights) == len(roles):
        return list(weights)
    given = iter(weights)
    return [None if role.endswith("bias") else next(given) for role in roles]


def _setup_operator(ctx: Any, inputs: tuple, output: list[Tensor]) -> None:
    cell, x, state, weights, lengths, mask, reverse, saves = inputs
    ctx.call, ctx.owns_saved = Call(cell, len(state), reverse), False  # saved are outputs, too
    y, _, saved = ctx.call.outputs(output)
    ctx.weights = len(weights)
    ctx.save_for_backward(lengths, mask, x, *state, *weights, *((y, *saved) if saves else ()))
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*saved)


def _operator_backward(ctx: Any, incoming: Sequence[Tensor | None]) -> tuple[Any, ...]:
    call = ctx.call
    lengths, mask, *tensors = ctx.saved_tensors  # once: a checkpoint computes them anew each time
    count = 1 + call.states + ctx.weights
    x, state, given = call.inputs(tensors[:count])
    kept = tensors[count:]  # y and what is saved
    weights = _declared(call.cell, given)
    inputs = [x, *state, *weights]
    _, of_x, of_state, of_given, *_ = ctx.needs_input_grad
    wanted = iter(of_given)
    needs = [of_x, *of_state, *(w is not None and next(wanted) for w in weights)]
    d_y, d_final, _ = call.outputs(incoming)
    incoming = (d_y, *d_final)
    if _is_for_the_reference(incoming):
        gradients = _reference_gradients(call, inputs, lengths, mask, incoming, needs)
    else:
        if not kept:  # the operator was recorded where no gradients were wanted
            outputs = torch.ops.tidegate.recurrence(
                call.cell, x, state, given, lengths, mask, call.reverse, True
            )
            y, _, saved = call.outputs(outputs)
            kept = [y, *saved]
        y, *saved = kept
        gradients = _engine_gradients(ctx, inputs, lengths, mask, y, saved, incoming, needs)
    d_x, d_state, d_weights = call.inputs(gradients)
    d_given = [d for d, w in zip(d_weights, weights, strict=True) if w is not None]
    return None, d_x, list(d_state), d_given, None, None, None, None


def _is_for_the_reference(incoming: Gradients) -> bool:
    """Whether gradients will themselves be differentiated, or are not plain tensors.

    They are batched where Jacobians are vectorised.
    """
    plain = [g for g in incoming if g is not None]
    return torch.is_grad_enabled() or reason_against_memory(plain) is not None


def _engine_gradients(
    ctx: Any,
    inputs: Sequence[Tensor | None],
    lengths: Tensor | None,
    mask: Tensor | None,
    y: Tensor,
    saved: Sequence[Tensor],
    incoming: Gradients,
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x, the states and the weights."""
    call = ctx.call
    d_y, *d_final = incoming
    arguments: Any = (
        call.cell, d_y, d_final, *call.inputs(inputs), lengths, mask, y, saved, call.reverse, needs,
    )  # fmt: skip
    if is_recorded():
        gradients = torch.ops.tidegate.recurrence_backward(*arguments)
    else:  # without retain_graph nobody will read the saved gates again
        overwrite = ctx.owns_saved and not _keeps_graph()
        gradients = engine_calls.backward(*arguments, overwrite=overwrite)
    return [g if n else None for g, n in zip(gradients, needs, strict=True)]


def _reference_gradients(
    call: Call,
    inputs: Sequence[Any],
    lengths: Tensor | None,
    mask: Tensor | None,
    incoming: Gradients,
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """The same gradients, through the reference."""
    x, state, weights = call.inputs(inputs)
    with torch.enable_grad():
        y, final = reference.unroll(
            CELLS[call.cell], x, tuple(state), weights, lengths, call.reverse, mask
        )
    reached = [(o, g) for o, g in zip((y, *final), incoming, strict=True) if g is not None]
    outputs, gradients = zip(*reached, strict=True)
    wanted = [t for t, n in zip(inputs, needs, strict=True) if n]
    found = iter(
        torch.autograd.grad(
            outputs, wanted, gradients, create_graph=torch.is_grad_enabled(), allow_unused=True
        )
    )
    return [next(found) if n else None for n in needs]


def _versions(tensors: tuple[Tensor | None, ...]) -> list[int]:
    return [t._version for t in tensors if t is not None and not t.is_inference()]


def _fake_forward(cell, x, state, weights, lengths, mask, reverse, training):  # noqa: ARG001
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
) -> list[Tensor]:
    gradients = engine_calls.backward(
        cell, d_y, d_final, x, state, weights, lengths, mask, y, saved, reverse, needs
    )
    # an operator returns no tensor twice
    return [g if n else x.new_empty(0) for g, n in zip(gradients, needs, strict=True)]


def _fake_backward(cell, d_y, d_final, x, state, weights, *rest):  # noqa: ARG001
    *_, needs = rest
    return [*map(x.new_empty, engine_calls.gradient_shapes(x, state, weights, needs))]


def _register() -> None:
    forward = torch.library.custom_op("tidegate::recurrence", _operator, mutates_args=())
    forward.register_fake(_fake_forward)
    forward.register_autograd(_operator_backward, setup_context=_setup_operator)
    backward = torch.library.custom_op(
        "tidegate::recurrence_backward", _operator_of_backward, mutates_args=()
    )
    backward.register_fake(_fake_backward)


_register()

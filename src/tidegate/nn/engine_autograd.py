"""The engine's passes under autograd: in eager mode, and what the recorded operator shares.

Letters: T time, B batch, I input, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tidegate.cells import CELLS, get_cell
from tidegate.nn import engine_calls, engine_gradients, reference
from tidegate.nn.engine_reach import is_recorded, reason_against_memory

Gradients = Sequence[Tensor | None]

_NO_MEMORY = torch.empty(0, dtype=torch.float32, device="cpu")

# whether the backward pass that runs now was asked to retain_graph
_keeps_graph: Callable[[], bool] = getattr(
    torch._C._autograd,  # pyright: ignore[reportAttributeAccessIssue]
    "_get_current_graph_task_keep_graph",
    lambda: True,
)
_ROLES = {name: tuple(p.role for p in cell.parameters.values()) for name, cell in CELLS.items()}


def roles_of(cell: str) -> tuple[str, ...]:
    """The roles of the parameters of the cell of this key."""
    if cell not in _ROLES:
        _ROLES[cell] = tuple(p.role for p in get_cell(cell).parameters.values())
    return _ROLES[cell]


class Call(NamedTuple):
    """What a call of the engine is beside its tensors, and where each of these stands in a row."""

    cell: str
    states: int
    reverse: bool

    def parts(self, row: Sequence[Any]) -> tuple[Any, Sequence[Any], Sequence[Any]]:
        """Each part of a row: x, the states, the weights; or y, the final states, what is saved."""
        return row[0], row[1 : 1 + self.states], row[1 + self.states :]


@cache
def _read_by_backward(call: Call, needs: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which of x, the states and the weights the gradients that are needed are made from."""
    of_x, _, of_weights = call.parts(needs)
    roles = roles_of(call.cell)
    learned = {role for role, needed in zip(roles, of_weights, strict=True) if needed}
    of_others = {"input": of_x, "input bias": False, "recurrent bias": False}
    others = (of_others.get(role, True) for role in roles)
    return ("input" in learned, "recurrent" in learned, *[True] * (call.states - 1), *others)


class Recurrence(torch.autograd.Function):
    """The operator in eager mode, where one of torch.library costs 0.1 ms more.

    As with torch.nn's layers, what the backward pass does not need may be changed in place before
    it: the biases, the input and the first state where their weights are frozen, weight_ih where
    the input needs no gradient.  So may the output, which it does need: an output that was changed
    is computed again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        call: Call,
        lengths: Tensor | None,
        mask: Tensor | None,
        input_mask: Tensor | None,
        noise: Tensor | None,
        *inputs: Any,
    ) -> tuple[Tensor, ...]:
        x, state, weights = call.parts(inputs)
        outputs = engine_calls.forward(
            call.cell, x, state, weights, lengths, mask, call.reverse, True, input_mask, noise
        )
        y, _, saved = call.parts(outputs)
        is_read = _read_by_backward(call, ctx.needs_input_grad[-len(inputs) :])
        ctx.unread = tuple(None if r else t for t, r in zip(inputs, is_read, strict=True))
        ctx.versions = _versions(ctx.unread)
        read = (t if r else None for t, r in zip(inputs, is_read, strict=True))
        # the kernels read the first state all the same; [B, H] is little to copy
        ctx.start = None if is_read[1] else state[0].clone()
        # y.data: the same memory under a version counter of its own, so that y may be changed
        ctx.save_for_backward(lengths, mask, input_mask, noise, y.data, *read, *saved)
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
        lengths, mask, input_mask, noise, y, *others = ctx.saved_tensors
        read, saved = others[:count], others[count:]
        inputs = [u if r is None else r for r, u in zip(read, ctx.unread, strict=True)]
        d_y, d_final, _ = call.parts(incoming)
        incoming = (d_y, *d_final)
        was_changed = _was_changed(ctx)
        by_reference = is_for_the_reference(incoming)
        if (was_changed or by_reference) and _versions(ctx.unread) != ctx.versions:
            raise RuntimeError(
                "backward: expected all that the layer was given as it was in its forward pass, as "
                "its output was changed in place or second derivatives are asked for; got a tensor "
                "changed in place too: change a clone of it"
            )
        needs = ctx.needs_input_grad[-count:]
        if by_reference:
            gradients = reference_gradients(
                call, inputs, lengths, mask, input_mask, noise, incoming, needs
            )
        else:
            if was_changed:
                x, state, weights = call.parts(inputs)
                outputs = engine_calls.forward(
                    call.cell, x, state, weights, lengths, mask, call.reverse, True, input_mask,
                    noise,
                )  # fmt: skip
                y, _, saved = call.parts(outputs)
            if ctx.start is not None:
                inputs[1] = ctx.start
            gradients = engine_gradients_of(
                ctx, inputs, lengths, mask, input_mask, y, saved, incoming, needs
            )
        return None, None, None, None, None, *gradients


@torch.compiler.disable
def _was_changed(ctx: Any) -> bool:
    """Whether the output was changed in place; compiled autograd would trace a tensor's version."""
    return ctx.witness._version != ctx.version


def is_for_the_reference(incoming: Gradients) -> bool:
    """Whether gradients will themselves be differentiated, or are not plain tensors.

    They are batched where Jacobians are vectorised.
    """
    plain = [g for g in incoming if g is not None]
    return torch.is_grad_enabled() or reason_against_memory(plain) is not None


def engine_gradients_of(
    ctx: Any,
    inputs: Sequence[Tensor | None],
    lengths: Tensor | None,
    mask: Tensor | None,
    input_mask: Tensor | None,
    y: Tensor,
    saved: Sequence[Tensor],
    incoming: Gradients,
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x, the states and the weights."""
    call = ctx.call
    d_y, *d_final = incoming
    arguments: Any = (
        call.cell, d_y, d_final, *call.parts(inputs), lengths, mask, y, saved, call.reverse, needs,
        input_mask,
    )  # fmt: skip
    if is_recorded():
        gradients = torch.ops.tidegate.recurrence_backward(*arguments)
    else:  # without retain_graph nobody will read the saved gates again
        overwrite = ctx.owns_saved and not _keeps_graph()
        gradients = engine_gradients.backward(*arguments, overwrite=overwrite)
    return [g if n else None for g, n in zip(gradients, needs, strict=True)]


def reference_gradients(
    call: Call,
    inputs: Sequence[Any],
    lengths: Tensor | None,
    mask: Tensor | None,
    input_mask: Tensor | None,
    noise: Tensor | None,
    incoming: Gradients,
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """The same gradients, through the reference."""
    x, state, weights = call.parts(inputs)
    with torch.enable_grad():
        y, final = reference.unroll(
            get_cell(call.cell), x, tuple(state), weights, lengths, call.reverse, mask, input_mask,
            noise,
        )  # fmt: skip
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

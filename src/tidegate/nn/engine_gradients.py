"""The engine's pass back on tensors: the sweep through time, then the products over all steps.

Forward: nn/engine_calls.py, which has the letters, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tidegate.engine import compiled
from tidegate.nn.engine_calls import (
    columns_of,
    first_of,
    masked_tokens,
    new_array,
    schedule_of,
    tokens_of,
    view,
)
from tidegate.nn.engine_layout import Layout, Run, layout_of
from tidegate.nn.products import in_engine, multiply, rounds

_NOTHING = torch.empty(0, dtype=torch.float32, device="cpu")  # a gradient that nobody needs


class _Arrays(NamedTuple):
    """What a pass back fills."""

    inputs: list[Tensor]  # gradients of x, the states and the weights, empty where not needed
    d_state: list[Tensor]  # the states', which are computed in any case
    d_gates: Tensor  # [N, G*H]
    d_products: Tensor | None  # of products whose gradients no gate has: [N, them and projections]
    operands: list[Tensor | None]  # what products saw [N, W], None where y or nobody has it


def backward(
    cell: str,
    d_y: Tensor | None,
    d_final: Sequence[Tensor | None],
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    lengths: Tensor | None,
    mask: Tensor | None,
    y: Tensor,
    saved: Sequence[Tensor],
    reverse: bool,
    needs: Sequence[bool],
    input_mask: Tensor | None = None,
    overwrite: bool = False,
) -> list[Tensor]:
    """Gradients of x, the states and the weights, empty where ``needs``, in this order, says no.

    ``overwrite``: the saved gates may be replaced by their gradients, which saves fresh memory.
    """
    layout, count = layout_of(cell), 1 + len(state)
    if y.numel() == 0:  # the final state is the initial one
        gradients = [x.new_zeros(shape) for shape in gradient_shapes(x, state, weights, needs)]
        for k, given in enumerate(d_final, start=1):
            if given is not None and needs[k]:
                gradients[k] = given.clone()
        return gradients
    gates, extra, *others, threads = saved
    schedule = schedule_of(x, lengths, reverse, int(threads), layout.size_of_step(weights))
    n = schedule.tokens
    per_gate = mask is not None and mask.dim() == 3
    runs = layout.runs if per_gate else layout.joined
    shifted = not schedule.ragged and mask is None  # what products saw is y, one step away
    arrays = _arrays(layout, x, state, weights, saved, n, needs, runs, per_gate, shifted, overwrite)
    d_weights = arrays.inputs[count:]
    sums = [
        d if is_summed and d is not _NOTHING else None
        for d, is_summed in zip(d_weights, layout.summed, strict=True)
    ]
    d_bias = sums[layout.bias_ih]
    if layout.noises and d_bias is not None:  # the engine sums what reaches noises, too
        sums[layout.bias_ih] = new_array(x, gates.shape[1:])
    compiled.backward(
        cell,
        schedule,
        [view(w) if read else None for w, read in zip(weights, layout.read_backward, strict=True)],
        view(mask),
        [*map(view, state)],
        view(first_of(gates, n)),
        view(first_of(extra, n)) if extra.numel() else None,
        [view(y), *(view(first_of(s, n)) for s in others)],
        view(d_y),
        [*map(view, d_final)],
        view(arrays.d_gates),
        view(arrays.d_products),
        [*map(view, arrays.d_state)],
        [*map(view, sums)],
        [*map(view, arrays.operands)],
        any(needs[1:count]),
        rounds(),
    )
    summed = sums[layout.bias_ih]
    if d_bias is not None and summed is not None and summed is not d_bias:
        d_bias.copy_(summed[: len(d_bias)])
    # gradients that faded on their way back make denormal products, each of which costs microcode
    with compiled.Flushed(1 if in_engine(arrays.d_gates) else torch.get_num_threads()):
        weight_ih = weights[0]
        assert weight_ih is not None
        d_x, d_weight_ih = arrays.inputs[0], d_weights[0]
        d_inputs = columns_of(arrays.d_gates, 0, len(weight_ih))
        _multiply_inputs(x, input_mask, weight_ih, d_inputs, schedule, d_x, d_weight_ih)
        for k, operand in enumerate(arrays.operands):
            apart = per_gate and layout.operands[k].is_masked  # each product saw another
            for run in runs[k]:
                if not needs[count + run.parameter]:
                    continue
                gradient, out = _gradient_of(run, layout, arrays, d_weights[run.parameter])
                if operand is None:
                    _product_with_shifted(gradient, y, state[0], reverse, out)
                else:
                    width = out.shape[1]
                    seen = columns_of(operand, run.rank * width if apart else 0, width)
                    multiply(gradient.t(), seen, out)
    return arrays.inputs


def _arrays(
    layout: Layout,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    saved: Sequence[Tensor],
    n: int,
    needs: Sequence[bool],
    runs: Sequence[Sequence[Run]],
    per_gate: bool,
    shifted: bool,
    overwrite: bool,
) -> _Arrays:
    """Room for what a pass back fills; the saved gates' own where ``overwrite`` allows it."""
    gates, extra, count = saved[0], saved[1], 1 + len(state)
    H = gates.shape[1] // layout.gates  # noqa: N806
    inputs = [
        new_array(x, t.shape) if need and t is not None else _NOTHING
        for t, need in zip((x, *state, *weights), needs, strict=True)
    ]
    d_state = [
        d if need else new_array(x, s.shape)
        for d, need, s in zip(inputs[1:count], needs[1:count], state, strict=True)
    ]
    d_gates = first_of(gates, n) if overwrite else new_array(x, (n, gates.shape[1]))
    width = layout.separate * H + layout.projected_rows(weights)
    d_products = None
    if width:
        reuses = overwrite and layout.replaces_extra
        d_products = first_of(extra, n) if reuses else new_array(x, (n, width))
    operands: list[Tensor | None] = []
    for operand, own in zip(layout.operands, runs, strict=True):
        taken = operand.state
        wide = H if taken is None else state[taken].shape[1]
        needed = needs[count + own[0].parameter]
        if taken is not None and (not needed or (taken == 0 and shifted)):
            operands.append(None)
        else:
            copies = len(own) if per_gate and operand.is_masked else 1
            operands.append(new_array(x, (n, copies * wide)))
    return _Arrays(inputs, d_state, d_gates, d_products, operands)


def _multiply_inputs(
    x: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    d_gates: Tensor,
    schedule: Any,
    d_x: Tensor,
    d_weight: Tensor,
) -> None:
    """Fill the gradients of x and weight_ih that are needed, gate by gate under masks for each."""
    if mask is None:
        if d_weight is not _NOTHING:
            multiply(d_gates.t(), tokens_of(x, schedule), d_weight)
        if d_x is not _NOTHING:
            _back_to_inputs(d_gates, weight, schedule, d_x)
        return
    columns = d_gates.chunk(len(mask), 1)
    if d_weight is not _NOTHING:
        blocks = zip(
            columns, masked_tokens(x, mask, schedule), d_weight.chunk(len(mask)), strict=True
        )
        for gradient, seen, out in blocks:
            multiply(gradient.t(), seen, out)
    if d_x is not _NOTHING:
        part = new_array(x, x.shape)
        d_x.zero_()
        for gradient, rows, own in zip(columns, weight.chunk(len(mask)), mask, strict=True):
            _back_to_inputs(gradient, rows, schedule, part)
            d_x.addcmul_(part, own)


def _back_to_inputs(gradient: Tensor, weight: Tensor, schedule: Any, d_x: Tensor) -> None:
    """Fill ``d_x`` [T, B, I] with what the products hand back, zero beyond each row's length."""
    if not schedule.ragged:
        multiply(gradient, weight, d_x.view(-1, d_x.shape[2]))
        return
    d_tokens = new_array(d_x, (schedule.tokens, d_x.shape[2]))
    multiply(gradient, weight, d_tokens)
    compiled.scatter(schedule, view(d_tokens), view(d_x))


def _gradient_of(
    run: Run, layout: Layout, arrays: _Arrays, d_weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Where a run of products has its gradient, and the rows of the weight's that are its own."""
    H = arrays.d_gates.shape[1] // layout.gates  # noqa: N806
    if run.kind == "d_projected":
        assert arrays.d_products is not None
        rows = len(d_weight)
        first = layout.separate * H + run.column * rows
        return columns_of(arrays.d_products, first, rows), d_weight
    source = arrays.d_gates if run.kind == "d_gate" else arrays.d_products
    assert source is not None
    if len(d_weight) > run.blocks * H:
        d_weight = d_weight[run.row * H : (run.row + run.blocks) * H]
    return columns_of(source, run.column * H, run.blocks * H), d_weight


def gradient_shapes(
    x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor | None], needs: Sequence[bool]
) -> list[tuple[int, ...]]:
    """Of the tensors that ``backward`` returns."""
    inputs = (x, *state, *weights)
    return [
        tuple(t.shape) if n and t is not None else (0,) for t, n in zip(inputs, needs, strict=True)
    ]


def _product_with_shifted(
    gradient: Tensor, y: Tensor, h0: Tensor, reverse: bool, out: Tensor
) -> None:
    """gradient^T @ the state before each step: y of the step before, h0 at the first."""
    T, B, H = y.shape  # noqa: N806
    later, first = gradient[B:], gradient[:B]
    before = y[: T - 1]
    if reverse:
        later, first = gradient[: (T - 1) * B], gradient[(T - 1) * B :]
        before = y[1:]
    multiply(later.t(), before.reshape(-1, H), out)
    multiply(first.t(), h0, out, adds=True)

"""The engine's calls on tensors: one layer in one direction, forward and backward.

The all-steps products of training (W_ih x and the weights' gradients) are nn/products.py, the
time loops csrc/simd/.  What stands where is the cell's plan (equations/plan.py).  Letters: T time,
B batch, I input, H hidden, G gates with an input product; N tokens, the true steps of all rows,
N <= T * B.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # pyright: ignore[reportPrivateImportUsage]

from tidegate.engine import compiled, shares_units, threads_for
from tidegate.nn.engine_layout import layout_of
from tidegate.nn.products import in_engine, multiply, rounds

_NOTHING = torch.empty(0, dtype=torch.float32, device="cpu")  # a gradient that nobody needs
_LARGE = 1 << 18  # numbers of an array whose memory the engine keeps for the next call


def forward(
    cell: str,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    lengths: Tensor | None,
    mask: Tensor | None,
    reverse: bool,
    training: bool,
) -> list[Tensor]:
    """The outputs y and the final states; in training also what is saved.

    That is gates [T*B, G*H], extras, every step's states beyond the output, and the number of
    threads, on which the order of a ragged batch's tokens depends.
    """
    layout = layout_of(cell)
    size = layout.size_of_step(weights)
    T, B, _ = x.shape  # noqa: N806
    threads = threads_for(T * B * size, torch.get_num_threads())
    shapes = output_shapes(cell, x, state, weights, training)
    count = 1 + len(state)
    if not training or x.numel() == 0:  # of nothing nothing is saved, either
        outputs = infer(cell, x, state, weights, lengths, mask, reverse)
        outputs += [x.new_empty(shape) for shape in shapes[count:]]
        return [*outputs, x.new_full((), threads, dtype=torch.int64)]
    arrays = [new_array(x, shape) for shape in shapes]
    y, *final = arrays[:count]
    gates, extra, *others = arrays[count:]
    schedule = _schedule(x, lengths, reverse, threads, size)
    n = schedule.tokens
    products = gates[:n]
    weight_ih = weights[0]
    assert weight_ih is not None
    multiply(_tokens(x, schedule), weight_ih.t(), products, weights[layout.bias_ih])
    compiled.forward(
        cell,
        schedule,
        [view(w) if read else None for w, read in zip(weights, layout.read_forward, strict=True)],
        view(mask),
        [*map(view, state)],
        view(products),
        view(extra[:n]) if extra.numel() else None,
        [view(y), *(view(s[:n]) for s in others)],
        [*map(view, final)],
        rounds(),
    )
    return [*arrays, x.new_full((), threads, dtype=torch.int64)]


def infer(
    cell: str,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    lengths: Tensor | None,
    mask: Tensor | None,
    reverse: bool,
) -> list[Tensor]:
    """The outputs y and the final states.

    The engine makes the input product, too, in pieces that stay in cache.
    """
    T, B, _ = x.shape  # noqa: N806
    size = layout_of(cell).size_of_step(weights)
    threads = threads_for(T * B * size, torch.get_num_threads())
    schedule = _schedule(x, lengths, reverse, threads, size)
    layer = compiled.Layer(cell, [*map(view, weights)], threads)
    y = new_array(x, (T, B, state[0].shape[1]))
    final = [x.new_empty(B, s.shape[1]) for s in state]
    layer.forward(schedule, view(x), view(mask), [*map(view, state)], [*map(view, final)], view(y))
    return [y, *final]


def output_shapes(
    cell: str,
    x: Tensor,
    state: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    training: bool,
) -> list[tuple[int, ...]]:
    """Of the tensors that ``forward`` returns, but for the last."""
    layout = layout_of(cell)
    T, B, _ = x.shape  # noqa: N806
    assert weights[0] is not None
    columns = weights[0].shape[0]
    extra = layout.extra * (columns // layout.gates) if training else 0
    n = T * B if training else 0
    return [
        (T, B, state[0].shape[1]),
        *((B, s.shape[1]) for s in state),
        (n, columns),
        (T * B if extra else 0, extra),
        *((n, s.shape[1]) for s in state[1:]),
    ]


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
    T, B, _ = x.shape  # noqa: N806
    gates, extra, *others, threads = saved
    columns = gates.shape[1]
    H = columns // layout.gates  # noqa: N806
    schedule = _schedule(x, lengths, reverse, int(threads), layout.size_of_step(weights))
    n = schedule.tokens
    inputs = (x, *state, *weights)
    gradients = [
        new_array(x, t.shape) if need and t is not None else _NOTHING
        for t, need in zip(inputs, needs, strict=True)
    ]
    d_weights, needed = gradients[count:], needs[count:]
    # the states' are computed in any case
    d_state = [
        d if need else new_array(x, s.shape)
        for d, need, s in zip(gradients[1:count], needs[1:count], state, strict=True)
    ]
    d_gates = gates[:n] if overwrite else new_array(x, (n, columns))
    width = layout.separate * H + layout.projected_rows(weights)
    d_products = None
    if width:
        reuses = overwrite and layout.replaces_extra
        d_products = extra[:n] if reuses else new_array(x, (n, width))
    per_gate = mask is not None and mask.dim() == 3
    runs = layout.runs if per_gate else layout.joined
    shifted = not schedule.ragged and mask is None  # what products saw is y, one step away
    operands: list[Tensor | None] = []
    for k, (operand, (run, *_)) in enumerate(zip(layout.operands, runs, strict=True)):
        taken, wide = operand.state, H
        if taken is not None:
            wide = state[taken].shape[1]
        if taken is not None and (not needed[run.parameter] or (taken == 0 and shifted)):
            operands.append(None)
        else:
            copies = len(runs[k]) if per_gate and operand.is_masked else 1
            operands.append(new_array(x, (n, copies * wide)))
    compiled.backward(
        cell,
        schedule,
        [view(w) if read else None for w, read in zip(weights, layout.read_backward, strict=True)],
        view(mask),
        [*map(view, state)],
        view(gates[:n]),
        view(extra[:n]) if extra.numel() else None,
        [view(y), *(view(s[:n]) for s in others)],
        view(d_y),
        [*map(view, d_final)],
        view(d_gates),
        view(d_products),
        [*map(view, d_state)],
        [
            view(d) if is_summed and d is not _NOTHING else None
            for d, is_summed in zip(d_weights, layout.summed, strict=True)
        ],
        [*map(view, operands)],
        any(needs[1:count]),
        rounds(),
    )
    # gradients that faded on their way back make denormal products, each of which costs microcode
    with compiled.Flushed(1 if in_engine(d_gates) else torch.get_num_threads()):
        if needed[0]:
            multiply(d_gates.t(), _tokens(x, schedule), d_weights[0])
        for k, operand in enumerate(operands):
            apart = per_gate and layout.operands[k].is_masked  # each product saw another
            for run in runs[k]:
                if not needed[run.parameter]:
                    continue
                out = d_weights[run.parameter]
                if run.kind == "d_projected":
                    assert d_products is not None
                    first = layout.separate * H + run.column * len(out)
                    gradient = d_products[:, first : first + len(out)]
                else:
                    source = d_gates if run.kind == "d_gate" else d_products
                    assert source is not None
                    gradient = _columns(source, run.column * H, run.blocks * H)
                    if len(out) > run.blocks * H:
                        out = out[run.row * H : (run.row + run.blocks) * H]
                if operand is None:
                    _product_with_shifted(gradient, y, state[0], reverse, out)
                else:
                    seen = _columns(operand, run.rank * out.shape[1] if apart else 0, out.shape[1])
                    multiply(gradient.t(), seen, out)
        if needs[0]:
            weight_ih, d_x = weights[0], gradients[0]
            assert weight_ih is not None
            if schedule.ragged:
                d_tokens = new_array(x, (n, x.shape[2]))
                multiply(d_gates, weight_ih, d_tokens)
                compiled.scatter(schedule, view(d_tokens), view(d_x))
            else:
                multiply(d_gates, weight_ih, d_x.view(T * B, -1))
    return gradients


def gradient_shapes(
    x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor | None], needs: Sequence[bool]
) -> list[tuple[int, ...]]:
    """Of the tensors that ``backward`` returns."""
    inputs = (x, *state, *weights)
    return [
        tuple(t.shape) if n and t is not None else (0,) for t, n in zip(inputs, needs, strict=True)
    ]


def _columns(a: Tensor, first: int, count: int) -> Tensor:
    return a if count == a.shape[1] else a[:, first : first + count]


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


def _schedule(x: Tensor, lengths: Tensor | None, reverse: bool, threads: int, size: int) -> Any:
    T, B, _ = x.shape  # noqa: N806
    by_units = shares_units(threads, B, size)
    return compiled.schedule(T, B, view(lengths), reverse, threads, by_units)


def _tokens(a: Tensor, schedule: Any) -> Tensor:
    """[T, B, W] -> [N, W], the true steps only."""
    if not schedule.ragged:
        return a.reshape(-1, a.shape[2])
    tokens = new_array(a, (schedule.tokens, a.shape[2]))
    compiled.gather(schedule, view(a), view(tokens))
    return tokens


def new_array(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Undefined values, float32 on the CPU; a large array stands in memory the engine keeps."""
    size = 1
    for length in shape:
        size *= length
    return like.new_empty(shape) if size < _LARGE else torch.from_dlpack(compiled.empty(shape))


def view(a: Tensor | None) -> Any:
    """A tensor as the engine takes it, dense; a capsule is the cheapest way."""
    if a is None:
        return None
    return to_dlpack(a if a.is_contiguous() else a.contiguous())


def _share_torchs_threads() -> None:
    """Let the engine run on the OpenMP threads torch has, where that can be found out."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    except OSError:
        return
    paths = {line.split(maxsplit=5)[5] for line in maps.splitlines() if "omp" in line}
    libraries = [p for p in paths if Path(p).name.startswith(("libgomp", "libomp", "libiomp"))]
    for path in sorted(libraries, key=lambda p: "torch" not in p):
        if compiled.adopt_openmp(path):
            return


_share_torchs_threads()

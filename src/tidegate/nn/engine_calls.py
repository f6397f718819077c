"""The engine's calls on tensors: one layer in one direction, forward and backward.

The all-steps products of training (W_ih x and the weights' gradients) are nn/products.py, the
sweeps through time csrc/sequence.h.  Letters: T time, B batch, I input, H hidden, G gates; N
tokens, the true steps of all rows, N <= T * B.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # pyright: ignore[reportPrivateImportUsage]

from tidegate import _engine
from tidegate.engine import shares_units, threads_for
from tidegate.nn.products import in_engine, multiply, rounds

_LARGE = 1 << 18  # numbers of an array whose memory the engine keeps for the next call


# whether a mask may be [G, B, W], one for each gate of weight_hh, beside [B, W]
TAKES_A_MASK_PER_GATE = False


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
    T, B, _ = x.shape  # noqa: N806
    weight_ih, weight_hh, bias_ih, bias_hh = _known(weights)
    threads = threads_for(T * B * weight_hh.numel(), torch.get_num_threads())
    shapes = output_shapes(cell, x, state, weights, training)
    count = 1 + len(state)
    if not training or x.numel() == 0:  # of nothing nothing is saved, either
        outputs = infer(cell, x, state, weights, lengths, mask, reverse)
        outputs += [x.new_empty(shape) for shape in shapes[count:]]
        return [*outputs, x.new_full((), threads, dtype=torch.int64)]
    arrays = [new_array(x, shape) for shape in shapes]
    y, *final = arrays[:count]
    gates, extra, *others = arrays[count:]
    schedule = _schedule(x, lengths, reverse, threads, weight_hh)
    n = schedule.tokens
    products = gates[:n]
    multiply(_tokens(x, schedule), weight_ih.t(), products, bias_ih)
    _engine.forward(
        cell,
        schedule,
        view(weight_hh),
        view(bias_hh),
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
    weight_ih, weight_hh, bias_ih, bias_hh = _known(weights)
    threads = threads_for(T * B * weight_hh.numel(), torch.get_num_threads())
    schedule = _schedule(x, lengths, reverse, threads, weight_hh)
    layer = _engine.Layer(
        cell, view(weight_ih), view(weight_hh), view(bias_ih), view(bias_hh), threads
    )
    y = new_array(x, (T, B, weight_hh.shape[1]))
    final = [x.new_empty(s.shape) for s in state]
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
    T, B, _ = x.shape  # noqa: N806
    rows, H = _known(weights)[1].shape  # noqa: N806
    extra = _engine.extra_width(cell) * H if training else 0
    return [
        (T, B, H),
        *((B, H) for _ in state),
        (T * B if training else 0, rows),
        (T * B if extra else 0, extra),
        *((T * B if training else 0, H) for _ in state[1:]),
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
    T, B, H = y.shape  # noqa: N806
    weight_ih, weight_hh, _, _ = _known(weights)
    shapes = gradient_shapes(x, state, weights, needs)
    if y.numel() == 0:  # the final state is the initial one
        gradients = [x.new_zeros(shape) for shape in shapes]
        for k, given in enumerate(d_final, start=1):
            if given is not None and needs[k]:
                gradients[k] = given.clone()
        return gradients
    gates, extra, *others, threads = saved
    schedule = _schedule(x, lengths, reverse, int(threads), weight_hh)
    n = schedule.tokens
    slots = _engine.product_slots(cell)
    needs_x, *needs_state = needs[: 1 + len(state)]
    # the sweep fills the states' and the biases' gradients in any case
    always = gradient_shapes(
        x, state, _with_biases(weights), [needs_x, *[True] * (len(shapes) - 1)]
    )
    gradients = [new_array(x, shape) for shape in always]
    d_x, *d_state = gradients[: 1 + len(state)]
    d_ih, d_hh, d_bias_ih, d_bias_hh = gradients[1 + len(state) :]
    d_gates = gates[:n] if overwrite else new_array(x, (n, gates.shape[1]))
    separate = sum(s >= 0 for s in slots) * H
    if not separate:
        d_products = None
    elif overwrite and extra.shape[1] == separate:
        d_products = extra[:n]
    else:
        d_products = new_array(x, (n, separate))
    shifted = not schedule.ragged and mask is None  # what W_hh saw is y, one step away
    operand = None if shifted else new_array(x, (n, H))
    first_rows = _engine.first_gates(cell) * H  # of W_hh, which see the state
    second_operand = new_array(x, (n, H)) if first_rows < weight_hh.shape[0] else None
    _engine.backward(
        cell,
        schedule,
        view(weight_hh),
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
        view(d_bias_ih),
        view(d_bias_hh),
        view(operand),
        view(second_operand),
        needs_state[0],
        rounds(),
    )
    # gradients that faded on their way back make denormal products, each of which costs microcode
    with _engine.Flushed(1 if in_engine(d_ih) else torch.get_num_threads()):
        multiply(d_gates.t(), _tokens(x, schedule), d_ih)
        if second_operand is not None:
            multiply(d_gates[:, first_rows:].t(), second_operand, d_hh[first_rows:])
        for first, last, source in _blocks(slots[: first_rows // H], H):
            gradient = d_gates[:, first:last]
            if source is not None:
                assert d_products is not None
                gradient = d_products[:, source : source + H]
            if operand is not None:
                multiply(gradient.t(), operand, d_hh[first:last])
            else:
                _product_with_shifted(gradient, y, state[0], reverse, d_hh[first:last])
        if needs_x:
            if schedule.ragged:
                d_tokens = new_array(x, (n, x.shape[2]))
                multiply(d_gates, weight_ih, d_tokens)
                _engine.scatter(schedule, view(d_tokens), view(d_x))
            else:
                multiply(d_gates, weight_ih, d_x.view(T * B, -1))
    return [g if n else x.new_empty(0) for g, n in zip(gradients, needs, strict=True)]


def gradient_shapes(
    x: Tensor, state: Sequence[Tensor], weights: Sequence[Tensor | None], needs: Sequence[bool]
) -> list[tuple[int, ...]]:
    """Of the tensors that ``backward`` returns."""
    inputs = (x, *state, *weights)
    return [
        tuple(t.shape) if n and t is not None else (0,) for t, n in zip(inputs, needs, strict=True)
    ]


def _known(weights: Sequence[Tensor | None]) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """weight_ih, weight_hh, bias_ih and bias_hh, which are all that the engine's cells have."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    assert weight_ih is not None
    assert weight_hh is not None
    return weight_ih, weight_hh, bias_ih, bias_hh


def _with_biases(weights: Sequence[Tensor | None]) -> list[Tensor]:
    """The weights, with one of their columns for each bias that is not there."""
    weight_ih, *_ = _known(weights)
    return [weight_ih[:, 0] if w is None else w for w in weights]


def _blocks(slots: list[int], size: int) -> list[tuple[int, int, int | None]]:
    """Rows [first, last) of dL/dW_hh and the column of d_products they come from; None: d_gates."""
    blocks: list[tuple[int, int, int | None]] = []
    for g, slot in enumerate(slots):
        if slot < 0 and blocks and blocks[-1][2] is None:
            blocks[-1] = (blocks[-1][0], (g + 1) * size, None)
        else:
            blocks.append((g * size, (g + 1) * size, None if slot < 0 else slot * size))
    return blocks


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


def _schedule(
    x: Tensor, lengths: Tensor | None, reverse: bool, threads: int, weight_hh: Tensor
) -> Any:
    T, B, _ = x.shape  # noqa: N806
    by_units = shares_units(threads, B, weight_hh.numel())
    return _engine.schedule(T, B, view(lengths), reverse, threads, by_units)


def _tokens(a: Tensor, schedule: Any) -> Tensor:
    """[T, B, W] -> [N, W], the true steps only."""
    if not schedule.ragged:
        return a.reshape(-1, a.shape[2])
    tokens = new_array(a, (schedule.tokens, a.shape[2]))
    _engine.gather(schedule, view(a), view(tokens))
    return tokens


def new_array(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undefined values, float32 on the CPU; a large array stands in memory the engine keeps."""
    size = 1
    for length in shape:
        size *= length
    return like.new_empty(shape) if size < _LARGE else torch.from_dlpack(_engine.empty(shape))


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
        if _engine.adopt_openmp(path):
            return


_share_torchs_threads()

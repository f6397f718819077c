"""The engine's calls on tensors: one layer in one direction; back: nn/engine_gradients.py.

The all-steps products of training (W_ih x and the weights' gradients) are nn/products.py, the
time loops csrc/simd/.  What stands where is the cell's plan (equations/plan.py).  Letters: T time,
B batch, I input, H hidden, G gates with an input product; N tokens, the true steps of all rows,
N <= T * B.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack  # pyright: ignore[reportPrivateImportUsage]

from tidegate.engine import compiled, shares_units, threads_for
from tidegate.nn.engine_layout import Layout, layout_of
from tidegate.nn.products import multiply, rounds

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
    input_mask: Tensor | None = None,
    noise: Tensor | None = None,
) -> list[Tensor]:
    """The outputs y and the final states; in training also what is saved.

    ``mask`` scales what the recurrent weights see; ``input_mask``, one for each gate [G, B, I],
    what weight_ih sees.  ``noise``: [T, B, noises*H], or None for zeros.

    What is saved is gates [T*B, G*H], extras, every step's states beyond the output, and the number
    of threads, on which the order of a ragged batch's tokens depends.
    """
    layout = layout_of(cell)
    size = layout.size_of_step(weights)
    T, B, _ = x.shape  # noqa: N806
    threads = threads_for(T * B * size, torch.get_num_threads())
    shapes = output_shapes(cell, x, state, weights, training)
    count = 1 + len(state)
    if not training or x.numel() == 0:  # of nothing nothing is saved, either
        outputs = infer(cell, x, state, weights, lengths, mask, reverse, input_mask, noise)
        outputs += [x.new_empty(shape) for shape in shapes[count:]]
        return [*outputs, x.new_full((), threads, dtype=torch.int64)]
    arrays = [new_array(x, shape) for shape in shapes]
    y, *final = arrays[:count]
    gates, extra, *others = arrays[count:]
    schedule = schedule_of(x, lengths, reverse, threads, size)
    n = schedule.tokens
    products = first_of(gates, n)
    inputs = columns_of(products, 0, products.shape[1] // layout.gates * layout.inputs)
    _multiply_inputs(x, input_mask, weights[0], weights[layout.bias_ih], schedule, inputs)
    if layout.noises:
        given = products[:, inputs.shape[1] :]
        given.zero_() if noise is None else given.copy_(tokens_of(noise, schedule))
    compiled.forward(
        cell,
        schedule,
        [view(w) if read else None for w, read in zip(weights, layout.read_forward, strict=True)],
        view(mask),
        [*map(view, state)],
        view(products),
        view(first_of(extra, n)) if extra.numel() else None,
        [view(y), *(view(first_of(s, n)) for s in others)],
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
    input_mask: Tensor | None = None,
    noise: Tensor | None = None,
) -> list[Tensor]:
    """The outputs y and the final states.

    The engine makes the input product, too, in pieces that stay in cache; but not of an input that
    each gate sees another part of, or beside noise.
    """
    if (input_mask is not None or noise is not None) and x.numel() > 0:
        outputs = forward(cell, x, state, weights, lengths, mask, reverse, True, input_mask, noise)
        return outputs[: 1 + len(state)]
    T, B, _ = x.shape  # noqa: N806
    layout = layout_of(cell)
    size = layout.size_of_step(weights)
    threads = threads_for(T * B * size, torch.get_num_threads())
    schedule = schedule_of(x, lengths, reverse, threads, size)
    layer = compiled.Layer(cell, [*map(view, _with_noise_of_zeros(weights, layout))], threads)
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
    columns = weights[0].shape[0] // layout.inputs * layout.gates
    extra = layout.extra * (columns // layout.gates) if training else 0
    n = T * B if training else 0
    return [
        (T, B, state[0].shape[1]),
        *((B, s.shape[1]) for s in state),
        (n, columns),
        (T * B if extra else 0, extra),
        *((n, s.shape[1]) for s in state[1:]),
    ]


def _with_noise_of_zeros(
    weights: Sequence[Tensor | None], layout: Layout
) -> Sequence[Tensor | None]:
    """With zeros below the input's weights and bias, which then make noise of no size."""
    if layout.noises == 0:
        return weights
    padded = list(weights)
    for k in (0, layout.bias_ih):
        rows = weights[k]
        if rows is not None:
            none = rows.new_zeros(len(rows) // layout.inputs * layout.noises, *rows.shape[1:])
            padded[k] = torch.cat([rows, none])
    return padded


def columns_of(a: Tensor, first: int, count: int) -> Tensor:
    """Some of the columns of a matrix."""
    return a if count == a.shape[1] else a[:, first : first + count]


def _multiply_inputs(
    x: Tensor,
    mask: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    schedule: Any,
    products: Tensor,
) -> None:
    """Fill ``products`` [N, G*H] with those of all gates, each of what its mask leaves of x."""
    assert weight is not None
    if mask is None:
        multiply(tokens_of(x, schedule), weight.t(), products, bias)
        return
    gates = len(mask)
    blocks = zip(weight.chunk(gates), products.chunk(gates, 1), strict=True)
    biases = (None,) * gates if bias is None else bias.chunk(gates)
    for seen, (rows, out), own in zip(
        masked_tokens(x, mask, schedule), blocks, biases, strict=True
    ):
        multiply(seen, rows.t(), out, own)


def masked_tokens(x: Tensor, mask: Tensor, schedule: Any) -> Iterator[Tensor]:
    """What each gate sees of x [T, B, I], [N, I]: all in one array, which the next one replaces."""
    seen = new_array(x, x.shape)
    for own in mask:
        torch.mul(x, own, out=seen)
        yield tokens_of(seen, schedule)


def schedule_of(x: Tensor, lengths: Tensor | None, reverse: bool, threads: int, size: int) -> Any:
    """Where the tokens of x stand and which threads run them; ``size``: a row's multiplications."""
    T, B, _ = x.shape  # noqa: N806
    by_units = shares_units(threads, B, size)
    return compiled.schedule(T, B, view(lengths), reverse, threads, by_units)


def tokens_of(a: Tensor, schedule: Any) -> Tensor:
    """[T, B, W] -> [N, W], the true steps only."""
    if not schedule.ragged:
        return a.reshape(-1, a.shape[2])
    tokens = new_array(a, (schedule.tokens, a.shape[2]))
    compiled.gather(schedule, view(a), view(tokens))
    return tokens


def first_of(a: Tensor, count: int) -> Tensor:
    """The first rows; a slice of all of them would take a microsecond."""
    return a if count == a.shape[0] else a[:count]


def new_array(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Undefined values, float32 on the CPU; a large array stands in memory the engine keeps."""
    size = 1
    for length in shape:
        size *= length
    # sizes one by one: torch takes half as long to read them as those of one tuple
    return like.new_empty(*shape) if size < _LARGE else torch.from_dlpack(compiled.empty(shape))


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

"""The engine as one opaque torch operator: one layer in one direction, forward and backward.

The all-steps products (W_ih x and the weights' gradients) are torch's; the sweeps through time are
csrc/sequence.h.  Letters: T time, B batch, I input, H hidden, G gates; N tokens, the true steps of
all rows, N <= T * B.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.utils.dlpack import to_dlpack  # pyright: ignore[reportPrivateImportUsage]

from tidegate import _engine
from tidegate.cells import get_cell
from tidegate.engine import threads_for
from tidegate.nn import reference

State = tuple[Tensor, ...]

_LARGE = 1 << 20  # numbers of a new array that large pages are asked for

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
        y, h, c = _infer(*arguments[:-1])
    return y, (h,) if second is None else (h, c)


def reason_against(cell: str, x: Tensor) -> str | None:
    """Why the engine cannot run this layer; None if it can."""
    if cell not in _engine.cells():
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


def _forward(
    cell: str,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    lengths: Tensor | None,
    mask: Tensor | None,
    reverse: bool,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """y, final h and c; in training also the saved gates [T*B, G*H], extras and c of every step.

    The last is the number of threads, on which the order of a ragged batch's tokens depends.
    """
    T, B, _ = x.shape  # noqa: N806
    threads = threads_for(T * B * weight_hh.numel(), torch.get_num_threads())
    y, h, c, gates, extra, cells = _new_outputs(cell, x, c0, weight_hh, training)
    if not training:
        y, h, c = _infer(
            cell, x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, mask, reverse
        )
        return y, h, c, gates, extra, cells, torch.tensor(threads)
    _prefer_large_pages(y, gates, extra, cells)
    schedule = _engine.schedule(T, B, _view(lengths), reverse, threads)
    n = schedule.tokens
    products = gates[:n]
    rows = _tokens(x, schedule)
    if bias_ih is None:
        torch.mm(rows, weight_ih.t(), out=products)
    else:
        torch.addmm(bias_ih, rows, weight_ih.t(), out=products)
    _engine.forward(
        cell,
        schedule,
        _view(weight_hh),
        _view(bias_hh),
        _view(mask),
        _states(h0, c0, c0 is not None),
        _view(products),
        _view(extra[:n]) if extra.numel() else None,
        _states(y, cells[:n], c0 is not None),
        _states(h, c, c0 is not None),
    )
    return y, h, c, gates, extra, cells, torch.tensor(threads)


def _infer(
    cell: str,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    lengths: Tensor | None,
    mask: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, final h and c; the engine makes the input product too, in pieces that stay in cache."""
    T, B, _ = x.shape  # noqa: N806
    threads = threads_for(T * B * weight_hh.numel(), torch.get_num_threads())
    schedule = _engine.schedule(T, B, _view(lengths), reverse, threads)
    layer = _engine.Layer(
        cell, _view(weight_ih), _view(weight_hh), _view(bias_ih), _view(bias_hh), threads
    )
    y, h, c, *_ = _new_outputs(cell, x, c0, weight_hh, training=False)
    _prefer_large_pages(y)
    pair = c0 is not None
    layer.forward(
        schedule, _view(x), _view(mask), _states(h0, c0, pair), _states(h, c, pair), _view(y)
    )
    return y, h, c


def _fake_forward(cell, x, h0, c0, weight_ih, weight_hh, *rest):  # noqa: ARG001
    outputs = _new_outputs(cell, x, c0, weight_hh, training=rest[-1])
    return (*outputs, torch.empty((), dtype=torch.int64))


def _new_outputs(
    cell: str, x: Tensor, c0: Tensor | None, weight_hh: Tensor, training: bool
) -> tuple[Tensor, ...]:
    T, B, _ = x.shape  # noqa: N806
    rows, H = weight_hh.shape  # noqa: N806
    extra = _engine.extra_width(cell) * H if training else 0
    has_cell = c0 is not None
    return (
        x.new_empty(T, B, H),
        x.new_empty(B, H),
        x.new_empty(B if has_cell else 0, H),
        x.new_empty(T * B if training else 0, rows),
        x.new_empty(T * B if extra else 0, extra),
        x.new_empty(T * B if training and has_cell else 0, H),
    )


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


def _run_backward(
    cell: str,
    d_y: Tensor | None,
    d_h: Tensor | None,
    d_c: Tensor | None,
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    lengths: Tensor | None,
    mask: Tensor | None,
    y: Tensor,
    gates: Tensor,
    extra: Tensor,
    cells: Tensor,
    threads: Tensor,
    reverse: bool,
    needs_x: bool,
    needs_h0: bool,
    overwrite: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x (empty unless needs_x), h0, c0, weight_ih, weight_hh, bias_ih, bias_hh.

    ``overwrite``: the saved gates may be replaced by their gradients, which saves fresh memory.
    """
    T, B, H = y.shape  # noqa: N806
    schedule = _engine.schedule(T, B, _view(lengths), reverse, int(threads))
    n = schedule.tokens
    slots = _engine.product_slots(cell)
    outputs = _new_gradients(x, h0, c0, weight_ih, weight_hh, needs_x)
    d_x, d_h0, d_c0, d_ih, d_hh, d_bias_ih, d_bias_hh = outputs
    _prefer_large_pages(d_x)
    d_gates = gates[:n] if overwrite else x.new_empty(n, gates.shape[1])
    separate = sum(s >= 0 for s in slots) * H
    if not separate:
        d_products = None
    elif overwrite and extra.shape[1] == separate:
        d_products = extra[:n]
    else:
        d_products = x.new_empty(n, separate)
    shifted = not schedule.ragged and mask is None  # what W_hh saw is y, one step away
    operand = None if shifted else x.new_empty(n, H)
    first_rows = _engine.first_gates(cell) * H  # of W_hh, which see the state
    second_operand = x.new_empty(n, H) if first_rows < weight_hh.shape[0] else None
    _engine.backward(
        cell,
        schedule,
        _view(weight_hh),
        _view(mask),
        _states(h0, c0, c0 is not None),
        _view(gates[:n]),
        _view(extra[:n]) if extra.numel() else None,
        _states(y, cells[:n], c0 is not None),
        None if d_y is None else _view(d_y),
        _states(d_h, d_c, c0 is not None),
        _view(d_gates),
        _view(d_products),
        _states(d_h0, d_c0, c0 is not None),
        _view(d_bias_ih),
        _view(d_bias_hh),
        _view(operand),
        _view(second_operand),
        needs_h0,
    )
    # gradients that faded on their way back make denormal products, each of which costs microcode
    with _engine.Flushed(torch.get_num_threads()):
        _put_transposed_product(d_ih, d_gates, _tokens(x, schedule))
        if second_operand is not None:
            _put_transposed_product(d_hh[first_rows:], d_gates[:, first_rows:], second_operand)
        for first, last, source in _blocks(slots[: first_rows // H], H):
            gradient = d_gates[:, first:last]
            if source is not None:
                assert d_products is not None
                gradient = d_products[:, source : source + H]
            if operand is not None:
                _put_transposed_product(d_hh[first:last], gradient, operand)
            else:
                _product_with_shifted(gradient, y, h0, reverse, d_hh[first:last])
        if needs_x:
            if schedule.ragged:
                _engine.scatter(schedule, _view(d_gates @ weight_ih), _view(d_x))
            else:
                torch.mm(d_gates, weight_ih, out=d_x.view(T * B, -1))
    return outputs


def _run_eager_backward(*arguments: Any) -> tuple[Tensor, ...]:
    # without retain_graph nobody will read the saved gates again
    return _run_backward(*arguments, overwrite=not _keeps_graph())


def _fake_backward(cell, d_y, d_h, d_c, x, h0, c0, weight_ih, weight_hh, *rest):  # noqa: ARG001
    return _new_gradients(x, h0, c0, weight_ih, weight_hh, needs_x=rest[8])


def _new_gradients(
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    needs_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    shape = x.shape if needs_x else (0,)
    rows = weight_hh.shape[0]
    return (
        x.new_empty(shape),
        h0.new_empty(h0.shape),
        h0.new_empty((0,) if c0 is None else c0.shape),
        weight_ih.new_empty(weight_ih.shape),
        weight_hh.new_empty(weight_hh.shape),
        x.new_empty(rows),
        x.new_empty(rows),
    )


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
    _put_transposed_product(out, later, before.reshape(-1, H))
    out.addmm_(first.t(), h0)


def _put_transposed_product(out: Tensor, a: Tensor, b: Tensor) -> None:
    """``out`` = a^T b; in a long product the wider factor goes last, up to a quarter faster."""
    if a.shape[0] < a.shape[1]:
        torch.mm(a.t(), b, out=out)
    else:
        out.copy_(torch.mm(b.t(), a).t())


def _tokens(a: Tensor, schedule: Any) -> Tensor:
    """[T, B, W] -> [N, W], the true steps only."""
    if not schedule.ragged:
        return a.reshape(-1, a.shape[2])
    tokens = a.new_empty(schedule.tokens, a.shape[2])
    _engine.gather(schedule, _view(a), _view(tokens))
    return tokens


def _states(first: Tensor | None, second: Tensor | None, is_pair: bool) -> list[Any]:
    return [_view(first), _view(second)] if is_pair else [_view(first)]


def _prefer_large_pages(*fresh: Tensor) -> None:
    for a in fresh:
        if a.numel() >= _LARGE:
            _engine.prefer_large_pages(_view(a))


def _view(a: Tensor | None) -> Any:
    """A tensor as the engine takes it, dense, without autograd; a capsule is the cheapest way."""
    return None if a is None else to_dlpack(a.detach().contiguous())


class _Recurrence(torch.autograd.Function):
    """The same in eager mode, where an operator of torch.library costs 0.1 ms more."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        output = _forward(*arguments)
        _setup_context(ctx, arguments, output)
        return output

    backward = staticmethod(partial(_backward, _run_eager_backward))


def _register() -> None:
    backward = torch.library.custom_op(
        "tidegate::recurrence_backward", _run_backward, mutates_args=()
    )
    backward.register_fake(_fake_backward)
    forward = torch.library.custom_op("tidegate::recurrence", _forward, mutates_args=())
    forward.register_fake(_fake_forward)
    forward.register_autograd(partial(_backward, backward), setup_context=_setup_context)


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


_register()
_share_torchs_threads()

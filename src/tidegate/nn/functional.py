"""One layer in one direction over a whole sequence, on the fastest path that is right for it.

This is the seam: the one place that decides which code runs a recurrence.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.backends.cudnn import rnn as cudnn_rnn
from torch.nn import functional as F  # noqa: N812

from tidegate.cells import CELLS, Cell
from tidegate.nn import engine_op, engine_reach, reference
from tidegate.nn.products import rounds
from tidegate.nn.reference import State

# torch's own kernel of a cell, if it has one
_TORCH_KERNELS = {
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
    "gru": torch.gru,
    "lstm": torch.lstm,
}


class LayerWeights(NamedTuple):
    """One layer in one direction: weight_ih [G*H, I], weight_hh [G*H, H], biases [G*H] or None.

    ``weight_hr`` [P, H] projects the output state, which then has P columns, as weight_hh has.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    weight_hr: Tensor | None = None

    @property
    def tensors(self) -> list[Tensor]:
        return [tensor for tensor in self if tensor is not None]


def compact(cell: Cell, weights: LayerWeights) -> None:
    """Lay the weights of one layer in one direction side by side in memory, as cuDNN wants them.

    Otherwise it copies them together at every call, with a warning.  Where cuDNN does not run, or a
    weight is computed from others, nothing is done.
    """
    tensors = weights.tensors
    if cell.name not in _TORCH_KERNELS or not all(isinstance(t, nn.Parameter) for t in tensors):
        return
    if not torch.backends.cudnn.is_acceptable(weights.weight_ih):
        return
    mode = cudnn_rnn.get_cudnn_mode(cell.name.upper())
    input_size = weights.weight_ih.shape[1]
    hidden_size = weights.weight_hh.shape[0] // len(cell.gates)
    projection = 0 if weights.weight_hr is None else weights.weight_hr.shape[0]
    sizes = input_size, mode, hidden_size, projection, 1  # one layer
    with torch.no_grad(), torch.cuda.device_of(weights.weight_ih):
        torch._cudnn_rnn_flatten_weight(tensors, len(tensors), *sizes, False, False)  # pyright: ignore


def reason_against_torch(cell: Cell, recurrent_dropout: bool) -> str | None:
    """Why torch's kernels, on a GPU the only fused ones, cannot run ``cell``; None if they can."""
    if recurrent_dropout:
        return "torch has no kernel with recurrent dropout"
    return None if cell.name in _TORCH_KERNELS else f"torch has no kernel for {cell.name}"


def choose_path(
    cell: Cell,
    tensors: Sequence[Tensor],
    recurrent_dropout: bool = False,
    ragged: bool = False,
    projects: bool = False,
) -> tuple[str, str]:
    """The path that will run, ``engine``, ``torch``, ``reference`` or ``none``, and the reason.

    tensors: the input first, then initial states, weights and biases, as far as they are known.
    """
    x = tensors[0]
    against = engine_reach.reason_against(cell.name, tensors)
    if projects:
        against = "the engine has no kernel with projections"
    if against is None:
        return "engine", f"the engine's {cell.name} kernels"
    if x.numel() == 0:
        return "reference", against
    if engine_reach.are_freed(tensors):
        return "none", "the input, a state or a weight has no memory of its own: it was freed"
    against_torch = reason_against_torch(cell, recurrent_dropout)
    transform = engine_reach.transform_around(tensors)
    if against_torch is None and transform not in (None, engine_reach.FUNCTIONAL_GRADIENT):
        against_torch = "torch's kernels have none either"
    if against_torch is None and ragged and (transform or engine_reach.is_recorded()):
        against_torch = "torch packs ragged batches by their lengths, which have no values yet"
    if against_torch is None and engine_reach.are_wrapped(tensors):
        against_torch = "torch's kernels change tensors in place, which a wrapper may not allow"
    if against_torch is not None:
        return "reference", f"{against}, and {against_torch}"
    return "torch", f"torch's own {cell.name} kernel, because {against}"


def describe_path(
    cell: Cell, tensors: Sequence[Tensor], recurrent_dropout: bool = False, projects: bool = False
) -> str:
    """The path that would run here and now, and the reason, for people to read."""
    in_float32 = _is_under_autocast(tensors)
    known = [t.float() for t in tensors] if in_float32 else tensors
    path, reason = choose_path(cell, known, recurrent_dropout, projects=projects)
    if path == "engine" and engine_reach.is_recorded():
        reason += ", as the operator tidegate::recurrence"
    elif path == "engine" and rounds():
        reason += ", with matrix products in bfloat16 when gradients are wanted"
    elif path == "reference":
        reason += "; so plain torch operations run, step by step"
    if in_float32:
        reason += "; under autocast it computes in float32 and returns the types of torch.nn"
    return f"{path}: {reason}"


def recurrence(
    cell: Cell,
    x: Tensor,
    state: State,
    weights: LayerWeights,
    lengths: Tensor | None = None,
    reverse: bool = False,
    recurrent_mask: Tensor | None = None,
    strict: bool = False,
    by_steps: bool = False,
) -> tuple[Tensor, State]:
    """Hidden states of one layer in one direction.

    x: [T, B, I]; state: [B, H] each; lengths: int64 [B] on the CPU, or None; recurrent_mask:
    [B, H] or None.  Returns y [T, B, H], zero from each row's length on, and the final state.
    ``by_steps``: torch.nn runs such a call step by step, which shows in its types under autocast.
    Raises RuntimeError where ``strict`` and only the step-by-step reference can run, and where a
    tensor has no memory any more.
    """
    tensors = (x, *state, *weights.tensors)
    if torch.is_autocast_enabled("cpu") and _is_under_autocast(tensors):
        types = _types_under_autocast(cell, state, weights, by_steps)
        return _under_autocast(
            cell, x, state, weights, lengths, reverse, recurrent_mask, strict, types
        )
    path, reason = choose_path(
        cell, tensors, recurrent_mask is not None, lengths is not None,
        weights.weight_hr is not None,
    )  # fmt: skip
    if strict and path == "reference" and x.numel() > 0:
        raise RuntimeError(f"strict: expected a fused path, got the step-by-step one: {reason}")
    if path == "none":
        raise RuntimeError(reason)
    if path == "engine":
        w = weights
        return engine_op.run(
            cell.name, x, state, w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh, lengths, reverse,
            recurrent_mask,
        )  # fmt: skip
    if path == "torch" and lengths is None:
        return _torch_rectangular(cell, x, state, weights, reverse)
    # of rows that are all empty torch can make no packed batch; the reference keeps their gradients
    if path == "torch" and lengths is not None and lengths.any():
        return _torch_ragged(cell, x, state, weights, lengths, reverse)
    gates_x = F.linear(x, weights.weight_ih, weights.bias_ih)  # [T, B, G*H]
    if lengths is not None:
        lengths = lengths.to(x.device)
    return reference.unroll(
        cell, gates_x, state, weights.weight_hh, weights.bias_hh, lengths, reverse, recurrent_mask,
        weights.weight_hr,
    )  # fmt: skip


def autocasts(tensors: Sequence[Tensor]) -> bool:
    """Whether autocast is on and may take these tensors in a type of its own: never float64."""
    device = tensors[0].device.type
    return torch.is_autocast_enabled(device) and all(
        t.is_floating_point() and t.dtype != torch.float64 for t in tensors
    )


def _is_under_autocast(tensors: Sequence[Tensor]) -> bool:
    return tensors[0].is_cpu and autocasts(tensors)


def _under_autocast(
    cell: Cell,
    x: Tensor,
    state: State,
    weights: LayerWeights,
    lengths: Tensor | None,
    reverse: bool,
    recurrent_mask: Tensor | None,
    strict: bool,
    types: Sequence[torch.dtype],
) -> tuple[Tensor, State]:
    """All in float32, which the engine is fastest in; outputs are of the type torch.nn gives."""
    others = (None if w is None else w.float() for w in weights[2:])
    exact = LayerWeights(weights.weight_ih.float(), weights.weight_hh.float(), *others)
    mask = None if recurrent_mask is None else recurrent_mask.float()
    with torch.autocast("cpu", enabled=False):
        y, final = recurrence(
            cell, x.float(), tuple(s.float() for s in state), exact, lengths, reverse, mask, strict
        )
    return y.to(types[0]), tuple(s.to(t) for s, t in zip(final, types, strict=True))


def _types_under_autocast(
    cell: Cell, state: State, weights: LayerWeights, by_steps: bool
) -> list[torch.dtype]:
    """Of each state that torch.nn returns; outputs have that of the first.

    Products are of the lower type, and what is added to them widens the sum.  oneDNN, which runs
    torch.nn's LSTM on a whole batch, rounds c too.
    """
    lower = torch.get_autocast_dtype("cpu")
    widest = lower
    for k in _ADDED[cell.name]:
        if k == 0 or by_steps or weights.weight_hr is not None:
            widest = torch.promote_types(widest, state[k].dtype)
    first = widest if weights.weight_hr is None else lower  # a projection is a product
    return [first, *[widest] * (len(state) - 1)]


def _is_added(cell: Cell, k: int) -> bool:
    """Whether state ``k`` is added to products, not only a factor of them."""
    lower = torch.zeros(1, dtype=torch.bfloat16)
    products = SimpleNamespace(**dict.fromkeys(cell.gates, lower))
    recurrent = SimpleNamespace(**dict.fromkeys(cell.gates, lambda _: lower))
    states = [torch.zeros(1) if j == k else lower for j in range(len(cell.state))]
    return cell.step(torch, products, recurrent, *states)[0][0].dtype == torch.float32


_ADDED = {
    name: [k for k in range(len(cell.state)) if _is_added(cell, k)] for name, cell in CELLS.items()
}


def _torch_rectangular(
    cell: Cell, x: Tensor, state: State, weights: LayerWeights, reverse: bool
) -> tuple[Tensor, State]:
    y, final = _torch_kernel(cell, x.flip(0) if reverse else x, None, state, weights)
    return (y.flip(0) if reverse else y), final


def _torch_ragged(
    cell: Cell, x: Tensor, state: State, weights: LayerWeights, lengths: Tensor, reverse: bool
) -> tuple[Tensor, State]:
    """Through a packed batch, which wants rows sorted by length and none of them empty.

    One gather packs, sorts and turns around, and one scatter undoes it: torch's functions for it
    copy step by step.
    """
    T, B, _ = x.shape  # noqa: N806
    order = torch.argsort(lengths, descending=True, stable=True)
    order = order[: int((lengths > 0).sum())]
    t = torch.arange(T).unsqueeze(1)
    inside = t < lengths[order]  # [T, rows]
    source = (lengths[order] - 1 - t if reverse else t) * B + order  # in [T * B]
    tokens, rows = source[inside].to(x.device), order.to(x.device)
    started = tuple(s[rows] for s in state)
    packed, ended = _torch_kernel(cell, x.flatten(0, 1)[tokens], inside.sum(1), started, weights)
    y = packed.new_zeros(T * B, packed.shape[-1]).index_copy(0, tokens, packed).view(T, B, -1)
    final = tuple(s.index_copy(0, rows, e) for s, e in zip(state, ended, strict=True))
    return y, final


def _torch_kernel(
    cell: Cell, x: Tensor, batch_sizes: Tensor | None, state: State, weights: LayerWeights
) -> tuple[Tensor, State]:
    kernel = _TORCH_KERNELS[cell.name]
    stacked = [s.unsqueeze(0).contiguous() for s in state]  # torch wants a layer dimension
    initial = stacked if len(stacked) > 1 else stacked[0]
    has_biases = weights.bias_ih is not None
    # one layer, no dropout, evaluation mode, one direction
    if batch_sizes is None:
        training = torch.is_grad_enabled()
        result = kernel(x, initial, weights.tensors, has_biases, 1, 0.0, training, False, False)  # pyright: ignore
    else:
        result = kernel(x, batch_sizes, initial, weights.tensors, has_biases, 1, 0.0, True, False)  # pyright: ignore
    y, *final = result
    return y, tuple(s.squeeze(0) for s in final)

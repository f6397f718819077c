"""One layer in one direction over a whole sequence, on the fastest path that is right for it.

This is the seam: the one place that decides which code runs a recurrence.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.backends.cudnn import rnn as cudnn_rnn

from tidegate.cells import Cell
from tidegate.nn import engine_op, engine_reach, engine_values, reference
from tidegate.nn.products import rounds
from tidegate.nn.reference import State, Weights
from tidegate.nn.step_values import StepValues


def compact(cell: Cell, weights: Weights) -> None:
    """Lay the weights of one layer in one direction side by side in memory, as cuDNN wants them.

    Otherwise it copies them together at every call, with a warning.  Where cuDNN does not run, or a
    weight is computed from others, nothing is done.
    """
    tensors = _given(weights)
    if cell.torch is None or not all(isinstance(t, nn.Parameter) for t in tensors):
        return
    if not torch.backends.cudnn.is_acceptable(tensors[0]):
        return
    named = dict(zip(cell.parameters, weights, strict=True))
    weight_ih, projections = named["weight_ih"], [named[p] for p in cell.projections]
    assert weight_ih is not None
    hidden_size = len(weight_ih) // len(cell.parameters["weight_ih"].blocks)
    projection = sum(len(p) for p in projections if p is not None)
    mode = cudnn_rnn.get_cudnn_mode(cell.torch.upper())
    sizes = weight_ih.shape[1], mode, hidden_size, projection, 1  # one layer
    with torch.no_grad(), torch.cuda.device_of(weight_ih):
        torch._cudnn_rnn_flatten_weight(tensors, len(tensors), *sizes, False, False)  # pyright: ignore


def _given(weights: Weights) -> list[Tensor]:
    """All but the biases that a layer does without."""
    return [weight for weight in weights if weight is not None]


def reason_against_torch(cell: Cell, recurrent_dropout: bool) -> str | None:
    """Why torch's kernels, on a GPU the only fused ones, cannot run ``cell``; None if they can."""
    if recurrent_dropout:
        return "torch has no kernel with recurrent dropout"
    return None if cell.torch is not None else f"torch has no kernel for {cell.name}"


def choose_path(
    cell: Cell,
    tensors: Sequence[Tensor],
    recurrent_dropout: bool = False,
    ragged: bool = False,
) -> tuple[str, str]:
    """The path that will run, ``engine``, ``torch``, ``reference`` or ``none``, and the reason.

    tensors: the input first, then initial states, weights and biases, as far as they are known.
    """
    x = tensors[0]
    against = engine_reach.reason_against(cell, tensors)
    if against is None:
        way = ", on whole matrices with zeros between heads" if cell.heads else ""
        return "engine", f"the engine's {cell.name} kernels{way}"
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
    return "torch", f"torch's own {cell.torch} kernel, because {against}"


def describe_path(cell: Cell, tensors: Sequence[Tensor], recurrent_dropout: bool = False) -> str:
    """The path that would run here and now, and the reason, for people to read."""
    in_float32 = _is_under_autocast(tensors)
    known = [t.float() for t in tensors] if in_float32 else tensors
    path, reason = choose_path(cell, known, recurrent_dropout)
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
    weights: Weights,
    lengths: Tensor | None = None,
    reverse: bool = False,
    recurrent_mask: Tensor | None = None,
    input_mask: Tensor | None = None,
    strict: bool = False,
    by_steps: bool = False,
    noise: Tensor | None = None,
    seen: StepValues | None = None,
) -> tuple[Tensor, State]:
    """The output of one layer in one direction at every step.

    x: [T, B, I]; state: [B, its width] each; weights: as ``cell`` declares its parameters, None for
    a bias that is not there; lengths: int64 [B] on the CPU, or None.  recurrent_mask scales what
    weight_hh sees, [B, W], or one for each of its gates, [G, B, W]; input_mask what weight_ih sees,
    [B, I] or [G, B, I]: the same at every step, of the type of x, gates in the order of the
    weights' blocks.  The engine makes as many multiplications with masks as without.  noise: for
    a cell whose equations ask for it, standard normal numbers [T, B, ``cell.noises`` * H], None for
    zeros.  ``seen`` receives gates and states of every step: from what the engine keeps where it
    runs outside of recordings, else from the reference, since torch's kernels keep none.

    Returns y [T, B, the output's width], zero from each row's length on, and the final state.
    ``by_steps``: torch.nn runs such a call step by step, which shows in its types under autocast.
    Raises ValueError for a mask or noise of another shape, RuntimeError where ``strict`` and only
    the step-by-step reference can run, and where a tensor has no memory any more.
    """
    masks = _checked_masks(cell, x, weights, recurrent_mask, input_mask)
    given = masks if noise is None else [*masks, _checked_noise(cell, x, weights, noise)]
    tensors = (x, *state, *_given(weights), *given)
    if torch.is_autocast_enabled("cpu") and _is_under_autocast(tensors):
        types = _types_under_autocast(cell, state, by_steps)
        with torch.autocast("cpu", enabled=False):  # in float32, which the engine is fastest in
            y, final = recurrence(
                cell, x.float(), tuple(s.float() for s in state), [*map(_exact, weights)], lengths,
                reverse, _exact(recurrent_mask), _exact(input_mask), strict, noise=_exact(noise),
                seen=seen,
            )  # fmt: skip
        return y.to(types[0]), tuple(s.to(t) for s, t in zip(final, types, strict=True))
    path, reason = choose_path(cell, tensors, recurrent_mask is not None, lengths is not None)
    if any(tensor.requires_grad for tensor in given):
        path, reason = "reference", "a mask or noise is to be learned, which only it can"
    if (
        seen is not None
        and path != "none"
        and (against := engine_values.reason_against(cell, x, path))
    ):
        path, reason = "reference", f"gates or states of every step are asked for, and {against}"
    if strict and path == "reference" and x.numel() > 0:
        raise RuntimeError(
            f"strict: expected a fused path, got the step-by-step one: {reason}; change that, or "
            "leave out strict"
        )
    if path == "none":
        raise RuntimeError(reason)
    if (path == "reference" or lengths is not None) and engine_reach.is_traced_to_onnx():
        warnings.warn(
            f"torch's exporter of ONNX by TorchScript writes {cell.name} for the {int(x.shape[0])} "
            "steps of this input alone; export with dynamo=True, which writes a loop",
            stacklevel=2,
        )
    # of rows that are all empty torch can make no packed batch; the reference keeps their gradients
    if path == "reference" or (path == "torch" and lengths is not None and not lengths.any()):
        if lengths is not None:
            lengths = lengths.to(x.device)
        return reference.unroll(
            cell, x, state, weights, lengths, reverse, recurrent_mask, input_mask, noise, seen
        )
    if input_mask is not None and input_mask.dim() == 2:
        x, input_mask = x * input_mask, None
    if path == "engine":
        weights = _whole(cell, weights) if cell.heads else weights
        return engine_op.run(
            cell.key, x, state, weights, lengths, reverse, recurrent_mask, input_mask, noise, seen
        )
    if input_mask is not None:
        x, weights = _side_by_side(cell, x, weights, input_mask)
    if lengths is None:
        return _torch_rectangular(cell, x, state, weights, reverse)
    return _torch_ragged(cell, x, state, weights, lengths, reverse)


def _checked_masks(
    cell: Cell,
    x: Tensor,
    weights: Weights,
    recurrent_mask: Tensor | None,
    input_mask: Tensor | None,
) -> list[Tensor]:
    """Those masks that there are.  Raises ValueError for one of another shape than its product."""
    given = []
    for name, mask in (("weight_hh", recurrent_mask), ("weight_ih", input_mask)):
        if mask is None:
            continue
        argument = "recurrent_mask" if name == "weight_hh" else "input_mask"
        if name not in cell.parameters:
            raise ValueError(
                f"{argument}: expected None for {cell.name}, whose state no weights read, got "
                f"{list(mask.shape)}; leave it out"
            )
        weight = weights[list(cell.parameters).index(name)]
        assert weight is not None
        blocks = cell.parameters[name].blocks
        heads = _head_count(cell, weights) if name == "weight_hh" else 1
        one = (x.shape[1], heads * weight.shape[1])
        if mask.shape not in (one, (len(blocks), *one)):
            raise ValueError(
                f"{argument}: expected {list(one)}, or {list((len(blocks), *one))} with one for "
                f"each of {', '.join(blocks)}, got {list(mask.shape)}; give one of these shapes"
            )
        given.append(mask)
    return given


def _head_count(cell: Cell, weights: Weights) -> int:
    if not engine_reach.is_traced():
        return cell.head_count(dict(zip(cell.parameters, weights, strict=True)))
    with warnings.catch_warnings():  # sizes of weights are as good as constants in a trace
        of_traces = torch.jit.TracerWarning  # pyright: ignore[reportPrivateImportUsage]
        warnings.simplefilter("ignore", of_traces)
        return cell.head_count(dict(zip(cell.parameters, weights, strict=True)))


def _checked_noise(cell: Cell, x: Tensor, weights: Weights, noise: Tensor) -> Tensor:
    """The noise itself.  Raises ValueError for one that the cell has no use for."""
    weight = weights[0]
    assert weight is not None
    units = weight.shape[0] // len(cell.parameters["weight_ih"].blocks)
    shape = (*x.shape[:2], cell.noises * units)
    if cell.noises == 0 or noise.shape != shape:
        wanted = list(shape) if cell.noises else f"None for {cell.name}, which asks for none"
        raise ValueError(f"noise: expected {wanted}, got {list(noise.shape)}; give that")
    return noise


def _side_by_side(
    cell: Cell, x: Tensor, weights: Weights, mask: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """What each gate sees of the input under its own mask, and the weights that read it.

    Torch's kernels have one input for all gates.  So the gates' inputs stand side by side, and each
    gate's weights on the others' inputs are zeros: G times the multiplications of this product, and
    still less time than step by step.
    """
    inputs = torch.cat([x * m for m in mask], -1)
    named = dict(zip(cell.parameters, weights, strict=True))
    weight = named["weight_ih"]
    assert weight is not None
    return inputs, [*(named | {"weight_ih": torch.block_diag(*weight.chunk(len(mask)))}).values()]


def _whole(cell: Cell, weights: Weights) -> Weights:
    """With recurrent weights [G*H, H] that are zero where a head sees nothing.

    The engine has products with whole matrices: of K heads it makes K times the multiplications
    that there need be, as many as without heads, and still takes less time than step by step.
    In all heads a state is NaN once one of them is no longer finite.
    """
    heads = _head_count(cell, weights)
    if heads == 1:
        return weights
    named = dict(zip(cell.parameters, weights, strict=True))
    weight = named["weight_hh"]
    assert weight is not None
    units = weight.shape[1]
    of_heads = weight.reshape(-1, heads, units, units).permute(0, 2, 3, 1)  # [G, H/K, H/K, K]
    whole = torch.diag_embed(of_heads, dim1=1, dim2=3).reshape(weight.shape[0], heads * units)
    return [*(named | {"weight_hh": whole}).values()]


def _exact(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float()


def autocasts(tensors: Sequence[Tensor]) -> bool:
    """Whether autocast is on and may take these tensors in a type of its own: never float64."""
    device = tensors[0].device.type
    return torch.is_autocast_enabled(device) and all(
        t.is_floating_point() and t.dtype != torch.float64 for t in tensors
    )


def _is_under_autocast(tensors: Sequence[Tensor]) -> bool:
    return tensors[0].is_cpu and autocasts(tensors)


def _types_under_autocast(cell: Cell, state: State, by_steps: bool) -> list[torch.dtype]:
    """Of each new state, as plain torch operations give them; outputs have that of the first.

    Products are of the lower type, and the states that are added to them or scale them widen the
    result.  oneDNN, which runs torch.nn's LSTM on a whole batch, rounds c too.
    """
    lower = torch.get_autocast_dtype("cpu")
    before = dict(zip(cell.states, (s.dtype for s in state), strict=True))
    if cell.torch is not None and not cell.is_projected and not by_steps:
        before |= dict.fromkeys(list(cell.states)[1:], lower)
    types = []
    for reached in _direct_states(cell):
        widest = lower
        for name in reached:
            widest = torch.promote_types(widest, before[name])
        types.append(widest)
    return types


@torch.compiler.assume_constant_result  # it cannot trace the lock of a cached_property
def _direct_states(cell: Cell) -> tuple[tuple[str, ...], ...]:
    """Of each new state, in order, the states that reach it through no product."""
    return tuple(cell.direct_states.values())


def _torch_rectangular(
    cell: Cell, x: Tensor, state: State, weights: Weights, reverse: bool
) -> tuple[Tensor, State]:
    y, final = _torch_kernel(cell, x.flip(0) if reverse else x, None, state, weights)
    return (y.flip(0) if reverse else y), final


def _torch_ragged(
    cell: Cell, x: Tensor, state: State, weights: Weights, lengths: Tensor, reverse: bool
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
    cell: Cell, x: Tensor, batch_sizes: Tensor | None, state: State, weights: Weights
) -> tuple[Tensor, State]:
    kernel = getattr(torch, cell.torch)  # pyright: ignore[reportArgumentType]
    stacked = [s.unsqueeze(0).contiguous() for s in state]  # torch wants a layer dimension
    initial = stacked if len(stacked) > 1 else stacked[0]
    given = _given(weights)
    has_biases = len(given) == len(cell.parameters)
    # one layer, no dropout, evaluation mode, one direction
    if batch_sizes is None:
        training = torch.is_grad_enabled()
        result = kernel(x, initial, given, has_biases, 1, 0.0, training, False, False)
    else:
        result = kernel(x, batch_sizes, initial, given, has_biases, 1, 0.0, True, False)
    y, *final = result
    return y, tuple(s.squeeze(0) for s in final)

"""What a caller gives to a layer or a cell, checked; errors are of the types that torch.nn raises.

Each is one line: the argument, what was expected, what came, and what to do.
"""

from __future__ import annotations

import numbers
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tidegate.cells import PROJECTED, Cell, get_cell
from tidegate.cells.definition import divisible
from tidegate.errors import shown
from tidegate.nn.engine_reach import all_values, is_recorded, is_traced
from tidegate.nn.functional import autocasts

_LARGEST_SIZE = 2**31 - 1
_MOST_LAYERS = 10_000  # more take minutes to make, and nobody has trained so many
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_size(name: str, value: Any, most: int = _LARGEST_SIZE) -> int:
    """A whole number from 1 to ``most``, which may be numpy's."""
    try:
        size = operator.index(value)
    except TypeError:
        size = None
    if size is None or isinstance(value, bool):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}; give a whole number")
    if size < 1:
        raise ValueError(f"{name}: expected at least 1, got {size}; give 1 or more")
    if size > most:
        raise ValueError(f"{name}: expected at most {most}, got {size}; give fewer")
    return size


def check_layers(value: Any) -> int:
    """How many layers."""
    return check_size("num_layers", value, _MOST_LAYERS)


def check_cell(cell: Any) -> Cell:
    """The cell of this name, or the cell itself."""
    if isinstance(cell, Cell):
        return cell
    if not isinstance(cell, str):
        raise TypeError(
            f"cell: expected a name or a tidegate.cells.Cell, got {type(cell).__name__}; name one, "
            "such as 'gru'"
        )
    return get_cell(cell)


def check_projection(cell: Cell, size: Any, hidden_size: int) -> int:
    """The size P of ``cell``'s projection, less than H; 0 for a cell that has none."""
    if cell.is_projected:
        projected = check_size("proj_size", size)
        if projected >= hidden_size:
            raise ValueError(
                f"proj_size: expected less than hidden_size = {hidden_size}, got {size}; give a "
                "smaller one"
            )
        return projected
    if not isinstance(size, int) or size != 0:
        raise ValueError(
            f"proj_size: expected 0 for {cell.name}, which has no projection, got {size}; of cells "
            f"that have one take {PROJECTED}"
        )
    return 0


def check_heads(cell: Cell, heads: Any, hidden_size: int) -> int:
    """The number K of ``cell``'s heads, a divisor of H; 1 for a cell that has none."""
    count = check_size("num_heads", heads)
    if count != 1 and not cell.heads:
        raise ValueError(
            f"num_heads: expected 1 for {cell.name}, which has no heads, got {count}; leave it "
            "out, or declare the cell with heads=True"
        )
    if hidden_size % count:
        raise ValueError(
            f"num_heads: expected a divisor of hidden_size = {hidden_size}, got {count}; "
            f"{divisible(hidden_size, count, 'hidden_size', 'num_heads')}"
        )
    return count


def check_flag(name: str, value: Any) -> bool:
    """True or False, numpy's too, and nothing else, so that an argument out of place is found."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {type(value).__name__}; give one")
    return bool(value)


def check_probability(name: str, value: Any) -> float:
    """A number from 0 to 1."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}; give a float")
    given: Any = value  # whose type pyright would narrow to one that it cannot compare
    if isinstance(value, bool) or not 0 <= given <= 1:
        raise ValueError(f"{name}: expected a probability in [0, 1], got {value}; give one")
    return float(given)


def check_placement(device: Any, dtype: Any) -> None:
    """Where weights shall lie, and of which type; None for torch's defaults."""
    if isinstance(device, bool) or not isinstance(device, str | int | torch.device | None):
        raise TypeError(
            f"device: expected a torch.device or its name, such as 'cpu', got "
            f"{type(device).__name__}; give one, or leave it out"
        )
    if isinstance(device, int) and not 0 <= device < 2**7:
        raise RuntimeError(
            f"device: expected the number of a device, from 0, got {device}; give one"
        )
    if not isinstance(dtype, torch.dtype | None):
        raise TypeError(
            f"dtype: expected a dtype, such as torch.float64, got {type(dtype).__name__}; name one"
        )
    if dtype is not None and not dtype.is_complex and dtype not in _FLOATS:
        known = ", ".join(map(str, _FLOATS))
        raise RuntimeError(f"dtype: expected one of {known}, got {dtype}; give one of these")


def _check_dense(name: str, tensor: Tensor) -> None:
    """No nested, sparse or quantised tensor, nor one in a layout of oneDNN's."""
    if tensor.is_nested:
        padded = "torch.nested.to_padded_tensor(input, 0.0) and give lengths"
        remedy = padded if name == "input" else f"torch.stack({name}.unbind())"
        raise RuntimeError(f"{name}: expected a dense tensor, got a nested one; call {remedy}")
    if tensor.layout is not torch.strided:
        raise RuntimeError(
            f"{name}: expected a dense tensor, got {tensor.layout}; call {name}.to_dense()"
        )
    if tensor.is_quantized:
        raise RuntimeError(
            f"{name}: expected floating-point numbers, got quantised ones; call {name}.dequantize()"
        )


def check_input(x: Any, shapes: dict[int, str], weight_ih: Tensor) -> None:
    """``shapes`` says for each number of dimensions that ``x`` may have what they are."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"input: expected a torch.Tensor, got {type(x).__name__}; call "
            "torch.as_tensor(input, dtype=torch.float32)"
        )
    _check_dense("input", x)
    if x.dim() not in shapes:
        raise ValueError(
            f"input: expected {' or '.join(shapes.values())}, got {list(x.shape)}; reshape it"
        )
    if not is_traced() and x.shape[-1] != weight_ih.shape[1]:
        raise RuntimeError(
            f"input: expected I = input_size = {weight_ih.shape[1]} in its last dimension, "
            f"got {list(x.shape)}; move the inputs there, or make the layer with "
            f"input_size={x.shape[-1]}"
        )
    if x.dtype != weight_ih.dtype and not autocasts((x, weight_ih)):
        remedies = [f"input.to({weight_ih.dtype})"] * (not x.is_complex())  # it loses a part
        remedies += [f"layer.to({x.dtype})"] * (x.is_complex() or x.dtype in _FLOATS)
        raise ValueError(
            f"input: expected {weight_ih.dtype} as the weights, got {x.dtype}; "
            f"call {' or '.join(remedies)}"
        )
    if x.device != weight_ih.device:
        raise RuntimeError(
            f"input: expected device {weight_ih.device} as the weights, got {x.device}; "
            f"call input.to('{weight_ih.device}')"
        )


def check_hidden(
    hx: Any, cell: Cell, shapes: Sequence[tuple[int, ...]], letters: str, x: Tensor
) -> tuple[Tensor, ...]:
    """The states in ``hx``: one tensor, or as many as ``cell`` has, of these shapes.

    ``letters`` names what stands before a state's width, as in ``B, ``.
    """
    names = [f"{s}0" for s in cell.states]
    given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    if len(given) != len(names):
        expected = f"the tuple ({', '.join(names)})" if len(names) > 1 else "one tensor h0"
        raise TypeError(f"hx: expected {expected}, got {len(given)} tensor(s); give these")
    widths = [state.width for state in cell.states.values()]
    for name, tensor, shape, width in zip(names, given, shapes, widths, strict=True):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name}: expected a torch.Tensor, got {type(tensor).__name__}; give one, or "
                "leave hx out to start with zeros"
            )
        _check_dense(name, tensor)
        if not is_traced() and tuple(tensor.shape) != shape:
            raise RuntimeError(
                f"{name}: expected [{letters}{width}] = {list(shape)}, got {list(tensor.shape)}; "
                "give that shape, or leave hx out to start with zeros"
            )
        fits = tensor.dtype == x.dtype or autocasts((x, tensor))
        if not fits or tensor.device != x.device:
            raise RuntimeError(
                f"{name}: expected {x.dtype} on {x.device} as the input, got {tensor.dtype} on "
                f"{tensor.device}; call {name}.to(input)"
            )
    return given


def check_lengths(lengths: Any, steps: int, batch: int) -> Tensor | None:
    """Lengths as int64 [B] on the CPU, or None where every row is full."""
    if lengths is None:
        return None
    are_the_callers = isinstance(lengths, Tensor)
    if are_the_callers:
        _check_dense("lengths", lengths)
    else:
        lengths = _as_integers(lengths)
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise TypeError(f"lengths: expected integers, got {lengths.dtype}; count steps")
    if lengths.dim() != 1 or (not is_traced() and lengths.shape[0] != batch):
        raise ValueError(
            f"lengths: expected [B] = [{batch}], got {list(lengths.shape)}; give one for each row"
        )
    if lengths.is_meta and not is_recorded():
        raise RuntimeError(
            "lengths: expected integers, got a tensor on meta, which holds none; give a list"
        )
    if lengths.dtype == torch.uint64 and not is_recorded():  # beyond int64 it would wrap around
        most = max(lengths.tolist(), default=0)
        if most > steps:
            raise ValueError(f"lengths: expected 0 to T = {steps}, got {most}; count steps")
    # in any case a copy: the caller may change its own before the backward pass
    lengths = lengths.to("cpu", torch.int64, copy=are_the_callers)
    if is_recorded():  # the values come later, and are checked then
        return lengths
    values, is_batched = all_values(lengths)
    if values.numel() == 0:
        return lengths if is_batched else None
    least, most = map(int, values.aminmax())
    if least < 0 or most > steps:
        raise ValueError(f"lengths: expected 0 to T = {steps}, got {least} to {most}; count steps")
    return None if least == steps and not is_batched else lengths


def _as_integers(lengths: Any) -> Tensor:
    """Lengths that came in no tensor, on the CPU whatever the default device."""
    if torch.compiler.is_compiling():
        return torch.tensor(lengths, device="cpu")
    if isinstance(lengths, np.ma.MaskedArray):
        raise TypeError("lengths: expected an array without mask, got one; call a.filled(value)")
    if isinstance(lengths, Sequence) and not isinstance(lengths, str | bytes) and not len(lengths):
        return torch.empty(0, dtype=torch.int64, device="cpu")
    try:
        return torch.tensor(lengths, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as e:
        problem = f"lengths: expected integers [B], got {shown(lengths)}; count steps"
        raise TypeError(problem) from e

"""One recurrent layer of Keras on torch, through `tidegate.nn.functional.recurrence`."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import torch
from torch import Tensor

from tidegate.cells import Cell
from tidegate.interchange.conventions.activations import from_keras
from tidegate.interchange.conventions.forms import Family, Form
from tidegate.keras.ragged import Steps
from tidegate.nn import engine_reach
from tidegate.nn.functional import recurrence

Order = tuple[int, ...]  # where Keras has our gates among its blocks


class Level(NamedTuple):
    """One of a layer's cells, which reads the outputs of the one before it."""

    kernel: Any  # Keras' cell
    cell: Cell
    order: Order
    state: list[Tensor]  # [B, H] each
    weights: list[Tensor]  # [I, G*H], [H, G*H], and a bias [2, G*H] or [G*H] if there is one


class Given(NamedTuple):
    """What a layer computes with, in Keras' shapes and order."""

    x: Tensor  # [B, T, I]
    mask: Tensor | None  # [B, T]
    levels: list[Level]


def given(
    kernels: list[Any],
    kinds: list[tuple[Cell, Order]],
    sequences: Any,
    initial_state: Any,
    mask: Any,
) -> Given:
    """The weights of Keras' cells, which are of these ``kinds``, and the input, as torch has them.

    Raises ValueError for shapes that do not fit each other.
    """
    as_tensor: Any = keras.ops.convert_to_tensor
    x = as_tensor(sequences)
    mask = mask[0] if isinstance(mask, list | tuple) else mask
    B, T, I = x.shape  # noqa: E741, N806
    rows = None if x.is_meta else B  # a batch of unknown size may meet states of a known one
    if (width := kernels[0].kernel.shape[0]) != I:
        raise ValueError(
            f"sequences: expected [B, T, {width}], for which the layer was built, got "
            f"{list(x.shape)}"
        )
    states = [initial_state] if len(kernels) == 1 else initial_state
    if len(states) != len(kernels):
        raise ValueError(
            f"initial_state: expected states of {len(kernels)} cells, got {len(states)}"
        )
    levels = []
    for k, (kernel, (cell, order), state) in enumerate(zip(kernels, kinds, states, strict=True)):
        name = "initial_state" if len(kernels) == 1 else f"initial_state[{k}]"
        weights = [
            as_tensor(w)
            for w in (kernel.kernel, kernel.recurrent_kernel, kernel.bias)
            if w is not None
        ]
        state = state if isinstance(state, list | tuple) else [state]
        if len(state) != len(cell.states):
            raise ValueError(f"{name}: expected {len(cell.states)} arrays, got {len(state)}")
        state = [_fitting(f"{name}[{j}]", s, rows, kernel.units) for j, s in enumerate(state)]
        levels.append(Level(kernel, cell, order, state, weights))
    if mask is not None:
        mask = as_tensor(mask)
        mask = _fitting("mask", mask.squeeze(-1) if mask.dim() == 3 else mask, rows, T)
    return Given(x if x.is_floating_point() else x.float(), mask, levels)


def _fitting(name: str, tensor: Tensor, rows: int | None, columns: int) -> Tensor:
    """[rows, columns]; one row serves all, as in Keras."""
    if rows is None or tensor.shape == (rows, columns):
        return tensor
    if tensor.shape != (1, columns):
        expected = [rows, columns]
        raise ValueError(f"{name}: expected {expected}, got {list(tensor.shape)}")
    return tensor.expand(rows, -1)


_cells: dict[Any, tuple[Cell, Order]] = {}


def cell_of(family: Family, activations: tuple[str, ...], reset_after: bool) -> tuple[Cell, Order]:
    """The cell of a layer's `recurrence.arguments_of`, and the places of its gates in Keras."""
    arguments = family, activations, reset_after
    if arguments not in _cells:
        _make(arguments)
    return _cells[arguments]


@torch.compiler.disable()  # to trace how a cell is made would take long; built layers have it
def _make(arguments: tuple[Family, tuple[str, ...], bool]) -> None:
    family, activations, reset_after = arguments
    form = Form(family, tuple(map(from_keras, activations)), reset_after=reset_after)
    _cells[arguments] = form.cell, form.in_keras().order_of(form.cell)


def reason_against_kernels(cell: Cell) -> str | None:
    """Why the engine cannot run the cell, whatever it is given; None if it can.

    A cell with other activations than ours is compiled at the first such question.
    """
    return engine_reach.reason_against(cell, (torch.zeros(1, dtype=torch.float32, device="cpu"),))


def reason_against(given: Given) -> str | None:
    """Why the engine cannot compute this; None if it can, or if only shapes are asked for."""
    if given.x.is_meta or given.x.numel() == 0:
        return None
    if engine_reach.is_traced_to_onnx():
        if given.mask is None and all(level.cell.torch for level in given.levels):
            return None  # torch's own kernels, each of which is one node of a file
        return (
            "torch's exporter of ONNX has no node for it; so the file is of this number of steps "
            "alone: for any, save the model and run tidegate convert model.keras model.onnx"
        )
    for level in given.levels:
        tensors = given.x, *level.state, *level.weights
        if (reason := engine_reach.reason_against(level.cell, tensors)) is not None:
            return reason
    return None


def run(layer: Any, given: Given, training: Any) -> tuple[Tensor, Tensor, list[Any]]:
    """The last output [B, H], the outputs [B, T, H] (or [B, 1, H]) and the states [B, H].

    Of several cells, the states are a list for each.
    """
    x, mask, levels = given
    if x.is_meta:
        last = x.new_empty(len(x), levels[-1].kernel.units)
        outputs = x.new_empty(len(x), x.shape[1] if layer.return_sequences else 1, last.shape[1])
        finals = [[s.clone() for s in level.state] for level in levels]
        return last, outputs, finals if len(levels) > 1 else finals[0]
    steps = Steps(mask, layer.go_backwards)
    y, finals = steps.taken(x), []
    for kernel, cell, order, state, weights in levels:
        if layer.stateful:  # they are assigned to in place after the call
            state = [s.clone() for s in state]
        y, final = recurrence(
            cell,
            y,
            tuple(state),
            _in_our_order(order, weights),
            steps.lengths,
            steps.reverse,
            _recurrent_mask(order, kernel, state[0], training),
            _input_mask(order, kernel, y, training),
        )
        finals.append(list(final))
    last = steps.last(finals[-1][0], layer.zero_output_for_mask)
    if layer.return_sequences:
        outputs = steps.placed(y, layer.zero_output_for_mask)
    else:
        outputs = last.unsqueeze(1)
    return last, outputs, finals if len(levels) > 1 else finals[0]


def _in_our_order(order: Order, weights: list[Tensor]) -> list[Tensor | None]:
    """weight_ih, weight_hh, bias_ih, bias_hh; where Keras has one bias for two, bias_hh is 0."""
    w_ih, w_hh, *bias = weights
    biases: list[Tensor | None] = [None, None]
    if bias:
        both = bias[0].unbind() if bias[0].dim() == 2 else (bias[0], torch.zeros_like(bias[0]))
        biases = [_rows(order, b) for b in both]
    return [*(_rows(order, w.t().contiguous()) for w in (w_ih, w_hh)), *biases]


def _rows(order: Order, array: Tensor) -> Tensor:
    """[G*H, ..] with the gates in our order.

    Of a matrix that is dense now: the engine reads it so, in the pass back too, and torch moves
    whole rows of it and of its gradient.
    """
    if order == tuple(range(len(order))):
        return array
    blocks = array.chunk(len(order))
    return torch.cat([blocks[k] for k in order])


def _input_mask(order: Order, kernel: Any, x: Tensor, training: Any) -> Tensor | None:
    if not (training and kernel.dropout):
        return None
    return _by_gate(order, kernel.get_dropout_mask(x[0]))


def _recurrent_mask(order: Order, kernel: Any, h: Tensor, training: Any) -> Tensor | None:
    if not (training and kernel.recurrent_dropout):
        return None
    return _by_gate(order, kernel.get_recurrent_dropout_mask(h))


def _by_gate(order: Order, masks: Tensor | list[Tensor]) -> Tensor:
    """Keras' one mask, [B, W], as it is; its masks for each gate as [G, B, W]."""
    if not isinstance(masks, list):
        return masks
    return torch.stack([masks[k] for k in order])

"""One recurrent layer of Keras on torch, through `tidegate.nn.functional.recurrence`."""

from __future__ import annotations

from typing import Any

import keras
import torch
from torch import Tensor

from tidegate.cells import Cell
from tidegate.keras.ragged import Steps
from tidegate.nn import engine_reach
from tidegate.nn.functional import recurrence

# Keras' gates in its order, by our names (keras/src/layers/rnn of Keras 3)
_GATES = {
    "rnn_tanh": ("h",),
    "rnn_relu": ("h",),
    "gru": ("z", "r", "n"),
    "gru_reset_before": ("z", "r", "n"),
    "lstm": ("i", "f", "g", "o"),
}


def reason_against(
    layer: Any, cell: Cell, sequences: Tensor, state: list[Tensor], mask: Tensor | None
) -> str | None:
    """Why the engine cannot run this layer on these tensors; None if it can."""
    if sequences.is_meta:  # only shapes are asked for
        return None
    if mask is not None and mask.shape[:2] != sequences.shape[:2]:
        return (
            f"the engine takes a mask [B, T], here {list(sequences.shape[:2])}, but this one is "
            f"{list(mask.shape)}"
        )
    if sequences.numel() == 0:
        return None
    tensors = (_numbers(sequences), *state, *_given(layer.cell))
    return engine_reach.reason_against(cell, tensors)


def run(
    layer: Any,
    cell: Cell,
    sequences: Tensor,
    state: list[Tensor],
    mask: Tensor | None,
    training: Any,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """The last output [B, H], the outputs [B, T, H] (or [B, 1, H]) and the states [B, H].

    sequences: [B, T, I]; state: [B, H] each; mask: [B, T] or None.
    """
    kernel = layer.cell
    B, T, _ = sequences.shape  # noqa: N806
    sequences = _numbers(sequences)
    state = [s if s.shape[0] == B else s.expand(B, -1) for s in state]
    if sequences.is_meta:
        last = sequences.new_empty(B, kernel.units)
        outputs = sequences.new_empty(B, T if layer.return_sequences else 1, kernel.units)
        return last, outputs, [s.clone() for s in state]
    if layer.stateful:  # they are assigned to in place after the call
        state = [s.clone() for s in state]
    steps = Steps(mask, layer.go_backwards)
    y, final = recurrence(
        cell,
        steps.taken(sequences),
        tuple(state),
        _weights(cell, kernel),
        steps.lengths,
        steps.reverse,
        _in_our_order(cell, _recurrent_mask(kernel, state[0], training)),
        _in_our_order(cell, _input_mask(kernel, sequences, training)),
    )
    last = steps.last(final[0], layer.zero_output_for_mask)
    if layer.return_sequences:
        outputs = steps.placed(y, layer.zero_output_for_mask)
    else:
        outputs = last.unsqueeze(1)
    return last, outputs, list(final)


def _numbers(sequences: Tensor) -> Tensor:
    """Integers as numbers, as Keras' products take them."""
    return sequences if sequences.is_floating_point() else sequences.float()


def _given(kernel: Any) -> list[Tensor]:
    """The layer's weights as torch has them, without a bias that is not there."""
    as_tensor: Any = keras.ops.convert_to_tensor
    weights = kernel.kernel, kernel.recurrent_kernel, kernel.bias
    return [as_tensor(w) for w in weights if w is not None]


def _weights(cell: Cell, kernel: Any) -> list[Tensor | None]:
    """weight_ih, weight_hh, bias_ih, bias_hh; of two biases that Keras has as one, the other is 0.

    Keras' are [I, G*H], [H, G*H], and [2, G*H] or [G*H].
    """
    w_ih, w_hh, *bias = _given(kernel)
    biases: list[Tensor | None] = [None, None]
    if bias:
        both = bias[0].unbind() if bias[0].dim() == 2 else (bias[0], torch.zeros_like(bias[0]))
        biases = [_blocks(cell, b) for b in both]
    return [_blocks(cell, w_ih).t(), _blocks(cell, w_hh).t(), *biases]


def _blocks(cell: Cell, array: Tensor) -> Tensor:
    """[..., G*H] with the gates in our order."""
    order = _order(cell)
    if order == sorted(order):
        return array
    blocks = array.chunk(len(order), -1)
    return torch.cat([blocks[k] for k in order], -1)


def _order(cell: Cell) -> list[int]:
    """Where each of our gates stands among Keras'."""
    return [_GATES[cell.name].index(gate) for gate in cell.gates]


def _in_our_order(cell: Cell, masks: Tensor | list[Tensor] | None) -> Tensor | None:
    """Keras' one mask, [B, W], or masks for each gate, [G, B, W]."""
    if isinstance(masks, list):
        return torch.stack([masks[k] for k in _order(cell)])
    return masks


def _input_mask(kernel: Any, sequences: Tensor, training: Any) -> Any:
    if not (training and kernel.dropout):
        return None
    return kernel.get_dropout_mask(sequences[:, 0])


def _recurrent_mask(kernel: Any, state: Tensor, training: Any) -> Any:
    if not (training and kernel.recurrent_dropout):
        return None
    return kernel.get_recurrent_dropout_mask(state)

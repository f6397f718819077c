"""torch.nn's weights in the orders of ONNX and Keras.

torch.nn has its gates as r z n (GRU) and i f g o (LSTM).  ONNX has z r h and i o f c, and both
biases in one row (https://onnx.ai/onnx/operators, GRU and LSTM); Keras has z r h and i f c o,
transposed, and one bias for the LSTM (keras/src/layers/rnn).
"""

from __future__ import annotations

import numpy as np

from tidegate.bench.work import Array, LayerWeights

_ONNX_ORDER = {"gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
_KERAS_ORDER = {"gru": (1, 0, 2), "lstm": (0, 1, 2, 3)}


def to_onnx(cell: str, weights: LayerWeights) -> dict[str, Array]:
    """W [1, G*H, I], R [1, G*H, H], B [1, 2*G*H] of a GRU (linear_before_reset=1) or an LSTM."""
    w_ih, w_hh, b_ih, b_hh = (_reordered(a, _ONNX_ORDER[cell]) for a in weights.values())
    return {"W": w_ih[None], "R": w_hh[None], "B": np.concatenate([b_ih, b_hh])[None]}


def to_keras(cell: str, weights: LayerWeights) -> list[Array]:
    """The kernel [I, G*H], recurrent_kernel [H, G*H], bias [2, 3*H] (GRU, reset_after) or [4*H]."""
    w_ih, w_hh, b_ih, b_hh = (_reordered(a, _KERAS_ORDER[cell]) for a in weights.values())
    bias = np.stack([b_ih, b_hh]) if cell == "gru" else b_ih + b_hh
    return [np.ascontiguousarray(w_ih.T), np.ascontiguousarray(w_hh.T), bias]


def _reordered(array: Array, order: tuple[int, ...]) -> Array:
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[k] for k in order])

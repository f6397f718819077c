"""Keras' loop over time: on the engine where that is right, else as Keras does it.

It takes any layer of Keras that has one cell: the classes here, `keras.layers.GRU` and its
sisters, and `keras.layers.RNN` around a `GRUCell` or its sisters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras

from tidegate.cells import CELLS, Cell

Loop = Callable[..., tuple[Any, Any, list[Any]]]

_TANH = {keras.activations.tanh, keras.ops.tanh}
_RELU = {keras.activations.relu, keras.ops.relu}
_SIGMOID = {keras.activations.sigmoid, keras.ops.sigmoid}
_said: set[str] = set()


def inner_loop(
    layer: Any,
    own_loop: Loop,
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: Any = False,
    strict: bool = False,
) -> tuple[Any, Any, list[Any]]:
    """What ``layer.inner_loop`` returns: the last output, all outputs and the states.

    sequences: [B, T, I]; initial_state: a state [B, H] or a list of them; mask: bool [B, T], or a
    list of one, or None.  Returns [B, H]; [B, T, H], in the order of computing, or [B, 1, H]
    without ``return_sequences``; [B, H] each.

    ``own_loop`` is Keras' loop of this layer, which runs where the engine cannot.  A warning then
    says why, once for each layer and reason; with ``strict`` RuntimeError is raised instead.
    Raises ValueError for shapes that do not fit the layer.
    """
    reason = reason_against_layer(layer)
    if reason is None:
        from tidegate.keras import on_torch

        given = on_torch.given(layer, sequences, initial_state, mask)
        reason = on_torch.reason_against(cell_of(layer), given)
        if reason is None:
            return on_torch.run(layer, cell_of(layer), given, training)
    if strict:
        raise RuntimeError(f"{_name(layer)}: strict: expected the engine to run it, but {reason}")
    _say(f"{_name(layer)}: Keras' own loop runs, because {reason}")
    return own_loop(sequences, initial_state, mask, training=training)


def cell_of(layer: Any) -> Cell:
    """The cell of ours that is the layer's.  Raises ValueError where there is none."""
    cell = layer.cell
    kind, activation = type(cell), getattr(cell, "activation", None)
    name = None
    if kind is keras.layers.SimpleRNNCell:
        name = "rnn_tanh" if activation in _TANH else "rnn_relu" if activation in _RELU else None
    elif kind in (keras.layers.GRUCell, keras.layers.LSTMCell):
        if activation in _TANH and cell.recurrent_activation in _SIGMOID:
            name = "lstm"
            if kind is keras.layers.GRUCell:
                name = "gru" if cell.reset_after else "gru_reset_before"
    else:
        raise ValueError(f"the engine has no kernel for {kind.__name__}")
    if name is None:
        functions = {"activation": activation}
        if hasattr(cell, "recurrent_activation"):
            functions["recurrent_activation"] = cell.recurrent_activation
        given = ", ".join(f"{k}={getattr(f, '__name__', f)}" for k, f in functions.items())
        raise ValueError(f"the engine has no kernel for {kind.__name__} with {given}")
    return CELLS[name]


def reason_against_layer(layer: Any) -> str | None:
    """Why the engine cannot run this layer, whatever it is given; None if it can."""
    if keras.backend.backend() != "torch":
        return (
            f"Keras runs on {keras.backend.backend()}, and the engine in Keras on torch alone; set "
            "KERAS_BACKEND=torch in the environment"
        )
    try:
        cell_of(layer)
    except ValueError as e:
        return str(e)
    cell = layer.cell
    if cell.compute_dtype != "float32":
        return f"the engine computes in float32, but the layer in {cell.compute_dtype}"
    for option in ("dropout", "recurrent_dropout"):
        if getattr(cell, option) >= 1:
            return f"Keras treats {option}=1 in its own ways"
    return None


def _name(layer: Any) -> str:
    return f"{type(layer).__name__} {layer.name!r}"


def _say(text: str) -> None:
    if text not in _said:
        _said.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=2)

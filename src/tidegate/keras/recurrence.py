"""Keras' loop over time: on the engine where that is right, else as Keras does it.

It takes the classes here, `keras.layers.GRU` and its sisters, and `keras.layers.RNN` around a
`GRUCell` or its sisters, or around several of these, one after the other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras

from tidegate.interchange.conventions.activations import KERAS_NAMES
from tidegate.interchange.conventions.forms import Family

Loop = Callable[..., tuple[Any, Any, list[Any]]]

_FAMILIES: dict[type, Family] = {
    keras.layers.SimpleRNNCell: "RNN",
    keras.layers.GRUCell: "GRU",
    keras.layers.LSTMCell: "LSTM",
}
# operations that are their namesakes among Keras' activations, which not all are: gelu is another
_OPERATIONS = {keras.ops.tanh: "tanh", keras.ops.relu: "relu", keras.ops.sigmoid: "sigmoid"}
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

    sequences: [B, T, I]; initial_state: a state [B, H] or a list of them, of several cells a list
    of these; mask: bool [B, T], or a list of one, or None.  Returns [B, H]; [B, T, H], in the order
    of computing, or [B, 1, H] without ``return_sequences``; [B, H] each, as Keras nests them.

    ``own_loop`` is Keras' loop of this layer, which runs where the engine cannot.  A warning then
    says why, once for each layer and reason; with ``strict`` RuntimeError is raised instead.
    Raises ValueError for shapes that do not fit the layer.
    """
    reason = reason_against_layer(layer)
    if reason is None:
        from tidegate.keras import on_torch

        kinds = [on_torch.cell_of(*arguments_of(cell)) for cell in cells_of(layer)]
        given = on_torch.given(cells_of(layer), kinds, sequences, initial_state, mask)
        reason = on_torch.reason_against(given)
        if reason is None:
            return on_torch.run(layer, given, training)
    if strict:
        raise RuntimeError(f"{_name(layer)}: strict: expected the engine to run it, but {reason}")
    _say(f"{_name(layer)}: Keras' own loop runs, because {reason}")
    return own_loop(sequences, initial_state, mask, training=training)


def cells_of(layer: Any) -> list[Any]:
    """Keras' cells of the layer: at each step one reads what the one before it gave."""
    cell = layer.cell
    # the states of a single one Keras nests in its own ways
    stacked = type(cell) is keras.layers.StackedRNNCells and len(cell.cells) > 1
    return list(cell.cells) if stacked else [cell]


def arguments_of(cell: Any) -> tuple[Family, tuple[str, ...], bool]:
    """What makes Keras' cell: its family, activations as a `Form` has them by Keras' names, and
    whether a GRU's reset gate scales the product.

    Raises ValueError for a cell, or an activation, that the engine has no word for.
    """
    family = _FAMILIES.get(type(cell))
    if family is None:
        raise ValueError(f"the engine has no kernel for {type(cell).__name__}")
    g = _activation(cell, "activation")
    if family == "RNN":
        return family, (g,), True
    f = _activation(cell, "recurrent_activation")
    if family == "GRU":
        return family, (f, g), bool(cell.reset_after)
    return family, (f, g, g), True


def make_cell(layer: Any) -> None:
    """Make the cell of a layer that the engine can run, so that torch.compile finds it made."""
    if reason_against_layer(layer) is None:
        from tidegate.keras import on_torch

        on_torch.cell_of(*arguments_of(layer.cell))


def _activation(cell: Any, option: str) -> str:
    """Keras' name of it.  Raises ValueError."""
    function = getattr(cell, option)
    if function in _OPERATIONS:
        return _OPERATIONS[function]
    name = getattr(function, "__name__", type(function).__name__)
    if name in KERAS_NAMES and getattr(keras.activations, name, None) is function:
        return name
    problem = f"the engine has no kernel for {type(cell).__name__} with {option}={name}"
    if name in KERAS_NAMES:
        problem += f", a function that only shares Keras' name of one; give {option}={name!r}"
    raise ValueError(problem)


def reason_against_layer(layer: Any) -> str | None:
    """Why the engine cannot run this layer, whatever it is given; None if it can."""
    if keras.backend.backend() != "torch":
        return (
            f"Keras runs on {keras.backend.backend()}, and the engine in Keras on torch alone; set "
            "KERAS_BACKEND=torch in the environment"
        )
    for cell in cells_of(layer):
        try:
            arguments_of(cell)
        except ValueError as e:
            return str(e)
        if cell.compute_dtype != "float32":
            return (
                f"the engine computes in float32, but the layer in {cell.compute_dtype}; give it "
                "dtype='float32'"
            )
        for option in ("dropout", "recurrent_dropout"):
            if getattr(cell, option) >= 1:
                return f"Keras treats {option}=1 in its own ways; give less"
    return None


def _name(layer: Any) -> str:
    return f"{type(layer).__name__} {layer.name!r}"


def _say(text: str) -> None:
    if text not in _said:
        _said.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=2)

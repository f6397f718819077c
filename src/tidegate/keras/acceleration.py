"""Recurrent layers within a model of Keras, made to run on the engine where they stand."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import keras

from tidegate.acceleration.report import Layer
from tidegate.keras import layers, recurrence

_OWN_LOOPS = (keras.layers.RNN, keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)
_OURS = (layers.SimpleRNN, layers.LSTM, layers.GRU)
_STEPS = (keras.layers.SimpleRNNCell, keras.layers.LSTMCell, keras.layers.GRUCell)


def accelerate_layers(model: keras.Layer, name: str = "") -> Iterator[Layer]:
    """Swap the loops over time in ``model`` that can be; say of each recurrent layer what was done.

    A layer keeps its class, its weights and its configuration; the loop is bound to the object.  So
    a saved model is one of plain Keras.  ``name`` is where ``model`` stands.
    """
    for path, layer in _walk(model, name, set()):
        if isinstance(layer, keras.layers.RNN):
            reason = _reason_against(layer)
            if reason is None:
                _bind(layer)
            yield Layer(path or layer.name, _kind_of(layer), reason)
        elif isinstance(layer, _STEPS):
            reason = "one step per call is no faster; keras.layers.RNN around it runs sequences"
            yield Layer(path or layer.name, _kind_of(layer), reason)
        elif isinstance(layer, keras.Model):
            _forget_compiled(layer)
        elif keras.backend.backend() == "torch" and hasattr(layer, "module"):
            from tidegate.nn.acceleration import accelerate_modules

            yield from accelerate_modules(layer.module, path)


def _walk(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Every layer once, in order, with the names that lead to it.

    What is within a recurrent layer is part of it.
    """
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield path, layer
    if not isinstance(layer, keras.layers.RNN):
        for part in layer._flatten_layers(include_self=False, recursive=False):
            yield from _walk(part, f"{path}/{part.name}" if path else part.name, seen)


def _kind_of(layer: Any) -> str:
    kind = type(layer)
    if kind is keras.layers.RNN:
        return f"RNN({type(layer.cell).__name__})"
    return kind.__name__


def _reason_against(layer: Any) -> str | None:
    """Why this layer's loop cannot be swapped, with what would help; None if it can."""
    if isinstance(layer, _OURS):
        return "it is tidegate's already"
    if "inner_loop" in vars(layer):
        return "it runs on the engine already"
    reason = recurrence.reason_against_layer(layer)
    if reason is None and type(layer) not in _OWN_LOOPS:
        base = next(kind.__name__ for kind in type(layer).__mro__[1:] if kind in _OWN_LOOPS)
        return f"it is a subclass of keras.layers.{base}, whose code may differ"
    if reason is None:
        from tidegate.keras import on_torch

        for part in recurrence.cells_of(layer):
            cell, _ = on_torch.cell_of(*recurrence.arguments_of(part))
            reason = reason or on_torch.reason_against_kernels(cell)
    return reason


def _bind(layer: Any) -> None:
    layer.inner_loop = partial(recurrence.inner_loop, layer, layer.inner_loop)


def _forget_compiled(model: Any) -> None:
    """Make anew what ``compile`` and ``fit`` have made of the model's old loops."""
    for purpose in ("train", "test", "predict"):
        if getattr(model, f"{purpose}_function", None) is not None:
            getattr(model, f"make_{purpose}_function")(force=True)

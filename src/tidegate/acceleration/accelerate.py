"""`tidegate.accelerate`: recurrent layers of a model swapped for the engine's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from tidegate.acceleration.report import Acceleration, Layer


def accelerate(model: Any) -> Acceleration:
    """Run the recurrent layers of a torch or Keras model on the engine, in place.

    model: a torch.nn.Module or a keras.Model or layer; layers are found at any depth.

    torch: each torch.nn.RNN, LSTM and GRU becomes a tidegate layer and stays the same object, with
    the same parameters, hooks, parametrisations and mode.  Optimisers, state dicts and references
    to it stay valid.  A whole model that is pickled then needs tidegate to be read; a state
    dict does not.

    Keras, on the torch backend: each SimpleRNN, LSTM and GRU, and each RNN around cells of
    these, gets the engine's loop over time; class, weights and configuration stay.  So
    ``model.save`` writes a file that opens in Keras without tidegate; accelerate it again after
    ``load_model``, and after ``clone_model``.

    Returns what was swapped, and what was left as it was, and why: a layer on another device or of
    another type, a subclass, a single-step cell, a compiled or sharded layer.  A second call
    changes nothing.  Raises TypeError for what is no model.

    >>> import torch
    >>> import tidegate as tg
    >>> model = torch.nn.Sequential(torch.nn.LSTM(3, 4))
    >>> report = tg.accelerate(model)
    >>> type(model[0])
    <class 'tidegate.nn.layers.LSTM'>
    """
    keras, torch = sys.modules.get("keras"), sys.modules.get("torch")
    if keras is not None and isinstance(model, keras.Layer):
        return Acceleration(tuple(_in_keras(model)))
    if torch is not None and isinstance(model, torch.nn.Module):
        return Acceleration(tuple(_in_torch(model, keras)))
    raise TypeError(
        f"model: expected a torch.nn.Module or a keras.Model, got {type(model).__name__}"
    )


def _in_keras(model: Any, name: str = "") -> Iterator[Layer]:
    from tidegate.keras.acceleration import accelerate_layers

    return accelerate_layers(model, name)


def _in_torch(model: Any, keras: Any) -> Iterator[Layer]:
    """Layers of torch; and of Keras, whose layers are modules of torch where it runs on torch."""
    from tidegate.nn.acceleration import accelerate_modules

    if keras is None:
        yield from accelerate_modules(model)
        return
    yield from accelerate_modules(model, foreign=(keras.Layer,))
    seen: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, keras.Layer) and id(module) not in seen:
            yield from _in_keras(module, name)
            seen.update(map(id, module.modules()))

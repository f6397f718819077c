"""`tidegate.accelerate`: recurrent layers of a model swapped for the engine's."""

from __future__ import annotations

import sys
from typing import Any

from tidegate.acceleration.report import Acceleration


def accelerate(model: Any) -> Acceleration:
    """Run the recurrent layers of a torch or Keras model on the engine, in place.

    model: a torch.nn.Module or a keras.Model or layer; layers are found at any depth.

    torch: each torch.nn.RNN, LSTM and GRU becomes a tidegate layer and stays the same object, with
    the same parameters, hooks, parametrisations and mode.  Optimisers, state dicts and references
    to it stay valid.  ``torch.load`` of a whole pickled model then needs tidegate; a state dict
    does not.

    Returns what was swapped, and what was left as it was, and why: a layer on another device or of
    another type, a subclass, a single-step cell, a compiled or sharded layer.  A second call
    changes nothing.  Raises TypeError for what is no model.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"model: expected a torch.nn.Module or a keras.Model, got {type(model).__name__}"
        )
    from tidegate.nn.acceleration import accelerate_modules

    return Acceleration(tuple(accelerate_modules(model)))

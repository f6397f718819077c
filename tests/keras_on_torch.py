"""Keras on torch, for the tests of what stands on it; they are skipped where there is no Keras.

Keras chooses its library when it is imported, once in a process.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras")
if keras.backend.backend() != "torch":
    pytest.skip(f"Keras runs on {keras.backend.backend()} here", allow_module_level=True)

import tidegate.keras  # noqa: E402

# Keras' arrays under numpy 2
OF_NUMPY = "ignore:__array__ implementation:DeprecationWarning"

# our class, and the arguments that choose the cell
CELLS = {
    "rnn_tanh": (tidegate.keras.SimpleRNN, {}),
    "rnn_relu": (tidegate.keras.SimpleRNN, {"activation": "relu"}),
    "lstm": (tidegate.keras.LSTM, {}),
    "gru": (tidegate.keras.GRU, {}),
    "gru_reset_before": (tidegate.keras.GRU, {"reset_after": False}),
    # compiled when they are first used
    "lstm of relu": (tidegate.keras.LSTM, {"activation": "relu"}),
    "gru of others": (
        tidegate.keras.GRU, {"activation": "gelu", "recurrent_activation": "softsign"},
    ),
    "rnn of none": (tidegate.keras.SimpleRNN, {"activation": None}),
}  # fmt: skip
MASKS = {
    "all": lambda _, B, T: np.ones((B, T), bool),
    "trailing": lambda rng, B, T: np.arange(T) < rng.integers(0, T + 1, (B, 1)),
    "leading": lambda rng, B, T: np.arange(T) >= rng.integers(0, T + 1, (B, 1)),
    "inner": lambda rng, B, T: rng.random((B, T)) < 0.6,
    "a whole row": lambda rng, B, T: (rng.random((B, T)) < 0.6) & (np.arange(B) > 0)[:, None],
    "everything": lambda _, B, T: np.zeros((B, T), bool),
}


def theirs(ours: type) -> Any:
    """The layer of Keras that one of ours is."""
    return getattr(keras.layers, ours.__name__)


def weights(layer: Any) -> list[Any]:
    """A layer's trained variables: without the states of seeds."""
    return list(layer.trainable_variables)


def fill(layers: list[Any], rng: np.random.Generator) -> None:
    """Give these layers the same random weights, no two of them equal."""
    for same in zip(*map(weights, layers), strict=True):
        values = rng.normal(size=same[0].shape, scale=0.5)
        for variable in same:
            variable.assign(values)


def results(layer: Any, arrays: list[Any], rng: np.random.Generator, **call: Any) -> list[Any]:
    """Outputs of ``layer`` on x and initial states, and gradients of a random sum of them.

    The gradients are those of x, of the states and of the weights.
    """
    x, *state = (torch.tensor(a, requires_grad=True) for a in arrays)
    outputs = layer(x, initial_state=state or None, **call)
    outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    total = sum((o * torch.tensor(rng.normal(size=o.shape)).to(o.dtype)).sum() for o in outputs)
    wanted = [x, *state, *(v.value for v in weights(layer))]
    gradients = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
    return [t.detach() for t in (*outputs, *gradients)]


def assert_close(ours: list[Any], others: list[Any], tolerance: float = 1e-5) -> None:
    """Within ``tolerance`` of the largest number of each array, or of 1."""
    for k, (a, b) in enumerate(zip(ours, others, strict=True)):
        assert a.shape == b.shape, k
        if a.numel():
            assert (a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max())), k

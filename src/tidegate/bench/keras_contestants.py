"""Keras GRU and LSTM on the back end that the environment names, JAX or torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tidegate.bench.work import (
    AdamWork,
    Array,
    LayerWeights,
    LayerWork,
    Prepared,
    Results,
    Work,
    training,
)
from tidegate.interchange.conventions import weights as conventions


def prepare(work: Work) -> Prepared:
    """Layers and models as Keras makes them, batch first; what JAX compiles is compiled before."""
    match work:
        case LayerWork():
            return _layer(work)
        case AdamWork():
            return _adam(work)
    raise TypeError(f"expected a layer or a training step, got {type(work).__name__}")


def _layer(work: LayerWork) -> Prepared:
    import keras  # pyright: ignore[reportMissingImports]

    x = _batch_first(work.x)
    layer = _layer_class(work.cell)(work.weights["weight_hh"].shape[1], return_sequences=True)
    layer.build(x.shape)
    layer.set_weights(_weights(work.cell, work.weights))
    grad = None if work.grad is None else _batch_first(work.grad)
    on_back_end = {"jax": _with_jax, "torch": _with_torch}[keras.backend.backend()]
    call = on_back_end(layer, x, grad)

    def results() -> Results:
        names = ("y",) if grad is None else ("y", "d_x")
        return {n: _batch_first(np.asarray(a)) for n, a in zip(names, call(), strict=False)}

    return Prepared(call, results)


def _with_jax(layer: Any, x: Array, grad: Array | None) -> Callable[[], Any]:
    """y, or y and the gradients of sum(y * grad), compiled as a whole."""
    import jax  # pyright: ignore[reportMissingImports]

    weights = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]
    x, grad = jax.device_put(x), jax.device_put(grad)

    def forward(weights: Any, x: Any) -> Any:
        return layer.stateless_call(weights, others, x)[0]

    def loss(x: Any, weights: Any, grad: Any) -> Any:
        y = forward(weights, x)
        return (y * grad).sum(), y

    if grad is None:
        infer = jax.jit(forward)
        return lambda: jax.block_until_ready([infer(weights, x)])
    differentiate = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))

    def train() -> Any:
        (d_x, d_weights), y = jax.block_until_ready(differentiate(x, weights, grad))
        return y, d_x, d_weights

    return train


def _with_torch(layer: Any, x: Array, grad: Array | None) -> Callable[[], Any]:
    import torch

    given = torch.from_numpy(x)
    if grad is None:

        def infer() -> Any:
            with torch.no_grad():
                return [layer(given)]

        return infer
    inputs = [given.requires_grad_(), *(v.value for v in layer.trainable_variables)]
    incoming = torch.from_numpy(grad)

    def train() -> Any:
        y = layer(given)
        return y.detach(), *torch.autograd.grad(y, inputs, incoming)

    return train


def _adam(work: AdamWork) -> Prepared:
    """``train_on_batch``: as fast as a step written by hand, on both back ends."""
    import keras  # pyright: ignore[reportMissingImports]

    layer_class = _layer_class(work.cell)
    vocabulary, embedding = work.embedding.shape
    tokens = work.tokens.astype(np.int32)
    model = keras.Sequential(
        [
            keras.Input(tokens.shape[1:], dtype="int32"),
            keras.layers.Embedding(vocabulary, embedding),
            layer_class(work.first["weight_hh"].shape[1], return_sequences=True),
            layer_class(work.second["weight_hh"].shape[1]),
            keras.layers.Dense(len(work.output_bias)),
        ]
    )
    weights = [work.embedding], _weights(work.cell, work.first), _weights(work.cell, work.second)
    for layer, arrays in zip(model.layers, weights, strict=False):
        layer.set_weights(arrays)
    model.layers[-1].set_weights([work.output_weight.T, work.output_bias])
    model.compile(
        optimizer=keras.optimizers.Adam(work.learning_rate, epsilon=work.epsilon),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return training(lambda: model.train_on_batch(tokens, work.labels))


def _layer_class(cell: str) -> Any:
    import keras  # pyright: ignore[reportMissingImports]

    return {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[cell]


def _weights(cell: str, weights: LayerWeights) -> list[Array]:
    """What ``set_weights`` takes: kernel, recurrent kernel, bias."""
    return list(conventions.into("keras", cell, weights).values())


def _batch_first(a: Array) -> Array:
    """[T, B, ...] <-> [B, T, ...]."""
    return np.ascontiguousarray(a.swapaxes(0, 1))

"""Layers from Keras' configurations and arrays.

Sources: the classes of keras/src/layers of Keras 3; Keras 2 has the same names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tidegate.errors import shown
from tidegate.interchange.conventions.activations import Activation
from tidegate.interchange.keras_config import EXPORT, LayerConfig, Values, Weights, inner_object
from tidegate.interchange.keras_recurrent import RECURRENT, bidirectional, recurrent
from tidegate.interchange.layers import (
    Activate,
    Dense,
    Dropout,
    Embedding,
    Layer,
    Masking,
    Normalisation,
    Pool,
)
from tidegate.interchange.settled import Answers

_ONLY_IN_TRAINING = {
    "Dropout", "SpatialDropout1D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization",
}  # fmt: skip
_POOLS = {
    "GlobalAveragePooling1D": Pool("", "mean"),
    "GlobalAvgPool1D": Pool("", "mean"),
    "GlobalMaxPooling1D": Pool("", "max"),
    "GlobalMaxPool1D": Pool("", "max"),
}
# Layers of one activation, and the arguments with which they are no more than it.
_PLAIN: dict[str, dict[str, tuple[Any, ...]]] = {
    "Softmax": {"axis": (-1, [-1])},
    "ReLU": {"max_value": (None,), "negative_slope": (None, 0), "threshold": (None, 0)},
}


# Layers of one function with a number: its name in Keras 3, before, and what it is by itself.
_SLOPED = {
    "LeakyReLU": ("LeakyRelu", "negative_slope", "alpha", 0.3),
    "ELU": ("Elu", "alpha", "alpha", 1.0),
}


def layers_from_config(
    config: Values, weights: Weights, version: int | None, answers: Answers
) -> tuple[list[Layer], list[str]]:
    """The layers that a layer of Keras is, none for an input, and notes.

    Most are one; a recurrent layer of several cells is as many.  ``version``: 1, 2 or 3 of Keras;
    None where the file does not say.  Raises ValueError or InputError.
    """
    kind, values = inner_object(config)
    found = LayerConfig(values["name"], kind, values, weights, version, answers)
    return _layers(found), found.notes


def _layers(config: LayerConfig) -> list[Layer]:
    if config.kind == "InputLayer":
        return []
    if config.kind in RECURRENT:
        return list(recurrent(config))
    if config.kind == "Bidirectional":
        return list(bidirectional(config))
    return [_at_each_step(config) if config.kind == "TimeDistributed" else _plain_layer(config)]


def _plain_layer(config: LayerConfig) -> Layer:
    kind, name = config.kind, config.name
    if kind == "Embedding":
        (weight,) = config.arrays("", [2])
        return Embedding(name, weight, config.flag("mask_zero", False))
    if kind == "Masking":
        return Masking(name, config.number("mask_value", 0.0))
    if kind == "Dense":
        return _dense(config, config.arrays("", None))
    if kind == "BatchNormalization":
        return _normalisation(config)
    if kind in ("Activation", *_PLAIN):
        _check_plain(config, _PLAIN.get(kind, {}))
        said = config.values.get("activation") if kind == "Activation" else kind.lower()
        return Activate(name, config.activation("activation", said, softmax=True))
    if kind in _SLOPED:
        activation, key, older, usual = _SLOPED[kind]
        slope = config.number(older if older in config.values else key, usual)
        return Activate(name, Activation(activation, slope))
    if kind in _POOLS:
        others = config.values.get("data_format") == "channels_first"
        if config.values.get("keepdims") or others:
            raise config.bad("expected a pooling over time, got another")
        return Pool(name, _POOLS[kind].kind)
    if kind in _ONLY_IN_TRAINING:
        return Dropout(name, config.number("rate", 0.0))
    known = f"Embedding, Masking, {', '.join(RECURRENT)}, Bidirectional, TimeDistributed, Dense, "
    known += "BatchNormalization, Dropout, Activation and pooling over time"
    raise config.bad(f"expected one of {known}, got {shown(kind)}; {EXPORT}")


def _check_plain(config: LayerConfig, wanted: dict[str, tuple[Any, ...]]) -> None:
    for key, values in wanted.items():
        value = config.values.get(key, values[0])
        if value not in values:
            raise config.bad(f"{key}: expected {values[0]}, got {shown(value)}")


def _dense(config: LayerConfig, arrays: list[np.ndarray]) -> Dense:
    if [a.ndim for a in arrays] not in ([2], [2, 1]):
        raise config.bad(f"expected a kernel and perhaps a bias, got {len(arrays)} arrays")
    weight, bias = np.ascontiguousarray(arrays[0].T), arrays[1] if len(arrays) > 1 else None
    if bias is not None and len(bias) != len(weight):
        raise config.bad(f"expected a bias of {len(weight)}, got {len(bias)}")
    said = config.activation("activation", config.values.get("activation"), softmax=True)
    return Dense(config.name, weight, bias, said)


def _at_each_step(config: LayerConfig) -> Layer:
    kind, values = inner_object(config.values.get("layer"))
    if kind not in ("Dense", "Activation", "Dropout"):
        raise config.bad(f"expected Dense, Activation or Dropout in it, got {shown(kind)}")
    inner = replace(config, kind=kind, values=values)
    return _dense(inner, config.arrays("layer", None)) if kind == "Dense" else _plain_layer(inner)


def _normalisation(config: LayerConfig) -> Layer:
    axis = config.values.get("axis", -1)
    if axis not in (-1, 2, [-1], [2]):
        raise config.bad(f"axis: expected the last one, got {shown(axis)}")
    scaled, centred = config.flag("scale", True), config.flag("center", True)
    arrays = config.arrays("", [1] * (2 + scaled + centred))
    if len({len(a) for a in arrays}) != 1:
        raise config.bad("expected weights of one size, got several")
    left = list(arrays)
    scale, shift = left.pop(0) if scaled else None, left.pop(0) if centred else None
    epsilon = config.number("epsilon", 1e-3)
    if (left[1] < 0).any() or epsilon < 0:
        raise config.bad("expected variances from 0, got smaller ones")
    return Normalisation(config.name, scale, shift, left[0], left[1], epsilon)

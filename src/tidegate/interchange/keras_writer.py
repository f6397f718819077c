"""A network as a ``.keras`` file that plain Keras 3 opens, or as lists for ``set_weights``.

Written without Keras, as keras/src/saving/saving_lib.py of Keras 3 writes it.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

import numpy as np

from tidegate.errors import InputError
from tidegate.interchange.conventions.activations import Activation, to_keras
from tidegate.interchange.conventions.forms import Form
from tidegate.interchange.conventions.weights import into
from tidegate.interchange.keras_config import name_of_class
from tidegate.interchange.layers import (
    Activate,
    Dense,
    Direction,
    Dropout,
    Embedding,
    Layer,
    Masking,
    Normalisation,
    Pool,
    Recurrent,
)
from tidegate.interchange.network import Network
from tidegate.output.places import MARK

_LAYER = {"RNN": "SimpleRNN", "GRU": "GRU", "LSTM": "LSTM"}
_MADE_BY = "3.12.0"  # the oldest Keras whose files are like these
_TIME = (1980, 1, 1, 0, 0, 0)  # so that the same network gives the same bytes
Parts = dict[str, list[np.ndarray]]  # arrays by where they stand below the layer


def keras_weights(layer: Layer) -> list[np.ndarray]:
    """What ``set_weights`` of the Keras layer takes.  Raises InputError."""
    return [array for arrays in _KerasLayer(layer, layer.name).parts.values() for array in arrays]


def keras_bytes(network: Network) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a ``.keras`` file, and what is not in it.

    Raises InputError for a network that Keras' Sequential model cannot be.
    """
    import h5py

    names = _names(network.layers)
    made = [_KerasLayer(a, name) for a, name in zip(network.layers, names, strict=True)]
    size = network.input_size
    shape, dtype = ([None, None], "int32") if size is None else ([None, None, size], "float32")
    start = {"batch_shape": shape, "dtype": dtype, "name": "input"}
    layers = [_object("InputLayer", start), *(one.config for one in made)]
    model = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "layers": layers},
        "registered_name": None,
    }
    held = io.BytesIO()
    counts: dict[str, int] = {}
    with h5py.File(held, "w") as file:
        for one in made:
            k = counts[one.kind] = counts.get(one.kind, -1) + 1
            group = f"layers/{name_of_class(one.kind, k)}"
            file.require_group(f"{group}/vars").attrs["name"] = one.name
            for part, arrays in one.parts.items():
                for i, array in enumerate(arrays):
                    file[f"{group}/{part}/vars/{i}".replace("//", "/")] = array
    about = {"keras_version": _MADE_BY, "date_saved": "1980-01-01@00:00:00"}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.comment = MARK.encode()
        for name, content in {
            "metadata.json": json.dumps(about).encode(),
            "config.json": json.dumps(model).encode(),
            "model.weights.h5": held.getvalue(),
        }.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), content)
    return packed.getvalue(), tuple(note for one in made for note in one.notes)


def _object(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "module": "keras.layers", "class_name": kind, "config": config, "registered_name": None,
    }  # fmt: skip


def _names(layers: tuple[Layer, ...]) -> list[str]:
    """Different names in the letters that Keras' groups can have."""
    names: list[str] = []
    for k, layer in enumerate(layers):
        name = re.sub(r"\W+", "_", layer.name, flags=re.ASCII).strip("_") or f"layer_{k}"
        while name in names:
            name = f"{name}_{k}"
        names.append(name)
    return names


class _KerasLayer:
    """Class, configuration and arrays of one layer; ``notes``: what Keras does otherwise."""

    def __init__(self, layer: Layer, name: str) -> None:
        self.name = name
        self.notes: list[str] = []
        self.kind, config, self.parts = self._made(layer)
        self.config = _object(self.kind, {"name": name, **config})

    def _made(self, layer: Layer) -> tuple[str, dict[str, Any], Parts]:
        match layer:
            case Embedding(_, weight, mask_zero):
                tokens, width = weight.shape
                config = {"input_dim": tokens, "output_dim": width, "mask_zero": mask_zero}
                return "Embedding", config, {"": [weight]}
            case Masking(_, value):
                return "Masking", {"mask_value": value}, {}
            case Dense(_, weight, bias, activation):
                config = {"units": len(weight), "use_bias": bias is not None}
                config["activation"] = self._activation(activation)
                arrays = [np.ascontiguousarray(weight.T), *([] if bias is None else [bias])]
                return "Dense", config, {"": arrays}
            case Normalisation(_, scale, shift, mean, variance, epsilon):
                config = {"epsilon": epsilon, "scale": scale is not None}
                config["center"] = shift is not None
                arrays = [a for a in (scale, shift, mean, variance) if a is not None]
                return "BatchNormalization", config, {"": arrays}
            case Activate(_, Activation("LeakyRelu", slope)):
                return "LeakyReLU", {"negative_slope": slope}, {}
            case Activate(_, Activation("Elu", alpha)):
                return "ELU", {"alpha": alpha}, {}
            case Activate(_, activation):
                return "Activation", {"activation": self._activation(activation)}, {}
            case Dropout(_, rate):
                return "Dropout", {"rate": rate}, {}
            case Pool(_, kind, true_steps):
                if true_steps and kind == "max":
                    self.notes.append(f"{self.name}: Keras' maximum also sees masked steps")
                longer = {"mean": "GlobalAveragePooling1D", "max": "GlobalMaxPooling1D"}
                return longer[kind], {}, {}
            case Recurrent():
                return self._recurrent(layer)
        raise self._refused(f"expected a layer that Keras has, got {layer.described()}")

    def _refused(self, problem: str) -> InputError:
        return InputError(f"layer {self.name}: {problem}")

    def _activation(self, activation: Activation) -> str:
        try:
            return to_keras(activation)
        except ValueError as e:
            raise self._refused(str(e)) from None

    def _recurrent(self, layer: Recurrent) -> tuple[str, dict[str, Any], Parts]:
        form = layer.known_form
        if form is None or form.coupled or form.peepholes or form.clip is not None:
            raise self._refused(
                f"expected a cell that Keras has, got {layer.cell_in_words}; write ONNX, or take "
                "network.to_torch()"
            )
        if any(d.initial is not None for d in layer.directions):
            raise self._refused(
                "expected an initial state of zeros, got one of the file's, which a Keras model "
                "does not hold; write ONNX"
            )
        reverse = [d.reverse for d in layer.directions]
        one = self._arguments(layer, form)
        if reverse == [False, True]:
            # Bidirectional sets it so, and keeps the last output else
            forward = {**one, "zero_output_for_mask": layer.every, "name": "forward"}
            back = {**forward, "go_backwards": True, "name": "backward"}
            kind = _LAYER[form.family]
            config = {"merge_mode": layer.merge, "layer": _object(kind, forward)}
            config["backward_layer"] = _object(kind, back)
            parts = [self._arrays(layer, d, form) for d in layer.directions]
            sides = ("forward_layer/cell", "backward_layer/cell")
            return "Bidirectional", config, dict(zip(sides, parts, strict=True))
        if len(reverse) != 1 or (reverse[0] and layer.every and not layer.turned):
            raise self._refused(
                "expected one direction, or one each way, got outputs in an order that Keras does "
                f"not have: {layer.described()}"
            )
        config = {**one, "go_backwards": reverse[0]}
        parts = {"cell": self._arrays(layer, layer.directions[0], form)}
        return _LAYER[form.family], config, parts

    def _arguments(self, layer: Recurrent, form: Form) -> dict[str, Any]:
        config: dict[str, Any] = {
            "units": layer.sizes["H"],
            "use_bias": "bias_ih" in layer.directions[0].parameters,
            "return_sequences": layer.every,
            "zero_output_for_mask": not layer.hold,
            "activation": self._activation(form.activations[-1]),
        }
        if form.family != "RNN":
            config["recurrent_activation"] = self._activation(form.activations[0])
        if form.family == "LSTM" and form.activations[1] != form.activations[2]:
            raise self._refused(f"expected one activation beside the gates', got {form.name}")
        if form.family == "GRU":
            config["reset_after"] = form.reset_after
        return config

    def _arrays(self, layer: Recurrent, direction: Direction, form: Form) -> list[np.ndarray]:
        how = form.in_keras()
        held = direction.parameters
        if how.bias == "sum" and "bias_hh" in held and held["bias_hh"].any():
            self.notes.append(f"{self.name}: Keras has one bias, the sum of two")
        return list(into("keras", layer.cell, held, how).values())

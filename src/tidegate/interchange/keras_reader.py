"""Keras models, ``.keras`` and legacy ``.h5``, without Keras: JSON and arrays; nothing is executed.

Sources: keras/src/saving/saving_lib.py and keras/src/legacy/saving/legacy_h5_format.py of Keras 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from tidegate.data.files.reading import read_bytes
from tidegate.errors import InputError, shown, spelled
from tidegate.interchange.archive import Archive
from tidegate.interchange.hdf5 import Tree, read_tree
from tidegate.interchange.keras_config import EXPORT, Weights, name_of_class
from tidegate.interchange.keras_layers import layers_from_config
from tidegate.interchange.network import Network
from tidegate.interchange.problems import about_file
from tidegate.interchange.settled import Answers
from tidegate.model.container import parse_json

_AGAIN = "save it again with model.save('name.keras')"
_MOST_LAYERS = 1000


def read_keras(path: str | PathLike[str], answers: Answers) -> Network:
    """The network in a ``.keras`` file.  Raises InputError."""
    archive = Archive(read_bytes(path), path, _AGAIN)
    try:
        if "model.weights.h5" not in archive.names:
            # Keras' other forms: .npz holds pickles, and what is in several files is not one
            raise ValueError(
                "expected model.weights.h5 in it, got "
                f"{shown(', '.join(archive.names), 200)}; {_AGAIN}"
            )
        config = parse_json(archive.read("config.json"), "config.json")
        about = parse_json(archive.read("metadata.json"), "metadata.json")
        version = answers.keras_version or _major(_get(about, "keras_version"))
        tree = read_tree(archive.read("model.weights.h5"))
        layers = list(_layer_configs(config))
        weights = _by_path(tree, layers)
        return _network(layers, weights, version, answers, "a Keras model (.keras)")
    except ValueError as e:
        raise about_file(e, path, _AGAIN) from None


def read_h5(path: str | PathLike[str], answers: Answers) -> Network:
    """The network in a legacy ``.h5`` file, or in one of weights alone.  Raises InputError.

    Weights alone are as ``save_weights`` of Keras 3 writes them, or of Keras 1 and 2, and their
    layers are those of ``answers.architecture``.
    """
    try:
        tree = read_tree(read_bytes(path))
        root = tree.attributes.get("", {})
        config = root.get("model_config")
        version = answers.keras_version or _major(root.get("keras_version"))
        if not isinstance(config, str):
            return _of_weights_alone(tree, version, answers)
        if answers.architecture is not None:
            raise InputError(
                "expected none for a file that holds a whole model, got one; leave it out",
                option="architecture",
            )
        layers = list(_layer_configs(parse_json(config, "model_config")))
        weights = {
            c["config"]["name"]: _by_name(tree, c["config"]["name"], "model_weights/")
            for c in layers
        }
        return _network(layers, weights, version, answers, "a Keras model (legacy .h5)")
    except ValueError as e:
        raise about_file(e, path, _AGAIN) from None


def _of_weights_alone(tree: Tree, version: int | None, answers: Answers) -> Network:
    """The network of the layers that the user's file of the architecture describes."""
    source = answers.architecture
    if source is None:
        raise ValueError(
            "expected a whole model, got weights alone, which do not say what runs on them; write "
            "model.to_json() of the same model into a file, and say "
            f"{spelled('architecture', 'model.json')}"
        )
    try:
        model = parse_json(read_bytes(source), "the architecture")
        layers = list(_layer_configs(model))
    except ValueError as e:
        raise about_file(e, source, "write model.to_json() into it") from None
    names = [config["config"]["name"] for config in layers]
    if any(path.startswith("layers/") for path in tree.arrays):
        version, weights = version or 3, _by_path(tree, layers)
    else:
        version = version or _major(_get(model, "keras_version"))
        weights = {name: _by_name(tree, name, "") for name in names}
    if not any(arrays for parts in weights.values() for arrays in parts.values()):
        raise ValueError(
            f"expected weights of the layers {shown(', '.join(names), 200)}, got none of these; "
            f"give the architecture of the very model, by {spelled('architecture')}"
        )
    return _network(layers, weights, version, answers, "the weights of a Keras model (.h5)")


def _network(
    configs: list[dict[str, Any]],
    weights: dict[str, Weights],
    version: int | None,
    answers: Answers,
    origin: str,
) -> Network:
    layers, notes = [], []
    for config in configs:
        name = config["config"]["name"]
        found, said = layers_from_config(config, weights[name], version, answers)
        layers += found
        notes += [f"{name}: {text}" for text in said]
    if not layers:
        raise ValueError("expected layers, got none; check the model")
    origin += f", Keras {version}" if version else ""
    return Network(tuple(layers), origin, tuple(notes))


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _major(version: Any) -> int | None:
    """3 of "3.15.1"; None where it is not said."""
    found = re.match(r"(\d)\.", version) if isinstance(version, str) else None
    return int(found[1]) if found else None


def _layer_configs(model: Any) -> Iterator[dict[str, Any]]:
    """The layers' configurations, the first first, each checked to be an object with a name."""
    kind, config = _get(model, "class_name"), _get(model, "config")
    layers = config if isinstance(config, list) else _get(config, "layers")  # Keras 1 and 2: a list
    if kind not in ("Sequential", "Functional", "Model") or not isinstance(layers, list):
        raise ValueError(
            f"expected a Sequential or a Functional model, got {shown(kind)}; build one of these "
            "with the same layers, and save it"
        )
    if not 0 < len(layers) <= _MOST_LAYERS:
        raise ValueError(f"expected 1 to {_MOST_LAYERS} layers, got {len(layers)}")
    for k, layer in enumerate(layers):
        inner = _get(layer, "config")
        if not isinstance(inner, dict) or not isinstance(_get(layer, "class_name"), str):
            raise ValueError(f"layer {k}: expected class_name and config, got {shown(layer)}")
        if not isinstance(inner.get("name"), str):
            raise ValueError(f"layer {k}: expected a name, got {shown(inner.get('name'))}")
    names = [layer["config"]["name"] for layer in layers]
    if len(set(names)) < len(names):
        raise ValueError(f"expected layers of different names, got {shown(names)}")
    yield from layers if kind == "Sequential" else _chained(layers, _get(config, "output_layers"))


def _chained(layers: list[dict[str, Any]], outputs: Any) -> list[dict[str, Any]]:
    """The layers of a functional model in order, from its output back to its input.

    Keras also lists what makes the masks, which are left out.  Raises ValueError where a layer has
    two inputs, or where something else is left over.
    """
    named = {layer["config"]["name"]: layer for layer in layers}
    found: list[dict[str, Any]] = []
    ends = list(_tensors(outputs, 0))
    name = ends[0] if len(ends) == 1 else None
    while name is not None:
        layer = named.pop(name, None)
        if layer is None:
            raise ValueError(f"layer {shown(name)}: expected it once among the layers")
        nodes = layer.get("inbound_nodes")
        if not isinstance(nodes, list) or len(nodes) > 1:
            raise ValueError(f"layer {shown(name)}: expected it to be called once, got otherwise")
        before = list(_tensors(nodes, 0))
        if len(before) > 1:
            raise ValueError(
                f"layer {shown(name)}: expected one input, as in layers that follow one another, "
                f"got {shown(before)}; {EXPORT}"
            )
        found.append(layer)
        name = before[0] if before else None
    others = [n for n, layer in named.items() if layer["class_name"] not in _OF_MASKS]
    if not found or others:
        raise ValueError(
            "expected layers that follow one another to one output, got others: "
            f"{shown(others)}; {EXPORT}"
        )
    return found[::-1]


_OF_MASKS = ("NotEqual", "Any")


def _tensors(node: Any, depth: int) -> Iterator[str]:
    """Names of the layers whose outputs a layer is called on, in Keras 3's words or Keras 2's."""
    if depth > 8:
        raise ValueError("expected a layer's inputs, got lists nested too deep")
    if isinstance(node, dict):
        history = _get(_get(node, "config"), "keras_history")
        if isinstance(history, list) and history and isinstance(history[0], str):
            yield history[0]
            return
        for key, value in node.items():
            if key != "mask":  # which the layer before gives on
                yield from _tensors(value, depth + 1)
    elif isinstance(node, list):
        if len(node) in (3, 4) and isinstance(node[0], str) and type(node[1]) is int:
            yield node[0]
            return
        for value in node:
            yield from _tensors(value, depth + 1)


def _by_path(tree: Tree, configs: list[dict[str, Any]]) -> dict[str, Weights]:
    """Of each layer its arrays in a ``.keras`` file, by where they stand below the layer.

    A layer's group says its name since Keras 3.4; before, layers of one class are counted.
    """
    groups: dict[str, dict[str, dict[int, np.ndarray]]] = {}
    for path, array in tree.arrays.items():
        found = re.fullmatch(r"layers/([^/]+)/(?:(.*)/)?vars/(\d{1,4})", path)
        if found:
            group = groups.setdefault(found[1], {})
            group.setdefault(found[2] or "", {})[int(found[3])] = array
    named = {}
    for group in groups:
        said = tree.attributes.get(f"layers/{group}/vars", {}).get("name")
        if isinstance(said, str):
            named[said] = group
    counts: dict[str, int] = {}
    weights = {}
    for config in configs:
        kind = config["class_name"].rpartition(">")[2]
        k = counts[kind] = counts.get(kind, -1) + 1
        name = config["config"]["name"]
        group = named.get(name, None if named else name_of_class(kind, k))
        parts = groups.get(group, {}) if group else {}
        weights[name] = {
            part: [arrays[i] for i in sorted(arrays)] for part, arrays in parts.items()
        }
    return weights


def _by_name(tree: Tree, name: str, below: str) -> Weights:
    """The arrays of a layer of a legacy file, in their order, under the part "all"."""
    group = f"{below}{name}"
    about = tree.attributes.get(group, {})
    names = about.get("weight_names")
    if names is None:  # a long list stands in pieces
        names, k = [], 0
        while isinstance(piece := about.get(f"weight_names{k}"), list):
            names += piece
            k += 1
    if not isinstance(names, list):
        raise ValueError(f"layer {shown(name)}: expected names of its weights, got {shown(names)}")
    arrays = []
    for weight in names:
        array = tree.arrays.get(f"{group}/{weight}") if isinstance(weight, str) else None
        if array is None:
            raise ValueError(f"layer {shown(name)}: expected the weight {shown(weight)}, got none")
        arrays.append(array)
    return {"all": arrays}

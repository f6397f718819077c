"""The network of a tidegate model file."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import numpy as np

from tidegate.errors import InputError, spelled
from tidegate.interchange.layers import (
    Dense,
    Direction,
    Dropout,
    Embedding,
    Layer,
    Normalisation,
    Pool,
    Recurrent,
)
from tidegate.interchange.network import Network
from tidegate.interchange.settled import Answers
from tidegate.model.architecture import Architecture
from tidegate.model.checkpoint import ModelFile, load_model
from tidegate.model.encoder_decoder import EncoderDecoder

_NORM_EPSILON = 1e-5  # torch.nn.BatchNorm1d's


def read_tidegate(path: str | PathLike[str], _: Answers) -> Network:
    """The network of a trained model, without what makes its inputs and reads its outputs.

    Of a network that reads several things out of its last layer, the recurrent layers alone.
    Raises InputError for one that reads evidence beside tokens, or has a straight line beside it.
    """
    model = load_model(path)
    a, tensors = model.architecture, model.tensors
    if isinstance(a, EncoderDecoder):
        raise InputError(
            "expected one network, got an encoder and a decoder with attention between them, which "
            "a stack of layers has no place for; write them for ONNX Runtime with tidegate export "
            "onnx",
            file=path,
        )
    if a.evidence_size:
        raise InputError(
            "expected a network that reads tokens or numbers alone, got one that reads evidence "
            "beside each token, which no layer of another library does; train it with "
            f"{spelled('evidence', False)}, or write it for ONNX Runtime, evidence and all, with "
            "tidegate export onnx",
            file=path,
        )
    if a.sentences:
        raise InputError(
            "expected a network that reads tokens one after another, got one that reads sentences, "
            f"and then these; train it with {spelled('hierarchical', False)}",
            file=path,
        )
    if a.condition_size:
        raise InputError(
            "expected a network that reads tokens or numbers alone, got one that reads a condition "
            f"beside each token, which no layer of another library does; train it without "
            f"{spelled('condition')}",
            file=path,
        )
    if a.letters:
        raise InputError(
            "expected a network that reads tokens or numbers alone, got one that reads each token "
            "letter by letter, too, which a stack of layers has no place for; train it with "
            f"{spelled('letter_hidden_size', 0)}, or write it for ONNX Runtime, letters and all, "
            "with tidegate export onnx",
            file=path,
        )
    if a.linear_steps:
        raise InputError(
            "expected recurrent layers and one dense layer after them, got a network with a "
            "straight line beside them, which a stack of layers has no place for; train it with "
            + spelled("linear" if model.task == "forecaster" else "evidence", False)
            + ", or write it for ONNX Runtime, line and all, with tidegate export onnx",
            file=path,
        )
    if a.has_shortcuts or (a.layer_norm and len(a.hidden_sizes) > 1):
        between = "residual" if a.has_shortcuts else "layer_norm"
        raise InputError(
            "expected recurrent layers one after the other, got a network with shortcuts or layer "
            "norms between them, which a stack of layers has no place for; train it with "
            f"{spelled(between, False)}, or write it for ONNX Runtime, all of it, with tidegate "
            "export onnx",
            file=path,
        )
    layers: list[Layer] = []
    if a.vocabulary_size is not None:
        layers.append(Embedding("embedding", tensors["embedding.weight"]))
    last = len(a.hidden_sizes) - 1
    for k in range(last + 1):
        every = k < last or a.readout != "last"
        layers.append(_recurrent(a, tensors, k, every))
        if a.batch_norm and k < last:
            names = ("weight", "bias", "running_mean", "running_var")
            scale, shift, mean, variance = (tensors[f"norms.{k}.{name}"] for name in names)
            norm = Normalisation(f"norms.{k}", scale, shift, mean, variance, _NORM_EPSILON)
            layers.append(norm)
        if a.dropout and k < last:
            layers.append(Dropout(f"dropout.{k}", a.dropout))
    notes = [_beside(model)]
    kept: dict[str, np.ndarray] = {}
    weight = tensors["embedding.weight" if a.tie_embeddings else "dense.weight"]
    if "+" in a.readout:
        kept = {"dense.weight": weight, "dense.bias": tensors["dense.bias"]}
        layers = [layer for layer in layers if isinstance(layer, Recurrent)]
        notes.append(
            f"the recurrent layers alone were taken, since no other library has the readout "
            f"{a.readout} as a layer"
        )
    else:
        if a.readout in ("mean", "max"):
            kind = "mean" if a.readout == "mean" else "max"
            layers.append(Pool(a.readout, kind, true_steps=True))
        layers.append(Dense("dense", weight, tensors["dense.bias"]))
    return Network(tuple(layers), f"a tidegate {model.task}", tuple(notes), kept)


def _recurrent(
    a: Architecture, tensors: Mapping[str, np.ndarray], k: int, every: bool
) -> Recurrent:
    cell, directions = a.answering_cells[k], []
    for suffix in ("", "_reverse")[: a.directions]:
        names = {name: f"recurrent.{k}.{name}_l0{suffix}" for name in cell.parameters}
        parameters = {name: tensors[key] for name, key in names.items()}
        directions.append(Direction(parameters, bool(suffix)))
    return Recurrent(f"recurrent.{k}.l0", cell, tuple(directions), every=every)


def _beside(model: ModelFile) -> str:
    parts = {"encoder": "its tokens", "labels": "its labels", "scaling": "its scaling"}
    held = [text for name, text in parts.items() if getattr(model, name) is not None]
    if model.counts:
        held.append("the counts that its answers are mixed with")
    if model.architecture.crf:
        held.append("the weights of neighbouring labels")
    return (
        f"only the network was taken, not {' and '.join(held)}; its outputs are as before any "
        "softmax or scaling"
    )

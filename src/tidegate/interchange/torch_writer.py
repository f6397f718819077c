"""A network as the state_dict of a torch module, in safetensors."""

from __future__ import annotations

import json

import numpy as np

from tidegate.errors import InputError
from tidegate.interchange.conventions.activations import IDENTITY
from tidegate.interchange.conventions.weights import LIBRARIES
from tidegate.interchange.layers import (
    Dense,
    Dropout,
    Embedding,
    Normalisation,
    Recurrent,
)
from tidegate.interchange.network import Network
from tidegate.output.places import MARK

# The key of a text in the file: JSON with ``order``, what the weights of one recurrent layer after
# another are called up to their own names; for a state_dict does not say which comes first.
TOLD = "made"


def torch_bytes(network: Network) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a safetensors file, and what is not in it.  Raises InputError."""
    from safetensors.numpy import save

    arrays, notes = torch_arrays(network)
    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    order = [_place(layer)[0] for layer in network.layers if isinstance(layer, Recurrent)]
    # one text alone: of several, safetensors writes them in any order, and the bytes would differ
    return save(held, metadata={TOLD: json.dumps({"made": MARK, "order": order})}), notes


def torch_arrays(network: Network) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays by the names that torch.nn's modules give them, and what they leave out.

    A layer's name is its module's; a recurrent layer ``rnn.l1`` is layer 1 of the module ``rnn``,
    one of another name is layer 0 of its own module.  Raises InputError for what torch.nn lacks.
    """
    arrays: dict[str, np.ndarray] = dict(network.kept)
    left_out = []
    for layer in network.layers:
        name = layer.name
        match layer:
            case Recurrent():
                arrays |= _recurrent(layer)
                if not layer.every:
                    left_out.append(f"{name}: that the last step alone is wanted")
            case Embedding(_, weight):
                arrays[f"{name}.weight"] = weight
                if layer.mask_zero:
                    left_out.append(f"{name}: that token 0 is no true step")
            case Dense(_, weight, bias):
                arrays[f"{name}.weight"] = weight
                if bias is not None:
                    arrays[f"{name}.bias"] = bias
                if layer.activation != IDENTITY:
                    left_out.append(f"{name}: its activation, {layer.activation}")
            case Normalisation(_, scale, shift, mean, variance, epsilon):
                ones = np.ones_like(mean)
                arrays[f"{name}.weight"] = ones if scale is None else scale
                arrays[f"{name}.bias"] = 0 * ones if shift is None else shift
                arrays[f"{name}.running_mean"] = mean
                arrays[f"{name}.running_var"] = variance
                left_out.append(f"{name}: eps={epsilon:g}")
            case Dropout():
                pass
            case _:
                left_out.append(f"{name}: {layer.described()}")
    return arrays, tuple(f"a state_dict does not say: {text}" for text in left_out)


def _recurrent(layer: Recurrent) -> dict[str, np.ndarray]:
    if not layer.is_ours or layer.cell.name not in LIBRARIES["torch"]:
        known = ", ".join(LIBRARIES["torch"])
        raise InputError(
            f"layer {layer.name}: expected one of the cells of torch.nn, {known}, got "
            f"{layer.cell_in_words}; network.to_torch() gives a module that has it"
        )
    reverse = [d.reverse for d in layer.directions]
    if reverse not in ([False], [False, True]) or layer.merge != "concat":
        raise InputError(
            f"layer {layer.name}: expected one direction from the first step, or both with their "
            f"outputs side by side, as torch.nn has them, got {layer.described()}; "
            "network.to_torch() gives a module that has it"
        )
    if any(d.initial is not None for d in layer.directions):
        raise InputError(
            f"layer {layer.name}: expected an initial state of zeros, got one of the file's, which "
            "a state_dict cannot hold; write ONNX"
        )
    prefix, k = _place(layer)
    return {
        f"{prefix}{name}_l{k}{'_reverse' if d.reverse else ''}": array
        for d in layer.directions
        for name, array in d.parameters.items()
    }


def _place(layer: Recurrent) -> tuple[str, str]:
    """What the names of the layer's weights begin with, and which layer of its module it is."""
    prefix, _, k = layer.name.rpartition("l")
    if not k.isdecimal() or (prefix and not prefix.endswith(".")):
        return f"{layer.name}.", "0"
    return prefix, k

"""A network as a torch module of tidegate's layers.  Torch is imported when one is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.errors import InputError
from tidegate.interchange.conventions.activations import IDENTITY, Activation
from tidegate.interchange.layers import (
    Activate,
    Dense,
    Dropout,
    Embedding,
    Layer,
    Normalisation,
    Pool,
    Recurrent,
)

if TYPE_CHECKING:
    from torch import nn

    from tidegate.interchange.network import Network


def module_of(network: Network) -> nn.Module:
    """What `Network.to_torch` documents."""
    from tidegate.nn.layer_stack import LayerStack

    return LayerStack([(layer.name, _module(layer)) for layer in network.layers]).eval()


def _module(layer: Layer) -> nn.Module:
    import torch
    from torch import nn

    from tidegate.nn.layer_stack import AtEachStep, Embedded, Normalised, Pooled

    match layer:
        case Embedding(_, weight, mask_zero):
            held = nn.Embedding(*weight.shape)
            _fill(held, {"weight": weight})
            return Embedded(held, mask_zero)
        case Dense(_, weight, bias, activation):
            linear = nn.Linear(weight.shape[1], len(weight), bias=bias is not None)
            _fill(linear, {"weight": weight} | ({} if bias is None else {"bias": bias}))
            return AtEachStep(linear, _function(activation))
        case Activate(_, activation):
            return AtEachStep(None, _function(activation))
        case Dropout(_, rate):
            return AtEachStep(nn.Dropout(rate))
        case Normalisation(_, scale, shift, mean, variance, epsilon):
            norm = nn.BatchNorm1d(len(mean), eps=epsilon)
            ones = np.ones_like(mean)
            weights = {"weight": ones if scale is None else scale}
            weights["bias"] = 0 * ones if shift is None else shift
            _fill(norm, {**weights, "running_mean": mean, "running_var": variance})
            return Normalised(norm)
        case Pool(_, kind, true_steps):
            return Pooled(kind == "mean", true_steps)
        case Recurrent():
            return _recurrent(layer, torch)
    raise InputError(f"layer {layer.name}: torch has no module for {layer.described()}")


def _fill(module: Any, arrays: dict[str, np.ndarray]) -> None:
    import torch

    held = module.state_dict()
    for name, array in arrays.items():
        held[name].copy_(torch.from_numpy(np.array(array)))


def _recurrent(layer: Recurrent, torch: Any) -> nn.Module:
    from tidegate.nn.layer_stack import RecurrentStep
    from tidegate.nn.recurrent_layer import Recurrent as TorchRecurrent

    reverse = [d.reverse for d in layer.directions]
    if layer.turned and layer.every or any(d.cell is not None for d in layer.directions):
        raise InputError(
            f"layer {layer.name}: expected outputs in the order of the steps and one cell, got "
            f"{layer.described()}; predict runs it"
        )
    held = TorchRecurrent(
        layer.cell, layer.sizes["I"], layer.sizes["H"], 1,
        "bias_ih" in layer.directions[0].parameters, batch_first=True,
        bidirectional=len(reverse) > 1, proj_size=layer.sizes["P"],
    )  # fmt: skip
    for d, suffix in zip(layer.directions, ("_l0", "_l0_reverse"), strict=False):
        _fill(held, {f"{name}{suffix}": array for name, array in d.parameters.items()})
    merges: dict[str, Callable[[Any, Any], Any]] = {
        "sum": torch.add, "mul": torch.mul, "ave": lambda a, b: (a + b) / 2,
    }  # fmt: skip
    initial = None
    if any(d.initial is not None for d in layer.directions):
        rows = max(len(d.initial[0]) for d in layer.directions if d.initial)
        states = zip(*(layer.initial(d, rows) for d in layer.directions), strict=True)
        initial = [torch.from_numpy(np.stack(arrays)) for arrays in states]
    return RecurrentStep(
        held, reverse=reverse == [True], every=layer.every, hold=layer.hold,
        merge=merges.get(layer.merge) if len(reverse) > 1 else None, initial=initial,
    )  # fmt: skip


def _function(activation: Activation) -> Callable[[Any], Any] | None:
    """The activation of tensors."""
    import torch

    from tidegate.nn.reference import Operations

    if activation == IDENTITY:
        return None
    if activation.name == "Softmax":
        return lambda a: torch.softmax(a, -1)
    return lambda a: activation.of(Operations, a)

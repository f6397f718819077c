"""torch.nn's recurrent layers within a model, made tidegate's where they stand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from tidegate.acceleration.report import Layer
from tidegate.cells import CELLS, Cell
from tidegate.nn import engine_reach, layers
from tidegate.nn.cell_layers import CellLayer
from tidegate.nn.recurrent_layer import Recurrent

_OURS: dict[type, type[Recurrent]] = {
    getattr(nn, kind): getattr(layers, kind) for kind in ("RNN", "LSTM", "GRU")
}
_STEPS = (nn.RNNCell, nn.LSTMCell, nn.GRUCell)
_KINDS = {kind.__name__ for kind in (*_OURS, *_STEPS)}


def accelerate_modules(
    model: nn.Module, name: str = "", foreign: tuple[type, ...] = ()
) -> Iterator[Layer]:
    """Swap the layers of ``model`` that can be, and say of each recurrent one what was done.

    ``name`` is where ``model`` stands; what is within instances of ``foreign`` is passed over.

    A layer stays the same object with the same parameters, hooks and parametrisations, and becomes
    one of our class.  So whoever holds it, an optimiser, a list or the model's own code, need not
    know.
    """
    fsdp = sys.modules.get("torch.distributed.fsdp")  # it takes a second to import
    wrapped = _within(model, (fsdp.FullyShardedDataParallel,) if fsdp else ())
    passed_over = _within(model, foreign)
    for path, module in model.named_modules(prefix=name):
        kind = _kind_of(module)
        if kind is None or id(module) in passed_over:
            continue
        reason = "it is within FullyShardedDataParallel; call accelerate before that is made"
        if id(module) not in wrapped:
            reason = _reason_against(module)
        if reason is None:
            _become_ours(module)
        yield Layer(path, kind, reason)


def _within(model: nn.Module, kinds: tuple[type, ...]) -> set[int]:
    outer = [module for module in model.modules() if isinstance(module, kinds)]
    return {id(module) for wrapper in outer for module in wrapper.modules()}


def _kind_of(module: nn.Module) -> str | None:
    """The name of the class of a recurrent layer; None for other modules."""
    if isinstance(module, torch.jit.ScriptModule):
        kind = module.original_name
        return kind if kind in _KINDS else None
    kind = parametrize.type_before_parametrizations(module)
    is_recurrent = issubclass(kind, nn.RNNBase | nn.RNNCellBase) or kind.__name__ in _KINDS
    return kind.__name__ if is_recurrent else None


def _reason_against(module: nn.Module) -> str | None:
    """Why this layer cannot be swapped, with what would help; None if it can."""
    kind = parametrize.type_before_parametrizations(module)
    if isinstance(module, Recurrent | CellLayer):
        return "it is tidegate's already"
    if isinstance(module, torch.jit.ScriptModule):
        return "torch.jit has compiled it; accelerate the model that it was made from"
    if hasattr(module, "unshard"):  # fully_shard gives it a class that has this
        return "it is sharded by fully_shard; call accelerate before that"
    if kind in _STEPS:
        return f"one step per call is no faster; torch.nn.{kind.__name__[:-4]} runs whole sequences"
    if kind not in _OURS:
        base = next((b for b in (*_OURS, *_STEPS) if issubclass(kind, b)), None)
        if base is None:
            return f"{kind.__module__}.{kind.__name__} is not torch.nn's class of that name"
        return f"it is a subclass of torch.nn.{base.__name__}, whose code may differ"
    if "forward" in vars(module):
        return "its forward was replaced on this object"
    with torch.no_grad():
        weights = [getattr(module, name) for name in _weight_names(module)]
    return _reason_against_weights(weights)


def _weight_names(module: Any) -> list[str]:
    return [name for names in module._all_weights for name in names]


def _reason_against_weights(weights: list[Any]) -> str | None:
    for weight in weights:
        if not weight.is_cpu:
            return f"its weights are on {weight.device}; the engine runs on the CPU"
        if weight.dtype != torch.float32:
            return f"its weights are {weight.dtype}; the engine computes in float32: call .float()"
    return engine_reach.reason_against_memory(weights)


def _become_ours(module: Any) -> None:
    theirs = parametrize.type_before_parametrizations(module)
    ours: type = _OURS[theirs]
    if parametrize.is_parametrized(module):  # its own class holds a property for each such weight
        properties = {k: v for k, v in vars(type(module)).items() if k != "__doc__"}
        ours = type(f"Parametrized{ours.__name__}", (ours,), properties)
    twin = Recurrent(
        _cell_of(module), module.input_size, module.hidden_size, module.num_layers, module.bias,
        bidirectional=module.bidirectional, proj_size=module.proj_size, device="meta",
    )  # fmt: skip
    lacking = {name: value for name, value in vars(twin).items() if name not in vars(module)}
    module.__class__ = ours
    vars(module).update(lacking)  # the cell, and our own options at their defaults


def _cell_of(module: nn.RNNBase) -> Cell:
    """The cell that torch.nn's layer runs."""
    projects = module.proj_size > 0
    return next(
        cell
        for cell in CELLS.values()
        if cell.torch == module.mode.lower() and cell.is_projected == projects
    )

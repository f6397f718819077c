"""How a task's network starts, where torch's own layers start elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tidegate.cells.parts import Parameter
from tidegate.nn.recurrent_layer import Recurrent

# How a gate's bias goes with the logarithm of the steps that its unit is to remember, by its role.
_CHRONO = {"keeps": 1, "writes": -1}


@torch.no_grad()
def initialise_recurrent(layer: Recurrent, forget_bias: float = 1.0) -> None:
    """Input weights and projections Glorot uniform, recurrent ones orthogonal per block, others 0.

    Of a cell with heads the block of each head is orthogonal.  A vector that stands for recurrent
    weights is uniform from 0 to 1 (Li et al. 2018, arXiv:1803.04831, section 4.1).

    ``forget_bias``: of a gate that keeps the state beside another one that writes it, as the LSTM's
    forget gate, which so keeps sigmoid(forget_bias) of the cell state at first.  Sources: Glorot &
    Bengio 2010; Saxe et al. 2014, arXiv:1312.6120; Jozefowicz et al. 2015 for a forget bias of 1,
    with which the start is that of Keras' GRU and LSTM.
    """
    cell = layer.cell
    forgetting = {(cell.bias_of[gate], gate) for gate in cell.forget_gates}
    for name, parameter, stacked in _parameters(layer):
        blocks = stacked.chunk(len(parameter.blocks))
        for gate, block in zip(parameter.blocks, blocks, strict=True):
            match parameter.role:
                case "recurrent":
                    for of_head in block.chunk(layer.num_heads):
                        nn.init.orthogonal_(of_head)
                case "input" | "projection":
                    nn.init.xavier_uniform_(block)
                case "vector" if parameter.stands_for == "recurrent":
                    nn.init.uniform_(block)
                case _:
                    nn.init.constant_(block, forget_bias if (name, gate) in forgetting else 0.0)


@torch.no_grad()
def initialise_chrono(layer: Recurrent, longest: int) -> None:
    """Biases of the gates for memories of 2 to ``longest`` steps; all else stays as it is.

    Each unit's bias is drawn anew: b = log U(1, longest - 1) for gates that keep the state, as the
    LSTM's forget gate and the GRU's update gate, and -b for those that write it, as the LSTM's
    input gate.  At first a state so fades over exp(b) + 1 steps.  A simple RNN has no gates, and
    nothing is changed.  Raises ValueError for ``longest`` below 3 and for a gated layer without
    biases.

    Source: Tallec & Ollivier 2018, Can recurrent neural networks warp time?, arXiv:1804.11188.
    """
    if longest < 3:
        raise ValueError(f"longest: expected 3 steps or more, got {longest}; give more")
    signs = {g: _CHRONO[gate.role] for g, gate in layer.cell.gates.items() if gate.role in _CHRONO}
    if not signs:
        return
    if not layer.bias:
        raise ValueError("layer: expected one with biases, got bias=False; make it with them")
    b = torch.empty(0)
    for name, parameter, stacked in _parameters(layer):
        if not parameter.is_bias and parameter.stands_for != "bias":
            continue
        blocks = stacked.chunk(len(parameter.blocks))
        if parameter.role == "input bias":  # the first of a layer's, which are summed
            b = torch.empty_like(blocks[0]).uniform_(1, longest - 1).log()
        for gate, block in zip(parameter.blocks, blocks, strict=True):
            if gate in signs:
                block.copy_(signs[gate] * b) if name == layer.cell.bias_of[gate] else block.zero_()


def _parameters(layer: Recurrent) -> Iterator[tuple[str, Parameter, Tensor]]:
    """Every tensor of ``layer``, in torch.nn's order, with what its cell says of it."""
    for k in range(layer.num_layers):
        for reverse in (False, True)[: layer.directions]:
            weights = layer.layer_weights(k, reverse)
            for (name, parameter), weight in zip(
                layer.cell.parameters.items(), weights, strict=True
            ):
                if weight is not None:
                    yield name, parameter, weight

"""How a task's network starts, where torch's own layers start elsewhere."""

from __future__ import annotations

import torch
from torch import nn

from tidegate.nn.recurrent_layer import RecurrentLayer

# How a gate's bias goes with the logarithm of the steps that its unit is to remember.
_CHRONO = {"forget gate": 1, "input gate": -1, "update gate": 1}  # z keeps: cells/gru.py


@torch.no_grad()
def initialise_recurrent(layer: RecurrentLayer, forget_bias: float = 1.0) -> None:
    """Input weights Glorot uniform, recurrent ones orthogonal per block, biases 0.

    ``forget_bias``: of an LSTM's forget gate, which so keeps sigmoid(forget_bias) of the cell state
    at first.  Sources: Glorot & Bengio 2010; Saxe et al. 2014, arXiv:1312.6120; Jozefowicz et al.
    2015 for a forget bias of 1, with which the start is that of Keras' GRU and LSTM.
    """
    size = layer.hidden_size
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_hh"):
            for block in parameter.split(size):
                nn.init.orthogonal_(block)
        elif name.startswith("weight_ih"):
            for block in parameter.split(size):
                nn.init.xavier_uniform_(block)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                for block, meaning in zip(
                    parameter.split(size), layer.cell.gates.values(), strict=True
                ):
                    block.fill_(forget_bias if meaning == "forget gate" else 0.0)


@torch.no_grad()
def initialise_chrono(layer: RecurrentLayer, longest: int) -> None:
    """Biases of the gates for memories of 2 to ``longest`` steps; all else stays as it is.

    Each unit's bias is drawn anew: that of the forget gate b = log U(1, longest - 1), of the input
    gate -b, of the GRU's update gate, which here keeps the old state, b.  At first a state so
    fades over exp(b) + 1 steps.  A simple RNN has no gates, and nothing is changed.  Raises
    ValueError for ``longest`` below 3 and for a gated layer without biases.

    Source: Tallec & Ollivier 2018, Can recurrent neural networks warp time?, arXiv:1804.11188.
    """
    if longest < 3:
        raise ValueError(f"longest: expected 3 steps or more, got {longest}")
    signs = [_CHRONO.get(meaning) for meaning in layer.cell.gates.values()]
    if not any(signs):
        return
    if not layer.bias:
        raise ValueError("layer: expected one with biases, got bias=False")
    parameters = dict(layer.named_parameters())
    for name in [n for n in parameters if n.startswith("bias_ih")]:
        inputs, recurrent = (
            parameters[n].split(layer.hidden_size) for n in (name, name.replace("_ih", "_hh"))
        )
        b = torch.empty_like(inputs[0]).uniform_(1, longest - 1).log()
        for sign, input_block, recurrent_block in zip(signs, inputs, recurrent, strict=True):
            if sign is not None:
                input_block.copy_(sign * b)
                recurrent_block.zero_()  # the two biases of torch.nn's layers are summed

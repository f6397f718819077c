"""How a task's network starts, where torch's own layers start elsewhere."""

from __future__ import annotations

import torch
from torch import nn

from tidegate.nn.layers import RecurrentLayer


@torch.no_grad()
def initialise_recurrent(layer: RecurrentLayer) -> None:
    """Input weights Glorot uniform, recurrent ones orthogonal per block, biases 0, forget bias 1.

    Sources: Glorot & Bengio 2010; Saxe et al. 2014, arXiv:1312.6120; Jozefowicz et al. 2015 for
    the forget bias.  The same start as Keras' GRU and LSTM.
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
                    block.fill_(1.0 if meaning == "forget gate" else 0.0)

"""A network's weights, from torch to the arrays that predict, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tidegate.model.architecture import Architecture
from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.nn.encoder_decoder import EncoderDecoderNetwork
from tidegate.nn.network import SequenceNetwork
from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime
from tidegate.runtime.network import Network


def network_on_arrays(network: Any) -> Any:
    """The same network without torch; its weights are copies, float32.

    A SequenceNetwork gives a Network, an EncoderDecoderNetwork an EncoderDecoderRuntime.
    """
    two = isinstance(network, EncoderDecoderNetwork)
    tensors = {
        n: t.detach().cpu().numpy().astype(np.float32) for n, t in network.state_dict().items()
    }
    return (EncoderDecoderRuntime if two else Network)(network.architecture, tensors)


def torch_network(
    architecture: Architecture | EncoderDecoder, tensors: Mapping[str, np.ndarray]
) -> Any:
    """The network that these tensors make, in evaluation mode on the CPU; they are copied."""
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
        if isinstance(architecture, EncoderDecoder):
            network = EncoderDecoderNetwork(architecture)
        else:
            network = SequenceNetwork(architecture)
    network.load_state_dict({n: torch.from_numpy(a) for n, a in tensors.items()})
    return network.eval()

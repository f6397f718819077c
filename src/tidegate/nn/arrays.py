"""A network's weights, from torch to the arrays that predict, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from tidegate.model.architecture import Architecture
from tidegate.nn.network import SequenceNetwork
from tidegate.runtime.network import Network


def network_on_arrays(network: SequenceNetwork) -> Network:
    """The same network without torch; its weights are copies, float32."""
    return Network(
        network.architecture,
        {n: t.detach().cpu().numpy().astype(np.float32) for n, t in network.state_dict().items()},
    )


def torch_network(architecture: Architecture, tensors: Mapping[str, np.ndarray]) -> SequenceNetwork:
    """The network that these tensors make, in evaluation mode on the CPU; they are copied."""
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and replaced
        network = SequenceNetwork(architecture)
    network.load_state_dict({n: torch.from_numpy(a) for n, a in tensors.items()})
    return network.eval()

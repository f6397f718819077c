"""The network that is being trained, as what judges and scores a network takes it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tidegate.nn.chunked_softmax import cross_entropies, summed_cross_entropy
from tidegate.nn.network import (
    ConditionedTokens,
    Inputs,
    NetworkState,
    SentencedTokens,
    SequenceNetwork,
    SpelledTokens,
    TokensAndEvidence,
)
from tidegate.runtime.batches import Run
from tidegate.runtime.scoring import IGNORED


def network_inputs(padded: np.ndarray, device: torch.device | None = None) -> Inputs:
    """What ``pad_sequences`` made, as the network reads it: of tokens alone, or of records."""
    if padded.dtype.names is None:
        return torch.from_numpy(padded).to(device)
    names = padded.dtype.names  # in the order of the fields of what is made of them
    parts = (torch.from_numpy(np.ascontiguousarray(padded[name])).to(device) for name in names)
    if "condition" in names:
        return ConditionedTokens(*parts)
    if "sentence" in names:
        return SentencedTokens(*parts)
    return (SpelledTokens if "letters" in names else TokensAndEvidence)(*parts)


def as_function(network: SequenceNetwork) -> Run:
    """The network from arrays to arrays, on the device where it is trained."""

    @torch.no_grad()
    def run(inputs: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
        steps = None if lengths is None else torch.from_numpy(lengths)
        outputs, _ = network(network_inputs(inputs, network.device), steps)
        return outputs.cpu().numpy()

    return run


class TorchReader:
    """The network as a ``runtime.scoring.Reader``, on the device where it is trained."""

    def __init__(self, network: SequenceNetwork) -> None:
        self.network = network

    @torch.no_grad()
    def features(
        self, inputs: np.ndarray, lengths: None, state: NetworkState | None
    ) -> tuple[Tensor, NetworkState]:
        if inputs.dtype.names is None:
            inputs = inputs.astype(np.int64)
        return self.network.features(network_inputs(inputs, self.network.device), lengths, state)

    def forgotten(self, state: NetworkState, streams: np.ndarray) -> NetworkState:
        return forgotten(state, torch.from_numpy(streams).to(self.network.device))

    def nats(self, features: Tensor, targets: np.ndarray) -> np.ndarray:
        found = np.full(targets.shape, np.nan, np.float32)
        scored = targets != IGNORED
        at = torch.from_numpy(scored).to(features.device)
        wanted = torch.from_numpy(targets[scored]).to(features.device)
        network = self.network
        nats = cross_entropies(features[at], network.output_weight, network.dense.bias, wanted)
        found[scored] = nats.cpu().numpy()
        return found


def nats(network: SequenceNetwork, features: Tensor, targets: Tensor) -> tuple[Tensor, int]:
    """Sum of -log p over the targets that are scored, and their number."""
    features, targets = features.reshape(-1, features.shape[-1]), targets.flatten()
    if (targets == IGNORED).any():
        scored = (targets != IGNORED).nonzero().squeeze(1)
        features, targets = features[scored], targets[scored]
    total = summed_cross_entropy(features, network.output_weight, network.dense.bias, targets)
    return total, len(targets)


def forgotten(state: NetworkState, streams: Tensor) -> NetworkState:
    """Zeros for ``streams``, bool [B], the others as they are."""
    kept = ~streams[:, None]
    return [tuple(part * kept for part in layer) for layer in state]

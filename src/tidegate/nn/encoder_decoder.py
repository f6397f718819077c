"""An encoder and a decoder with attention between them, on torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.nn.network import NetworkState, SequenceNetwork


class EncoderDecoderNetwork(nn.Module):
    """What an `EncoderDecoder` describes; ``options`` are those of `SequenceNetwork`.

    ``forward(sources, lengths, targets)``: sources int64 [S, B] with lengths int64 [B], targets as
    the decoder reads them, int64 [T, B].  Returns logits [T, B, V].
    """

    def __init__(self, architecture: EncoderDecoder, **options: Any) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.source = SequenceNetwork(a.source, **options)
        self.target = SequenceNetwork(a.target, **options)
        self.start = nn.ModuleList(nn.ModuleDict() for _ in a.target.hidden_sizes)
        for k, name, width, read in a.starts():
            states = self.start[k]
            assert isinstance(states, nn.ModuleDict)
            states[name] = _linear(read, width)
        self.attention = Attention(a.target.feature_size, a.score)

    def forward(self, sources: Tensor, lengths: Tensor, targets: Tensor) -> Tensor:
        return self.target.output(self.features(sources, lengths, targets))

    def features(
        self, sources: Tensor, lengths: Tensor, targets: Tensor, steps: Tensor | None = None
    ) -> Tensor:
        """What the decoder's dense layer sees, [T, B, F]; ``steps`` [B]: each target's length."""
        return self.attended(*self.encoded(sources, lengths), lengths, targets, steps)[0]

    def encoded(self, sources: Tensor, lengths: Tensor) -> tuple[Tensor, NetworkState]:
        """The memory [S, B, F], and the state that the decoder begins with."""
        memory, final = self.source(sources, lengths)
        start: NetworkState = []
        for maps, ends in zip(self.start, final, strict=True):
            assert isinstance(maps, nn.ModuleDict)
            # both directions of each state [D, B, H] beside one another
            read = (end.transpose(0, 1).flatten(1) for end in ends)
            start.append(
                tuple(m(end).unsqueeze(0) for m, end in zip(maps.values(), read, strict=True))
            )
        return memory, start

    def attended(
        self,
        memory: Tensor,
        start: NetworkState,
        lengths: Tensor,
        targets: Tensor,
        steps: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The same of what ``encoded`` gave, and the attention's weights [B, T, S]."""
        queries, _ = self.target.features(targets, steps, start)
        return self.attention(queries, memory, lengths)


class Attention(nn.Module):
    """Features [T, B, F] of queries [T, B, F] and the memory [S, B, F] of true ``lengths`` [B].

    Beside them the weights of the memory, [B, T, S].
    """

    def __init__(self, width: int, score: str) -> None:
        super().__init__()
        self.query = self.key = self.energy = None
        if score != "dot":
            self.query = _linear(width, width, bias=False)
        if score == "additive":
            self.key = _linear(width, width, bias=False)
            self.energy = _linear(width, 1, bias=False)
        self.combine = _linear(2 * width, width)

    def forward(self, queries: Tensor, memory: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        q, m = queries.transpose(0, 1), memory.transpose(0, 1)  # [B, T, F], [B, S, F]
        asked = q if self.query is None else self.query(q)
        if self.key is None or self.energy is None:
            scores = asked @ m.transpose(1, 2)
        else:
            pairs = torch.tanh(asked.unsqueeze(2) + self.key(m).unsqueeze(1))  # [B, T, S, F]
            scores = self.energy(pairs).squeeze(-1)
        outside = torch.arange(m.shape[1], device=m.device) >= lengths.to(m.device).unsqueeze(1)
        weights = scores.masked_fill(outside.unsqueeze(1), -torch.inf).softmax(-1)
        seen = torch.cat((weights @ m, q), -1)
        return torch.tanh(self.combine(seen)).transpose(0, 1), weights


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Glorot uniform weights (Glorot & Bengio 2010), no bias at first."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer

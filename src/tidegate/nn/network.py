"""The network of every task: tokens or values in, stacked recurrent layers, one dense layer out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tidegate.cells import Cell
from tidegate.model.architecture import REGULARISERS, Architecture
from tidegate.nn.dropout import dropout
from tidegate.nn.init import initialise_chrono, initialise_recurrent
from tidegate.nn.spelling import Spelling
from tidegate.nn.stack import Stack
from tidegate.runtime.sentences import grouped

NetworkState = list[tuple[Tensor, ...]]


class TokensAndEvidence(NamedTuple):
    """What a network with evidence reads: tokens int64 [T, B], evidence float [T, B, E]."""

    tokens: Tensor
    evidence: Tensor


class SpelledTokens(NamedTuple):
    """What a network with letters reads: tokens int64 [T, B], letters int64 [T, B, K], 0 beyond a
    word's end, evidence float [T, B, E], of which E may be 0.
    """

    tokens: Tensor
    letters: Tensor
    evidence: Tensor


class ConditionedTokens(NamedTuple):
    """What a network with conditions reads: tokens int64 [T, B], condition float [T, B, C], the
    same at every step of a sequence.
    """

    tokens: Tensor
    condition: Tensor


class SentencedTokens(NamedTuple):
    """What a network that reads sentences reads: tokens int64 [T, B], evidence float [T, B, E], of
    which E may be 0, and of each token its sentence's number, int [T, B], as ``grouped`` takes it.
    """

    tokens: Tensor
    evidence: Tensor
    sentences: Tensor


Inputs = Tensor | TokensAndEvidence | SpelledTokens | ConditionedTokens | SentencedTokens


class SequenceNetwork(nn.Module):
    """What an `Architecture` describes.

    ``forget_bias`` is that of forget gates at first; with ``chrono`` all gates are set for memories
    of so many steps.  ``embedding_scale``: the standard deviation of the numbers in
    tokens' vectors at first (default: 1 / sqrt(embedding_size), so that a vector has length 1).

    ``forward(inputs, lengths, state)``: inputs int64 [T, B] tokens, float [T, B, I] values,
    TokensAndEvidence, SpelledTokens, ConditionedTokens or SentencedTokens; lengths int64 [B] or
    None; state as a former call returned it, or None for what a sequence begins with: zeros, or
    what its condition makes.  Returns outputs [T, B, O] (readout ``every``) or [B, O], and the
    state: one tuple per layer.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        chrono: int | None = None,
        forget_bias: float = 1.0,
        embedding_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.architecture = a = architecture
        self.embedding = None
        if a.vocabulary_size is not None:
            assert a.embedding_size is not None
            self.embedding = nn.Embedding(a.vocabulary_size, a.embedding_size)
            nn.init.normal_(self.embedding.weight, std=embedding_scale or a.embedding_size**-0.5)
        self.evidence = None
        if a.evidence_size:
            assert a.embedding_size is not None
            self.evidence = nn.Linear(a.evidence_size, a.embedding_size, bias=False)
        self.spelling = Spelling(a) if a.letters else None
        self.initial = None
        if a.condition_size:
            self.initial = nn.ModuleList(map(self._initial_maps, a.layer_cells, a.layer_sizes()))
        regularisers: dict[str, Any] = {name: getattr(a, name) for name in REGULARISERS}
        # where no weights read the state, there are none to drop
        regularisers["recurrent_dropout"] = [
            0.0 if cell.seen_width is None else a.recurrent_dropout for cell in a.layer_cells
        ]
        later = range(1, len(a.hidden_sizes))
        self.recurrent = Stack(
            [sizes["I"] for sizes in a.layer_sizes()],
            a.hidden_sizes,
            a.cells,
            dropout=a.dropout,
            residual=[False, *(a.residual for _ in later)],
            norm=[False, *(a.layer_norm for _ in later)],
            bidirectional=a.bidirectional,
            proj_size=[sizes["P"] for sizes in a.layer_sizes()],
            num_heads=[sizes.get("K", 1) for sizes in a.layer_sizes()],
            **regularisers,
        )
        if self.spelling is not None:
            initialise_recurrent(self.spelling.recurrent, forget_bias)
        for layer in self.recurrent:
            initialise_recurrent(layer, forget_bias)
            if chrono is not None:
                initialise_chrono(layer, chrono)
        between = a.layer_output_sizes()[:-1] if a.batch_norm else ()
        self.norms = nn.ModuleList(map(SequenceBatchNorm, between))
        self.dense = nn.Linear(a.feature_size, a.output_size)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)
        if a.tie_embeddings:
            self.dense.weight = None  # pyright: ignore[reportAttributeAccessIssue]
        self.linear = None
        if a.linear_steps:
            self.linear = nn.Linear(a.linear_steps * a.linear_width, a.output_size, bias=False)
            nn.init.zeros_(self.linear.weight)
        self.transitions = None
        if a.crf:
            self.transitions = nn.Linear(a.output_size + 1, a.output_size + 1, bias=False)
            nn.init.zeros_(self.transitions.weight)

    def _initial_maps(self, cell: Cell, sizes: dict[str, int]) -> nn.ModuleDict:
        """From the condition to each state of a layer; nothing at first."""
        a, maps = self.architecture, nn.ModuleDict()
        for name, width in zip(cell.states, cell.state_sizes(sizes), strict=True):
            maps[name] = nn.Linear(a.condition_size, width, bias=False)
            nn.init.zeros_(maps[name].weight)  # pyright: ignore[reportArgumentType]
        return maps

    @property
    def output_weight(self) -> Tensor:
        """The dense layer's weight [O, F], which may be the embedding's."""
        if self.architecture.tie_embeddings:
            assert self.embedding is not None  # held by Architecture
            return self.embedding.weight
        return self.dense.weight

    @property
    def device(self) -> torch.device:
        return self.dense.bias.device

    def forward(
        self, inputs: Inputs, lengths: Tensor | None = None, state: NetworkState | None = None
    ) -> tuple[Tensor, NetworkState]:
        features, final = self.features(inputs, lengths, state)
        outputs = self.output(features)
        if self.linear is not None:
            last = _last_steps(_of_line(inputs), lengths, self.architecture.linear_steps)
            outputs = outputs + self.linear(last)
        return outputs, final

    def output(self, features: Tensor) -> Tensor:
        """The dense layer on what ``features`` returned."""
        return F.linear(features, self.output_weight, self.dense.bias)

    def features(
        self, inputs: Inputs, lengths: Tensor | None = None, state: NetworkState | None = None
    ) -> tuple[Tensor, NetworkState]:
        """What the dense layer sees, [T, B, F] or [B, F], and the state; arguments of ``forward``.

        A softmax over many words is better not applied to all of it at once.
        """
        a = self.architecture
        condition = None
        if isinstance(inputs, ConditionedTokens):
            inputs, condition = inputs
        x, letters, evidence = _parts(inputs)
        if self.embedding is not None:
            x = dropout(self.embedding(x), a.embedding_dropout, self.training)
        if self.evidence is not None:
            assert evidence is not None
            x = x + self.evidence(evidence)
        if self.spelling is not None:
            assert letters is not None
            spelled = dropout(self.spelling(letters), a.embedding_dropout, self.training)
            x = torch.cat([x, spelled], dim=-1)
        if condition is not None:
            x = torch.cat([x, condition], dim=-1)
            state = self._begun(condition[0]) if state is None else state
        groups = None
        if isinstance(inputs, SentencedTokens):
            groups = grouped(inputs.sentences.cpu().numpy())
            x = x.flatten(0, 1)[torch.from_numpy(groups.tokens).to(x.device)]
            lengths = torch.from_numpy(groups.lengths)
        final: NetworkState = []
        for k in range(len(self.recurrent)):
            if k > 0 and self.norms:
                x = self.norms[k - 1](x, lengths)
            before = None if state is None else state[k]
            if before is not None and len(before) == 1:
                before = before[0]
            x, after = self.recurrent.run(k, x, before, lengths)
            final.append(after if isinstance(after, tuple) else (after,))
            if k == 0 and groups is not None:
                sums = self._read_out(x, final[0][0], lengths)
                x = sums[torch.from_numpy(groups.places).to(x.device)]
                lengths = torch.from_numpy(groups.counts)
        if a.readout != "every":
            last = self._last(x, lengths) if a.has_shortcuts else final[-1][0]
            x = self._read_out(x, last, lengths)
        return dropout(x, a.dropout, self.training), final

    def _begun(self, condition: Tensor) -> NetworkState:
        """The state that a condition [B, C] makes."""
        assert self.initial is not None
        return [
            tuple(linear(condition).unsqueeze(0) for linear in maps.values())  # pyright: ignore
            for maps in self.initial
        ]

    def initial_state(self, batch_size: int) -> NetworkState:
        """Zeros: one tuple per layer of [directions, B, width of the state]."""
        a, bias = self.architecture, self.dense.bias
        return [
            tuple(
                bias.new_zeros(a.directions, batch_size, width) for width in cell.state_sizes(sizes)
            )
            for cell, sizes in zip(a.layer_cells, a.layer_sizes(), strict=True)
        ]

    def _last(self, y: Tensor, lengths: Tensor | None) -> Tensor:
        """What each direction put out at its own last step, [D, B, W] of y [T, B, D*W]."""
        rows = torch.arange(y.shape[1], device=y.device)
        ends = torch.full_like(rows, len(y)) if lengths is None else lengths.to(y.device)
        halves = y.chunk(self.architecture.directions, dim=-1)
        return torch.stack([halves[0][(ends - 1).clamp(min=0), rows], *(h[0] for h in halves[1:])])

    def _read_out(self, y: Tensor, h: Tensor, lengths: Tensor | None) -> Tensor:
        """[B, features] of the last layer's outputs y [T, B, D*H] and its last ones h [D, B, H]."""
        features = []
        for part in self.architecture.readout.split("+"):
            if part == "last":  # each direction's own last step
                features.append(torch.cat(tuple(h), dim=-1))
            elif lengths is None:
                features.append(y.mean(0) if part == "mean" else y.amax(0))
            elif part == "mean":
                features.append(y.sum(0) / lengths.clamp(min=1).to(y).unsqueeze(1))
            else:
                inside = _inside(y, lengths)
                empty = (lengths == 0).to(y.device).unsqueeze(1)
                highest = y.masked_fill(~inside, -torch.inf).amax(0)
                features.append(torch.where(empty, 0.0, highest))
        return torch.cat(features, dim=-1)


def _of_line(inputs: Inputs) -> Tensor:
    """The steps of which the line is: values, or evidence."""
    if isinstance(inputs, Tensor):
        return inputs
    assert isinstance(inputs, TokensAndEvidence | SentencedTokens)
    assert inputs.evidence is not None
    return inputs.evidence


def _parts(
    inputs: Tensor | TokensAndEvidence | SpelledTokens | SentencedTokens,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Tokens or values, letters, evidence; None for what is not read."""
    if isinstance(inputs, SpelledTokens):
        return inputs
    if isinstance(inputs, SentencedTokens):
        return inputs.tokens, None, inputs.evidence
    if isinstance(inputs, TokensAndEvidence):
        return inputs.tokens, None, inputs.evidence
    return inputs, None, None


class SequenceBatchNorm(nn.Module):
    """Batch normalisation of [T, B, F] over true steps alone (Ioffe & Szegedy 2015).

    Padding counts neither in the statistics nor in the output, which stays zero there.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return self._normalise(x.flatten(0, 1)).view_as(x)
        inside = _inside(x, lengths).squeeze(-1)
        return torch.zeros_like(x).masked_scatter(
            inside.unsqueeze(-1).expand_as(x), self._normalise(x[inside])
        )

    def _normalise(self, rows: Tensor) -> Tensor:
        # one row has no variance to learn from: use what is known
        training = self.training and len(rows) > 1
        return F.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, training
        )


def _last_steps(x: Tensor, lengths: Tensor | None, steps: int) -> Tensor:
    """The last ``steps`` true steps of x [T, B, I], zeros before the first, [B, steps * I]."""
    if lengths is None:
        last = F.pad(x[-steps:], (0, 0, 0, 0, max(steps - len(x), 0), 0))
    else:
        places = torch.arange(steps, device=x.device)[:, None] + lengths.to(x.device)
        padded = F.pad(x, (0, 0, 0, 0, steps, 0))
        last = padded.gather(0, places[..., None].expand(-1, -1, x.shape[2]))
    return last.transpose(0, 1).flatten(1)


def _inside(y: Tensor, lengths: Tensor) -> Tensor:
    """Which steps are true ones, [T, B, 1]."""
    t = torch.arange(y.shape[0], device=y.device).unsqueeze(1)
    return (t < lengths.to(y.device)).unsqueeze(-1)


def detach_state(state: NetworkState) -> NetworkState:
    """Cut the graph: truncated back-propagation through time carries values, not gradients."""
    return [tuple(s.detach() for s in layer) for layer in state]

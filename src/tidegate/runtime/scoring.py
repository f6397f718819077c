"""How well a network predicts each next token of a text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from tidegate.data.sequences.sequences import pad_sequences, with_condition

if TYPE_CHECKING:
    from tidegate.runtime.mixture import Mixture

IGNORED = -100  # target of a step that is not scored
_TEXT_STEPS = 20_000  # of a batch of texts, padding included
_SCORED_STEPS = 200  # of a text at a time; bounds the memory for their states


# Tokens int32 [T] of each text, framed, and the conditions of the texts, float32 [N, C].
TextsAndConditions = tuple[Sequence[np.ndarray], np.ndarray]


class Reader(Protocol):
    """A language model's network, which reads streams of text a piece at a time.

    `Network` is one; training makes one of the network that it trains.  States and features are
    what each likes.
    """

    def features(self, inputs: np.ndarray, lengths: None, state: Any) -> tuple[Any, Any]:
        """Features [T, B, F] of tokens [T, B], and the state after them.

        A state of None is what a text begins with.
        """
        ...

    def forgotten(self, state: Any, streams: np.ndarray) -> Any:
        """The state with zeros for ``streams``, bool [B]."""
        ...

    def nats(self, features: Any, targets: np.ndarray) -> np.ndarray:
        """-log p at the targets, int64 [...] as features [..., F]; NaN where ``IGNORED``."""
        ...


class Score(NamedTuple):
    """Sum of -log p over ``tokens`` scored tokens, in nats."""

    nats: float
    tokens: int

    @property
    def cross_entropy(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens if self.tokens else math.nan


def score(
    network: Reader,
    tokens: np.ndarray,
    never_target: int | None = None,
    mixture: Mixture | None = None,
    *,
    streams: int = 64,
    warm_up: int = 512,
) -> Score:
    """Score every token of a text but the first, each exactly once, given all before it.

    ``never_target``: a token that is given, not predicted.  ``mixture``: with what the network is
    mixed.  A long text is read in parallel stretches.  Each is entered ``warm_up`` tokens early,
    unscored, so that its state has forgotten where it began; a text too short for that is one
    stretch.
    """
    nats = token_nats(network, tokens, never_target, streams=streams, warm_up=warm_up)
    return total(nats if mixture is None else mixture.nats(tokens, nats))


def total(nats: np.ndarray) -> Score:
    """The score of tokens with these nats, NaN for those that are not scored."""
    scored = ~np.isnan(nats)
    return Score(float(nats[scored].sum(dtype=np.float64)), int(scored.sum()))


def token_nats(
    network: Reader,
    tokens: np.ndarray,
    never_target: int | None = None,
    *,
    streams: int = 64,
    warm_up: int = 512,
) -> np.ndarray:
    """The same token by token: -log p by the network, float32 [T], NaN where none is scored."""
    found = np.full(len(tokens), np.nan, np.float32)
    for positions, features, targets in _read(network, tokens, never_target, streams, warm_up):
        scored = targets != IGNORED
        found[positions[scored] + 1] = network.nats(features, targets)[scored]
    return found


def text_nats(
    network: Reader, texts: Sequence[np.ndarray], conditions: np.ndarray
) -> list[np.ndarray]:
    """-log p of each token of each text but the first, float32 [T - 1] each.

    ``texts``: tokens int [T] each, T from 1; ``conditions``: float32 [N, C].  A text's figures do
    not depend on the other texts.
    """
    found: list[np.ndarray] = [np.empty(0, np.float32)] * len(texts)
    order = np.argsort([len(text) for text in texts], kind="stable")[::-1]
    while len(order):
        rows, order = np.split(order, [max(1, _TEXT_STEPS // max(1, len(texts[order[0]])))])
        inputs, targets = padded_texts([texts[i] for i in rows])
        features, _ = network.features(with_condition(inputs, conditions[rows]), None, None)
        nats = network.nats(features, targets)
        for column, i in enumerate(rows):
            found[i] = nats[: len(texts[i]) - 1, column]
    return found


def padded_texts(texts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What is read of texts, [T, B], and the token after each, int64 [T, B], IGNORED beyond."""
    inputs, lengths = pad_sequences([text[:-1] for text in texts])
    targets, _ = pad_sequences([text[1:].astype(np.int64) for text in texts])
    targets[np.arange(len(targets))[:, None] >= lengths] = IGNORED
    return inputs, targets


def stretches(
    network: Reader,
    tokens: np.ndarray,
    never_target: int | None = None,
    mixture: Mixture | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same by stretches of up to 200 tokens that follow one another: each one's first token's
    position, its nats, and how many of its tokens are scored, [S] each.

    A stretch scores the tokens that come after those from its first to the next one's.
    """
    nats = token_nats(network, tokens, never_target)
    if mixture is not None:
        nats = mixture.nats(tokens, nats)
    first = np.arange(0, max(len(tokens) - 1, 0), _SCORED_STEPS)
    if not len(first):
        return first, np.zeros(0), first
    scored = ~np.isnan(nats[1:])
    summed = np.add.reduceat(np.where(scored, nats[1:], 0.0), first, dtype=np.float64)
    return first, summed, np.add.reduceat(scored, first, dtype=np.int64)


def _read(
    network: Reader, tokens: np.ndarray, never_target: int | None, streams: int, warm_up: int
) -> Iterator[tuple[np.ndarray, Any, np.ndarray]]:
    """For some steps at a time of all streams: the tokens' positions in the text, [T, B], the
    features, [T, B, F], and the targets, [T, B], of which those not to be scored are ``IGNORED``.
    """
    total = len(tokens) - 1
    if total < 1:
        return
    streams = max(1, min(streams, total // (4 * warm_up)))
    span = -(-total // streams)
    warm_up = warm_up if streams > 1 else 0
    first = span * np.arange(streams)  # position of each stretch's first input
    state = None
    for begin in [*range(-warm_up, 0, _SCORED_STEPS), *range(0, span, _SCORED_STEPS)]:
        end = min(begin + _SCORED_STEPS, 0 if begin < 0 else span)
        if begin == 0 and state is not None:
            # nothing stands before the text's first token
            state = network.forgotten(state, np.arange(streams) == 0)
        positions = first + np.arange(begin, end)[:, None]
        features, state = network.features(tokens[positions.clip(0, total)], None, state)
        if begin < 0:
            continue
        following = positions + 1
        inside = (following <= total) & (positions < first + span)
        targets = np.where(inside, tokens[following.clip(0, total)], IGNORED).astype(np.int64)
        if never_target is not None:
            targets[targets == never_target] = IGNORED
        yield positions, features, targets

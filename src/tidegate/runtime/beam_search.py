"""The likeliest answers of an encoder and decoder to sources, found by beam search.

A beam of one is greedy: the likeliest token at each step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.runtime.encoder_decoder import Decoding, EncoderDecoderRuntime

_NUMBERS = 400_000  # of a batch's memory and beams, padding included
_ROWS = 512  # of a batch


class Found(NamedTuple):
    """An answer without its end: tokens int64 [T], attention float32 [T, S], S without the end.

    ``log_probability``: of the answer and its end, in nats.
    """

    tokens: np.ndarray
    attention: np.ndarray
    log_probability: float


def answers(
    runtime: EncoderDecoderRuntime,
    sources: Sequence[np.ndarray],
    *,
    beam: int = 1,
    length_penalty: float = 0.0,
    forbidden: Sequence[int] = (),
) -> list[Found]:
    """The best answer to each source, tokens int [S] with the end.

    ``beam``: answers that are followed at a time.  Of those that have ended the best one has the
    highest log-probability over ((5 + T) / 6) ** ``length_penalty``, T counting the end (Wu et al.
    2016, arXiv:1609.08144, equation 14).  ``forbidden`` tokens are never written.
    """
    found: list[Found | None] = [None] * len(sources)
    for rows in _batches([len(source) for source in sources], beam):
        some = [sources[i] for i in rows]
        search = _Search(runtime, some, beam, length_penalty, forbidden)
        for i, one in zip(rows, search.run(), strict=True):
            found[i] = one
    return [one for one in found if one is not None]


def _batches(lengths: Sequence[int], beam: int) -> Iterator[list[int]]:
    """Row numbers of sources of like lengths, so many at a time as memory is meant for."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    while order:
        longest = max(1, lengths[order[-1]])
        count = max(1, min(_ROWS // beam, _NUMBERS // (longest * beam)))
        yield order[-count:]
        del order[-count:]


class _Step(NamedTuple):
    """One step of all sources that are still looked for, ``open`` their numbers, rising.

    ``tokens`` and ``parents`` [B, K]: what each beam goes on with, and which beam of the step
    before it goes on from; ``weights`` [B, K, S]: what those before attended to.
    """

    open: np.ndarray
    tokens: np.ndarray
    parents: np.ndarray
    weights: np.ndarray


class _Search:
    """B sources with K beams each."""

    def __init__(
        self,
        runtime: EncoderDecoderRuntime,
        sources: Sequence[np.ndarray],
        beam: int,
        length_penalty: float,
        forbidden: Sequence[int],
    ) -> None:
        padded, lengths = pad_sequences(sources)
        self.decoding = Decoding(runtime, *runtime.encoded(padded, lengths), beam)
        self.lengths = lengths - 1  # without the end
        self.K, self.penalty, self.forbidden = beam, length_penalty, list(forbidden)
        self.longest = runtime.architecture.longest
        self.end = runtime.architecture.target.output_size - 1
        self.best: list[Found | None] = [None] * len(sources)
        self.best_score = np.full(len(sources), -np.inf)
        self.ended = np.zeros(len(sources), int)
        self.steps: list[_Step] = []
        self.open = np.arange(len(sources))
        self.totals = np.full((len(sources), beam), -np.inf)
        self.totals[:, 0] = 0.0  # the others would be the same

    def run(self) -> list[Found]:
        tokens = np.full(self.totals.size, self.end)
        while len(self.open):
            log_p, weights = self.decoding.step(tokens)
            tokens = self._go_on(log_p, weights)
        return [one for one in self.best if one is not None]

    def _go_on(self, log_p: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Take the best continuations; the tokens that the rows still open read next."""
        B, K = self.totals.shape  # noqa: N806
        log_p[:, self.forbidden] = -np.inf
        if len(self.steps) == self.longest:  # nothing but the end may follow
            log_p[:, : self.end] = -np.inf
        totals = (self.totals[:, :, None] + log_p.reshape(B, K, -1)).reshape(B, -1)
        most = min(2 * K, totals.shape[1])  # of these K at most end
        among = np.argpartition(-totals, most - 1, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(totals, among, 1), axis=1, kind="stable")
        among = np.take_along_axis(among, order, 1)
        scores = np.take_along_axis(totals, among, 1)
        parents, tokens = np.divmod(among, log_p.shape[1])
        self._end_some(scores[:, :K], parents, tokens[:, :K])
        goes_on = np.argsort(tokens == self.end, axis=1, kind="stable")[:, :K]  # best first
        scores, parents, tokens = (
            np.take_along_axis(a, goes_on, 1) for a in (scores, parents, tokens)
        )
        self.totals = np.where(tokens == self.end, -np.inf, scores)
        self.steps.append(_Step(self.open, tokens, parents, weights.reshape(B, K, -1)))
        if K > 1:
            self.decoding.go_on_from((np.arange(B)[:, None] * K + parents).ravel())
        kept = np.flatnonzero(~self._done())
        if len(kept) < B:
            self.open, self.totals = self.open[kept], self.totals[kept]
            if len(kept):
                self.decoding.keep(kept)
        return tokens[kept].ravel()

    def _end_some(self, scores: np.ndarray, parents: np.ndarray, tokens: np.ndarray) -> None:
        """Keep the best of those continuations that end, [B, K]."""
        length = self._length(len(self.steps) + 1)
        for b, j in zip(*np.nonzero((tokens == self.end) & np.isfinite(scores)), strict=True):
            own, score = int(self.open[b]), scores[b, j] / length
            self.ended[own] += 1
            if score > self.best_score[own]:
                self.best_score[own] = score
                self.best[own] = self._answer(own, int(parents[b, j]), float(scores[b, j]))

    def _answer(self, own: int, beam: int, log_probability: float) -> Found:
        """What ``beam`` of the source ``own`` wrote until now."""
        tokens, attention = [], []
        for step in reversed(self.steps):
            b = int(np.searchsorted(step.open, own))
            tokens.append(step.tokens[b, beam])
            beam = int(step.parents[b, beam])
            attention.append(step.weights[b, beam, : self.lengths[own]])
        shape = len(tokens), int(self.lengths[own])
        return Found(
            np.array(tokens[::-1], np.int64),
            np.array(attention[::-1], np.float32).reshape(shape),
            log_probability,
        )

    def _length(self, tokens: int) -> float:
        return ((5 + tokens) / 6) ** self.penalty

    def _done(self) -> np.ndarray:
        """Of each open source whether no other answer can be better, or enough have ended."""
        best, ended = self.best_score[self.open], self.ended[self.open]
        hope = self.totals.max(1) / self._length(self.longest + 1)
        last = len(self.steps) > self.longest
        return (ended >= self.K) | ((ended > 0) & (best >= hope)) | last

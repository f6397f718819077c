"""What a language model's network is mixed with, as nodes: counted n-grams, and a cache.

They compute what ``runtime/mixture.py`` does.  The n-grams are one tree, numbered by their lengths.
Those that go on with one context lie side by side, in the order of their last tokens: a context
knows the number of the first, and the next context's first is where they end.  So no key is kept.
Number 0 is no n-gram and 1 the empty one; states of zeros are those of a text that has not begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

import numpy as np

from tidegate.errors import InputError, spelled
from tidegate.onnx.graph import Graph, axes, cast, highest_of, summed
from tidegate.onnx.layers import zeros
from tidegate.runtime.mixture import RECENT, Mixture, nothing_read, recent_weights

_EMPTY = 1  # the number of the n-gram of no token
_MOST = 2**24  # whole numbers up to here are float32, which states are
_LAST = np.iinfo(np.int64).max  # the end of an axis


class Counts:
    """The tables of ``mixture``, which ``graph`` keeps, and what is done after each token.

    ``states``: names and widths of what is handed on, float32 [B, width], zeros at first: the
    numbers of the n-grams of one token, of two, ... that the latest token ends, and the latest
    tokens, each plus 1.
    """

    def __init__(self, graph: Graph, mixture: Mixture) -> None:
        ngrams = mixture.ngrams
        lengths = [1, *(len(order.keys) for order in ngrams.orders)]
        start = np.cumsum([_EMPTY, *lengths])  # the numbers of the first n-gram of 0, 1, ... tokens
        if start[-1] > _MOST:
            raise InputError(
                f"expected at most {_MOST:,} n-grams, which states can number, got "
                f"{start[-1]:,}; leave them out with {spelled('counts', False)}"
            )
        # the first two rows are of no n-gram and of the empty one
        tokens, parts = [np.zeros(2)], [np.zeros(2)]
        firsts, known = [start[1:2]], [np.array([[0.0, 1.0]])]
        for order, first, contexts in zip(ngrams.orders, start[1:-1], lengths[:-1], strict=True):
            context, token = np.divmod(order.keys, ngrams.size)
            numbers = np.arange(contexts)
            tokens.append(token)
            parts.append(order.counted / np.maximum(order.total, 1e-300)[context])
            firsts.append(first + np.searchsorted(context, numbers))
            known.append(np.stack([np.log1p(order.total), order.left_over(numbers)], 1))
        followers = np.concatenate([*firsts, start[-1:]])
        self._tokens = graph.constant(np.concatenate(tokens).astype(np.int32), "ngrams.token")
        self._parts = graph.constant(np.concatenate(parts).astype(np.float32), "ngrams.part")
        self._followers = graph.constant(followers.astype(np.int32), "ngrams.followers")
        self._known = graph.constant(np.concatenate(known).astype(np.float32), "ngrams.known")
        self._highest = _number(graph, int(start[-1]) - 1)
        self._contexts = len(lengths) - 2  # of one token or more
        # followers that are contexts are searched in rounds of so many
        searched = np.diff(followers[: start[self._contexts] + 1])
        self._stride = 1 + isqrt(int(searched.max(initial=0)))
        # what follows no context, of all tokens
        start_of_text, _ = ngrams.after(nothing_read(1))
        self._any = graph.constant(start_of_text.astype(np.float32), "ngrams.any")
        # of log(1 + count) and of the part left over, where a mixture has the part that is not
        shares = mixture.shares.astype(np.float64).T
        self._bias = graph.constant((shares[-1] + shares[1:-1:2].sum(0))[None])
        shares[1:-1:2] *= -1
        self._shares = graph.constant(shares[:-1], "mixture.shares") if self._contexts else None
        self._never = ngrams.never_target

    @property
    def states(self) -> dict[str, int]:
        of_contexts = {"ngrams": self._contexts} if self._contexts else {}
        return {**of_contexts, "recent": RECENT}

    def over_time(self, graph: Graph, tokens: str, outputs: str) -> str:
        """Log p after each of tokens, int32 [T, B], where a network has these logits [T, B, V]."""

        def body(inner: Any, before: list[str], given: list[str]) -> tuple[list[str], list[str]]:
            states = dict(zip(self.states, before, strict=True))
            log_p, after = self.step(inner, given[0], given[1], states)
            return [after[name] for name in self.states], [log_p]

        start = zeros(graph, tokens, [*self.states.values()])
        *_, log_p = graph.scan(body, start, [tokens, outputs], reverse=False)
        return log_p

    def step(
        self, graph: Graph, tokens: str, outputs: str, before: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        """Log p of every token, float32 [B, V], after tokens, int32 [B]; and the states then.

        outputs: the network's logits [B, V] after these.
        """
        token = graph.node("Unsqueeze", tokens, axes(graph, 1))
        latest = cast(graph, graph.node("Add", token, _number(graph, 1)), np.float32)
        older = _sliced(graph, before["recent"], 1, _LAST)
        after = {"recent": graph.node("Concat", older, latest, axis=1)}
        contexts = None
        if self._contexts:
            contexts = self._longer(graph, cast(graph, before["ngrams"], np.int32), token)
            after["ngrams"] = cast(graph, contexts, np.float32)
        return self._mixed(graph, outputs, contexts, after["recent"]), after

    def _longer(self, graph: Graph, before: str, token: str) -> str:
        """The n-grams of 1, 2, ... tokens that end with ``token`` [B, 1]; ``before``: those that
        ended with the token before it, int32 [B, contexts] both.
        """
        shorter = _sliced(graph, before, 0, self._contexts - 1)
        shorter = graph.node("Pad", shorter, axes(graph, 0, 1, 0, 0), _number(graph, _EMPTY))
        first, end, token = (
            graph.node("Unsqueeze", value, axes(graph, 2))
            for value in (*self._of(graph, shorter), token)
        )
        steps = np.arange(self._stride, dtype=np.int32)
        # the first token of each round, then the tokens of the last round that begins in time
        every = graph.constant(self._stride * steps)
        _, inside, found = self._read(graph, first, every, end)
        begins = graph.node("And", inside, graph.node("LessOrEqual", found, token))
        rounds = summed(graph, cast(graph, begins, np.int32), 2, keep=True)
        rounds = graph.node("Max", graph.node("Sub", rounds, _number(graph, 1)), _number(graph, 0))
        skipped = graph.node("Mul", rounds, _number(graph, self._stride))
        first = graph.node("Add", first, skipped)
        at, inside, found = self._read(graph, first, graph.constant(steps), end)
        same = graph.node("And", inside, graph.node("Equal", found, token))
        return summed(graph, graph.node("Where", same, at, _number(graph, 0)), 2, keep=False)

    def _of(self, graph: Graph, contexts: str) -> tuple[str, str]:
        """The number of the first n-gram that goes on with each context, and where they end."""
        following = graph.node("Add", contexts, _number(graph, 1))
        first, end = (graph.node("Gather", self._followers, c) for c in (contexts, following))
        return first, end

    def _read(self, graph: Graph, first: str, steps: str, end: str) -> tuple[str, str, str]:
        """N-grams from ``first`` on, by ``steps``: numbers, which are before ``end``, tokens."""
        at = graph.node("Add", first, steps)
        inside = graph.node("Less", at, end)
        at = graph.node("Min", at, self._highest)
        return at, inside, graph.node("Gather", self._tokens, at)

    def _mixed(self, graph: Graph, outputs: str, contexts: str | None, recent: str) -> str:
        """Log p [B, V] of the three: the network in logarithms, since it may be next to nothing
        where the others are nothing.
        """
        shares, left = self._bias, []
        if contexts is not None:
            known = cast(graph, graph.node("Gather", self._known, contexts), np.float64)
            flat = graph.node("Reshape", known, axes(graph, -1, 2 * self._contexts))
            shares = graph.node("Add", graph.node("MatMul", flat, self._shares), shares)
            left = _columns(graph, _sliced(graph, flat, 1, _LAST, 2), self._contexts)
        shares = _columns(graph, graph.node("LogSoftmax", shares, axis=1), 3)
        counted, lately = (graph.node("Exp", share) for share in shares[1:])
        counted, places, parts = self._latest(graph, recent, counted, lately)
        if contexts is not None:
            counted = self._following(graph, contexts, left, counted, places, parts)
        p = graph.node("Mul", cast(graph, counted, np.float32), self._any)
        p = graph.node(
            "ScatterElements",
            p,
            graph.node("Concat", *places, axis=1),
            cast(graph, graph.node("Concat", *parts, axis=1), np.float32),
            axis=1,
            reduction="add",
        )
        log_p = graph.node("LogSoftmax", outputs, axis=-1)
        log_p = graph.node("Add", log_p, cast(graph, shares[0], np.float32))
        return _log_of_sum(graph, log_p, graph.node("Log", p))

    def _latest(
        self, graph: Graph, recent: str, counted: str, lately: str
    ) -> tuple[str, list[str], list[str]]:
        """The n-grams' share, which is also the latest tokens' [B, 1] where there are none; those
        that there are, and what is added to the probability of each, [B, RECENT].
        """
        numbers, none = cast(graph, recent, np.int32), _number(graph, 0)
        counts = graph.node("Greater", numbers, none)
        if self._never is not None:
            never = graph.node("Equal", numbers, _number(graph, self._never + 1))
            counts = graph.node("And", counts, graph.node("Not", never))
        nothing = graph.constant(np.zeros(()))
        weights = graph.constant(recent_weights()[None, ::-1])
        weights = graph.node("Where", counts, weights, nothing)
        total = summed(graph, weights, 1, keep=True)
        some = graph.node("Greater", total, nothing)
        counted = graph.node("Add", counted, graph.node("Where", some, nothing, lately))
        total = graph.node("Where", some, total, graph.constant(np.ones(())))
        tokens = graph.node("Max", graph.node("Sub", numbers, _number(graph, 1)), none)
        part = graph.node("Mul", weights, graph.node("Div", lately, total))
        return counted, [tokens], [part]

    def _following(
        self, graph: Graph, contexts: str, left: list[str], share: str, places: list[str],
        parts: list[str],
    ) -> str:  # fmt: skip
        """Put the followers of all contexts, and what is added to the probability of each, [B, any
        number], behind ``places`` and ``parts``.

        share: of the n-grams, [B, 1]; left: which part of it each context leaves to the shorter
        ones.  Returns what all leave.
        """
        first, end = self._of(graph, contexts)
        most = highest_of(graph, graph.node("Sub", end, first), 0)
        first, end, most = (
            _columns(graph, value, self._contexts, axis)
            for value, axis in ((first, 1), (end, 1), (most, 0))
        )
        nothing = graph.constant(np.zeros((), np.float32))
        for k in reversed(range(self._contexts)):
            size = graph.node("Squeeze", most[k], axes(graph, 0))
            steps = graph.node("Range", _number(graph, 0), size, _number(graph, 1))
            at, inside, tokens = self._read(graph, first[k], steps, end[k])
            part = graph.node("Where", inside, graph.node("Gather", self._parts, at), nothing)
            places.append(tokens)
            parts.append(graph.node("Mul", cast(graph, part, np.float64), share))
            share = graph.node("Mul", share, left[k])
        return share


def _number(graph: Graph, number: int) -> str:
    return graph.constant(np.array(number, np.int32))


def _sliced(graph: Graph, value: str, first: int, end: int, step: int = 1) -> str:
    """Columns of a value [B, ...]."""
    return graph.node("Slice", value, *(axes(graph, n) for n in (first, end, 1, step)))


def _columns(graph: Graph, value: str, count: int, axis: int = 1) -> list[str]:
    """The ``count`` columns of a value [B, count], [B, 1] each."""
    if count == 1:
        return [value]
    sizes = axes(graph, *[1] * count)
    return list(graph.node("Split", value, sizes, outputs=count, axis=axis))


def _log_of_sum(graph: Graph, a: str, b: str) -> str:
    """log(exp(a) + exp(b)), of which b may be -inf."""
    apart = graph.node("Abs", graph.node("Sub", a, b))
    one = graph.constant(np.ones((), np.float32))
    more = graph.node("Log", graph.node("Add", graph.node("Exp", graph.node("Neg", apart)), one))
    return graph.node("Add", graph.node("Max", a, b), more)

"""A trained encoder and decoder on numpy arrays: it reads sources, and answers step by step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from tidegate.model.encoder_decoder import EncoderDecoder
from tidegate.model.narrow import Weights
from tidegate.runtime.network import Network, State, digest_of
from tidegate.runtime.probabilities import log_softmax
from tidegate.runtime.products import Array, linear
from tidegate.runtime.stepping import Stepping


class EncoderDecoderRuntime:
    """The networks that an `EncoderDecoder` describes, of float32 ``tensors`` by their names.

    ``runtime(sources, lengths, targets)`` gives logits [T, B, V] of targets as the decoder reads
    them, int [T, B], to sources int [S, B] of true lengths [B] (None: S each).
    """

    def __init__(
        self,
        architecture: EncoderDecoder,
        tensors: Mapping[str, Array],
        weights: Weights = "float32",
    ) -> None:
        self.architecture, self.weights = architecture, weights
        a = architecture
        self.tensors = {n: np.ascontiguousarray(tensors[n], np.float32) for n in a.tensor_shapes()}
        self.source = Network(a.source, _under("source.", self.tensors), weights)
        self.target = Network(a.target, _under("target.", self.tensors), weights)
        self.attention = _under("attention.", self.tensors)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the architecture and all weights, in hexadecimal: which network this is."""
        return digest_of(self.architecture.to_json(), self.tensors)

    def __reduce__(self) -> tuple[Any, ...]:
        return EncoderDecoderRuntime, (self.architecture, self.tensors, self.weights)

    @np.errstate(over="ignore", invalid="ignore")
    def __call__(
        self, sources: np.ndarray, lengths: np.ndarray | None, targets: np.ndarray
    ) -> Array:
        return self.target.output(self.features(sources, lengths, targets))

    @np.errstate(over="ignore", invalid="ignore")
    def features(
        self, sources: np.ndarray, lengths: np.ndarray | None, targets: np.ndarray
    ) -> Array:
        """What the decoder's dense layer sees, [T, B, F]."""
        memory, start = self.encoded(sources, lengths)
        queries, _ = self.target.features(targets, None, start)
        return memory.features(queries.swapaxes(0, 1))[0].swapaxes(0, 1)

    def encoded(self, sources: np.ndarray, lengths: np.ndarray | None) -> tuple[Memory, State]:
        """The memory of sources, and the state that the decoder begins with."""
        a = self.architecture
        features, final = self.source.features(sources, lengths)
        rows = self.source.output(features).swapaxes(0, 1)
        directions, start = a.source.directions, []
        for k, names in enumerate(self.source.state_names):
            ends = final[k * directions : (k + 1) * directions]
            read = (np.concatenate(parts, axis=1) for parts in zip(*ends, strict=True))
            maps = (f"start.{k}.{name}" for name in names)
            start.append(
                tuple(
                    linear(end, self.tensors[f"{m}.weight"], self.tensors[f"{m}.bias"])
                    for m, end in zip(maps, read, strict=True)
                )
            )
        outside = None
        if lengths is not None and (lengths < len(sources)).any():
            outside = np.arange(len(sources)) >= lengths[:, None]
        return Memory(self.attention, np.ascontiguousarray(rows), outside), start


class Memory:
    """What the encoder put out, ``rows`` float32 [B, S, F]; ``outside``: padding [B, S], or None.

    ``attention`` are the tensors of the attention by name.
    """

    def __init__(
        self, attention: Mapping[str, Array], rows: Array, outside: np.ndarray | None
    ) -> None:
        self._attention, self.rows, self._outside = attention, rows, outside
        key = attention.get("key.weight")
        self._keys = rows if key is None else linear(rows, key)

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, kept: np.ndarray) -> Memory:
        """That of the sources ``kept``, by their numbers."""
        outside = None if self._outside is None else self._outside[kept]
        return Memory(self._attention, self.rows[kept], outside)

    def features(self, queries: Array) -> tuple[Array, Array]:
        """Features [B, T, F] of queries [B, T, F], and the weights of the memory [B, T, S]."""
        asked, own = queries, self._attention
        if "query.weight" in own:
            asked = linear(queries, own["query.weight"])
        if "energy.weight" in own:
            scores = np.empty((*asked.shape[:2], self.rows.shape[1]), np.float32)
            for b in range(len(asked)):  # a source at a time, since T x S x F are many numbers
                pairs = np.tanh(asked[b, :, None] + self._keys[b])
                scores[b] = linear(pairs, own["energy.weight"])[..., 0]
        else:
            scores = asked @ self._keys.swapaxes(1, 2)
        if self._outside is not None:
            scores = np.where(self._outside[:, None], np.float32(-np.inf), scores)
        weights = np.exp(log_softmax(scores))
        seen = np.concatenate([weights @ self.rows, queries], axis=2)
        combined = linear(seen, own["combine.weight"], own["combine.bias"])
        return np.tanh(combined, out=combined), weights


class Decoding:
    """Sources that are answered, ``beams`` answers side by side to each, a token at a time.

    The rows of all that is given and taken are [B * beams], those of a source one after another.
    """

    def __init__(
        self, runtime: EncoderDecoderRuntime, memory: Memory, start: State, beams: int
    ) -> None:
        self._runtime, self._memory, self._beams = runtime, memory, beams
        self._stepping = Stepping(runtime.target, len(memory) * beams)
        for k, (names, states) in enumerate(zip(runtime.target.state_names, start, strict=True)):
            for name, state in zip(names, states, strict=True):
                self._stepping.arrays[f"recurrent.{k}.{name}"][:] = state.repeat(beams, axis=0)

    def step(self, tokens: np.ndarray) -> tuple[Array, Array]:
        """Read a token in each row; log-probabilities [rows, V] of the next, weights [rows, S]."""
        self._stepping.step(tokens)
        rows, count = len(self._memory), self._beams
        queries = self._stepping.features().reshape(rows, count, -1)
        features, weights = self._memory.features(queries)
        logits = self._runtime.target.output(features.reshape(rows * count, -1))
        return log_softmax(logits), weights.reshape(rows * count, -1)

    def go_on_from(self, rows: np.ndarray) -> None:
        """Each row goes on from the state of one of ``rows``, by their numbers."""
        for array in self._stepping.arrays.values():
            array[:] = array[rows]

    def keep(self, sources: np.ndarray) -> None:
        """Go on with these sources only."""
        rows = (sources[:, None] * self._beams + np.arange(self._beams)).ravel()
        fewer = Stepping(self._runtime.target, len(rows))
        for name, array in self._stepping.arrays.items():
            fewer.arrays[name][:] = array[rows]
        self._stepping, self._memory = fewer, self._memory.of(sources)


def _under(prefix: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
    return {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}

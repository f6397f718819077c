"""The network that an `Architecture` describes, on numpy arrays: recurrence by the engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from tidegate.cells import get_cell
from tidegate.engine import EngineLayer, compiled
from tidegate.model.architecture import Architecture
from tidegate.model.narrow import Weights
from tidegate.runtime.layers import layer_of
from tidegate.runtime.probabilities import nats_of
from tidegate.runtime.products import Array, linear
from tidegate.runtime.scoring import IGNORED
from tidegate.runtime.sentences import grouped

_EPSILON = np.float32(1e-5)  # added to variances, as torch.nn.BatchNorm1d does
_PACKED = 1 << 18  # weights of a dense layer that are held twice, to be at hand in each step
_MOST_PRODUCTS = 1 << 22  # numbers of the first layer's products of all tokens, held for steps
_SUMMED_STEPS = 64  # added up one after the other; their sums then are, so that little is lost

State = list[tuple[Array, ...]]  # of each layer and direction in turn, the cell's states [B, ...]


class Network:
    """A trained network, made of its ``tensors``: float32 arrays by their names in a model file.

    ``network(inputs, lengths)`` gives the outputs, [T, B, O] (readout ``every``) or [B, O].
    ``inputs``: what ``pad_sequences`` makes: tokens [T, B], records [T, B] of tokens with
    evidence, letters or a condition, or values float32 [T, B, I].  ``lengths``: [B] numbers of true
    steps, 0 to T; None: T each.
    ``weights``: how a file holds the tensors' matrices (model/narrow.py); the engine then rounds
    the factors of recurrent layers' products alike, where the processor has instructions for it.
    Several threads may use a network at a time.
    """

    def __init__(
        self,
        architecture: Architecture,
        tensors: Mapping[str, Array],
        weights: Weights = "float32",
    ) -> None:
        self.architecture, self.weights = architecture, weights
        a, answers = architecture, architecture.cell_that_answers
        self.tensors = {n: np.ascontiguousarray(tensors[n], np.float32) for n in a.tensor_shapes()}
        self._layers = [
            [layer_of(answers, own, sizes, weights) for own in self.layer_weights(k)]
            for k, sizes in enumerate(a.layer_sizes())
        ]
        self._spelling = None
        if a.letters:
            layers, sizes = self.spelling_weights(), a.letter_sizes()
            self._spelling = [layer_of(a.cell, own, sizes, weights) for own in layers]
        self._norms = [self.norm(k) for k in range(len(a.hidden_sizes) - 1) if a.batch_norm]
        tied = "embedding.weight" if a.tie_embeddings else "dense.weight"
        self.output_weight, self.output_bias = self.tensors[tied], self.tensors["dense.bias"]
        self.stepping = threading.Lock()  # a layer of the engine takes one step at a time

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the architecture and all weights, in hexadecimal: which network this is."""
        return digest_of(self.architecture.to_json(), self.tensors)

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (self.architecture, self.tensors, self.weights)

    @np.errstate(over="ignore", invalid="ignore")
    def __call__(self, inputs: np.ndarray, lengths: np.ndarray | None = None) -> Array:
        outputs = self.output(self.features(inputs, lengths)[0])
        if self.architecture.linear_steps:
            last = _last_steps(inputs, lengths, self.architecture.linear_steps)
            outputs += linear(last, self.tensors["linear.weight"])
        return outputs

    def features(
        self, inputs: np.ndarray, lengths: np.ndarray | None = None, state: State | None = None
    ) -> tuple[Array, State]:
        """What the dense layer sees, [T, B, F] or [B, F], and the final state.

        ``state``: as a former call returned it, or None for the one that a sequence begins with; it
        is not changed.
        """
        y, final = self.run(inputs, lengths, state)
        if self.architecture.readout == "every":
            return (y[0] if len(y) == 1 else np.concatenate(y, axis=-1)), final
        if self.architecture.sentences:
            lengths = inputs["sentence"].max(0)
        return self._pooled(y, final[-len(y) :], lengths), final

    def _pooled(self, y: list[Array], final: State, lengths: np.ndarray | None) -> Array:
        """What the readout sums up of a layer's outputs, one for each direction, [B, F]."""
        outside, pairs = _outside(y[0], lengths), list(zip(y, final, strict=True))
        parts = self.architecture.readout.split("+")
        read = [_read_out(p, *one, lengths, outside) for p in parts for one in pairs]
        return np.concatenate(read, axis=-1)

    @np.errstate(over="ignore", invalid="ignore")
    def run(
        self, inputs: np.ndarray, lengths: np.ndarray | None = None, state: State | None = None
    ) -> tuple[list[Array], State]:
        """The last layer's outputs of each direction, [T, B, H], and the final state."""
        x, groups = self.embedded(inputs), None
        if self.architecture.sentences:
            groups = grouped(inputs["sentence"])
            x, lengths = x.reshape(-1, x.shape[-1])[groups.tokens], groups.lengths
        outside = _outside(x, lengths)
        if state is None and self.architecture.condition_size:
            state = self.initial_state(inputs.shape[1], inputs["condition"][0])
        final: State = []
        y: list[Array] = []
        for k, directions in enumerate(self._layers):
            if k > 0:
                x = y[0] if len(y) == 1 else np.concatenate(y, axis=-1)
                if self._norms:
                    x = _normalised(x, *self._norms[k - 1])
                    if outside is not None:
                        x[outside] = 0.0
            y = []
            for d, layer in enumerate(directions):
                before = None if state is None else state[len(final)]
                outputs, after = layer.forward(x, before, lengths, reverse=d == 1)
                y.append(outputs)
                final.append(after)
            if k == 0 and groups is not None:
                y, lengths = [self._pooled(y, final, lengths)[groups.places]], groups.counts
        return y, final

    @property
    def state_names(self) -> tuple[str, ...]:
        """Those of the states of each layer, as the cell has them."""
        return tuple(get_cell(self.architecture.cell).states)

    def initial_state(self, batch_size: int, condition: Array | None = None) -> State:
        """What ``batch_size`` rows begin with: zeros, or what a ``condition`` [B, C] makes."""
        state = [layer.initial_state(batch_size) for one in self._layers for layer in one]
        if condition is not None:
            condition = np.ascontiguousarray(condition)
            for k, layer in enumerate(state):
                for name, own in zip(self.state_names, layer, strict=True):
                    linear(condition, self.tensors[f"initial.{k}.{name}.weight"], out=own)
        return state

    @np.errstate(over="ignore", invalid="ignore")
    def output(self, features: Array) -> Array:
        """The dense layer on what ``features`` returned."""
        return linear(features, self.output_weight, self.output_bias)

    @np.errstate(over="ignore", invalid="ignore")
    def nats(self, features: Array, targets: np.ndarray) -> Array:
        """-log softmax(output(features)) at the targets, int64 [...]; NaN where IGNORED."""
        rows, scored = features.reshape(-1, features.shape[-1]), targets != IGNORED
        if not scored.all():
            rows = rows[scored.ravel()]
        nats = np.full(targets.shape, np.nan, np.float32)
        nats[scored] = nats_of(rows, self.output_weight, self.output_bias, targets[scored])
        return nats

    def forgotten(self, state: State, streams: np.ndarray) -> State:
        """The state with zeros for ``streams``, bool [B]."""
        return [tuple(np.where(streams[:, None], np.float32(0), s) for s in one) for one in state]

    @np.errstate(over="ignore", invalid="ignore")
    def step(self, inputs: np.ndarray, state: State) -> Array:
        """Features [B, F] of one more step of streams; ``state`` is replaced in its place.

        They may be a part of the state: the next step replaces them, too.  inputs: those of
        ``features``, without T.  For a network in one direction.
        """
        assert not self.architecture.bidirectional  # the other direction begins at the end
        with self.stepping:
            x = self._first_step(inputs, state[0])
            for k, (layer,) in enumerate(self._layers[1:], start=1):
                if self._norms:
                    x = _normalised(x.copy(), *self._norms[k - 1])
                x = layer.step(x, state[k])
        return x

    def _first_step(self, inputs: np.ndarray, state: tuple[Array, ...]) -> Array:
        (layer,), products = self._layers[0], self._products_of_tokens
        if products is None or inputs.dtype.names is not None:  # evidence has a product, too
            return layer.step(self.embedded(inputs), state)
        assert isinstance(layer, EngineLayer)
        return layer.step_from(products.take(inputs, axis=0), state)

    @cached_property
    def _products_of_tokens(self) -> Array | None:
        """What a step of the first layer makes of each token, whatever its state, [V, products].

        None where tokens are not what is read, or where there are too many.
        """
        (first, *_), a = self._layers[0], self.architecture
        if a.vocabulary_size is None or a.condition_size or not isinstance(first, EngineLayer):
            return None
        if a.vocabulary_size * first.product_size > _MOST_PRODUCTS:
            return None
        vectors = self.tensors["embedding.weight"]
        # row by row, so that they have the bits of a step of one row
        rows = [first.input_products(vectors[k : k + 1]) for k in range(len(vectors))]
        return np.concatenate(rows)

    def layer_weights(self, k: int) -> list[dict[str, Array]]:
        """Of each direction of layer ``k`` the weights, by the names that the cell declares."""
        return self._weights_under(f"recurrent.{k}.", self.architecture.directions)

    def spelling_weights(self) -> list[dict[str, Array]]:
        """Those of each direction of the layer that reads letters."""
        return self._weights_under("spelling.recurrent.", 2)

    def _weights_under(self, prefix: str, directions: int) -> list[dict[str, Array]]:
        ends = [f"_l0{s}" for s in _SUFFIXES[:directions]]
        return [
            {
                name.removeprefix(prefix).removesuffix(end): tensor
                for name, tensor in self.tensors.items()
                if name.startswith(prefix) and name.endswith(end)
            }
            for end in ends
        ]

    def reading(self, state: State, **arrays: Any) -> compiled.Reading | None:
        """What steps ``state``, in one direction, in one call; None where a layer runs on numpy.

        ``arrays``: those of ``compiled.Reading`` that a stream gathers beside the states.
        """
        layers = [layer for (layer,) in self._layers]
        if not all(isinstance(layer, EngineLayer) for layer in layers):
            return None
        return compiled.Reading(
            [layer.packed for layer in layers if isinstance(layer, EngineLayer)],
            [array for one in state for array in one],
            [array for norm in self._norms for array in norm],
            self._dense if self.packs_outputs else None,
            **arrays,
        )

    @property
    def packs_outputs(self) -> bool:
        """Whether a ``reading`` has the dense layer, too."""
        return self.output_weight.size <= _PACKED

    @cached_property
    def _dense(self) -> compiled.Dense:
        return compiled.Dense(self.output_weight, self.output_bias)

    def norm(self, k: int) -> tuple[Array, Array]:
        """What a batch norm with its running statistics multiplies by and adds."""
        names = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self.tensors[f"norms.{k}.{name}"] for name in names)
        scale = weight / np.sqrt(variance + _EPSILON)
        return np.asarray(scale, np.float32), np.asarray(bias - mean * scale, np.float32)

    def embedded(self, inputs: np.ndarray) -> Array:
        """What the first layer reads."""
        if self.architecture.vocabulary_size is None:
            return inputs
        letters = evidence = None
        names = inputs.dtype.names or ()
        if "letters" in names:
            letters = inputs["letters"]
        if self.architecture.evidence_size:
            evidence = np.ascontiguousarray(inputs["evidence"])
        x = self.tensors["embedding.weight"].take(inputs["token"] if names else inputs, axis=0)
        if evidence is not None:
            x += linear(evidence, self.tensors["evidence.weight"])
        if self.architecture.condition_size:
            return np.concatenate([x, inputs["condition"]], axis=-1)
        return x if letters is None else np.concatenate([x, self.spelled(letters)], axis=-1)

    def spelled(self, letters: np.ndarray) -> Array:
        """What words' letters give, [..., S] of letters [..., K], 0 beyond a word's end."""
        assert self._spelling is not None
        flat = np.ascontiguousarray(letters).reshape(-1, letters.shape[-1])
        words, places = np.unique(flat, axis=0, return_inverse=True)
        lengths = (words != 0).sum(1)
        read = words[:, : max(1, int(lengths.max(initial=0)))].T
        x = self.tensors["spelling.embedding.weight"].take(read, axis=0)
        final = [
            layer.forward(x, None, lengths, reverse=d == 1)[1][0]
            for d, layer in enumerate(self._spelling)
        ]
        spelled = np.concatenate(final, axis=-1)[places.reshape(-1)]
        return spelled.reshape(*letters.shape[:-1], -1)


_SUFFIXES = ("", "_reverse")


def digest_of(architecture: Any, tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of an architecture as JSON has it and of all weights, in hexadecimal."""
    hashed = sha256(json.dumps(architecture, sort_keys=True).encode())
    for tensor in tensors.values():
        hashed.update(tensor.tobytes())
    return hashed.hexdigest()


def _last_steps(x: Array, lengths: np.ndarray | None, steps: int) -> Array:
    """The last ``steps`` true steps of x [T, B, I], zeros before the first, [B, steps * I]."""
    rows = x.shape[1]
    last = np.zeros((steps, *x.shape[1:]), np.float32)
    if lengths is None:
        known = x[-steps:]
        last[steps - len(known) :] = known
    else:
        places = np.arange(-steps, 0)[:, None] + lengths  # [steps, B]
        known = places >= 0
        last[known] = x[places.clip(0), np.arange(rows)][known]
    return last.swapaxes(0, 1).reshape(rows, -1)


def _outside(inputs: np.ndarray, lengths: np.ndarray | None) -> np.ndarray | None:
    """Which steps are padding, [T, B]; None where none is."""
    if lengths is None or (lengths == len(inputs)).all():
        return None
    return np.arange(len(inputs))[:, None] >= lengths


def _normalised(x: Array, scale: Array, shift: Array) -> Array:
    x *= scale
    x += shift
    return x


def _read_out(
    part: str,
    y: Array,
    final: Sequence[Array],
    lengths: np.ndarray | None,
    outside: np.ndarray | None,
) -> Array:
    """[B, H] of one direction's outputs y [T, B, H], zero outside, and its final states."""
    if part == "last":
        return final[0]
    if part == "mean":
        blocks = range(0, len(y), _SUMMED_STEPS)
        total = np.sum([y[t : t + _SUMMED_STEPS].sum(0) for t in blocks], axis=0)
        steps = np.float32(len(y)) if lengths is None else np.maximum(lengths, 1)[:, None]
        return (total / steps).astype(np.float32, copy=False)
    if outside is None or lengths is None:
        return y.max(0)
    y[outside] = -np.inf
    highest = y.max(0)
    y[outside] = 0.0
    highest[lengths == 0] = 0.0
    return highest

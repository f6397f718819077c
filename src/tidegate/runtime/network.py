"""The network that an `Architecture` describes, on numpy arrays: recurrence by the engine."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from tidegate.engine import EngineLayer, compiled
from tidegate.engine.layer import whole_matrix
from tidegate.model.architecture import Architecture
from tidegate.model.narrow import Weights
from tidegate.runtime.between import Between
from tidegate.runtime.layers import layer_of
from tidegate.runtime.probabilities import nats_of
from tidegate.runtime.products import Array, linear
from tidegate.runtime.readouts import ends_of, last_steps, outside_of, pooled
from tidegate.runtime.scoring import IGNORED
from tidegate.runtime.sentences import grouped

_PACKED = 1 << 18  # weights of a dense layer that are held twice, to be at hand in each step
_MOST_PRODUCTS = 1 << 22  # numbers of the first layer's products of all tokens, held for steps

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
        a = architecture
        self.tensors = {n: np.ascontiguousarray(tensors[n], np.float32) for n in a.tensor_shapes()}
        self._layers = [
            [layer_of(cell.key, own, sizes, weights) for own in self.layer_weights(k)]
            for k, (cell, sizes) in enumerate(zip(a.answering_cells, a.layer_sizes(), strict=True))
        ]
        self._spelling = None
        if a.letters:
            layers, sizes = self.spelling_weights(), a.letter_sizes()
            self._spelling = [layer_of(a.cells[0], own, sizes, weights) for own in layers]
        self.between = Between(a, self.tensors)
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
            steps = inputs if inputs.dtype.names is None else inputs["evidence"]
            last = last_steps(steps, lengths, self.architecture.linear_steps)
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
        shortcuts = self.architecture.has_shortcuts
        ends = ends_of(y, lengths) if shortcuts else [states[0] for states in final[-len(y) :]]
        return pooled(self.architecture.readout, y, ends, lengths), final

    @np.errstate(over="ignore", invalid="ignore")
    def run(
        self, inputs: np.ndarray, lengths: np.ndarray | None = None, state: State | None = None
    ) -> tuple[list[Array], State]:
        """The last layer's outputs of each direction, [T, B, H], and the final state."""
        x, groups = self.embedded(inputs), None
        if self.architecture.sentences:
            groups = grouped(inputs["sentence"])
            x, lengths = x.reshape(-1, x.shape[-1])[groups.tokens], groups.lengths
        outside = outside_of(x, lengths)
        if state is None and self.architecture.condition_size:
            state = self.initial_state(inputs.shape[1], inputs["condition"][0])
        final: State = []
        y: list[Array] = []
        for k, directions in enumerate(self._layers):
            if k > 0:
                x = y[0] if len(y) == 1 else np.concatenate(y, axis=-1)
                x = self.between.normalised(k, x, outside)
            read, y = self.between.read(k, x), []
            for d, layer in enumerate(directions):
                before = None if state is None else state[len(final)]
                outputs, after = layer.forward(read, before, lengths, reverse=d == 1)
                y.append(outputs)
                final.append(after)
            y = self.between.added(k, x, y, outside)
            if k == 0 and groups is not None:
                ends = [states[0] for states in final]
                y = [pooled(self.architecture.readout, y, ends, lengths)[groups.places]]
                lengths = groups.counts
                outside = outside_of(y[0], lengths)
        return y, final

    @property
    def state_names(self) -> list[tuple[str, ...]]:
        """Of each layer those of the states, as its cell has them."""
        return [tuple(cell.states) for cell in self.architecture.layer_cells]

    def initial_state(self, batch_size: int, condition: Array | None = None) -> State:
        """What ``batch_size`` rows begin with: zeros, or what a ``condition`` [B, C] makes."""
        state = [layer.initial_state(batch_size) for one in self._layers for layer in one]
        if condition is not None:
            condition = np.ascontiguousarray(condition)
            for k, (names, layer) in enumerate(zip(self.state_names, state, strict=True)):
                for name, own in zip(names, layer, strict=True):
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
                if self.between.batch_norms:
                    x = self.between.normalised(k, x.copy())
                y = layer.step(self.between.read(k, x), state[k])
                (x,) = self.between.added(k, x, [y])
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

    def whole_weights(self, k: int) -> list[dict[str, Array]]:
        """The same with matrices that are whole, of zeros between heads."""
        found = self.layer_weights(k)
        if self.architecture.layer_cells[k].heads:
            hidden = self.architecture.hidden_sizes[k]
            for own in found:
                own["weight_hh"] = whole_matrix(own["weight_hh"], hidden)
        return found

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
        """What steps ``state``, in one direction, in one call; None where numpy has a part in it.

        ``arrays``: those of ``compiled.Reading`` that a stream gathers beside the states.
        """
        layers = [layer for (layer,) in self._layers]
        a = self.architecture
        if a.has_shortcuts or a.layer_norm:
            return None
        if not all(isinstance(layer, EngineLayer) for layer in layers):
            return None
        return compiled.Reading(
            [layer.packed for layer in layers if isinstance(layer, EngineLayer)],
            [array for one in state for array in one],
            [array for norm in self.between.batch_norms for array in norm],
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

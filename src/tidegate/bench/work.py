"""What is timed, as numpy arrays that every library can take, and what it makes of them.

Letters: T time, B batch, I input, H hidden, G gates.  Weights are torch.nn's, in its order of
gates.  A library gets the batch in its own order of dimensions, arranged before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.bench.shapes import Shape, sizes_of
from tidegate.cells import get_cell

Array = NDArray[Any]
Results = dict[str, Array]


LayerWeights = dict[str, Array]  # as the cell declares them, weight_ih, weight_hh and so on


@dataclass(frozen=True)
class LayerWork:
    """One layer over a batch from a zero state: x [T, B, I] to y, [T, B, the output's width].

    ``grad``, of the shape of y, is what arrives at y; then gradients of x and all weights are
    computed, else only y.  ``lengths`` [B] in steps.
    """

    cell: str
    weights: LayerWeights
    x: Array
    grad: Array | None
    lengths: Array | None = None


@dataclass(frozen=True)
class StepWork:
    """One step of a stream: x [B, I] and the state before to h [B, H], numpy in and out."""

    cell: str
    weights: LayerWeights
    x: Array


@dataclass(frozen=True)
class AdamWork:
    """One optimiser step: embedding, two layers of ``cell``, softmax on the second one's last h.

    tokens [B, T], labels [B]; embedding [V, E]; output_weight [labels, H].
    """

    cell: str
    tokens: Array
    labels: Array
    embedding: Array
    first: LayerWeights
    second: LayerWeights
    output_weight: Array
    output_bias: Array
    learning_rate: float = 1e-3
    epsilon: float = 1e-8


Work = LayerWork | StepWork | AdamWork


class Prepared(NamedTuple):
    """A library's way of doing a work: once, as its user writes it, and the results to compare."""

    call: Callable[[], Any]
    results: Callable[[], Results]


def stream(start: Callable[[], Any], step: Callable[[Any], tuple[Array, Any]]) -> Prepared:
    """A stream that goes on from call to call; compared is h after three steps from ``start``."""
    state = start()

    def call() -> None:
        nonlocal state
        _, state = step(state)

    def results() -> Results:
        state = start()
        for _ in range(2):
            _, state = step(state)
        return {"h": np.array(step(state)[0]).reshape(-1)}

    return Prepared(call, results)


def training(step: Callable[[], float]) -> Prepared:
    """Optimiser steps that go on from call to call; compared are the losses of the first three.

    The second and the third have seen the gradients.
    """
    return Prepared(step, lambda: {"loss": np.array([float(step()) for _ in range(3)])})


def layer_weights(cell: str, inputs: int, hidden: int, seed: int = 0) -> LayerWeights:
    """U(-1/sqrt(H), 1/sqrt(H)), as torch.nn draws them."""
    random, bound = np.random.default_rng(seed), hidden**-0.5
    shapes = get_cell(cell).shapes(sizes_of(cell, inputs, hidden))
    return {n: random.uniform(-bound, bound, s).astype(np.float32) for n, s in shapes.items()}


def layer_work(cell: str, shape: Shape, mode: str, lengths: Array | None = None) -> LayerWork:
    """Standard normal inputs and, in training, gradients."""
    random = np.random.default_rng(0)
    B, T, inputs, H = shape  # noqa: N806
    x = random.standard_normal((T, B, inputs), np.float32)
    width = get_cell(cell).state_sizes(sizes_of(cell, inputs, H))[0]
    grad = random.standard_normal((T, B, width), np.float32) if mode == "training" else None
    return LayerWork(get_cell(cell).name, layer_weights(cell, inputs, H), x, grad, lengths)


def step_work(cell: str, shape: Shape) -> StepWork:
    """A standard normal input, the same at every step."""
    x = np.random.default_rng(0).standard_normal((shape.batch, shape.inputs), np.float32)
    return StepWork(get_cell(cell).name, layer_weights(cell, shape.inputs, shape.hidden), x)


def adam_work(
    cell: str, shape: Shape, vocabulary: int, second_hidden: int, labels: int
) -> AdamWork:
    """Tokens and labels at random; torch.nn's initial weights."""
    random = np.random.default_rng(0)
    B, T, embedding, H = shape  # noqa: N806
    bound = second_hidden**-0.5
    first, second = (
        get_cell(cell).state_sizes(sizes_of(cell, inputs, hidden))[0]
        for inputs, hidden in ((embedding, H), (H, second_hidden))
    )
    return AdamWork(
        cell=get_cell(cell).name,
        tokens=random.integers(0, vocabulary, (B, T)),
        labels=random.integers(0, labels, B),
        embedding=random.standard_normal((vocabulary, embedding), np.float32),
        first=layer_weights(cell, embedding, H),
        second=layer_weights(cell, first, second_hidden, seed=1),
        output_weight=random.uniform(-bound, bound, (labels, second)).astype(np.float32),
        output_bias=random.uniform(-bound, bound, labels).astype(np.float32),
    )


def random_lengths(shape: Shape) -> NDArray[np.int64]:
    """A length for each row, uniform in 1..T."""
    return np.random.default_rng(0).integers(1, shape.steps, shape.batch, endpoint=True)

"""A whole step of training, not the layer alone: where its time goes, and how long others take.

    python benchmarks/reproduce/whole_loop.py

Three tasks at their default sizes, on text and series made here (what is in them does not change
the time).  In turns, on the same batches: tidegate's loop; the same loop on torch.nn's layers, what
it was before it had an engine; a bare torch loop; the same model's ``train_on_batch`` in Keras on
JAX, where Keras is installed.  Only tidegate draws batches, keeps an average of the weights and
looks whether all is finite in that time: the others are handed the batches ready made.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from record import Record, markdown, times_as_long, versions_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import rnn

import tidegate
from tidegate.data.series.series import Series
from tidegate.nn.network import SequenceNetwork, TokensAndEvidence
from tidegate.training.loop import fit
from tidegate.training.objective import Objective, StepResult

STEPS, TURNS = 10, 5
PADDED_TO = 100  # Keras on JAX compiles for each length: as few as a careful user would have


class Step(NamedTuple):
    """Seconds of a step of tidegate's loop."""

    data: float
    forward: float
    backward: float
    rest: float

    @property
    def overhead(self) -> float:
        """The share that is neither forward nor backward: batches, optimiser, average, Python."""
        return (self.data + self.rest) / sum(self)


class _Observed:
    """An objective that notes when each part of a step ends, and evaluates nothing."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.steps: list[Step] = []
        self.seen: list[Any] = []
        self._stamps: list[float] = []
        for parameter in objective.network.parameters():
            parameter.register_post_accumulate_grad_hook(self._accumulated)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def batches(self, *arguments: int) -> Iterator[Any]:
        self._stamps = [time.perf_counter()]
        for batch in self._objective.batches(*arguments):
            self._stamps.append(time.perf_counter())
            self.seen = [*self.seen, batch][-STEPS:]
            yield batch

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        result = self._objective.loss(network, batch, carry)
        self._stamps += [time.perf_counter()] * 2
        return result

    def _accumulated(self, _: Tensor) -> None:
        self._stamps[-1] = time.perf_counter()  # the last one is the end of backward

    def at_step(self, step: int, network: nn.Module) -> None:  # noqa: ARG002
        began, drawn, forward, backward = self._stamps
        ended = time.perf_counter()
        parts = (drawn - began, forward - drawn, backward - forward, ended - backward)
        self.steps.append(Step(*parts))
        self._stamps = [ended]

    def evaluate(self, network: nn.Module) -> dict[str, float]:  # noqa: ARG002
        return {self._objective.metric: 0.0}


class _TorchLayer(nn.Module):
    """torch.nn's layer, called as ours."""

    def __init__(self, ours: Any) -> None:
        super().__init__()
        kind = getattr(nn, type(ours).__name__)
        self.layer = kind(ours.input_size, ours.hidden_size, bidirectional=ours.bidirectional)
        self.layer.load_state_dict(ours.state_dict())

    def forward(self, x: Tensor, state: Any = None, lengths: Tensor | None = None) -> Any:
        if lengths is None:
            return self.layer(x, state)
        packed = rnn.pack_padded_sequence(x, lengths.clamp(min=1), enforce_sorted=False)
        y, state = self.layer(packed, state)
        return rnn.pad_packed_sequence(y, total_length=len(x))[0], state


class _Bare(nn.Module):
    """The same model as people write it in torch."""

    def __init__(self, network: SequenceNetwork) -> None:
        super().__init__()
        a = network.architecture
        self.readout = a.readout
        self.embedding = None
        if a.vocabulary_size is not None:
            assert a.embedding_size is not None
            self.embedding = nn.Embedding(a.vocabulary_size, a.embedding_size)
        (size,), width = a.hidden_sizes, a.layer_sizes()[0]["I"]
        self.layer = nn.GRU(width, size, bidirectional=a.bidirectional)
        self.dense = nn.Linear(a.feature_size, a.output_size)

    def forward(self, x: Tensor, lengths: Tensor | None, state: Tensor | None) -> Any:
        x = x if self.embedding is None else self.embedding(x)
        if lengths is None:
            y, state = self.layer(x, state)
        else:
            packed = rnn.pack_padded_sequence(x, lengths.clamp(min=1), enforce_sorted=False)
            y, state = self.layer(packed)
            y, _ = rnn.pad_packed_sequence(y)
        assert state is not None
        if self.readout == "last":
            y = torch.cat(tuple(state), -1)
        elif self.readout != "every":
            y = torch.cat([y.mean(0), y.amax(0)], -1)
        return self.dense(y), state.detach()


def prepared(task: Any, *data: Any, **options: Any) -> tuple[Any, Any]:
    """The objective and the estimator of a task that is about to train on ``data``."""
    training = mock.patch("tidegate.training.loop.fit", side_effect=_Prepared)
    with training as called, contextlib.suppress(_Prepared):
        task.fit(*data, **options)
    return called.call_args.args


class _Prepared(Exception):
    """Thrown where training would have begun."""


def turns_of_tidegate(objective: Any, options: Any, layers: str) -> Callable[[], float]:
    observed = _Observed(objective)
    if layers == "torch.nn":
        network = observed.network
        network.recurrent = nn.ModuleList(_TorchLayer(layer) for layer in network.recurrent)
    options.set_params(max_steps=STEPS, epochs=None, evaluate_every=10**9, run_folder=None)

    def turn() -> float:
        fit(observed, options)  # pyright: ignore[reportArgumentType]
        return sum(itertools.chain(*observed.steps[-STEPS:])) / STEPS

    turn.observed = observed  # pyright: ignore[reportFunctionMemberAccess]
    return turn


def turns_of_bare_torch(network: SequenceNetwork, batches: list[Any]) -> Callable[[], float]:
    model = _Bare(network)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def turn() -> float:
        state = None
        began = time.perf_counter()
        for inputs, *lengths, targets in batches:
            tokens = inputs.tokens if isinstance(inputs, TokensAndEvidence) else inputs
            outputs, state = model(tokens, *(lengths or [None]), state if not lengths else None)
            if targets.is_floating_point():
                loss, state = F.mse_loss(outputs, targets), None
            else:
                loss = F.cross_entropy(outputs.flatten(0, -2), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return (time.perf_counter() - began) / len(batches)

    return turn


class _Keras:
    """The same model in Keras on JAX, in a process of its own that sleeps between its turns."""

    def __init__(self, network: SequenceNetwork, batches: list[Any], threads: int) -> None:
        self._connection, theirs = get_context("spawn").Pipe()
        arrays = []
        for inputs, *_, targets in batches:
            tokens = inputs.tokens if isinstance(inputs, TokensAndEvidence) else inputs
            padded = -(-len(tokens) // PADDED_TO) * PADDED_TO
            tokens = np.pad(
                tokens.numpy(), [(0, padded - len(tokens)), *[(0, 0)] * (tokens.ndim - 1)]
            )
            answers = targets.numpy()
            many = network.architecture.readout == "every"
            arrays.append((tokens.swapaxes(0, 1).copy(), answers.T.copy() if many else answers))
        process = get_context("spawn").Process(
            target=_serve_keras, args=(theirs, network.architecture, arrays, threads), daemon=True
        )
        process.start()
        theirs.close()

    def __call__(self) -> float:
        self._connection.send(True)
        return self._connection.recv()


def _serve_keras(connection: Connection, a: Any, batches: list[Any], threads: int) -> None:
    os.environ |= {"KERAS_BACKEND": "jax", "OMP_NUM_THREADS": str(threads)}
    import keras  # pyright: ignore[reportMissingImports]

    tokens = a.vocabulary_size is not None
    x = given = keras.Input((None,) if tokens else (None, a.input_size), len(batches[0][0]))
    if tokens:
        x = keras.layers.Embedding(a.vocabulary_size, a.embedding_size)(x)
    layer = keras.layers.GRU(
        a.hidden_sizes[0], return_sequences=a.readout != "last", stateful=a.readout == "every"
    )
    x = keras.layers.Bidirectional(layer)(x) if a.bidirectional else layer(x)
    if a.readout == "mean+max":
        pools = keras.layers.GlobalAveragePooling1D(), keras.layers.GlobalMaxPooling1D()
        x = keras.layers.Concatenate()([pool(x) for pool in pools])
    model = keras.Model(given, keras.layers.Dense(a.output_size)(x))
    loss: Any = "mse"
    if tokens:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(global_clipnorm=1.0), loss=loss)
    for batch in batches:
        model.train_on_batch(*batch)  # compiles
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        began = time.perf_counter()
        for batch in batches:
            model.train_on_batch(*batch)
        connection.send((time.perf_counter() - began) / len(batches))


def tasks() -> dict[str, Callable[[], tuple[Any, Any]]]:
    """Each task's objective and options, made anew at each call."""
    rng = np.random.default_rng(0)
    letters = "".join(map(chr, rng.integers(97, 123, 400_000)))
    words = np.array([f"w{k}" for k in range(30_000)])
    lengths = np.clip(rng.lognormal(5.2, 0.6, 2000), 10, 2000).astype(int)  # as IMDb's reviews
    texts = [" ".join(words[(30_000 * rng.random(n) ** 3).astype(int)]) for n in lengths]
    labels = (np.arange(len(texts)) % 2).tolist()
    hours = np.arange(12_000)[:, None] / 24 * 2 * np.pi * np.array([1, 2, 3, 1 / 7, 1, 2, 1])
    series = (np.sin(hours) + 0.3 * rng.standard_normal(hours.shape)).astype(np.float64)
    return {
        "language model (GRU 384, characters, 32 x 100)": lambda: prepared(
            tidegate.LanguageModel(verbose=0), letters
        ),
        "text classifier (bidirectional GRU 128, 32 texts)": lambda: prepared(
            tidegate.TextClassifier(verbose=0), texts, labels
        ),
        "forecaster (GRU 128, 7 series, 336 hours)": lambda: prepared(
            tidegate.Forecaster(horizon=24, verbose=0),
            Series.of(np.arange(len(series)), series),
        ),
    }


def measure(title: str, make: Callable[[], tuple[Any, Any]]) -> dict[str, Any]:
    """A row: seconds per step of every contestant, medians over the turns."""
    ours = turns_of_tidegate(*make(), layers="tidegate")
    ours()
    observed = ours.observed  # pyright: ignore[reportFunctionMemberAccess]
    network, batches = observed.network, list(observed.seen)
    contestants = {
        "tidegate": ours,
        "tidegate on torch.nn": turns_of_tidegate(*make(), layers="torch.nn"),
        "bare torch": turns_of_bare_torch(network, batches),
    }
    if find_spec("keras") and find_spec("jax"):
        contestants["Keras on JAX"] = _Keras(network, batches, torch.get_num_threads())
    for turn in contestants.values():
        turn()
    observed.steps.clear()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(TURNS):
        for name, turn in contestants.items():
            times[name].append(turn())
            time.sleep(0.2)  # until its threads have stopped spinning
    parts = Step(*(statistics.median(part) for part in zip(*observed.steps, strict=True)))
    return {
        "task": title,
        "ms_per_step": {n: round(1000 * statistics.median(t), 2) for n, t in times.items()},
        "spread_ms": {n: [round(1000 * f(t), 2) for f in (min, max)] for n, t in times.items()},
        "parts_ms": {n: round(1000 * v, 2) for n, v in parts._asdict().items()},
        "overhead": round(parts.overhead, 3),
    }


COLUMNS: dict[str, Any] = {
    "task": lambda row: row["task"],
    "ms per step": lambda row: f"{row['ms_per_step']['tidegate']:.1f}",
    "forward / backward / batches / rest, ms": lambda row: " / ".join(
        f"{row['parts_ms'][p]:.1f}" for p in ("forward", "backward", "data", "rest")
    ),
    "overhead": lambda row: f"{row['overhead']:.1%}",
    **{
        name: times_as_long(name, "tidegate")
        for name in ("tidegate on torch.nn", "bare torch", "Keras on JAX")
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    record = Record("whole_loop", ["task"], versions_of(("keras", "jax")))
    for title, make in tasks().items():
        record.add(measure(title, make))
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

"""What `tidegate.accelerate` does to models of five public shapes, written in torch and in Keras.

    python benchmarks/reproduce/accelerated_models.py

Weights, inputs and targets are random.  Of each model there are two copies with the same weights,
one of them accelerated; they take turns at a step of training: forward, loss, backward, and in
Keras what ``train_on_batch`` does besides.  Before that, outputs and all gradients are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from keras import layers
from record import Record, markdown, versions_of
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tidegate as tg

TURNS, STEPS = 5, 2
# of the largest output, and of the largest gradient: float32, up to a hundred steps
TOLERANCE = {"outputs": 1e-5, "gradients": 1e-4}

Compared = tuple[Any, Any, Callable[[Any], Tensor], Callable[[Any], Callable[[], None]]]


class Tagger(nn.Module):
    """Part-of-speech tagger: words, a bidirectional LSTM over packed sentences, 17 tags."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10_000, 100)
        self.lstm = nn.LSTM(100, 128, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(256, 17)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(words), lengths, True, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.dense(y)


class CharacterModel(nn.Module):
    """char-rnn: characters, two LSTMs of 128 units, the next character."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(87, 64)
        self.lstm = nn.LSTM(64, 128, 2, batch_first=True)
        self.dense = nn.Linear(128, 87)

    def forward(self, characters: Tensor) -> Tensor:
        return self.dense(self.lstm(self.embedding(characters))[0])


class EncoderDecoder(nn.Module):
    """Sequence to sequence, the right answer so far given: two GRUs of 256 units."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.write = nn.Embedding(3000, 128), nn.Embedding(3000, 128)
        self.encoder = nn.GRU(128, 256, batch_first=True)
        self.decoder = nn.GRU(128, 256, batch_first=True)
        self.dense = nn.Linear(256, 300)

    def forward(self, question: Tensor, answer: Tensor) -> Tensor:
        _, state = self.encoder(self.read(question))
        return self.dense(self.decoder(self.write(answer), state)[0])


class Crnn(nn.Module):
    """Text in a picture (Shi et al. 2015): convolutions, two bidirectional LSTMs, 37 characters."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d((8, 1)),
        )  # fmt: skip
        self.lstm = nn.LSTM(128, 256, 2, bidirectional=True)
        self.dense = nn.Linear(512, 37)

    def forward(self, pictures: Tensor) -> Tensor:
        columns = self.convolutions(pictures).squeeze(2).permute(2, 0, 1)
        return self.dense(self.lstm(columns)[0])


class Forecaster(nn.Module):
    """Seven series, 96 hours read and 24 foretold by two LSTMs of 64 units."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(7, 64, 2, batch_first=True)
        self.dense = nn.Linear(64, 24)

    def forward(self, hours: Tensor) -> Tensor:
        return self.dense(self.lstm(hours)[0][:, -1])


def keras_tagger() -> keras.Model:
    recurrent = layers.Bidirectional(layers.LSTM(128, return_sequences=True))
    embedding = layers.Embedding(10_000, 100, mask_zero=True)
    return keras.Sequential([keras.Input((40,)), embedding, recurrent, layers.Dense(17)])


def keras_character_model() -> keras.Model:
    stack = [layers.LSTM(128, return_sequences=True) for _ in range(2)]
    parts = [keras.Input((50,)), layers.Embedding(87, 64), *stack, layers.Dense(87)]
    return keras.Sequential(parts)


def keras_encoder_decoder() -> keras.Model:
    question, answer = keras.Input((20,)), keras.Input((20,))
    _, state = layers.GRU(256, return_state=True)(layers.Embedding(3000, 128)(question))
    decoder = layers.GRU(256, return_sequences=True)
    y = decoder(layers.Embedding(3000, 128)(answer), initial_state=state)
    return keras.Model([question, answer], layers.Dense(300)(y))


def keras_crnn() -> keras.Model:
    x = pictures = keras.Input((32, 100, 1))
    for channels, pool in ((32, 2), (64, 2), (128, (8, 1))):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(pool)(x)
    x = layers.Reshape((25, 128))(x)
    for _ in range(2):
        x = layers.Bidirectional(layers.LSTM(256, return_sequences=True))(x)
    return keras.Model(pictures, layers.Dense(37)(x))


def keras_forecaster() -> keras.Model:
    stack = [layers.LSTM(64, return_sequences=True), layers.LSTM(64)]
    return keras.Sequential([keras.Input((96, 7)), *stack, layers.Dense(24)])


def inputs(model: str, library: str) -> tuple[np.ndarray, ...]:
    """Batches of 32, or of 50 for the character model."""
    rng = np.random.default_rng(0)
    match model:
        case "tagger":
            words, lengths = rng.integers(1, 10_000, (32, 40)), rng.integers(5, 41, 32)
            lengths[0] = 40
            words[np.arange(40) >= lengths[:, None]] = 0
            return (words, lengths) if library == "torch" else (words,)
        case "character model":
            return (rng.integers(0, 87, (50, 50)),)
        case "encoder-decoder":
            return rng.integers(0, 3000, (32, 20)), rng.integers(0, 3000, (32, 20))
        case "CRNN":
            shape = (32, 1, 32, 100) if library == "torch" else (32, 32, 100, 1)
            return (rng.standard_normal(shape, np.float32),)
    return (rng.standard_normal((32, 96, 7), np.float32),)


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], keras.Model]]] = {
    "tagger": (Tagger, keras_tagger),
    "character model": (CharacterModel, keras_character_model),
    "encoder-decoder": (EncoderDecoder, keras_encoder_decoder),
    "CRNN": (Crnn, keras_crnn),
    "forecaster": (Forecaster, keras_forecaster),
}


def in_torch(name: str) -> Compared:
    """Two models with the same weights; what gives outputs of one, and a step of its training."""
    made = MODELS[name][0]
    theirs, ours = made(), made()
    ours.load_state_dict(theirs.state_dict())
    x = tuple(map(torch.from_numpy, inputs(name, "torch")))

    def step(model: nn.Module) -> Callable[[], None]:
        def run() -> None:
            model.zero_grad()
            model(*x).square().mean().backward()

        return run

    return theirs, ours, lambda model: model(*x), step


def in_keras(name: str) -> Compared:
    """The same in Keras."""
    made = MODELS[name][1]
    theirs, ours = made(), made()
    ours.set_weights(theirs.get_weights())
    given: Any = inputs(name, "keras")
    x = list(given) if len(given) > 1 else given[0]
    target = np.zeros(theirs.compute_output_shape(theirs.input_shape)[1:], np.float32)
    y = np.broadcast_to(target, (len(given[0]), *target.shape))
    for model in (theirs, ours):
        model.compile(keras.optimizers.SGD(0.0), "mse")  # weights stay the same
    return theirs, ours, lambda model: model(x), lambda model: lambda: model.train_on_batch(x, y)


def gradients(model: Any) -> list[Tensor]:
    """Those that a step has left; Keras' seeds are parameters too, and have none."""
    return [p.grad for p in model.parameters() if p.grad is not None]


def apart(theirs: list[Tensor], ours: list[Tensor]) -> float:
    """The largest difference of two numbers in the same place, in units of the largest number."""
    most = max(float(a.abs().max()) for a in theirs)
    return max(float((a - b).abs().max()) for a, b in zip(theirs, ours, strict=True)) / most


def measure(name: str, library: str) -> dict[str, Any]:
    """One row: milliseconds of a step before and after, and what became of the layers."""
    keras.utils.set_random_seed(0)
    theirs, ours, outputs, step = (in_torch if library == "torch" else in_keras)(name)
    report = tg.accelerate(ours)
    print(report, flush=True)
    steps = {"before": step(theirs), "after": step(ours)}
    with torch.no_grad():
        differences = {"outputs": apart([outputs(theirs)], [outputs(ours)])}
    for run in steps.values():
        run()
    differences["gradients"] = apart(gradients(theirs), gradients(ours))
    for what, difference in differences.items():
        if difference > TOLERANCE[what]:
            raise RuntimeError(f"{name} in {library}: {what} differ by {difference} of the largest")
    times: dict[str, list[float]] = {"before": [], "after": []}
    for _ in range(TURNS):
        for when, run in steps.items():
            began = time.perf_counter()
            for _ in range(STEPS):
                run()
            times[when].append(1000 * (time.perf_counter() - began) / STEPS)
    return {
        "model": name,
        "library": library,
        "swapped": len(report.swapped),
        "left": len(report.left),
        "ms_per_step": {when: round(statistics.median(t), 2) for when, t in times.items()},
        "spread_ms": {w: [round(min(t), 2), round(max(t), 2)] for w, t in times.items()},
        **{f"{what}_apart": difference for what, difference in differences.items()},
    }


COLUMNS: dict[str, Any] = {
    "model": lambda row: row["model"],
    "written in": lambda row: row["library"],
    "layers swapped": lambda row: f"{row['swapped']} of {row['swapped'] + row['left']}",
    "ms per step before": lambda row: f"{row['ms_per_step']['before']:.1f}",
    "after": lambda row: f"{row['ms_per_step']['after']:.1f}",
    "times as fast": lambda row: (
        f"**{row['ms_per_step']['before'] / row['ms_per_step']['after']:.1f}**"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    record = Record("accelerated_models", ["model", "library"], versions_of(("keras",)))
    for name in MODELS:
        for library in ("torch", "keras"):
            record.add(measure(name, library))
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

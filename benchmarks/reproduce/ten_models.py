"""The ten models of the usual LSTM and GRU introduction, each as a task on a generated signal.

    python benchmarks/reproduce/ten_models.py
    python benchmarks/reproduce/ten_models.py --only "binary"

50 or 100 units read a hundred values one by one, and a dense layer reads the last state:
regression, regression in two layers, ten classes, two classes, ten classes in two layers with
dropout; each as LSTM and as GRU.  The signal is a noisy sinusoid; what is to be told of it is
another thing in each task.  Figures are of a test part that no choice has seen, beside those of
what needs no input: the training part's mean, or its most frequent label.  Data and weights come
from the seed: 0, 1 and 2.
Every row is written to benchmarks/results/ten_models.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg

STEPS = 100
TRAINING, TEST = 2000, 1000
NOISE = 0.3  # its deviation, in amplitudes
AHEAD = 10  # steps
SEEDS = (0, 1, 2)

Signals = tuple[np.ndarray, np.ndarray]  # [N, STEPS], and what is to be told of each, [N]


def sinusoids(rng: np.random.Generator, count: int, until: int) -> tuple[np.ndarray, np.ndarray]:
    """Sinusoids without noise, [count, until], and their frequencies in cycles per STEPS, [count].

    Frequencies are uniform from 1 to 11, phases over the circle, amplitudes from 0.5 to 2.
    """
    frequency = rng.uniform(1, 11, (count, 1))
    angle = 2 * np.pi * (frequency * np.arange(until) / STEPS + rng.random((count, 1)))
    return rng.uniform(0.5, 2, (count, 1)) * np.sin(angle), frequency[:, 0]


def noisy(rng: np.random.Generator, clean: np.ndarray) -> np.ndarray:
    amplitude = np.abs(clean).max(axis=1, keepdims=True)
    return clean + NOISE * amplitude * rng.standard_normal(clean.shape)


def frequency(rng: np.random.Generator, count: int) -> Signals:
    """The frequency, in cycles per STEPS."""
    clean, cycles = sinusoids(rng, count, STEPS)
    return noisy(rng, clean), cycles


def value_ahead(rng: np.random.Generator, count: int) -> Signals:
    """The value without noise, AHEAD steps after the last."""
    clean, _ = sinusoids(rng, count, STEPS + AHEAD)
    return noisy(rng, clean[:, :STEPS]), clean[:, -1]


def frequency_band(rng: np.random.Generator, count: int) -> Signals:
    """Which of ten bands the frequency lies in, each one cycle wide."""
    signals, cycles = frequency(rng, count)
    return signals, cycles.astype(int)


def rises(rng: np.random.Generator, count: int) -> Signals:
    """Whether the frequency rises or falls, evenly from one value to another."""
    low, high = rng.uniform(2, 5, (count, 1)), rng.uniform(6, 9, (count, 1))
    rising = rng.random(count) < 0.5
    first, last = np.where(rising[:, None], (low, high), (high, low))
    t = np.arange(STEPS) / STEPS
    angle = 2 * np.pi * (first * t + (last - first) * t**2 / 2 + rng.random((count, 1)))
    return noisy(rng, np.sin(angle)), np.where(rising, "rises", "falls")


@dataclass(frozen=True, kw_only=True)
class Model:
    """One of the introduction's models, but for the cell."""

    name: str
    told: str
    signals: Callable[[np.random.Generator, int], Signals]
    estimator: type[tg.SequenceRegressor] | type[tg.SequenceClassifier]
    hidden_sizes: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)


MODELS = (
    Model(
        name="regression",
        told="frequency",
        signals=frequency,
        estimator=tg.SequenceRegressor,
        hidden_sizes=(50,),
    ),
    Model(
        name="stacked regression",
        told=f"value {AHEAD} steps ahead",
        signals=value_ahead,
        estimator=tg.SequenceRegressor,
        hidden_sizes=(50, 50),
    ),
    Model(
        name="ten classes",
        told="frequency band",
        signals=frequency_band,
        estimator=tg.SequenceClassifier,
        hidden_sizes=(100,),
    ),
    Model(
        name="binary",
        told="whether the frequency rises",
        signals=rises,
        estimator=tg.SequenceClassifier,
        hidden_sizes=(50,),
    ),
    Model(
        name="dropout",
        told="frequency band",
        signals=frequency_band,
        estimator=tg.SequenceClassifier,
        hidden_sizes=(100, 100),
        options={"dropout": 0.2},
    ),
)


def judged(model: Model, cell: str, seed: int) -> tuple[str, float, float, Any]:
    """The metric's name, its figure and the baseline's, and the model, fresh from training."""
    rng = np.random.default_rng(seed)
    learned, unseen = model.signals(rng, TRAINING), model.signals(rng, TEST)
    options: dict[str, Any] = {"dropout": 0.0} | model.options
    estimator: Any = model.estimator(
        cell=cell,
        hidden_sizes=model.hidden_sizes,
        segment=1,  # every value is a step of its own
        crop=0,
        bidirectional=False,
        readout="last",
        seed=seed,
        verbose=0,
        **options,
    )
    estimator.fit(*learned)
    figures = estimator.evaluate(*unseen)
    if isinstance(estimator, tg.SequenceRegressor):
        return "mse", figures["mse"], figures["mean_mse"], estimator
    labels, counts = np.unique(learned[1], return_counts=True)
    majority = float(np.mean(unseen[1] == labels[counts.argmax()]))
    return "accuracy", figures["accuracy"], majority, estimator


def measure(model: Model, cell: str) -> Row:
    """Train and judge with every seed; the baseline's figure is of the metric's kind."""
    clock = Clock()
    metric, test, baseline, estimators = zip(*(judged(model, cell, s) for s in SEEDS), strict=True)
    sign = 1 if metric[0] == "mse" else -1
    return {
        "model": model.name,
        "cell": cell,
        "told": model.told,
        "hidden_sizes": list(model.hidden_sizes),
        "parameters": estimators[0].runtime_.architecture.parameter_count(),
        "metric": metric[0],
        "seeds": list(SEEDS),
        "test": [round(figure, 4) for figure in test],
        "mean_test": round(float(np.mean(test)), 4),
        "baseline": [round(figure, 4) for figure in baseline],
        "mean_baseline": round(float(np.mean(baseline)), 4),
        "beats_baseline": all(sign * t < sign * b for t, b in zip(test, baseline, strict=True)),
        "training_signals": TRAINING,
        "test_signals": TEST,
        **clock.read(),
    }


COLUMNS: dict[str, Any] = {
    "model": lambda r: r["model"],
    "tells": lambda r: r["told"],
    "cell": lambda r: r["cell"].upper(),
    "units": lambda r: ", ".join(map(str, r["hidden_sizes"])),
    "parameters": lambda r: f"{r['parameters']:,}",
    "metric": lambda r: r["metric"],
    "test (seeds)": lambda r: f"{r['mean_test']} ({', '.join(map(str, r['test']))})",
    "mean / majority": lambda r: r["mean_baseline"],
    "beaten with every seed": lambda r: "yes" if r["beats_baseline"] else "no",
    "CPU seconds": lambda r: r["cpu_seconds"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=[model.name for model in MODELS], help="this row alone")
    only = parser.parse_args().only
    record = Record("ten_models", ("model", "cell"))
    for model in MODELS:
        for cell in ("lstm", "gru"):
            if only in (None, model.name):
                record.add(measure(model, cell))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

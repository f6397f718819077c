"""Series that answer series of another length, beside a ridge regression on stretched ones.

    python benchmarks/reproduce/series_to_series.py

``loudness``: of a tone of 24 to 59 steps, whose frequency, phase and place are drawn, how loud it
is at every second step.  ``sorted``: of 8 to 20 numbers, those above zero, in order of size, so
that an answer's length is for the network to find.  2,000 pairs are learned from, a tenth of which
chooses the weights, and 500 others are asked.  Options are the defaults.

Rows go to benchmarks/results/series_to_series.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg

LEARNED, ASKED = 2000, 500
Pairs = tuple[list[np.ndarray], list[np.ndarray]]


def loudness(rng: np.random.Generator, count: int) -> Pairs:
    sources, targets = [], []
    for _ in range(count):
        t = np.arange(rng.integers(24, 60))
        envelope = rng.uniform(0.5, 2) * np.exp(-(((t - rng.uniform(0, len(t))) / 12) ** 2))
        tone = np.sin(2 * np.pi * rng.uniform(0.05, 0.25) * t + rng.uniform(0, 2 * np.pi))
        sources.append(envelope * tone)
        targets.append(envelope[::2])
    return sources, targets


def sorted_ones(rng: np.random.Generator, count: int) -> Pairs:
    sources, targets = [], []
    while len(sources) < count:
        numbers = rng.standard_normal(rng.integers(8, 21))
        if (numbers > 0).any():
            sources.append(numbers)
            targets.append(np.sort(numbers[numbers > 0]))
    return sources, targets


TASKS = {"loudness": loudness, "sorted": sorted_ones}


def measure(task: str, seed: int) -> Row:
    """One run: its figures on the pairs that are asked, and those of the baseline."""
    sources, targets = TASKS[task](np.random.default_rng(0), LEARNED + ASKED)
    model, clock = tg.SeriesToSeries(seed=seed, verbose=0), Clock()
    model.fit(sources[:LEARNED], targets[:LEARNED])
    row: Row = {"task": task, "seed": seed, **clock.read(), "steps": model.provenance_["steps"]}
    row |= model.evaluate(sources[LEARNED:], targets[LEARNED:])
    names = ("scaled_mse", "baseline_scaled_mse", "length_accuracy")
    return row | {f"validation_{name}": model.metrics_[name] for name in names}


COLUMNS: dict[str, Callable[[Row], Any]] = {
    "task": lambda row: row["task"],
    "seed": lambda row: row["seed"],
    "squared error, in deviations": lambda row: f"**{row['scaled_mse']:.4f}**",
    "validation": lambda row: f"{row['validation_scaled_mse']:.4f}",
    "ridge regression": lambda row: f"{row['validation_baseline_scaled_mse']:.4f}",
    "lengths that are right": lambda row: f"{row['length_accuracy']:.3f}",
    "CPU seconds": lambda row: round(row["cpu_seconds"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=tuple(TASKS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    record = Record("series_to_series", ("task", "seed"))
    for task in [given.only] if given.only else TASKS:
        record.add(measure(task, given.seed))
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

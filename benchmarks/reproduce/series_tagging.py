"""A label per step: pen digits written one after another, which digit the pen is at.

    python benchmarks/reproduce/series_tagging.py DATA
    python benchmarks/reproduce/series_tagging.py DATA --seed 1

Each sequence holds three to eight digits of the UCI repository's Pen-Based Recognition of
Handwritten Digits, eight points each, drawn from one of its two parts without return; the test
part is of other writers.  Nothing says where a digit begins.  Beside the defaults of SeriesTagger
stand the label of the nearest window of values, by all steps of the training part, and logistic
regression on a window: how far windows reach is chosen on training sequences.  Rows go to
benchmarks/results/series_tagging.json.  The same by commands, of such sequences in a table:

    tidegate train series-tagger digits.csv --id line --values x,y --label digit --seed 0
    tidegate evaluate digits-series-tagger.safetensors other-writers.csv
"""

from __future__ import annotations

import argparse
import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.baselines.steps import LinearSteps, NearestSteps
from tidegate.baselines.tagged import Tagged

POINTS = 8  # of a digit
DIGITS = (3, 8)  # in a sequence
HELD_OUT = 10  # each so many-th training sequence chooses what the linear baseline has to choose


def joined(path: Path, seed: int) -> Tagged:
    """All digits of a file, in sequences [T, 2] drawn by the seed, with the labels of steps."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = np.array([[int(cell) for cell in row] for row in csv.reader(file)])
    points, digits = rows[:, :-1].reshape(len(rows), POINTS, 2).astype(float), rows[:, -1]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    found: tuple[list[Any], list[Any]] = [], []
    while len(order):
        drawn, order = np.split(order, [int(rng.integers(DIGITS[0], DIGITS[1] + 1))])
        found[0].append(np.concatenate(points[drawn]))
        found[1].append(np.repeat(digits[drawn], POINTS))
    return Tagged(*found)


def of_windows(train: Tagged, test: Tagged) -> Row:
    """The baselines' figures on the test part."""
    held_out = train.rows(range(0, len(train.inputs), HELD_OUT))
    rest = train.rows(i for i in range(len(train.inputs)) if i % HELD_OUT)
    found: Row = {}
    for fit in (
        lambda: NearestSteps.fit(train, most=train.steps),
        lambda: LinearSteps.fit(rest, held_out),
    ):
        clock = Clock()
        fitted = fit()
        found[fitted.name] = {"about": fitted.about, **fitted.figures(test), **clock.read()}
    return found


COLUMNS: dict[str, Any] = {
    "seed": lambda r: r["seed"],
    "training / test steps": lambda r: f"{r['training_steps']:,} / {r['test']['n']:,}",
    "test accuracy": lambda r: f"{r['test']['accuracy']:.4f}",
    "macro F1": lambda r: f"{r['test']['macro_f1']:.4f}",
    "cross-entropy": lambda r: f"{r['test']['cross_entropy']:.3f}",
    "nearest window": lambda r: f"{r['baselines']['1-nearest window']['accuracy']:.4f}",
    "logistic regression": lambda r: f"{r['baselines']['logistic regression']['accuracy']:.4f}",
    "CPU seconds": lambda r: round(r["cpu_seconds"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with pendigits/")
    parser.add_argument("--seed", type=int, default=0, help="of training, and of what is joined")
    arguments = parser.parse_args()
    files = (arguments.data / "pendigits" / f"pendigits_{p}.csv.gz" for p in ("train", "test"))
    train, test = (joined(path, arguments.seed) for path in files)
    clock = Clock()
    model = tg.SeriesTagger(seed=arguments.seed, baseline=False).fit(*train)
    times = clock.read()
    record = Record("series_tagging", ("seed",))
    record.add(
        {
            "seed": arguments.seed,
            "training_steps": train.steps,
            "validation": model.metrics_,
            "test": model.evaluate(*test),
            "baselines": of_windows(train, test),
            "parameters": model.runtime_.architecture.parameter_count(),
            "steps": model.provenance_["steps"],
            "stopped_by": model.provenance_["stopped_by"],
            **times,
        }
    )
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

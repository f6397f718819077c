"""The same training with products of float32 and of bfloat16 factors: what is learned, how fast.

    python benchmarks/reproduce/precision.py DATA [--seeds 0 1 2]

A language model of the first 300,000 characters of War and Peace, and a classifier of 2,000
sentences of SST-2 that SST-2's own validation part judges; default sizes, the same steps, one
thread.  Runs of the two precisions go in turns, seed by seed.  Processor time is that of the whole
``fit`` with its evaluations, which are in float32 always.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.data.text.reading import read_text
from tidegate.engine import compiled
from tidegate.tasks.estimator import Estimator

CHARACTERS, SENTENCES = 300_000, 2_000
PRECISIONS = ("float32", "bfloat16")
STEPS = {"characters": 200, "sentences": 300}


def labelled(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of a table."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def language_model(data: Path, **options: Any) -> Estimator:
    text = read_text(data / "warpeace" / "warpeace_input.txt.gz")[:CHARACTERS]
    return tg.LanguageModel(max_steps=STEPS["characters"], sample_steps=(), **options).fit(text)


def classifier(data: Path, **options: Any) -> Estimator:
    texts, labels = labelled(data / "sst" / "sst2_train.tsv.gz")
    held_out = labelled(data / "sst" / "sst2_dev.tsv.gz")
    every = len(texts) // SENTENCES  # the table may be sorted
    model = tg.TextClassifier(max_steps=STEPS["sentences"], **options)
    return model.fit(texts[::every][:SENTENCES], labels[::every][:SENTENCES], validation=held_out)


def run(fit: Callable[..., Estimator], what: str, precision: str, seed: int) -> Row:
    clock = Clock()
    model = fit(precision=precision, seed=seed, verbose=0)
    losses = model.history_["validation_loss"]
    return {
        "what": what,
        "precision": precision,
        "seed": seed,
        "steps": model.provenance_["steps"],
        "lowest_validation_loss": min(losses),
        "last_validation_loss": losses[-1],
        "metrics": model.metrics_,
        **clock.read(),
    }


def spread(numbers: list[float]) -> str:
    """Mean, and the standard deviation over seeds."""
    deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return f"{statistics.mean(numbers):.4f} ± {deviation:.4f}"


def summary(rows: list[Row]) -> list[Row]:
    """A row for each task and precision, over its seeds."""
    told = []
    for what in STEPS:
        for precision in PRECISIONS:
            own = [r for r in rows if (r["what"], r["precision"]) == (what, precision)]
            if own:
                told.append({"what": what, "precision": precision, "rows": own})
    return told


COLUMNS: dict[str, Callable[[Row], Any]] = {
    "task": lambda row: row["what"],
    "products": lambda row: row["precision"],
    "seeds": lambda row: len(row["rows"]),
    "lowest validation loss": lambda row: spread(
        [r["lowest_validation_loss"] for r in row["rows"]]
    ),
    "last": lambda row: spread([r["last_validation_loss"] for r in row["rows"]]),
    "steps per second of processor": lambda row: (
        f"{statistics.median(r['steps'] / r['cpu_seconds'] for r in row['rows']):.2f}"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with warpeace/ and sst/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", choices=tuple(STEPS), help="one of the two tasks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = Record("precision", ("what", "precision", "seed"), {"bf16": compiled.rounding_isa()})
    fits = {"characters": language_model, "sentences": classifier}
    for seed in arguments.seeds:
        for what, fit in fits.items():
            for precision in PRECISIONS if arguments.only in (None, what) else ():
                record.add(run(partial(fit, arguments.data), what, precision, seed))
    print(markdown(summary(record.rows), COLUMNS))


if __name__ == "__main__":
    main()

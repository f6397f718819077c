"""The same training with products of float32 and of bfloat16 factors: what is learned, how fast.

    python benchmarks/reproduce/precision.py DATA [--seeds 0 1 2] [--only characters --steps 500]

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
STEPS = {"characters": 90, "sentences": 300}


def labelled(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of a table."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def language_model(data: Path, **options: Any) -> Estimator:
    text = read_text(data / "warpeace" / "warpeace_input.txt.gz")[:CHARACTERS]
    return tg.LanguageModel(sample_steps=(), refit=False, **options).fit(text)


def classifier(data: Path, **options: Any) -> Estimator:
    texts, labels = labelled(data / "sst" / "sst2_train.tsv.gz")
    held_out = labelled(data / "sst" / "sst2_dev.tsv.gz")
    every = len(texts) // SENTENCES  # the table may be sorted
    model = tg.TextClassifier(refit=False, **options)
    return model.fit(texts[::every][:SENTENCES], labels[::every][:SENTENCES], validation=held_out)


def run(fit: Callable[..., Estimator], what: str, precision: str, seed: int, steps: int) -> Row:
    clock = Clock()
    model = fit(precision=precision, seed=seed, max_steps=steps, verbose=0)
    losses = model.history_["validation_loss"]
    return {
        "what": what,
        "precision": precision,
        "seed": seed,
        "steps": steps,
        "lowest_validation_loss": min(losses),
        "last_validation_loss": losses[-1],
        "metrics": model.metrics_,
        **clock.read(),
    }


def spread(numbers: list[float]) -> str:
    """Mean, and the standard deviation over seeds if there are several."""
    mean = f"{statistics.mean(numbers):.4f}"
    return f"{mean} ± {statistics.stdev(numbers):.4f}" if len(numbers) > 1 else mean


def summary(rows: list[Row]) -> list[Row]:
    """A row for each task, number of steps and precision, over its seeds."""
    told: list[Row] = []
    for what, steps in sorted({(r["what"], r["steps"]) for r in rows}):
        for precision in PRECISIONS:
            wanted = {"what": what, "steps": steps, "precision": precision}
            told.append({**wanted, "rows": [r for r in rows if wanted.items() <= r.items()]})
    return [group for group in told if group["rows"]]


COLUMNS: dict[str, Callable[[Row], Any]] = {
    "task": lambda row: row["what"],
    "steps": lambda row: row["steps"],
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
    parser.add_argument("--steps", type=int, help="of a run; default " + str(STEPS))
    parser.add_argument("--only", choices=tuple(STEPS), help="one of the two tasks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    record = Record(
        "precision", ("what", "precision", "seed", "steps"), {"bf16": compiled.rounding_isa()}
    )
    fits = {"characters": language_model, "sentences": classifier}
    for seed in arguments.seeds:
        for what, fit in fits.items():
            for precision in PRECISIONS if arguments.only in (None, what) else ():
                record.add(
                    run(
                        partial(fit, arguments.data),
                        what,
                        precision,
                        seed,
                        arguments.steps or STEPS[what],
                    )
                )
    print(markdown(summary(record.rows), COLUMNS))


if __name__ == "__main__":
    main()

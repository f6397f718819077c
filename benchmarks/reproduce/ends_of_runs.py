"""How a run ends on few data: told never to stop, by its own patience, and after learning from all.

    python benchmarks/reproduce/ends_of_runs.py DATA
    python benchmarks/reproduce/ends_of_runs.py DATA --only texts --seed 0

Each kind of data is small, and what judges it is of the official training part, too: the rest of a
story, other texts, later rows, other sequences.  Every figure stands in
benchmarks/results/ends_of_runs.json.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.data.sequence_sources import LabelledSequences

SEEDS = (0, 1, 2)
ENDS: dict[str, dict[str, Any]] = {
    "never stopped": {"patience": 10**6, "refit": False},
    "patience": {"refit": False},
    "patience and refit": {},
}
STORY, NEXT = 60_000, 15_000  # characters to learn from, and those that follow


def story(folder: Path, seed: int, options: dict[str, Any]) -> tuple[Any, float]:
    """Cross-entropy of the text that follows, nats a character."""
    with gzip.open(folder / "warpeace/warpeace_input.txt.gz", "rt", encoding="utf-8") as file:
        text = file.read()[seed * 250_000 :][: STORY + NEXT]
    sizes = {"hidden_sizes": (96,), "embedding_size": 32, "bptt": 25, "batch_size": 16}
    model = tg.LanguageModel(**sizes, epochs=40, sample_steps=(), **options).fit(text[:STORY])
    return model, model.evaluate(text[STORY:])["cross_entropy"]


def texts(folder: Path, seed: int, options: dict[str, Any]) -> tuple[Any, float]:
    """Cross-entropy of 1,000 other sentences, after 300."""
    with gzip.open(folder / "sst/sst2_train.tsv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    order = np.random.default_rng(seed).permutation(len(rows))
    parts = [[rows[i] for i in part] for part in (order[:300], order[300:1300])]
    (labels, learned), (truth, judged) = (tuple(zip(*part, strict=True)) for part in parts)
    model = tg.TextClassifier(**options).fit(learned, labels)
    return model, model.evaluate(judged, truth)["cross_entropy"]


def load(folder: Path, seed: int, options: dict[str, Any]) -> tuple[Any, float]:
    """Mean squared error of later rows, in deviations, a day ahead."""
    with gzip.open(folder / "timeseries/ETTh1.csv.gz", "rt") as file:
        rows = list(csv.reader(file))[1:]
    values = np.array([row[1:] for row in rows], float)[1500 * seed :][:1500]
    model = tg.Forecaster(horizon=24, season=24, context=96, validate_until=1200, **options)
    return model, model.fit(values).metrics_["test_mse"]


def sequences(folder: Path, seed: int, options: dict[str, Any]) -> tuple[Any, float]:
    """Cross-entropy of other appliances, after 350."""
    path = folder / "tsc/PLAID/PLAID_TRAIN.ts.gz"
    values, labels = LabelledSequences().read(str(path), learning=True)
    order = np.random.default_rng(seed).permutation(len(values))
    learned, judged = ([values[i] for i in part] for part in (order[:350], order[350:]))
    model = tg.SequenceClassifier(validation_fraction=0.2, **options)
    model.fit(learned, labels[order[:350]])
    return model, model.evaluate(judged, labels[order[350:]])["cross_entropy"]


KINDS: dict[str, Callable[[Path, int, dict[str, Any]], tuple[Any, float]]] = {
    "story": story,
    "texts": texts,
    "load": load,
    "sequences": sequences,
}


def measure(kind: str, end: str, seed: int, folder: Path) -> Row:
    clock = Clock()
    model, loss = KINDS[kind](folder, seed, {"seed": seed, "verbose": 0} | ENDS[end])
    about = model.provenance_
    counts = {name: about.get(name, 0) for name in ("best_step", "steps", "refit_steps")}
    return {
        "data": kind,
        "end": end,
        "seed": seed,
        "loss": round(loss, 4),
        **counts,
        **clock.read(),
    }


def mean(rows: list[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with warpeace/, sst/, timeseries/ and tsc/")
    parser.add_argument("--only", choices=list(KINDS), help="these data alone")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="this seed alone")
    chosen = parser.parse_args()
    record = Record("ends_of_runs", ("data", "end", "seed"))
    for kind in KINDS if chosen.only is None else [chosen.only]:
        for seed in SEEDS if chosen.seed is None else [chosen.seed]:
            for end in ENDS:
                record.add(measure(kind, end, seed, chosen.data))
    groups = {(r["data"], r["end"]): [] for r in record.rows}
    for row in record.rows:
        groups[row["data"], row["end"]].append(row)
    columns: dict[str, Any] = {
        "data": lambda rows: rows[0]["data"],
        "end": lambda rows: rows[0]["end"],
        "loss on what was not seen": lambda rows: f"{mean(rows, 'loss'):.3f}",
        "seeds": lambda rows: ", ".join(f"{row['loss']:.3f}" for row in rows),
        "steps": lambda rows: round(mean(rows, "steps") + mean(rows, "refit_steps")),
        "CPU seconds": lambda rows: round(mean(rows, "cpu_seconds")),
    }
    print("\n" + markdown(list(groups.values()), columns))  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    main()

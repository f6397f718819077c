"""What the defaults are worth: each changed alone, judged on validation data.

    python benchmarks/reproduce/ablation.py DATA
    python benchmarks/reproduce/ablation.py DATA --only language-model --threads 1

Language model: the first 1.1 million characters of War and Peace, 10 % held out, three epochs, so
that every row has read the same; nats per character.  Text classifier: SST-2's training sentences,
four fifths to learn from and a fifth to be judged by, three draws; accuracy.  No test part is read.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from language_models import parsed
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.data.text.reading import read_text
from tidegate.nn import network
from tidegate.nn.recurrent_layer import Recurrent

CHARACTERS, EPOCHS, DRAWS = 1_100_000, 3, 3
Start = Callable[[Recurrent, float], None]


def as_torch(layer: Recurrent, forget_bias: float) -> None:  # noqa: ARG001
    """U(-1/sqrt(H), 1/sqrt(H)), as torch.nn draws all weights: what the layer has already."""


# Options, or how recurrent layers start, by what the row is called.
Change = dict[str, Any] | Start
BOTH: dict[str, Change] = {
    "defaults": {},
    "start as torch.nn": as_torch,
    "LSTM": {"cell": "lstm"},
}
LANGUAGE_MODEL: dict[str, Change] = BOTH | {
    "LSTM, forget bias 1": {"cell": "lstm", "forget_bias": 1.0},
    "LSTM, vectors of size 0.3": {"cell": "lstm", "embedding_scale": 0.3},
    "vectors of size 0.09": {"embedding_scale": 0.09},
    "vectors of size 1": {"embedding_scale": 1.0},
    "dropout 0": {"dropout": 0.0},
    "dropout 0.3": {"dropout": 0.3},
    "embedding dropout 0.1": {"embedding_dropout": 0.1},
    "recurrent dropout 0.1": {"recurrent_dropout": 0.1},
    "weight decay 0": {"weight_decay": 0.0},
    "weight decay 0.1": {"weight_decay": 0.1},
    "learning rate 0.002": {"learning_rate": 2e-3},
    "learning rate 0.008": {"learning_rate": 8e-3},
    "schedule linear": {"schedule": "linear"},
    "schedule constant": {"schedule": "constant"},
    "schedule constant, average 0.99": {"schedule": "constant", "average": 0.99},
    "batch of 16": {"batch_size": 16},
    "batch of 64": {"batch_size": 64},
    "back-propagation over 50 steps": {"bptt": 50},
    "back-propagation over 200 steps": {"bptt": 200},
}
CLASSIFIER: dict[str, Change] = BOTH | {
    "LSTM, forget bias 0": {"cell": "lstm", "forget_bias": 0.0},
    "readout of the last state": {"readout": "last"},
    "readout of the mean": {"readout": "mean"},
    "one direction": {"bidirectional": False},
    "no evidence": {"evidence": False},
    "vectors of size 0.3": {"embedding_scale": 0.3},
    "vectors of size 1": {"embedding_scale": 1.0},
    "embedding dropout 0": {"embedding_dropout": 0.0},
    "dropout 0": {"dropout": 0.0},
    "recurrent dropout 0": {"recurrent_dropout": 0.0},
    "weight decay 0.01": {"weight_decay": 0.01},
    "no average": {"average": 0.0},
    "each weight's own second moment": {"embedding_moment": "own"},
    "schedule constant": {"schedule": "constant"},
}


def changed(change: Change) -> tuple[dict[str, Any], AbstractContextManager[Any]]:
    """Options, and in what they are to be used."""
    if isinstance(change, dict):
        return change, nullcontext()
    return {}, mock.patch.object(network, "initialise_recurrent", change)


def language_model(data: Path, seed: int) -> Callable[[dict[str, Any]], float]:
    text = read_text(data / "warpeace" / "warpeace_input.txt.gz")[:CHARACTERS]

    def judge(options: dict[str, Any]) -> float:
        model = tg.LanguageModel(epochs=EPOCHS, sample_steps=(), verbose=0, seed=seed, **options)
        return model.fit(text).metrics_["cross_entropy"]

    return judge


def classifier(data: Path, seed: int) -> Callable[[dict[str, Any]], float]:
    with gzip.open(data / "sst" / "sst2_train.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    def judge(options: dict[str, Any]) -> float:
        accuracy = []
        for draw in range(seed * DRAWS, (seed + 1) * DRAWS):
            order = np.random.default_rng(draw).permutation(len(rows))
            judged, learned = np.split(order, [len(rows) // 5])
            parts = [
                ([rows[i]["text"] for i in part], [rows[i]["label"] for i in part])
                for part in (learned, judged)
            ]
            model = tg.TextClassifier(seed=draw, verbose=0, **options).fit(*parts[0])
            accuracy.append(model.evaluate(*parts[1])["accuracy"])
        return statistics.mean(accuracy)

    return judge


TASKS = {
    "language-model": (language_model, LANGUAGE_MODEL),
    "text-classifier": (classifier, CLASSIFIER),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with warpeace/ and sst/")
    parser.add_argument("--only", choices=TASKS, help="this task alone")
    arguments = parsed(parser)
    record = Record("ablation", ("task", "change", "seed"))
    for task, (prepare, changes) in TASKS.items():
        if arguments.only not in (None, task):
            continue
        judge = prepare(arguments.data, arguments.seed)
        for name, change in changes.items():
            options, context = changed(change)
            clock = Clock()
            with context:
                figure = judge(options)
            row = {"task": task, "change": name, "seed": arguments.seed, "validation": figure}
            record.add(row | clock.read())
    defaults = {(r["task"], r["seed"]): r for r in record.rows if r["change"] == "defaults"}

    def beside(row: Row) -> str:
        return f"{row['validation'] - defaults[row['task'], row['seed']]['validation']:+.4f}"

    columns: dict[str, Callable[[Row], Any]] = {
        "task": lambda row: row["task"],
        "changed": lambda row: row["change"],
        "seed": lambda row: row["seed"],
        "validation": lambda row: f"{row['validation']:.4f}",
        "against the defaults": beside,
        "seconds of a core": lambda row: round(row["cpu_seconds"]),
    }
    print(markdown(record.rows, columns))


if __name__ == "__main__":
    main()

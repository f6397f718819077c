"""How far from its minutes a run ends: every task, large and small validation parts, folds, refit.

    python benchmarks/reproduce/minutes.py DATA
    python benchmarks/reproduce/minutes.py DATA --only words --minutes 0.5 --busy 2

What is asked is that ``fit`` ends within 5 seconds of ``max_minutes``, unless the run stops by its
patience.  ``--busy`` starts so many other processes that keep a processor busy.  Every figure
stands in benchmarks/results/minutes.json.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.data.sequence_sources import LabelledSequences

MINUTES = (0.5, 1, 2)
ALLOWED = 5  # seconds, either way


def text_of(path: Path) -> str:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read()


def sentences(folder: Path, count: int) -> tuple[Any, Any]:
    rows = list(
        csv.reader(
            text_of(folder / "sst/sst2_train.tsv.gz").splitlines(),
            delimiter="\t",
            quoting=csv.QUOTE_NONE,
        )
    )[1:]
    order = np.random.default_rng(0).permutation(len(rows))[:count]
    labels, texts = zip(*(rows[i] for i in order), strict=True)
    return list(texts), list(labels)


def characters(folder: Path, length: int, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    text = text_of(folder / "warpeace/warpeace_input.txt.gz")[:length]
    return tg.LanguageModel(**options), (text,)


def words(folder: Path, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    return tg.LanguageModel(level="word", **options), (text_of(folder / "ptb/ptb.train.txt.gz"),)


def texts(folder: Path, count: int, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    return tg.TextClassifier(**options), sentences(folder, count)


def reviews(folder: Path, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    rows = text_of(folder / "imdb/train.tsv.gz").splitlines()[1:]
    rows = [row.split("\t", 3) for row in rows]
    return tg.TextClassifier(**options), ([r[3] for r in rows], [r[0] for r in rows])


def load(folder: Path, hours: int | None = None, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    rows = list(csv.reader(text_of(folder / "timeseries/ETTh1.csv.gz").splitlines()))[1:]
    return tg.Forecaster(**options), (np.array([row[1:] for row in rows[:hours]], float),)


def words_of(folder: Path, count: int, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    """Sentences whose words are labelled by their length."""
    kept = [text.split() for text in sentences(folder, count)[0]]
    labels = [["long" if len(word) > 4 else "short" for word in one] for one in kept]
    return tg.SequenceTagger(**options), (kept, labels)


def reversals(folder: Path, count: int, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    """Words and their letters from the last to the first."""
    found = dict.fromkeys(w for text in sentences(folder, count)[0] for w in text.split())
    return tg.SequenceToSequence(**options), (list(found), [word[::-1] for word in found])


def sequences(folder: Path, name: str, **options: Any) -> tuple[Any, tuple[Any, ...]]:
    path = folder / f"tsc/{name}/{name}_TRAIN.ts.gz"
    return tg.SequenceClassifier(**options), LabelledSequences().read(str(path), learning=True)


CASES: dict[str, Callable[..., tuple[Any, tuple[Any, ...]]]] = {
    "characters, refit": lambda folder, **o: characters(folder, 300_000, **o),
    "characters, large": lambda folder, **o: characters(folder, 4_000_000, **o),
    "characters, half held out": lambda folder, **o: characters(
        folder, 1_500_000, validation_fraction=0.5, test_fraction=0.2, **o
    ),
    "words": words,
    "texts, folds": lambda folder, **o: texts(folder, 300, epochs=10**5, **o),
    "texts": lambda folder, **o: texts(folder, 6000, test_fraction=0.1, **o),
    "reviews": reviews,
    "load, a week ahead": lambda folder, **o: load(folder, horizon=168, **o),
    "load, 4,000 hours": lambda folder, **o: load(folder, 4000, horizon=24, **o),
    "load, all series together": lambda folder, **o: load(folder, horizon=168, joint=True, **o),
    "tags": lambda folder, **o: words_of(folder, 6000, **o),
    "pairs": lambda folder, **o: reversals(folder, 6000, **o),
    "appliances": lambda folder, **o: sequences(folder, "PLAID", **o),
    "motions": lambda folder, **o: sequences(folder, "GunPoint", epochs=10**6, **o),
}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other processes that keep a processor each busy."""
    loop = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(loop) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()


def measure(case: str, minutes: float, neighbours: int, folder: Path) -> Row:
    model, data = CASES[case](folder, verbose=0, max_minutes=minutes, patience=10**6)
    clock = Clock()
    with busy(neighbours):
        began = time.monotonic()
        model.fit(*data)
        seconds = time.monotonic() - began
    about = model.provenance_
    return {
        "case": case,
        "minutes": minutes,
        "busy": neighbours,
        "late_s": round(seconds - 60 * minutes, 1),
        "steps": about["steps"],
        "refit_steps": about.get("refit_steps", 0),
        "stopped_by": about["stopped_by"],
        **clock.read(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with warpeace/, ptb/, sst/, imdb/ and more")
    parser.add_argument("--only", nargs="+", choices=list(CASES), help="these cases alone")
    parser.add_argument("--minutes", type=float, nargs="+", default=MINUTES)
    parser.add_argument("--busy", type=int, default=0, help="processes that work beside it")
    chosen = parser.parse_args()
    record = Record("minutes", ("case", "minutes", "busy"))
    for minutes in chosen.minutes:
        for case in chosen.only or CASES:
            record.add(measure(case, minutes, chosen.busy, chosen.data))
    columns: dict[str, Any] = {
        "case": lambda row: row["case"],
        "minutes": lambda row: row["minutes"],
        "busy neighbours": lambda row: row["busy"],
        "seconds": lambda row: row["seconds"],
        "late by": lambda row: f"{row['late_s']:+.1f}",
        f"within {ALLOWED} s": lambda row: "yes" if abs(row["late_s"]) <= ALLOWED else "no",
        "steps": lambda row: row["steps"],
        "of all data": lambda row: row["refit_steps"],
    }
    print("\n" + markdown(record.rows, columns))


if __name__ == "__main__":
    main()

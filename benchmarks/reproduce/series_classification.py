"""Series classification: defaults trained on official training parts, judged on the test parts.

    python benchmarks/reproduce/series_classification.py DATA
    python benchmarks/reproduce/series_classification.py DATA --only GunPoint

Three seeds each; every figure, what was published and what 1-NN DTW comes to here stand in
benchmarks/results/series_classification.json.  A row is what these commands do for a seed:

    tidegate train series-classifier GunPoint_TRAIN.ts.gz --seed 0
    tidegate evaluate GunPoint_TRAIN-series-classifier.safetensors GunPoint_TEST.ts.gz
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import tidegate as tg
from tidegate.data.sources import LabelledSequences

SEEDS = (0, 1, 2)
RESULTS = Path(__file__).parents[1] / "results" / "series_classification.json"
ARCHIVE = "UCR/UEA archive, timeseriesclassification.com"
DIGITS = "UCI repository, Pen-Based Recognition of Handwritten Digits"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One data set: its files, how they are read, and what others report on the test part.

    ``confidence``: ``memory`` for a published figure that was not looked up again.
    """

    name: str
    train: str
    test: str
    source: LabelledSequences = field(default_factory=LabelledSequences)
    published: float | None = None
    model: str | None = None
    reference: str | None = None
    confidence: str | None = None


def archive_row(name: str, published: float | None) -> Row:
    known: dict[str, Any] = {}
    if published is not None:
        known = {"model": "1-NN DTW", "reference": ARCHIVE, "confidence": "memory"}
    files = {part: f"tsc/{name}/{name}_{part.upper()}.ts.gz" for part in ("train", "test")}
    return Row(name=name, **files, published=published, **known)


ROWS = (
    archive_row("GunPoint", 0.907),
    archive_row("ArrowHead", 0.703),
    archive_row("PLAID", None),
    Row(
        name="pen digits",
        train="pendigits/pendigits_train.csv.gz",
        test="pendigits/pendigits_test.csv.gz",
        source=LabelledSequences(label="17", channels=2, header=False),
        published=0.977,
        model="1-NN DTW",
        reference=DIGITS,
        confidence="memory",
    ),
)


def nearest_by_dtw(
    learned: list[np.ndarray], labels: np.ndarray, unseen: list[np.ndarray]
) -> np.ndarray:
    """The label of the nearest sequence [T, C] by dynamic time warping without a window.

    Source: Sakoe & Chiba 1978; as the archive's 1-NN DTW, on values as they are in the file.
    """
    lengths = np.array([len(y) for y in learned])
    groups = [np.flatnonzero(lengths == n) for n in np.unique(lengths)]
    blocks = [np.stack([learned[i] for i in group]) for group in groups]
    nearest = np.empty(len(unseen), np.int64)
    for k, x in enumerate(unseen):
        distances = np.empty(len(learned))
        for group, block in zip(groups, blocks, strict=True):
            distances[group] = _warped_distances(x, block)
        nearest[k] = distances.argmin()
    return labels[nearest]


def _warped_distances(x: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Squared DTW distances from x [n, C] to each of block [N, m, C], diagonal by diagonal."""
    n, (count, m, _) = len(x), block.shape
    # column i + 1 of a diagonal is the cell of step i of x; column 0 lies outside
    before, last = (np.full((count, n + 1), np.inf) for _ in range(2))
    before[:, 0] = 0  # where the path begins
    for d in range(n + m - 1):
        i = np.arange(max(0, d - m + 1), min(n - 1, d) + 1)
        cost = ((x[i] - block[:, d - i]) ** 2).sum(axis=2)
        cells = np.full((count, n + 1), np.inf)
        cells[:, i + 1] = cost + np.minimum(np.minimum(last[:, i + 1], last[:, i]), before[:, i])
        before, last = last, cells
    return last[:, n]


def measure(row: Row, folder: Path) -> dict[str, Any]:
    """Figures of every seed."""
    learned, labels = row.source.read(str(folder / row.train), learning=True)
    unseen, truth = row.source.read(str(folder / row.test), learning=False)
    figures, seconds = [], []
    for seed in SEEDS:
        began = time.perf_counter()
        model = tg.SequenceClassifier(seed=seed, show_progress=False).fit(learned, labels)
        seconds.append(time.perf_counter() - began)
        figures.append(model.evaluate(unseen, truth))
    accuracy = [round(f["accuracy"], 4) for f in figures]
    return {
        "data": row.name,
        "training_sequences": len(learned),
        "test_sequences": len(unseen),
        "labels": len(np.unique(labels)),
        "seeds": list(SEEDS),
        "accuracy": accuracy,
        "mean_accuracy": round(float(np.mean(accuracy)), 4),
        "lowest_to_highest": round(max(accuracy) - min(accuracy), 4),
        "mean_macro_f1": round(float(np.mean([f["macro_f1"] for f in figures])), 4),
        "mean_cross_entropy": round(float(np.mean([f["cross_entropy"] for f in figures])), 4),
        "training_seconds": [round(s, 1) for s in seconds],
        "dtw_accuracy": round(float((nearest_by_dtw(learned, labels, unseen) == truth).mean()), 4),
        "published": row.published,
        "published_model": row.model,
        "published_source": row.reference,
        "confidence_in_published": row.confidence,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with tsc/ and pendigits/")
    parser.add_argument("--only", choices=[row.name for row in ROWS], help="this row alone")
    arguments = parser.parse_args()
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"rows": []}
    rows = {row["data"]: row for row in known["rows"]}
    about = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": platform.processor() or platform.machine(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "python": platform.python_version(),
        **{package: version(package) for package in ("tidegate", "torch", "numpy")},
    }
    for row in ROWS:
        if arguments.only in (None, row.name):
            rows[row.name] = measure(row, arguments.data) | about
            print(json.dumps(rows[row.name]), flush=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    found = [rows[row.name] for row in ROWS if row.name in rows]
    RESULTS.write_text(json.dumps({"rows": found}, indent=1) + "\n", encoding="utf-8")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()

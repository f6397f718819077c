"""Series classification: defaults trained on official training parts, judged on the test parts.

    python benchmarks/reproduce/series_classification.py DATA
    python benchmarks/reproduce/series_classification.py DATA --only GunPoint
    python benchmarks/reproduce/series_classification.py DATA --peer

Three seeds each; every figure, what was published and what 1-NN DTW comes to here stand in
benchmarks/results/series_classification.json, beside what the evidence alone says: our ridges on
convolutions and values.  With ``--peer``, which needs aeon (1.6) and no torch, MiniRocket with its
ridge as aeon has it is added to the rows that are there: shorter sequences are stretched to the
longest by zeros behind them, as it needs one length, of nine steps or more.  A row is what these
commands do for a seed:

    tidegate train series-classifier GunPoint_TRAIN.ts.gz --seed 0
    tidegate evaluate GunPoint_TRAIN-series-classifier.safetensors GunPoint_TEST.ts.gz
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.data.sequence_sources import LabelledSequences
from tidegate.tasks.sequence_blend import blended

SEEDS = (0, 1, 2)
VALUES = 1 << 15  # of the sequences in a block: what DTW holds of it fits into the second cache
ARCHIVE = "UCR/UEA archive, timeseriesclassification.com"
DIGITS = "UCI repository, Pen-Based Recognition of Handwritten Digits"


@dataclass(frozen=True, kw_only=True)
class SeriesRow:
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


def archive_row(name: str, published: float | None) -> SeriesRow:
    known: dict[str, Any] = {}
    if published is not None:
        known = {"model": "1-NN DTW", "reference": ARCHIVE, "confidence": "memory"}
    files = {part: f"tsc/{name}/{name}_{part.upper()}.ts.gz" for part in ("train", "test")}
    return SeriesRow(name=name, **files, published=published, **known)


ROWS = (
    archive_row("GunPoint", 0.907),
    archive_row("ArrowHead", 0.703),
    archive_row("PLAID", None),
    SeriesRow(
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
    order = np.argsort(lengths, kind="stable")  # like lengths, little padding
    size = max(1, VALUES // int(lengths.mean()))
    blocks = [
        Block.of([learned[i] for i in order[k : k + size]]) for k in range(0, len(order), size)
    ]
    nearest = [order[np.concatenate([b.distances(x) for b in blocks]).argmin()] for x in unseen]
    return labels[nearest]


@dataclass(frozen=True, eq=False)
class Block:
    """Sequences that one is compared with at once: the last step first, [m, N, C], and lengths."""

    backward: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, sequences: list[np.ndarray]) -> Block:
        lengths = np.array([len(y) for y in sequences])
        steps = np.zeros((lengths.max(), len(sequences), sequences[0].shape[1]))
        for k, y in enumerate(sequences):
            steps[: len(y), k] = y
        return cls(np.ascontiguousarray(steps[::-1]), lengths)

    def distances(self, x: np.ndarray) -> np.ndarray:
        """Squared DTW distances from x [n, C] to each sequence, [N], diagonal by diagonal.

        A diagonal d holds the cells of step i of x and step d - i of the others, in row i + 1; row
        0 lies outside.  What stands beyond a sequence's end reaches no cell of that sequence.
        """
        n, (m, count, channels) = len(x), self.backward.shape
        before, last, cells = (np.full((n + 1, count), np.inf) for _ in range(3))
        before[0] = 0  # where the path begins
        result = np.empty(count)
        for d in range(n + m - 1):
            low, high = max(0, d - m + 1), min(n - 1, d) + 1
            others = self.backward[m - 1 - d + low : m - 1 - d + high]  # steps d - i
            cost = np.zeros((high - low, count))
            for c in range(channels):
                cost += (x[low:high, c, None] - others[:, :, c]) ** 2
            cells[low] = np.inf  # of another diagonal
            best = np.minimum(last[low + 1 : high + 1], last[low:high])
            np.minimum(best, before[low:high], out=best)
            np.add(cost, best, out=cells[low + 1 : high + 1])
            cells[high + 1 :] = np.inf
            ended = self.lengths == d - n + 2
            result[ended] = cells[n, ended]
            before, last, cells = last, cells, before
        return result


def alone(model: tg.SequenceClassifier) -> tg.SequenceClassifier:
    """The model with nothing of its network: what the evidence says, and no more."""
    other = copy.copy(model)
    other.runtime_ = blended(model.runtime_, model._strength, (1.0, 0.0))
    return other


def by_peer(row: SeriesRow, folder: Path) -> list[float]:
    """Test accuracy of aeon's MiniRocket with its ridge, of every seed."""
    from aeon.classification.convolution_based import (  # pyright: ignore
        MiniRocketClassifier,
    )

    learned, labels = row.source.read(str(folder / row.train), learning=True)
    unseen, truth = row.source.read(str(folder / row.test), learning=False)
    steps = max(9, *(len(x) for x in [*learned, *unseen]))

    def block(sequences: list[np.ndarray]) -> np.ndarray:
        """[N, C, T] of one length."""
        return np.stack([np.pad(x, ((0, steps - len(x)), (0, 0))).T for x in sequences])

    figures = []
    for seed in SEEDS:
        peer = MiniRocketClassifier(random_state=seed, n_jobs=1).fit(block(learned), labels)
        figures.append(round(float((peer.predict(block(unseen)) == truth).mean()), 4))
    return figures


def measure(row: SeriesRow, folder: Path, known: Row | None) -> Row:
    """Figures of every seed, and of the nearest neighbour.

    The latter has neither seed nor options: what a ``known`` row holds of it is not computed anew.
    """
    learned, labels = row.source.read(str(folder / row.train), learning=True)
    unseen, truth = row.source.read(str(folder / row.test), learning=False)
    figures, times, shares, by_evidence = [], [], [], []
    for seed in SEEDS:
        clock = Clock()
        model = tg.SequenceClassifier(seed=seed, verbose=0).fit(learned, labels)
        times.append(clock.read())
        figures.append(model.evaluate(unseen, truth))
        shares.append([model.provenance_[f"{part}_weight"] for part in ("evidence", "network")])
        by_evidence.append(alone(model).score(unseen, truth))
        print(f"{row.name}, seed {seed}: {figures[-1]['accuracy']:.4f}", flush=True)
    if known is None:
        clock = Clock()
        dtw = float((nearest_by_dtw(learned, labels, unseen) == truth).mean())
        known = {"dtw_accuracy": round(dtw, 4), "dtw_cpu_seconds": clock.read()["cpu_seconds"]}
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
        "mean_calibration_error": round(
            float(np.mean([f["calibration_error"] for f in figures])), 4
        ),
        "weights_of_evidence_and_network": shares,
        "evidence_accuracy": [round(a, 4) for a in by_evidence],
        "minirocket_accuracy": known.get("minirocket_accuracy"),
        "seconds": [time["seconds"] for time in times],
        "cpu_seconds": [time["cpu_seconds"] for time in times],
        "dtw_accuracy": known["dtw_accuracy"],
        "dtw_cpu_seconds": known["dtw_cpu_seconds"],
        "published": row.published,
        "published_model": row.model,
        "published_source": row.reference,
        "confidence_in_published": row.confidence,
    }


def mean_of(row: Row, name: str) -> str:
    """Of all seeds, of a figure that an older row may lack."""
    return f"{np.mean(row[name]):.3f}" if row.get(name) else ""


COLUMNS: dict[str, Any] = {
    "data": lambda r: r["data"],
    "training / test": lambda r: f"{r['training_sequences']} / {r['test_sequences']}",
    "test accuracy": lambda r: (
        f"{r['mean_accuracy']:.3f}"
        + (" (below DTW)" if r["mean_accuracy"] < r["dtw_accuracy"] else "")
    ),
    "seeds": lambda r: ", ".join(f"{a:.3f}" for a in r["accuracy"]),
    "evidence alone": lambda r: mean_of(r, "evidence_accuracy"),
    "MiniRocket (aeon)": lambda r: mean_of(r, "minirocket_accuracy"),
    "1-NN DTW here": lambda r: f"{r['dtw_accuracy']:.3f}",
    "published 1-NN DTW (from memory)": lambda r: r["published"] or "",
    "CPU seconds a seed": lambda r: round(float(np.mean(r["cpu_seconds"]))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with tsc/ and pendigits/")
    parser.add_argument("--only", choices=[row.name for row in ROWS], help="this row alone")
    parser.add_argument("--peer", action="store_true", help="measure aeon's MiniRocket alone")
    chosen = parser.parse_args()
    record = Record("series_classification", ("data",))
    for row in ROWS:
        if chosen.only in (None, row.name):
            known = next((r for r in record.rows if r["data"] == row.name), None)
            if chosen.peer:
                assert known is not None, "measure the row itself first"
                measured = {"minirocket_accuracy": by_peer(row, chosen.data)}
                record.amend({"data": row.name}, measured)
            else:
                record.add(measure(row, chosen.data, known))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

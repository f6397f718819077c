"""Few sequences: the default classifier beside ridges on convolutions, on sets drawn by seed.

    python benchmarks/reproduce/few_sequences.py DATA --sizes 40,100,300,1000 --seeds 3

So many sequences of a training part are drawn by seed, of each label about as many, and at least
one.  All methods choose what they choose on these alone, and all are judged on the same sequences
of the test part, at most 1,500 drawn once.  Ours has no options.  Beside it stand ridges on
convolutions, as MiniRocket has them, in this repository's own code, and the nearest neighbour.
Calibration error: over 15 bins of equal width (Guo et al. 2017).  A set that is smaller than a size
has no row of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown
from series_classification import ROWS

import tidegate as tg
from tidegate.baselines.baseline import Answered
from tidegate.baselines.sequences import ConvolvedLabels, NearestNeighbour
from tidegate.tasks.label_figures import label_figures

JUDGED = 1500  # test sequences
FIGURES = ("accuracy", "cross_entropy", "calibration_error")

Sequences = tuple[list[np.ndarray], np.ndarray]


def drawn(sequences: Sequences, count: int, seed: int) -> Sequences:
    """So many of them, of each label about as many."""
    inputs, labels = sequences
    rng = np.random.default_rng((seed, count))
    order = rng.permutation(len(labels))
    nth = np.zeros(len(labels))  # of its label, in the order drawn
    for label in np.unique(labels):
        own = order[labels[order] == label]
        nth[own] = np.arange(len(own))
    rows = order[np.argsort(nth[order], kind="stable")][:count]
    rows = rng.permutation(rows)
    return [inputs[i] for i in rows], labels[rows]


def judged(log_p: np.ndarray, classes: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    figures = label_figures(log_p.astype(np.float32), np.searchsorted(classes, truth))
    return {name: round(figures[name], 4) for name in FIGURES}


def compared(train: Sequences, test: Sequences, seed: int) -> dict[str, Any]:
    """Figures of all methods on ``test``."""
    unseen, truth = test
    found = {}
    clock = Clock()
    model = tg.SequenceClassifier(seed=seed, verbose=0, baseline=False).fit(*train)
    ours = judged(model.predict_log_proba(unseen), model.classes_, truth)
    found["tidegate"] = ours | clock.read()
    for kind in (ConvolvedLabels, NearestNeighbour):
        clock = Clock()
        fitted = kind.fit(Answered(*train))
        theirs = judged(fitted.log_probabilities(unseen), fitted.classes, truth)
        found[fitted.name] = theirs | clock.read()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with tsc/ and pendigits/")
    parser.add_argument("--sets", nargs="+", default=[row.name for row in ROWS])
    parser.add_argument("--sizes", default="40,100,300,1000")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    record = Record("few_sequences", ("set", "sequences", "seed", "method"))
    for row in ROWS:
        if row.name not in arguments.sets:
            continue
        train = row.source.read(str(arguments.data / row.train), learning=True)
        test = row.source.read(str(arguments.data / row.test), learning=False)
        test = drawn(test, JUDGED, 0)
        for count in map(int, arguments.sizes.split(",")):
            for seed in range(arguments.seeds if count <= len(train[0]) else 0):
                found = compared(drawn(train, count, seed), test, seed)
                for method, figures in found.items():
                    told = {"set": row.name, "sequences": count, "seed": seed, "method": method}
                    record.add(told | figures)
    print("\n" + markdown(grouped(record.rows), COLUMNS))


def grouped(rows: list[Row]) -> list[Row]:
    """Over the seeds."""
    names = ("set", "sequences", "method")
    found = []
    for key in dict.fromkeys(tuple(row[name] for name in names) for row in rows):
        of = [row for row in rows if tuple(row[name] for name in names) == key]
        figures = {f: float(np.mean([row[f] for row in of])) for f in (*FIGURES, "cpu_seconds")}
        found.append(dict(zip(names, key, strict=True)) | {"seeds": len(of)} | figures)
    return found


COLUMNS: dict[str, Any] = {
    "set": lambda row: row["set"],
    "sequences": lambda row: row["sequences"],
    "method": lambda row: row["method"],
    **{name.replace("_", " "): lambda row, name=name: f"{row[name]:.3f}" for name in FIGURES},
    "seeds": lambda row: row["seeds"],
    "CPU seconds": lambda row: f"{row['cpu_seconds']:.1f}",
}


if __name__ == "__main__":
    main()

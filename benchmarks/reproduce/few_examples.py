"""Few texts: the default classifier beside TF-IDF with logistic regression, on sets drawn by seed.

    python benchmarks/reproduce/few_examples.py DATA --sizes 40,100,300,1000 --seeds 3

Of SST-2 and IMDb so many training texts are drawn by seed, half of them of each label.  Both
methods choose what they choose on these alone, and both are judged on the same texts of the test
part, 1,500 drawn once.  Ours has no options.  Calibration error: over 15 bins of equal width (Guo
et al. 2017).
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, markdown

import tidegate as tg
from tidegate.baselines.baseline import Answered
from tidegate.baselines.texts import LinearTexts
from tidegate.tasks.label_figures import label_figures

JUDGED = 1500  # test texts
FIGURES = ("accuracy", "cross_entropy", "calibration_error")
NONE = Answered([], np.zeros(0, np.int64))

Texts = tuple[list[str], np.ndarray]


def sst(data: Path, part: str) -> Texts:
    """Sentences and 1 for those that please."""
    with gzip.open(data / "sst" / f"sst2_{part}.tsv.gz", "rt", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines][1:]
    return [row[1] for row in rows], np.array([int(row[0]) for row in rows])


def imdb(data: Path, part: str) -> Texts:
    """Reviews and 1 for those that please."""
    with gzip.open(data / "imdb" / f"{part}.tsv.gz", "rt", encoding="utf-8", newline="\n") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines][1:]
    return [row[3] for row in rows], np.array([int(row[0]) for row in rows])


SETS = {"SST-2": sst, "IMDb": imdb}


def drawn(texts: Texts, count: int, seed: int) -> Texts:
    """So many of them, as many of each label."""
    inputs, labels = texts
    rng = np.random.default_rng((seed, count))
    rows = [rng.permutation(np.flatnonzero(labels == label))[: count // 2] for label in (0, 1)]
    rows = rng.permutation(np.concatenate(rows))
    return [inputs[i] for i in rows], labels[rows]


def judged(log_p: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    figures = label_figures(log_p.astype(np.float32), truth)
    return {name: round(figures[name], 4) for name in FIGURES}


def compared(train: Texts, test: Texts, seed: int) -> dict[str, Any]:
    """Figures of both on ``test``."""
    clock = Clock()
    linear = LinearTexts.fit(Answered(*train), NONE)
    theirs = judged(linear.log_probabilities(test[0]), test[1]) | clock.read()
    clock = Clock()
    model = tg.TextClassifier(seed=seed, verbose=0, baseline=False).fit(*train)
    ours = judged(model.predict_log_proba(test[0]), test[1]) | clock.read()
    return {"tidegate": ours, linear.name: theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with sst/ and imdb/")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--sizes", default="40,100,300,1000")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    record = Record("few_examples", ("set", "texts", "seed", "method"))
    for name in arguments.sets.split(","):
        train, test = (SETS[name](arguments.data, part) for part in ("train", "test"))
        test = drawn(test, JUDGED, 0)
        for count in map(int, arguments.sizes.split(",")):
            for seed in range(arguments.seeds):
                found = compared(drawn(train, count, seed), test, seed)
                for method, row in found.items():
                    record.add({"set": name, "texts": count, "seed": seed, "method": method, **row})
    print(markdown(grouped(record.rows), COLUMNS))


def grouped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over the seeds."""
    keys = dict.fromkeys((row["set"], row["texts"], row["method"]) for row in rows)
    found = []
    for key in keys:
        of = [row for row in rows if (row["set"], row["texts"], row["method"]) == key]
        figures = {
            name: float(np.mean([row[name] for row in of])) for name in (*FIGURES, "seconds")
        }
        found.append(dict(zip(("set", "texts", "method"), key, strict=True)) | figures)
    return found


COLUMNS: dict[str, Any] = {
    "set": lambda row: row["set"],
    "texts": lambda row: row["texts"],
    "method": lambda row: row["method"],
    **{name.replace("_", "-"): lambda row, name=name: f"{row[name]:.3f}" for name in FIGURES},
    "seconds": lambda row: f"{row['seconds']:.1f}",
}


if __name__ == "__main__":
    main()

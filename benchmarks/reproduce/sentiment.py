"""Sentiment of reviews by the text classifier's defaults: IMDb and SST-2, beside TF-IDF.

    python benchmarks/reproduce/sentiment.py DATA
    python benchmarks/reproduce/sentiment.py DATA --only sst2 --seed 1
    python benchmarks/reproduce/sentiment.py DATA --only imdb --minutes 1

IMDb: the official split, 25,000 and 25,000 reviews.  SST-2: 6,920 sentences to learn from, and the
872 of the dev part to judge by, which choose nothing here.  The baseline is a logistic regression
on words and pairs of words, weighted by TF-IDF; its penalty is chosen on a validation part of the
training data.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from pathlib import Path
from typing import Any

from language_models import parsed, trained
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.comparison.experiments.texts import TextClassification

FILES = {  # training and test part
    "imdb": ("imdb/train.tsv.gz", "imdb/test.tsv.gz"),
    "sst2": ("sst/sst2_train.tsv.gz", "sst/sst2_dev.tsv.gz"),
}
COLUMNS: dict[str, Any] = {
    "data": lambda row: row["data"],
    "seed": lambda row: row["seed"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "test accuracy": lambda row: f"**{row['test']['accuracy']:.4f}**",
    "macro F1": lambda row: f"{row['test']['macro_f1']:.3f}",
    "AUROC": lambda row: f"{row['test']['auroc']:.3f}",
    "TF-IDF and logistic regression": lambda row: f"{row['tfidf_accuracy']:.4f}",
    "minutes of a core": lambda row: f"{row['cpu_seconds'] / 60:.1f}",
}


def reviews(path: Path) -> tuple[list[str], list[str]]:
    """Texts and labels."""
    csv.field_size_limit(sys.maxsize)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with imdb/ and sst/")
    parser.add_argument("--only", choices=FILES, help="this data set alone")
    parser.add_argument("--minutes", type=float, help="of training, preparation included")
    arguments = parsed(parser)
    record = Record("sentiment", ("data", "seed"))
    for name, files in FILES.items():
        if arguments.only not in (None, name):
            continue
        learned, unseen = (reviews(arguments.data / file) for file in files)
        clock = Clock()
        model = tg.TextClassifier(seed=arguments.seed, max_minutes=arguments.minutes)
        model.fit(*learned)
        limit = "" if arguments.minutes is None else f", {arguments.minutes:g} min"
        row: Row = {"data": name + limit, **trained(model, clock), "test": model.evaluate(*unseen)}
        experiment = TextClassification(model, *learned, validation=None, test=unseen)
        (linear,) = experiment.baselines(model)
        record.add(row | {"tfidf_accuracy": linear.accuracy, "tfidf": linear.about})
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

"""IMDb reviews: a classifier that starts from language models of the training reviews.

    python benchmarks/reproduce/imdb.py DATA

Official split, 25,000 and 25,000 reviews.  Two word models, one that reads forward and one that
reads backward, learn the 25,000 training reviews without their labels.  The reviews without labels
that the data set has beside them are not used.  The two give a bidirectional classifier its
embedding and recurrent layers, as in Dai & Le 2015 (arXiv:1511.01432).  The test part is read once.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from language_models import parsed, run_folder, train, trained
from record import Clock, Record, Row, markdown
from sentiment import reviews

import tidegate as tg

PUBLISHED, SOURCE = 0.928, "Dai & Le 2015, SA-LSTM of 1024 cells (from memory)"  # test accuracy
DIRECTIONS = {"forward": False, "backward": True}  # whether it reads from the end
LANGUAGE_MODEL: dict[str, Any] = {
    "level": "word",
    "lowercase": True,
    "vocabulary_size": 20_000,
    "embedding_size": 128,
    "hidden_sizes": (128,),
    "tie_embeddings": True,
    "batch_size": 64,
    "bptt": 50,
    "learning_rate": 4e-3,
    "validation_fraction": 0.04,
    "epochs": 3,
    "precision": "bfloat16",
    "sample_steps": (2000,),
}


def model_file(direction: str, seed: int) -> Path:
    return run_folder(f"imdb-{direction}", seed) / "model.safetensors"


def language_models(texts: list[str], seed: int) -> dict[str, Row]:
    """The training of both; trained before, they are trained no more."""
    took: dict[str, Row] = {}
    for direction, reverse in DIRECTIONS.items():
        model = tg.LanguageModel(reverse=reverse, seed=seed, **LANGUAGE_MODEL)
        took[direction] = train(model, f"imdb-{direction}", texts)
        model.save(model_file(direction, seed))
    return took


COLUMNS: dict[str, Any] = {
    "start": lambda row: row["name"],
    "seed": lambda row: row["seed"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "validation accuracy": lambda row: f"{row['validation']['accuracy']:.3f}",
    "test accuracy": lambda row: f"**{row['test']['accuracy']:.4f}**",
    "published": lambda row: f"{row['published']} ({row['published_source']})",
    "minutes of a core": lambda row: round(row["cpu_seconds"] / 60),
    "language models, minutes of a core": lambda row: round(
        sum(m["cpu_seconds"] for m in row.get("language_models", {}).values()) / 60
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with imdb/")
    arguments = parsed(parser)
    learned, unseen = (reviews(arguments.data / "imdb" / f"{p}.tsv.gz") for p in ("train", "test"))
    record = Record("imdb", ("name", "seed"))
    row: Row = {
        "name": "pretrained",
        "language_models": language_models(learned[0], arguments.seed),
    }
    # three epochs, by reviews of other films: docs/notebook/sentiment.md
    starts = tuple(model_file(d, arguments.seed) for d in DIRECTIONS)
    model = tg.TextClassifier(seed=arguments.seed, init_from=starts, epochs=3)
    clock = Clock()
    model.fit(*learned)
    row |= trained(model, clock) | {"test": model.evaluate(*unseen)}
    record.add(row | {"published": PUBLISHED, "published_source": SOURCE})
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

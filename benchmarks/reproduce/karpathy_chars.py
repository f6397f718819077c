"""War and Peace, characters: one layer of 64 or 128 units, as in Karpathy, Johnson & Li 2015.

    python benchmarks/reproduce/karpathy_chars.py DATA
    python benchmarks/reproduce/karpathy_chars.py DATA --only gru-64

The English text, first 80 % for training, the next 10 % to choose the weights, the last 10 % for
the test, which those weights read once.  50 epochs as in the paper, which reads characters as
one-hot vectors; here they are embedded in 64 numbers.  Each row of the paper's table holds models
of nearly equal numbers of weights (from memory), so that its GRU and RNN may have more units.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from language_models import parsed, train
from record import Record, markdown

import tidegate as tg
from tidegate.data.text import read_text

SOURCE = "Karpathy, Johnson & Li 2015, arXiv:1506.02078, table 1 (from memory)"
PUBLISHED = {  # test nats per character
    "gru-64": 1.398,
    "lstm-64": 1.449,
    "rnn-64": 1.446,
    "gru-128": 1.230,
    "lstm-128": 1.277,
    "rnn-128": 1.417,
}
OPTIONS: dict[str, Any] = {
    "embedding_size": 64,
    "dropout": 0.0,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "epochs": 50,
    "validation_fraction": 0.1,
    "test_fraction": 0.1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with warpeace/")
    parser.add_argument("--only", choices=PUBLISHED, help="this network alone")
    arguments = parsed(parser)
    text = read_text(arguments.data / "warpeace" / "warpeace_input.txt.gz")
    record = Record("karpathy_chars", ("name",))
    for name, published in PUBLISHED.items():
        if arguments.only not in (None, name):
            continue
        cell, units = name.split("-")
        options = OPTIONS | {"cell": cell, "hidden_sizes": (int(units),)}
        model = tg.LanguageModel(sample_steps=(2000,), **options)
        took = train(model, f"karpathy-{name}", text)
        test = model.metrics_["test_cross_entropy"]
        row = {"name": name, "options": options, **took, "test_cross_entropy": test}
        record.add(row | {"published": published, "published_source": SOURCE})
    columns = {
        "network": lambda row: row["name"],
        "parameters": lambda row: f"{row['parameters']:,}",
        "epochs": lambda row: row["epochs"],
        "validation": lambda row: f"{row['validation']['cross_entropy']:.3f}",
        "test": lambda row: f"**{row['test_cross_entropy']:.3f}**",
        "published": lambda row: f"{row['published']:.3f}",
        "seconds of a core": lambda row: round(row["cpu_seconds"]),
    }
    print(markdown(record.rows, columns))


if __name__ == "__main__":
    main()

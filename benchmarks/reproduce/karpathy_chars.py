"""War and Peace, characters: networks of Karpathy, Johnson & Li 2015, and the best of an hour.

    python benchmarks/reproduce/karpathy_chars.py DATA
    python benchmarks/reproduce/karpathy_chars.py DATA --only gru-64
    python benchmarks/reproduce/karpathy_chars.py DATA --only best

The English text, first 80 % for training, the next 10 % to choose the weights, the last 10 % for
the test, which those weights read once.  One layer of 64 or 128 units: 50 epochs as in the paper,
which reads characters as one-hot vectors; here they are embedded.  Each row of the paper's table
holds models of nearly equal numbers of weights (from memory), so that its GRU and RNN may have more
units than the LSTM they are named after: with one-hot characters an RNN of 140 units and a GRU of
76 have as many weights as an LSTM of 64, an RNN of 272 and a GRU of 151 as one of 128. ``best``:
three GRUs of 512 with counted n-grams beside them, 60 minutes on all cores; ``defaults``: no option
but five minutes; ``counts``: those, with counted n-grams.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from language_models import parsed, train
from record import Record, markdown

import tidegate as tg
from tidegate.data.text.reading import read_text

SOURCE = "Karpathy, Johnson & Li 2015, arXiv:1506.02078, table 1 (from memory)"
PUBLISHED = {  # test nats per character
    "gru-64": 1.398,
    "lstm-64": 1.449,
    "rnn-64": 1.446,
    "gru-128": 1.230,
    "lstm-128": 1.277,
    "rnn-128": 1.417,
    "gru-76": 1.398,  # the same rows of the table, by weights
    "rnn-140": 1.446,
    "gru-151": 1.230,
    "rnn-272": 1.417,
    "best": 1.077,  # three GRUs of 512
    "defaults": 1.170,  # one GRU of 512
    "counts": 1.170,
}
SMALL: dict[str, Any] = {"dropout": 0.0, "batch_size": 16, "epochs": 50}
# Size of the embedding and learning rate, by the validation part: of LSTM and GRU of 64 units each
# had (64, 0.01) and (128, 0.005) in full; the others were given what seemed nearest.  The vectors
# of GRU and RNN start with length 1: with the default size GRUs of 64 and 128 units ended at 1.421
# and 1.275 on it instead of 1.415 and 1.251.
CHOSEN = {
    "gru-64": (64, 1e-2),
    "lstm-64": (128, 5e-3),
    "rnn-64": (128, 3e-3),
    "gru-128": (128, 5e-3),
    "lstm-128": (128, 5e-3),
    "rnn-128": (128, 3e-3),
    "gru-76": (64, 1e-2),
    "rnn-140": (128, 3e-3),
    "gru-151": (128, 5e-3),
    "rnn-272": (128, 2e-3),
}
# By the validation part, on which twenty settings of 12 to 14 epochs were tried; rate and dropout
# are from two of them: docs/notebook/language-models.md.
BEST: dict[str, Any] = {
    "cell": "gru",
    "hidden_sizes": (512, 512, 512),
    "dropout": 0.15,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "weight_decay": 0.2,
    "precision": "bfloat16",
    "counts": True,
}

MINUTES = {"best": 60.0, "defaults": 5.0, "counts": 5.0}


def options_of(name: str, minutes: float | None) -> dict[str, Any]:
    split = {"validation_fraction": 0.1, "test_fraction": 0.1}
    if name in MINUTES:
        own: dict[str, Any] = {"best": BEST, "counts": {"counts": True}}.get(name, {})
        return own | split | {"max_minutes": minutes or MINUTES[name]}
    cell, units = name.split("-")
    embedding_size, rate = CHOSEN[name]
    size = {"cell": cell, "hidden_sizes": (int(units),), "embedding_size": embedding_size}
    if cell != "lstm":
        size["embedding_scale"] = embedding_size**-0.5
    return SMALL | split | size | {"learning_rate": rate}


def nats(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.3f}"


def tested(model: tg.LanguageModel, text: str) -> dict[str, float]:
    """Nats per character of the test part: of the model; of its network alone, where it counts;
    and of the model that learns while it reads, if it is one of the last three.
    """
    found = {"test_cross_entropy": model.metrics_["test_cross_entropy"]}
    if model.max_minutes is None:
        return found
    _, _, test = model.split(text, None, "char")
    found["adapted_cross_entropy"] = model.evaluate(test, adapt=True)["cross_entropy"]
    if model.counts_ is not None:
        model.counts_ = None
        found["network_cross_entropy"] = model.evaluate(test)["cross_entropy"]
    return found


COLUMNS: dict[str, Any] = {
    "network": lambda row: row["name"],
    "seed": lambda row: row["seed"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "epochs": lambda row: row["epochs"],
    "validation": lambda row: f"{row['validation']['cross_entropy']:.3f}",
    "test": lambda row: f"**{row['test_cross_entropy']:.3f}**",
    "network alone": lambda row: nats(row.get("network_cross_entropy")),
    "adapted": lambda row: nats(row.get("adapted_cross_entropy")),
    "published": lambda row: f"{row['published']:.3f}",
    "seconds of a core": lambda row: round(row["cpu_seconds"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with warpeace/")
    parser.add_argument("--only", choices=PUBLISHED, help="this network alone")
    parser.add_argument("--minutes", type=float, help="of the last three (default 60, 5, 5)")
    arguments = parsed(parser)
    text = read_text(arguments.data / "warpeace" / "warpeace_input.txt.gz")
    record = Record("karpathy_chars", ("name", "seed"))
    for name, published in PUBLISHED.items():
        if arguments.only not in (None, name):
            continue
        options = options_of(name, arguments.minutes)
        model = tg.LanguageModel(sample_steps=(2000,), seed=arguments.seed, **options)
        took = train(model, f"karpathy-{name}", text)
        row = {"name": name, "options": options, **took, **tested(model, text)}
        record.add(row | {"published": published, "published_source": SOURCE})
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

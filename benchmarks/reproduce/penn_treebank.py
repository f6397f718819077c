"""Penn Treebank, words: test perplexity of a small LSTM, and of the best within two hours.

    python benchmarks/reproduce/penn_treebank.py DATA
    python benchmarks/reproduce/penn_treebank.py DATA --only best

The text is Mikolov's: 10,000 words, every line ends with a token that is predicted as the words
are, 929,589 tokens for training, 73,760 for validation, 82,430 for the test; one stream, the state
carried over sentences.  A sentence's start, which level ``word`` adds, is read, never predicted.
The test part is read by the weights that are best on the validation part.  Of ``best``, whose
network is mixed with counts, it is also read by the network alone, and by the mixture while the
network learns from what it has read.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from language_models import parsed, penn_treebank, train
from record import Record, markdown

import tidegate as tg

TEST_TOKENS = 82_430  # words and line ends, as in every publication on this text

# name, options, published test perplexity, its source
ROWS: dict[str, tuple[dict[str, Any], float, str]] = {
    "2x200": (
        {
            "counts": False,
            "embedding_size": 200,
            "hidden_sizes": (200, 200),
            "tie_embeddings": True,
            "forget_bias": 1.0,  # after two epochs 176.5, with 0 182.2
            "dropout": 0.0,
            "batch_size": 20,
            "bptt": 35,
            "learning_rate": 3e-3,
            "weight_decay": 0.02,
            "epochs": 8,
        },
        114.5,
        "Zaremba et al. 2014, arXiv:1409.2329, LSTM 2x200 without dropout, 13 epochs (from memory)",
    ),
    "best": (
        {
            "counts": True,
            "embedding_size": 400,
            "hidden_sizes": (650, 400),
            "tie_embeddings": True,
            "forget_bias": 1.0,
            "embedding_dropout": 0.3,
            "dropout": 0.5,
            "recurrent_dropout": 0.25,
            "batch_size": 20,
            "bptt": 35,
            "learning_rate": 3e-3,
            "weight_decay": 0.05,
            "precision": "bfloat16",
            "epochs": 22,
        },
        82.7,
        "the same, LSTM 2x650 with dropout, on a GPU (from memory)",
    ),
}


def perplexity(figures: dict[str, float] | None) -> str:
    return "" if figures is None else f"{figures['perplexity']:.1f}"


COLUMNS: dict[str, Any] = {
    "LSTM": lambda row: row["name"],
    "seed": lambda row: row["seed"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "epochs": lambda row: row["epochs"],
    "validation perplexity": lambda row: f"{row['validation']['perplexity']:.1f}",
    "test perplexity": lambda row: f"**{row['test']['perplexity']:.1f}**",
    "network alone": lambda row: perplexity(row.get("network")),
    "adapted": lambda row: perplexity(row.get("adapted")),
    "published": lambda row: f"{row['published']} ({row['published_source']})",
    "minutes of a core": lambda row: round(row["cpu_seconds"] / 60),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with ptb/")
    parser.add_argument("--only", choices=ROWS, help="this row alone")
    arguments = parsed(parser)
    training, validation, test = penn_treebank(arguments.data)
    record = Record("penn_treebank", ("name", "seed"))
    for name, (options, published, source) in ROWS.items():
        if arguments.only not in (None, name):
            continue
        model = tg.LanguageModel(
            level="word",
            cell="lstm",
            sample_steps=(2000,),
            seed=arguments.seed,
            **options,
        )
        took = train(model, f"penn-treebank-{name}", training, validation)
        figures = model.evaluate(test)
        assert figures["tokens"] == TEST_TOKENS
        row = {"name": name, "options": options, **took, "test": figures}
        if model.counts_ is not None:
            row["adapted"] = model.evaluate(test, adapt=True)
            model.counts_ = None
            row["network"] = model.evaluate(test)
        record.add(row | {"published": published, "published_source": source})
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

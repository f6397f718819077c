"""The word language model of the classical GRU tutorial, on Penn Treebank cut to 8,000 words.

    python benchmarks/reproduce/word_tutorial.py DATA

Embedding of 48, two GRU layers of 128, a softmax over 8,000 words, RMSProp (D. Britz 2015,
wildml.com, "Recurrent neural network tutorial, part 4"; its own corpus is not to be had).  Prints
perplexity against steps and time, and sentences; the unknown word is never among them.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import Any

from language_models import parsed, penn_treebank, train
from record import Record, markdown

import tidegate as tg

OPTIONS: dict[str, Any] = {
    "level": "word",
    "vocabulary_size": 8000,
    "embedding_size": 48,
    "hidden_sizes": (128, 128),
    "dropout": 0.0,
    "optimizer": "rmsprop",
    "learning_rate": 2e-3,
    "batch_size": 32,
    "bptt": 35,
    "epochs": 4,
    "evaluate_every": 500,
}
SENTENCES = 8
WRITTEN = 10_000  # words among which the unknown one is looked for


COLUMNS: dict[str, Any] = {
    "seed": lambda row: row["seed"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "minutes": lambda row: f"{row['seconds'] / 60:.1f}",
    "validation perplexity": lambda row: f"{row['validation']['perplexity']:.1f}",
    "test perplexity": lambda row: f"**{row['test']['perplexity']:.1f}**",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with ptb/")
    arguments = parsed(parser)
    training, validation, test = penn_treebank(arguments.data)
    model = tg.LanguageModel(sample_steps=(2000,), seed=arguments.seed, **OPTIONS)
    took = train(model, "word-tutorial", training, validation)
    figures = model.evaluate(test)

    unknown = model.encoder_.decode([0])
    assert unknown in training  # it is learned, yet never said
    pieces = list(model.generate(length=WRITTEN, temperature=0.8, seed=0))
    assert not any(unknown in piece for piece in pieces)
    sentences = list(islice((s for s in "".join(pieces).splitlines() if s), SENTENCES))

    row = {"name": "8,000 words", "options": OPTIONS, **took, "test": figures}
    record = Record("word_tutorial", ("name", "seed"))
    record.add(row | {"samples": sentences})
    print(markdown(record.rows, COLUMNS))
    print(f"\ntest perplexity {figures['perplexity']:.1f} over {figures['tokens']:,} words\n")
    print("\n".join(f"- {sentence}" for sentence in sentences))


if __name__ == "__main__":
    main()

"""Language models of words with no option but the minutes, beside counted n-grams of the same text.

    python benchmarks/reproduce/words_and_counts.py DATA
    python benchmarks/reproduce/words_and_counts.py DATA --only "war and peace" --minutes 10

The texts are Penn Treebank, whole and its first 100,000 and 300,000 words, and War and Peace in
English and in Russian, of which the last tenth is the test part and the tenth before chooses the
weights.  Counted are n-grams of any length with interpolated, modified Kneser-Ney smoothing, of the
same tokens; what single words' discounts leave over goes to the unknown one.  Perplexities are of
the test part, which is read once, at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from language_models import parsed, penn_treebank, trained
from record import Clock, Record, markdown

import tidegate as tg
from tidegate.baselines.language import CountedTokens
from tidegate.data.text.reading import read_text
from tidegate.tasks.splitting import split_text

BOOKS = {
    "war and peace": "warpeace_input.txt.gz",
    "war and peace, russian": "voyna_i_mir_t1-3_ru.txt.gz",
}
COLUMNS: dict[str, Any] = {
    "text": lambda row: row["text"],
    "seed": lambda row: row["seed"],
    "words to learn from": lambda row: f"{row['tokens']:,}",
    "vocabulary": lambda row: f"{row['vocabulary']:,}",
    "passes": lambda row: f"{row['epochs']:.1f}",
    "n-grams": lambda row: f"{row['ngram_perplexity']:.1f}",
    "network alone": lambda row: f"{row['network_perplexity']:.1f}",
    "tidegate": lambda row: f"**{row['perplexity']:.1f}**",
    "of n-grams'": lambda row: f"{row['perplexity'] / row['ngram_perplexity']:.2f}",
    "seconds": lambda row: row["seconds"],
    "of a core": lambda row: row["cpu_seconds"],
}


def texts(data: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name, and training, validation and test text."""
    train, validation, test = penn_treebank(data)
    lines = train.split("\n")
    for words in (100_000, 300_000):
        first = round(len(lines) * words / 887_521)
        yield f"penn treebank, {words:,} words", ("\n".join(lines[:first]), validation, test)
    yield "penn treebank", (train, validation, test)
    for name, file in BOOKS.items():
        whole = read_text(data / "warpeace" / file)
        parts = {"validation_fraction": 0.1, "test_fraction": 0.1}
        yield name, split_text(whole, None, 0, **parts, between_lines=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with ptb/ and warpeace/")
    parser.add_argument("--only", help="this text alone")
    parser.add_argument("--minutes", type=float, default=10, help="default 10")
    arguments = parsed(parser)
    record = Record("words_and_counts", ("text", "seed"))
    for name, (train, validation, test) in texts(arguments.data):
        if arguments.only not in (None, name):
            continue
        model = tg.LanguageModel(
            level="word", max_minutes=arguments.minutes, seed=arguments.seed, sample_steps=()
        )
        clock = Clock()
        model.fit(train, validation=validation)
        took = trained(model, clock)
        encoder = model.encoder_
        tokens = [encoder.encode(text) for text in (train, validation, test)]
        counted = CountedTokens.fit(
            tokens[0], tokens[1], size=encoder.size, never_target=encoder.start_id
        )
        mixed = model.evaluate(test)
        model.counts_ = None
        record.add(
            {
                "text": name,
                "minutes": arguments.minutes,
                "tokens": len(tokens[0]),
                "vocabulary": encoder.size,
                **took,
                "perplexity": mixed["perplexity"],
                "network_perplexity": model.evaluate(test)["perplexity"],
                "ngram_perplexity": counted.figures(tokens[2])["perplexity"],
            }
        )
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

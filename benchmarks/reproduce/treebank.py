"""The Stanford Sentiment Treebank: five grades of sentences, as labels and as a number.

    python benchmarks/reproduce/treebank.py DATA
    python benchmarks/reproduce/treebank.py DATA --only phrases --minutes 3.5

Official parts: 8,544 sentences to learn from, 1,101 to choose weights by, 2,210 to measure.
``sentences`` learns from sentences alone, ``phrases`` from all of their phrases, too, each once, as
Socher et al. 2013 did; there evidence of counts is off, since phrases of one sentence stand in
several folds.  ``number`` tells the grade as a number.  The baselines are linear models of words
and pairs of words, weighted by TF-IDF, of the same texts.  Last, how far the answers for test
sentences fall without the words that ``explain`` names, and without random ones.
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from language_models import parsed, trained
from record import Clock, Record, Row, markdown

import tidegate as tg

WAYS = ("sentences", "phrases", "number")
CHECKED = 300  # sentences whose explanations are checked
COLUMNS: dict[str, Any] = {
    "learned from": lambda row: row["way"],
    "seed": lambda row: row["seed"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "accuracy": lambda row: _shown(row["test"], "accuracy"),
    "R²": lambda row: _shown(row["test"], "r2"),
    "baseline": lambda row: _shown(row["baseline"], "accuracy") or _shown(row["baseline"], "r2"),
    "falls without a fifth of the words: named, random": lambda row: _falls(row, 0.2),
    "minutes of a core": lambda row: f"{row['cpu_seconds'] / 60:.1f}",
}

Texts = tuple[list[str], list[int]]


def _falls(row: Row, share: float) -> str:
    """How far answers fall without the words that explanations name, and without random ones."""
    (fall,) = (fall for fall in row["explanations"]["falls"] if fall["share"] == share)
    return f"{fall['top']:.2f}, {fall['random']:.2f}"


def _shown(figures: Row, name: str) -> str:
    return f"{figures[name]:.4f}" if name in figures else ""


def trees(path: Path) -> list[str]:
    """A tree in each line, as the Penn Treebank writes them: (3 (2 It) (4 (2 's) (4 good)))."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]


def nodes(tree: str) -> Iterator[tuple[str, int]]:
    """Text and grade, 0 to 4, of each phrase; the last is the sentence."""
    opened: list[tuple[int, list[str]]] = []
    for grade, word, closing in re.findall(r"\((\d)|([^\s()]+)|(\))", tree):
        if grade:
            opened.append((int(grade), []))
        elif word:
            opened[-1][1].append(word.replace("\\/", "/"))
        elif closing:
            told, words = opened.pop()
            yield " ".join(words), told
            if opened:
                opened[-1][1].extend(words)


def sentences(path: Path) -> Texts:
    """The sentences of a part and their grades."""
    roots = [list(nodes(tree))[-1] for tree in trees(path)]
    return [text for text, _ in roots], [grade for _, grade in roots]


def phrases(path: Path) -> Texts:
    """The different phrases of a part, sentences among them, and their grades."""
    found = dict.fromkeys(one for tree in trees(path) for one in nodes(tree))
    return [text for text, _ in found], [grade for _, grade in found]


def estimator(way: str, seed: int, minutes: float) -> Any:
    """What is trained."""
    if way == "number":
        return tg.TextRegressor(seed=seed)
    if way == "sentences":
        return tg.TextClassifier(seed=seed)
    return tg.TextClassifier(
        seed=seed, evidence=False, batch_size=128, max_minutes=minutes, embedding_dropout=0.3
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with sst/")
    parser.add_argument("--only", choices=WAYS, help="this way alone")
    parser.add_argument("--minutes", type=float, default=30, help="of training on phrases")
    arguments = parsed(parser)
    record = Record("treebank", ("way", "seed"))
    files = {
        part: arguments.data / "sst" / f"{part}.trees.txt.gz" for part in ("train", "dev", "test")
    }
    unseen = sentences(files["test"])
    for way in WAYS:
        if arguments.only not in (None, way):
            continue
        learned = (phrases if way == "phrases" else sentences)(files["train"])
        model, clock = estimator(way, arguments.seed, arguments.minutes), Clock()
        model.fit(*learned, validation=sentences(files["dev"]))
        row: Row = {"way": way, **trained(model, clock), "test": model.evaluate(*unseen)}
        row["validation"] = model.metrics_
        beside: Any = model._beside
        row["baseline"] = (
            {} if beside is None else dict(beside.baseline.figures(_answered(model, unseen)))
        )
        some = unseen[0][:CHECKED]
        row["explanations"] = model.faithfulness(some).to_json()
        record.add(row)
    print(markdown(record.rows, COLUMNS))


def _answered(model: Any, part: Texts) -> Any:
    from tidegate.baselines.baseline import Answered

    return Answered(part[0], model._answers(*part))


if __name__ == "__main__":
    main()

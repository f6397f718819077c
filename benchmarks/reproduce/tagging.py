"""Parts of speech, and noun phrases by kind, of the English Web Treebank by the tagger's defaults.

    python benchmarks/reproduce/tagging.py DATA
    python benchmarks/reproduce/tagging.py DATA --only upos --seed 1 --threads 2

Universal Dependencies English-EWT: the official three parts.  The dev part chooses the best weights
and nothing else here; the test part is scored once.  ``upos`` are the 17 parts of speech.
``phrases`` are made from the trees, as entities are written (B-NAME, I-NAME, O): a noun or proper
noun with what stands before it and depends on it (determiners, adjectives, numbers, compounds),
and, of a proper noun, with the parts of a name behind it.  Beside them stand the most frequent tag
of each word and, of the phrases, a linear-chain CRF on words, endings, shapes and neighbours, as
named-entity taggers before networks had them.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path
from typing import Any

from crf_of_features import FeatureCrf
from language_models import parsed, trained
from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.data.text.entities import Counts, counted
from tidegate.data.text.tagged import read_tagged

PARTS = ("train", "dev", "test")
BEFORE = {"det", "amod", "nummod", "compound", "nmod:poss", "flat"}
BEHIND = {"flat", "compound"}  # of a name
KINDS = {"NOUN": "THING", "PROPN": "NAME"}
Tagged = tuple[list[list[str]], list[list[str]]]

COLUMNS: dict[str, Any] = {
    "labels": lambda row: row["labels"],
    "seed": lambda row: row["seed"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "dev": lambda row: f"{figure(row, row['validation']):.4f}",
    "test": lambda row: f"**{figure(row, row['test']):.4f}**",
    "most frequent tag, dev": lambda row: f"{row['validation'][f'baseline_{name(row)}']:.4f}",
    "CRF of features, test": lambda row: f"{row['crf']['f1']:.4f}" if "crf" in row else "",
    "minutes": lambda row: f"{row['seconds'] / 60:.1f}",
    "minutes of a core": lambda row: f"{row['cpu_seconds'] / 60:.1f}",
}


def name(row: Row) -> str:
    return "f1" if row["labels"] == "phrases" else "accuracy"


def figure(row: Row, figures: dict[str, float]) -> float:
    return figures[name(row)]


def file_of(data: Path, part: str) -> Path:
    return data / "ud_en" / f"en_ewt-ud-{part}.conllu.gz"


def upos(data: Path, part: str) -> Tagged:
    """Tokens and parts of speech."""
    found = read_tagged(str(file_of(data, part)))
    return found.tokens, found.labels


def phrases(data: Path, part: str) -> Tagged:
    """Tokens and noun phrases."""
    tokens, labels = [], []
    with gzip.open(file_of(data, part), "rt", encoding="utf-8") as file:
        for block in file.read().strip().split("\n\n"):
            rows = [line.split("\t") for line in block.split("\n") if not line.startswith("#")]
            rows = [row for row in rows if row[0].isdigit()]
            tokens.append([row[1] for row in rows])
            heads = [int(row[6]) - 1 for row in rows]
            tags, relations = [row[3] for row in rows], [row[7] for row in rows]
            labels.append(phrases_of(tags, heads, relations))
    return tokens, labels


def phrases_of(tags: list[str], heads: list[int], relations: list[str]) -> list[str]:
    """The labels of one sentence; heads count from 0, the root's is -1."""
    labels = ["O"] * len(tags)
    for head, kind in enumerate(map(KINDS.get, tags)):
        if kind is None or (relations[head] in BEFORE and tags[heads[head]] in KINDS):
            continue
        first, last = head, head + 1
        while first > 0 and _belongs(first - 1, head, heads, relations, BEFORE):
            first -= 1
        while last < len(tags) and _belongs(last, head, heads, relations, BEHIND):
            last += 1
        if any(label != "O" for label in labels[first:last]):
            continue
        labels[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    return labels


def _belongs(
    token: int, head: int, heads: list[int], relations: list[str], among: set[str]
) -> bool:
    """Whether a token depends on ``head`` by relations ``among`` these alone."""
    while token != head:
        if relations[token] not in among or heads[token] < 0:
            return False
        token = heads[token]
    return True


def features_crf(train: Tagged, dev: Tagged, test: Tagged) -> Row:
    """What the CRF of features comes to on the test part; dev chooses how long it learns."""
    clock = Clock()
    fitted = FeatureCrf.fit(train, dev)
    every = Counts()
    for counts in counted(fitted.predict(test[0]), test[1]).values():
        every = every.plus(counts)
    return {"f1": every.f1, "passes": fitted.passes, **clock.read()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with ud_en/")
    parser.add_argument("--only", choices=("upos", "phrases"), help="these labels alone")
    parser.add_argument("--minutes", type=float, help="default: the tagger's epochs")
    arguments = parsed(parser)
    record = Record("tagging", ("labels", "seed"))
    for labels, read in {"upos": upos, "phrases": phrases}.items():
        if arguments.only not in (None, labels):
            continue
        train, dev, test = (read(arguments.data, part) for part in PARTS)
        clock = Clock()
        model = tg.SequenceTagger(seed=arguments.seed, max_minutes=arguments.minutes)
        model.fit(*train, validation=dev)
        row: Row = {"labels": labels, **trained(model, clock), "test": model.evaluate(*test)}
        if labels == "phrases":
            row["crf"] = features_crf(train, dev, test)
        record.add(row)
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

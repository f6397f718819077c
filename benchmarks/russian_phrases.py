"""Short Russian phrases, good or bad: Embedding 128 → recurrent 128 → recurrent 64 → softmax 2.

The lesson these phrases come from has no test part, so accuracy is that of 5-fold
cross-validation: every phrase is judged by a network that has not read it.

    python benchmarks/russian_phrases.py DATA/selfedu_ru
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

import tidegate as tg


def phrases(folder: Path) -> tuple[list[str], np.ndarray]:
    """The phrases, one a line, and "good" or "bad" for each."""
    texts: list[str] = []
    labels: list[str] = []
    for label, name in {"good": "train_data_true.txt", "bad": "train_data_false.txt"}.items():
        lines = (folder / name).read_text(encoding="utf-8-sig").splitlines()
        found = [line.strip() for line in lines if line.strip()]
        texts += found
        labels += [label] * len(found)
    return texts, np.array(labels)


def network(cell: str, evidence: bool) -> tg.TextClassifier:
    """The lesson's network with ``cell``, as it is or with what the words were counted to say."""
    return tg.TextClassifier(
        cell=cell,
        evidence=evidence,
        hidden_sizes=(128, 64),
        embedding_size=128,
        bidirectional=False,
        readout="last",
        min_count=1,
        fewest_steps=1080,
        evaluate_every=54,
        batch_size=16,
        verbose=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Short Russian phrases: GRU, LSTM, linear model.")
    parser.add_argument("folder", type=Path)
    texts, labels = phrases(parser.parse_args().folder)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(texts, labels))
    linear = make_pipeline(TfidfVectorizer(), LogisticRegression(C=10))
    for name in ("linear", "gru", "lstm", "gru with evidence", "lstm with evidence"):
        right, seconds, parameters = np.zeros(len(texts), bool), time.perf_counter(), 0
        for train, test in folds:
            cell, _, evidence = name.partition(" with ")
            model = linear if name == "linear" else network(cell, bool(evidence))
            model.fit([texts[i] for i in train], labels[train].tolist())
            right[test] = model.predict([texts[i] for i in test]) == labels[test]
            if isinstance(model, tg.TextClassifier):
                parameters = model.runtime_.architecture.parameter_count()
        figures = {
            "model": name,
            "parameters": parameters or None,
            "accuracy": round(float(right.mean()), 4),
            "phrases": len(texts),
            "seconds_per_fold": round((time.perf_counter() - seconds) / len(folds), 2),
        }
        print(json.dumps(figures))


if __name__ == "__main__":
    main()

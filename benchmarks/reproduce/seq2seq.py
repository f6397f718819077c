"""Sequence to sequence: sums of two numbers as text, and dates in many spellings as ISO 8601.

    python benchmarks/reproduce/seq2seq.py
    python benchmarks/reproduce/seq2seq.py --only dates --seed 0 --table

Sums are those of Keras' example (addition_rnn): two numbers of one to three digits, no pair of
numbers twice in either order; 45,000 are learned from, a tenth of which chooses the weights, and
5,000 others are asked.  Nothing is padded or reversed.  Of 10,000 dates, each in one of 16
spellings, 8,000 are learned from alike, and 2,000 others, of other spellings or days, are asked.
Options are the defaults but for the batch and the minutes, chosen on validation parts.

Rows go to benchmarks/results/seq2seq.json; --table writes the data, as sums.tsv and dates.tsv, into
this folder and trains nothing; --picture PATH draws what an answer to a date attends to.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record import Clock, Record, Row, markdown

import tidegate as tg

SEEDS = (0, 1, 2)
SUMS, ASKED_SUMS = 45_000, 5_000
DATES, ASKED_DATES = 8_000, 2_000
FIRST, LAST = datetime.date(1950, 1, 1), datetime.date(2049, 12, 31)

Pairs = tuple[list[str], list[str]]

OPTIONS: dict[str, dict[str, Any]] = {
    "sums": {"batch_size": 128, "max_minutes": 3.0},
    "dates": {"max_minutes": 1.0},
}


def sums(rng: np.random.Generator, count: int) -> Pairs:
    """``count`` questions such as 12+345, and their answers, as in Keras' example."""
    known: set[tuple[int, int]] = set()
    questions, answers = [], []
    while len(questions) < count:
        a, b = (int("".join(map(str, rng.integers(0, 10, rng.integers(1, 4))))) for _ in "ab")
        pair = min(a, b), max(a, b)
        if pair not in known:
            known.add(pair)
            questions.append(f"{a}+{b}")
            answers.append(str(a + b))
    return questions, answers


def spellings() -> list[Callable[[datetime.date], str]]:
    """Ways to write a date, in each of which it can mean one day only."""

    def ordinal(day: int) -> str:
        ending = "th" if 10 < day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        return f"{day}{ending}"

    return [
        lambda d: f"{d.day}/{d.month}/{d.year}",
        lambda d: f"{d:%d/%m/%Y}",
        lambda d: f"{d:%d.%m.%Y}",
        lambda d: f"{d.day}.{d.month}.{d:%y}",
        lambda d: f"{d:%Y%m%d}",
        lambda d: f"{d:%Y/%m/%d}",
        lambda d: f"{d.day} {d:%B} {d.year}",
        lambda d: f"{d.day} {d:%b} {d.year}",
        lambda d: f"{d:%B} {d.day}, {d.year}",
        lambda d: f"{d:%b} {d.day}, {d:%y}",
        lambda d: f"{d:%A}, {d:%B} {d.day}, {d.year}",
        lambda d: f"{d:%a} {d.day} {d:%b} {d.year}".lower(),
        lambda d: f"the {ordinal(d.day)} of {d:%B} {d.year}",
        lambda d: f"{d:%B} the {ordinal(d.day)}, {d.year}",
        lambda d: f"{d:%d-%b-%Y}".upper(),
        lambda d: f"{d.year}, {d:%B} {ordinal(d.day)}",
    ]


def dates(rng: np.random.Generator, count: int) -> Pairs:
    """``count`` different spellings of days from 1950 to 2049, and the days as 2024-02-29."""
    ways, found = spellings(), {}
    while len(found) < count:
        day = FIRST + datetime.timedelta(days=int(rng.integers((LAST - FIRST).days + 1)))
        found[ways[rng.integers(len(ways))](day)] = day.isoformat()
    return list(found), list(found.values())


TASKS = {"sums": (sums, SUMS, ASKED_SUMS), "dates": (dates, DATES, ASKED_DATES)}


def parted(task: str) -> tuple[Pairs, Pairs]:
    """The pairs to learn from, and those to ask, the same for every seed."""
    generate, learned, asked = TASKS[task]
    sources, targets = generate(np.random.default_rng(0), learned + asked)
    return (sources[:learned], targets[:learned]), (sources[learned:], targets[learned:])


def measure(task: str, seed: int, options: dict[str, Any]) -> tuple[tg.SequenceToSequence, Row]:
    learned, asked = parted(task)
    model = tg.SequenceToSequence(seed=seed, verbose=0, **options)
    clock = Clock()
    model.fit(*learned)
    row: Row = {"task": task, "seed": seed, **clock.read(), "options": options}
    row["steps"] = model.provenance_["steps"]
    row["validation_exact_match"] = model.metrics_["exact_match"]
    row["baseline_exact_match"] = model.metrics_["baseline_exact_match"]
    figures = model.evaluate(*asked)
    names = ("exact_match", "character_error_rate", "cross_entropy", "chrf", "n")
    row |= {name: figures[name] for name in names if name in figures}
    row["beam_5_exact_match"] = float(
        np.mean([a == b for a, b in zip(model.predict(asked[0], beam=5), asked[1], strict=True)])
    )
    return model, row


COLUMNS: dict[str, Callable[[Row], Any]] = {
    "task": lambda row: row["task"],
    "seed": lambda row: row["seed"],
    "steps": lambda row: f"{row['steps']:,}",
    "exact match": lambda row: f"**{row['exact_match']:.4f}**",
    "with five beams": lambda row: f"{row['beam_5_exact_match']:.4f}",
    "nearest neighbour": lambda row: f"{row['baseline_exact_match']:.4f}",
    "seconds": lambda row: round(row["seconds"]),
    "CPU seconds": lambda row: round(row["cpu_seconds"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=tuple(TASKS))
    parser.add_argument("--seed", type=int, choices=SEEDS)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    record = Record("seq2seq", ("task", "seed"))
    for task in [given.only] if given.only else TASKS:
        if given.table:
            rows = zip(*parted(task)[0], strict=True)
            lines = ["question\tanswer", *("\t".join(row) for row in rows)]
            Path(f"{task}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
            continue
        for seed in SEEDS if given.seed is None else [given.seed]:
            model, row = measure(task, seed, OPTIONS[task])
            record.add(row)
            if given.picture and task == "dates" and seed == 0:
                from tidegate.tasks.attention_plot import plot_attention

                attended = model.attend("Thursday, February 29, 2024")
                plot_attention(given.picture, [attended], force=True)
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

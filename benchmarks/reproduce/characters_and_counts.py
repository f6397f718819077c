"""Characters of small texts at short budgets: the network, counted n-grams, and both together.

    python benchmarks/reproduce/characters_and_counts.py DATA --minutes 0.5 2
    python benchmarks/reproduce/characters_and_counts.py DATA --only demo --minutes 0.5

The first 200,000 characters of the demo's text (Python's language reference), of War and Peace and
of its Russian original, and 24,524 characters of verse, all of the file; the last tenth is the test
part.  A run with ``counts`` has all three figures of the same network.  Characters a second are
those of ``generate``, 2,000 of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from record import Clock, Record, Row, markdown

import tidegate as tg
from tidegate.data.text.reading import read_text

CHARACTERS = 200_000
WRITTEN = 2000


def demo(_: Path) -> str:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
    from demo import language_reference  # pyright: ignore[reportMissingImports]

    return language_reference()


TEXTS: dict[str, Callable[[Path], str]] = {
    "demo": demo,
    "War and Peace": lambda data: read_text(data / "warpeace" / "warpeace_input.txt.gz"),
    "Voyna i mir": lambda data: read_text(data / "warpeace" / "voyna_i_mir_t1-3_ru.txt.gz"),
    "verse": lambda data: read_text(data / "selfedu_ru" / "text_2.txt"),
}


def measure(name: str, text: str, minutes: float, seed: int) -> Row:
    clock = Clock()
    model = tg.LanguageModel(
        counts=True, max_minutes=minutes, test_fraction=0.1, sample_steps=(), seed=seed, verbose=0
    ).fit(text)
    spent = clock.read()
    mixed = written_a_second(model)
    model.counts_ = None
    _, _, test = model.split(text, None, "char")
    return {
        "text": name,
        "characters": len(text),
        "minutes": minutes,
        "seed": seed,
        "steps": model.provenance_["steps"],
        "test_perplexity": round(model.metrics_["test_perplexity"], 4),
        "network_alone": round(model.evaluate(test)["perplexity"], 4),
        "counts_alone": round(model.metrics_["test_baseline_perplexity"], 4),
        "written_a_second": round(mixed),
        "written_a_second_without": round(written_a_second(model)),
        **spent,
    }


def written_a_second(model: Any) -> float:
    began = time.perf_counter()
    count = sum(1 for _ in model.generate("The ", WRITTEN, seed=1))
    return count / (time.perf_counter() - began)


COLUMNS: dict[str, Any] = {
    "text": lambda row: f"{row['text']} ({row['characters']:,})",
    "minutes": lambda row: row["minutes"],
    "steps": lambda row: row["steps"],
    "network": lambda row: f"{row['network_alone']:.2f}",
    "counts": lambda row: f"{row['counts_alone']:.2f}",
    "both": lambda row: f"**{row['test_perplexity']:.2f}**",
    "both below the network": lambda row: (
        f"{1 - row['test_perplexity'] / row['network_alone']:.0%}"
    ),
    "characters a second": lambda row: (
        f"{row['written_a_second']:,} ({row['written_a_second_without']:,} without)"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with warpeace/ and selfedu_ru/")
    parser.add_argument("--only", nargs="+", choices=list(TEXTS), default=list(TEXTS))
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.5, 2, 5])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    record = Record("characters_and_counts", ("text", "minutes", "seed"))
    for minutes in chosen.minutes:
        for name in chosen.only:
            text = TEXTS[name](chosen.data)[:CHARACTERS]
            record.add(measure(name, text, minutes, chosen.seed))
    print("\n" + markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

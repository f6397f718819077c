"""From a label alone to a sequence: names by nation, by a language model with conditions.

    python benchmarks/reproduce/names.py
    python benchmarks/reproduce/names.py --seed 1 --threads 2

The names are drawn from the grammar below, made up for this purpose: of each nation the syllables
that a name begins with, goes on with and ends in.  Nations share letters and some syllables.  Half
of the names train the writer, with their nations; the other half train and test a text classifier.
Then the writer is asked for names of each nation, and the classifier says where they are from: the
share of nations that it gives back is the figure.  Beside it stands its accuracy on its own test
part, about the most that can be had.  The grammar is small, so that the same name may stand in
several parts; of the names that are written, the share is told that the writer has not read.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from language_models import parsed
from record import Clock, Record, Row, markdown

import tidegate as tg

# First, middle and last syllables, and how many syllables stand between.
GRAMMAR: dict[str, tuple[str, str, str, tuple[int, int]]] = {
    "Russian": (
        "Vol Mor Pet Niko Ser Dmi An Bel Iva Kor", "a o i ka ro li",
        "nov chenko sky ev in", (0, 2),
    ),
    "Japanese": (
        "Ka Mori Ta Ya Su Naka Fuji Ito Sa Hira", "ma ka shi ro ki na",
        "da moto mura ka no", (0, 2),
    ),
    "Italian": (
        "Ber Ma Ro Gal Fer Con Mor De Bel San", "ri na lo ta ra vi",
        "ti ni lli no tto ssi", (0, 2),
    ),
    "German": (
        "Schu Wei Ho Krau Ber Hof Stein Mei Rei Fisch", "ff se en el er",
        "mann berg er bach stein", (0, 1),
    ),
    "Irish": (
        "O'Bri Mc Con Gal Mur Kel Do Fitz Bren Sul", "li no la ge ca",
        "nan gher phy ly an van", (0, 1),
    ),
    "Spanish": (
        "Gar Mar Her Lo Ro Fer San Ra Mo Del", "ci ti nan dri mi re",
        "ez es a os ado era", (1, 2),
    ),
}  # fmt: skip
NAMES = 1500  # of each nation, half of them for the writer
ASKED = 100  # of each nation


def names_of(nation: str, count: int, rng: np.random.Generator) -> list[str]:
    """Names of a nation, some of them more than once."""
    first, middle, last, (fewest, most) = GRAMMAR[nation]
    begins, goes_on, ends = first.split(), middle.split(), last.split()
    return [
        rng.choice(begins)
        + "".join(rng.choice(goes_on, rng.integers(fewest, most + 1)))
        + rng.choice(ends)
        for _ in range(count)
    ]


def table(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Names and nations, ``count`` of each nation in a random order."""
    rng = np.random.default_rng(seed)
    pairs = [(name, nation) for nation in GRAMMAR for name in names_of(nation, count, rng)]
    order = rng.permutation(len(pairs))
    return [pairs[i][0] for i in order], [pairs[i][1] for i in order]


def written_names(writer: Any, count: int, given: dict[str, str]) -> list[str]:
    """Names by the writer, at temperature 1."""
    return ["".join(writer.generate(given=given, length=40, seed=i)) for i in range(count)]


def measured(count: int, asked: int, seed: int, writer_options: Row, judge_options: Row) -> Row:
    """Train both and ask: the figures."""
    names, nations = table(count, seed)
    half = len(names) // 2
    clock = Clock()
    writer = tg.LanguageModel(seed=seed, verbose=0, **writer_options)
    writer.fit(names[:half], conditions={"nation": nations[:half]})
    took = clock.read()
    judge = tg.TextClassifier(
        seed=seed, level="char", test_fraction=0.2, verbose=0, **judge_options
    )
    judge.fit(names[half:], nations[half:])
    known = set(names[:half])
    written = {nation: written_names(writer, asked, {"nation": nation}) for nation in GRAMMAR}
    right = {
        nation: float(np.mean(judge.predict(some) == nation)) for nation, some in written.items()
    }
    return {
        "seed": seed,
        "names": half,
        "parameters": writer.runtime_.architecture.parameter_count(),
        "validation": writer.metrics_,
        "judge": judge.metrics_["test_accuracy"],
        "given_back": float(np.mean(list(right.values()))),
        "by_nation": right,
        "new": float(np.mean([one not in known for some in written.values() for one in some])),
        "written": {nation: some[:5] for nation, some in written.items()},
        **took,
    }


COLUMNS: dict[str, Any] = {
    "seed": lambda row: row["seed"],
    "names": lambda row: row["names"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "nation given back": lambda row: f"**{row['given_back']:.3f}**",
    "true names": lambda row: f"{row['judge']:.3f}",
    "new names": lambda row: f"{row['new']:.2f}",
    "seconds": lambda row: row["seconds"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments = parsed(parser)
    record = Record("names", ("seed",))
    small = {"hidden_sizes": (128,), "embedding_size": 32}
    record.add(measured(NAMES, ASKED, arguments.seed, small, {}))
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

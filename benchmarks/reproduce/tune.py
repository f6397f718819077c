r"""What ``tune`` gains over the defaults in half an hour: reviews, hourly loads, a novel.

    python benchmarks/reproduce/tune.py DATA
    python benchmarks/reproduce/tune.py DATA --only "war and peace" --minutes 30

IMDb: the 25,000 training reviews; a fifth of them is held out, and the official test part is not
read.  ETTh1: the protocol of the ETT benchmark, 24 hours ahead: 12 months to learn from, 4 to
choose by, 4 held out.  War and Peace: characters; the last tenth is held out, the one before
chooses.  The minutes are of everything: the search, and three runs each of the defaults and of the
winner with new seeds, within the limits of a trial.  The gain is measured on the part held out,
which the search never saw.  It is "no gain" unless both the seeds and a paired test over the
examples say otherwise.  On a busy machine fewer trials come to their end.

Rows go to benchmarks/results/tune.json; trials to runs/reproduce/tune.db.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from language_models import RUNS, parsed
from record import Clock, Record, Row, markdown
from sentiment import reviews

import tidegate as tg
from tidegate.data.series.tables import read_series
from tidegate.data.text.reading import read_text

NAMES = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
MONTH = 24 * 30  # rows
MINUTES = 30.0


def imdb(data: Path, seed: int) -> tuple[Any, ...]:
    return tg.TextClassifier(seed=seed), *reviews(data / "imdb" / "train.tsv.gz")


def etth1(data: Path, seed: int) -> tuple[Any, ...]:
    series = read_series(str(data / "timeseries" / "ETTh1.csv.gz"), "date", NAMES)
    ends: dict[str, Any] = {"train_until": str(12 * MONTH), "validate_until": str(16 * MONTH)}
    return tg.Forecaster(horizon=24, seed=seed, **ends), series.rows(0, 20 * MONTH)


def novel(data: Path, seed: int) -> tuple[Any, ...]:
    text = read_text(data / "warpeace" / "warpeace_input.txt.gz")
    return tg.LanguageModel(test_fraction=0.1, seed=seed), text


DATA: dict[str, Callable[[Path, int], tuple[Any, ...]]] = {
    "imdb": imdb,
    "etth1": etth1,
    "war and peace": novel,
}

COLUMNS: dict[str, Any] = {
    "data": lambda row: row["data"],
    "minutes": lambda row: f"{row['minutes']:g}",
    "seed": lambda row: row["seed"],
    "trials": lambda row: sum(row["trials"].values()),
    "stopped early": lambda row: row["trials"].get("pruned", 0),
    "held-out loss, defaults": lambda row: _figure(row, "defaults"),
    "winner": lambda row: _figure(row, "winner"),
    "p": lambda row: _figure(row, "p", ".2g"),
    "gain": lambda row: "yes" if row["gain"] and row["gain"]["beyond_noise"] else "no gain",
    "seconds": lambda row: round(row["seconds"]),
}


def _figure(row: Row, name: str, form: str = ".4f") -> str:
    return "" if row["gain"] is None else format(row["gain"][name], form)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with imdb/, timeseries/ and warpeace/")
    parser.add_argument("--only", choices=DATA, help="this data set alone")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for each (default 30)")
    parser.add_argument("--resume", action="store_true", help="add trials to those that are there")
    arguments = parsed(parser)
    record = Record("tune", ("data", "minutes", "seed"))
    RUNS.mkdir(parents=True, exist_ok=True)
    for name, made in DATA.items():
        if arguments.only not in (None, name):
            continue
        model, *data = made(arguments.data, arguments.seed)
        clock = Clock()
        result = tg.tune(
            model,
            *data,
            minutes=arguments.minutes,
            storage=f"sqlite:///{RUNS / 'tune.db'}",
            study=f"{name}, {arguments.minutes:g} minutes, seed {arguments.seed}",
            resume=arguments.resume,
        )
        print(result)
        about = {"data": name, "minutes": arguments.minutes, "seed": arguments.seed}
        record.add(about | result.to_json() | {"train": result.how_to_train} | clock.read())
    print(markdown(record.rows, COLUMNS))


if __name__ == "__main__":
    main()

"""Which cell for which task: each cell beside the others, with as many weights as the LSTM has.

    python benchmarks/reproduce/which_cell.py DATA
    python benchmarks/reproduce/which_cell.py DATA --only chorales --cells lstm,gru --seeds 1

What ``tidegate compare --equal-parameters`` does, of one thing alone: the cell.  Where a network
stands beside counts, a straight line or ridges by default, it stands alone here, since those would
hide what the cell does.  JSB Chorales as piano rolls, in the sizes of Chung et al. 2014; pen
digits; ETTh1, 96 rows ahead; reviews of IMDb; War and Peace by characters, five minutes a run.  The
other cells get sizes that come to as many weights as the LSTM's.  Figures are of test parts, which
choose nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ett import NAMES, ROWS_A_MONTH
from record import Clock, Record, Row, markdown
from sentiment import reviews

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.data.sequence_sources import LabelledSequences
from tidegate.data.series.tables import read_series
from tidegate.data.text.reading import read_text

Data = tuple[tuple[Any, ...], Any]  # what fit takes, and the test part, if it is given apart


def chorales(folder: Path) -> Data:
    return (folder / "polymusic" / "JSB_Chorales.mat",), None


def pen_digits(folder: Path) -> Data:
    source = LabelledSequences(label="17", channels=2, header=False)
    files = (folder / "pendigits" / f"pendigits_{part}.csv.gz" for part in ("train", "test"))
    learned, unseen = (source.read(str(file), learning=True) for file in files)
    return learned, unseen


def hours(folder: Path) -> Data:
    file = folder / "timeseries" / "ETTh1.csv.gz"
    return (read_series(str(file), "date", NAMES).rows(0, 20 * ROWS_A_MONTH["ETTh1"]),), None


def imdb(folder: Path) -> Data:
    learned, unseen = (reviews(folder / "imdb" / f"{part}.tsv.gz") for part in ("train", "test"))
    return learned, unseen


def war_and_peace(folder: Path) -> Data:
    return (read_text(folder / "warpeace" / "warpeace_input.txt.gz"),), None


_MONTH = ROWS_A_MONTH["ETTh1"]
# By name: what is trained, and on what.
TASKS: dict[str, tuple[Callable[..., Any], dict[str, Any], Callable[[Path], Data]]] = {
    "chorales": (
        tg.MusicModel,
        {"hidden_sizes": (36,), "repeats": False, "dropout": 0.2, "average": 0.99, "epochs": 50},
        chorales,
    ),
    "pen digits": (tg.SequenceClassifier, {"evidence": False}, pen_digits),
    "ETTh1": (
        tg.Forecaster,
        {
            "horizon": 96, "linear": False, "train_until": str(12 * _MONTH),
            "validate_until": str(16 * _MONTH), "loss": "mse",
        },
        hours,
    ),
    "reviews": (tg.TextClassifier, {"evidence": False}, imdb),
    "War and Peace": (
        tg.LanguageModel,
        {"level": "char", "validation_fraction": 0.1, "test_fraction": 0.1, "max_minutes": 5},
        war_and_peace,
    ),
}  # fmt: skip
NAMES_OF_CELLS = [name for name, cell in CELLS.items() if not cell.is_projected]


def measure(task: str, cells: list[str], seeds: int, folder: Path) -> list[Row]:
    """A row for each cell: the test figure of each seed."""
    estimator, options, data = TASKS[task]
    learned, unseen = data(folder)
    clock = Clock()
    result = tg.compare(
        estimator(verbose=0, **options),
        *learned,
        test=unseen,
        cells=["lstm", *(cell for cell in cells if cell != "lstm")],
        seeds=seeds,
        equal_parameters=True,
    )
    print(f"{result}\n{clock.read()['cpu_seconds']:.0f} s of a core", flush=True)
    name = result.metric.name
    rows = []
    for cell in dict.fromkeys(run.cell for run in result.runs):
        runs = [run for run in result.runs if run.cell == cell]
        rows.append(
            {
                "task": task,
                "cell": cell,
                "metric": name,
                "seeds": [run.seed for run in runs],
                "hidden_sizes": list(runs[0].model.runtime_.architecture.hidden_sizes),
                "parameters": runs[0].parameters,
                "validation": [run.validation[name] for run in runs],
                "test": [run.held_out[name] for run in runs],
            }
        )
    return rows


def grouped(rows: list[Row]) -> list[Row]:
    """Of each task in turn, the least mean over seeds first: all figures are losses."""
    order = list(TASKS)
    return sorted(rows, key=lambda row: (order.index(row["task"]), np.mean(row["test"])))


COLUMNS: dict[str, Any] = {
    "task": lambda row: row["task"],
    "cell": lambda row: row["cell"],
    "units": lambda row: ", ".join(map(str, row["hidden_sizes"])),
    "weights": lambda row: f"{row['parameters']:,}",
    "figure": lambda row: row["metric"].replace("_", " "),
    "test, mean": lambda row: f"**{np.mean(row['test']):.4g}**",
    "of each seed": lambda row: ", ".join(f"{value:.4g}" for value in row["test"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with polymusic/, pendigits/, timeseries/…")
    parser.add_argument("--only", choices=TASKS, help="this task alone")
    parser.add_argument("--cells", default=",".join(NAMES_OF_CELLS))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    record = Record("which_cell", ("task", "cell"))
    for task in [arguments.only] if arguments.only else TASKS:
        for row in measure(task, arguments.cells.split(","), arguments.seeds, arguments.data):
            record.add(row)
    print("\n" + markdown(grouped(record.rows), COLUMNS))


if __name__ == "__main__":
    main()

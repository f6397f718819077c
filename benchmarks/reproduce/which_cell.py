"""Which cell for which task: each cell beside the others, with as many weights as the LSTM has.

    python benchmarks/reproduce/which_cell.py DATA
    python benchmarks/reproduce/which_cell.py DATA --only chorales --cells lstm,gru --seeds 1

What ``tidegate compare --equal-parameters`` does, of one thing alone: the cell.  Where a network
stands beside counts, a straight line or ridges by default, it stands alone here, since those would
hide what the cell does.  JSB Chorales as piano rolls, in the sizes of Chung et al. 2014; pen
digits; ETTh1, 96 rows ahead; reviews of IMDb; War and Peace by characters, five minutes a run.  The
other cells get sizes that come to as many weights as the LSTM's.  Figures are of test parts, which
choose nothing.  All of it takes days of a core: runs that ``benchmarks/results/which_cell.json``
has already are not measured again, and an interrupted command goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ett import NAMES, ROWS_A_MONTH
from record import Record, Row, markdown
from sentiment import reviews

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.comparison.experiments.of_tasks import experiment_of
from tidegate.comparison.runs.runs import Failure, copy_of, equal_sizes, options_of, run_all
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
        {
            "level": "char", "validation_fraction": 0.1, "test_fraction": 0.1, "max_minutes": 5,
            "counts": False, "tie_embeddings": False, "sample_steps": (),
        },
        war_and_peace,
    ),
}  # fmt: skip
NAMES_OF_CELLS = [name for name, cell in CELLS.items() if not cell.is_projected]


def measure(task: str, cells: list[str], seeds: list[int], folder: Path, record: Record) -> None:
    """Train each cell with each seed.  A run is in the record as soon as it has ended."""
    estimator, options, data = TASKS[task]
    learned, unseen = data(folder)
    model = estimator(verbose=0, refit=False, baseline=False, **options)
    experiment = experiment_of(model, learned, None, unseen)
    sizes = equal_sizes(experiment, model, ["lstm", *cells])
    models = [
        copy_of(model, cell=cell, seed=seed, hidden_sizes=sizes[cell], **options_of(model, cell))
        for seed in seeds
        for cell in cells
        if seed not in known(record, task, cell).get("seeds", ())
    ]
    name = experiment.metric.name
    for run in run_all(experiment, models, folder=None, provenance={}, begin=begin):
        if isinstance(run, Failure):
            raise SystemExit(f"{task}, {run.cell}, seed {run.seed}: {run.problem}")
        row = known(record, task, run.cell)
        figures = {"seeds": run.seed, "validation": run.validation[name]}
        figures |= {"test": run.held_out[name], "seconds": round(run.history[-1]["seconds"], 1)}
        row |= {key: [*row.get(key, ()), figure] for key, figure in figures.items()}
        row |= {"task": task, "cell": run.cell, "metric": name, "parameters": run.parameters}
        record.add(row | {"hidden_sizes": list(run.hidden_sizes)})


def begin(model: Any) -> None:
    print(f"{model.cell}, seed {model.seed}", flush=True)


def known(record: Record, task: str, cell: str) -> Row:
    """What the record has of a cell in a task, or an empty row."""
    rows = (row for row in record.rows if (row["task"], row["cell"]) == (task, cell))
    return next(rows, {})


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
    parser.add_argument("--seeds", type=int, default=3, help="so many from 0 (default: 3)")
    arguments = parser.parse_args()
    record = Record("which_cell", ("task", "cell"))
    for task in [arguments.only] if arguments.only else TASKS:
        measure(
            task, arguments.cells.split(","), list(range(arguments.seeds)), arguments.data, record
        )
    print("\n" + markdown(grouped(record.rows), COLUMNS))


if __name__ == "__main__":
    main()

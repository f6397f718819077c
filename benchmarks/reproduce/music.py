"""Piano rolls: JSB Chorales and Nottingham at published sizes, and as well as it gets.

    python benchmarks/reproduce/music.py DATA
    python benchmarks/reproduce/music.py DATA --set JSB_Chorales --only gru

Test figures in nats per step, of every seed, stand in benchmarks/results/music.json beside
published ones.  The three parts are those of the files; options were chosen on validation parts
alone.  The first step of each piece is predicted from a step of zeros, and counts.  ``tanh``,
``lstm`` and ``gru`` have the units of Chung et al. 2014, and read the last step alone; ``best``
also reads what followed the longest earlier repetition.  A row is what these commands do for a
seed, with the row's options:

    tidegate train music JSB_Chorales.mat --seed 0
    tidegate evaluate JSB_Chorales-music.safetensors JSB_Chorales.mat
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Clock, Record, Row, markdown

import tidegate as tg

SETS = ("JSB_Chorales", "Nottingham")
CHUNG = "Chung et al. 2014, arXiv:1412.3555, table 2"
BAI = "Bai, Kolter & Koltun 2018, arXiv:1803.01271, table 1"
# By row: options, and what was published for each set.
SMALL: dict[str, Any] = {"repeats": False, "dropout": 0.2, "recurrent_dropout": 0.2}
SMALL |= {"average": 0.99, "epochs": 50}
# what was chosen beside that for one set
OF_SET: dict[tuple[str, str], dict[str, Any]] = {}
_ALL_READ: dict[str, Any] = {"dropout": 0.0, "recurrent_dropout": 0.0, "batch_size": 8}
OF_SET["Nottingham", "tanh"] = {
    **_ALL_READ, "epochs": 100, "learning_rate": 2e-3, "average": 0.0,
}  # fmt: skip
for _row in ("gru", "lstm"):
    OF_SET["Nottingham", _row] = {**_ALL_READ, "epochs": 80, "input_dropout": 0.0}
OF_SET["Nottingham", "best"] = {
    "hidden_sizes": (128,), "dropout": 0.3, "input_dropout": 0.05, "average": 0.99, "epochs": 20,
    "batch_size": 8,
}  # fmt: skip
ROWS: dict[str, dict[str, Any]] = {
    "tanh": SMALL | {"cell": "rnn_tanh", "hidden_sizes": (100,), "learning_rate": 4e-3},
    "gru": SMALL | {"cell": "gru", "hidden_sizes": (46,)},
    "lstm": SMALL | {"cell": "lstm", "hidden_sizes": (36,)},
    "best": {},
}
PUBLISHED = {
    ("JSB_Chorales", "tanh"): (9.10, CHUNG),
    ("JSB_Chorales", "gru"): (8.54, CHUNG),
    ("JSB_Chorales", "lstm"): (8.67, CHUNG),
    ("JSB_Chorales", "best"): (8.10, f"TCN: {BAI}"),
    ("Nottingham", "tanh"): (3.13, CHUNG),
    ("Nottingham", "gru"): (3.23, CHUNG),
    ("Nottingham", "lstm"): (3.20, CHUNG),
    ("Nottingham", "best"): (3.07, f"TCN: {BAI}"),
}


def measure(name: str, row: str, seed: int, folder: Path) -> Row:
    """One run: its figures on all parts that were held out, and what it took."""
    clock = Clock()
    options = ROWS[row] | OF_SET.get((name, row), {})
    model = tg.MusicModel(seed=seed, verbose=0, **options)
    model.fit(folder / "polymusic" / f"{name}.mat")
    told = {n: round(v, 4) for n, v in model.metrics_.items() if n != "test_frames"}
    published, reference = PUBLISHED[name, row]
    return {
        "data": name,
        "row": row,
        "seed": seed,
        "options": repr(tg.MusicModel(**options)),
        "parameters": model.runtime_.architecture.parameter_count(),
        "steps": model.provenance_["steps"],
        "best_step": model.provenance_["best_step"],
        **told,
        **clock.read(),
        "published": published,
        "reference": reference,
        "confidence": "memory",
    }


def grouped(rows: list[Row]) -> list[Row]:
    """A row for each set and model: the mean over seeds."""
    keys = list(dict.fromkeys((row["data"], row["row"]) for row in rows))
    groups = [[r for r in rows if (r["data"], r["row"]) == key] for key in keys]
    return [
        {**group[0], "seeds": len(group)}
        | {name: float(np.mean([row[name] for row in group])) for name in MEANS}
        for group in groups
    ]


MEANS = ("nats_per_step", "test_nats_per_step", "test_frame_accuracy", "cpu_seconds")
COLUMNS: dict[str, Any] = {
    "data": lambda row: row["data"],
    "model": lambda row: row["row"],
    "parameters": lambda row: f"{row['parameters']:,}",
    "seeds": lambda row: row["seeds"],
    "validation": lambda row: f"{row['nats_per_step']:.3f}",
    "test": lambda row: f"**{row['test_nats_per_step']:.3f}**",
    "published": lambda row: f"{row['published']:.2f}",
    "counting": lambda row: f"{row['test_baseline_nats_per_step']:.3f}",
    "frame accuracy": lambda row: f"{row['test_frame_accuracy']:.3f}",
    "CPU seconds a seed": lambda row: round(row["cpu_seconds"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA")
    parser.add_argument("--set", choices=SETS, help="default: both")
    parser.add_argument("--only", choices=tuple(ROWS), help="default: all rows")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    record = Record("music", ("data", "row", "seed"))
    for name in [arguments.set] if arguments.set else SETS:
        for row in [arguments.only] if arguments.only else ROWS:
            for seed in range(arguments.seeds):
                record.add(measure(name, row, seed, arguments.folder))
    print(markdown(grouped(record.rows), COLUMNS))


if __name__ == "__main__":
    main()

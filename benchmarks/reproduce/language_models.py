"""What the reproductions of language models share: run folders, times, and figures written down."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import tidegate as tg

RESULTS = Path(__file__).parents[1] / "results"
RUNS = Path("runs") / "reproduce"


def train(model: tg.LanguageModel, name: str, *texts: str) -> dict[str, Any]:
    """Fit ``model`` to ``texts`` in the folder runs/reproduce/NAME, and say what it took.

    An interrupted run of the same command goes on there: ``process_seconds`` (of all threads) is
    then of the last process alone, ``seconds`` on the clock of all.
    """
    folder = RUNS / name
    model.set_params(run_folder=folder, resume=(folder / "state.safetensors").exists())
    began = time.process_time()
    model.fit(*texts)
    return {
        "validation": model.metrics_,
        "epochs": model.provenance_["epochs"],
        "steps": model.provenance_["steps"],
        "best_step": model.provenance_["best_step"],
        "parameters": sum(p.numel() for p in model.network_.parameters()),
        "seconds": model.provenance_["training_seconds"],
        "process_seconds": round(time.process_time() - began, 1),
        "curve": model.history_,
    }


def circumstances() -> dict[str, Any]:
    """Date, machine and versions.

    Whether the machine was shared shows in a row's ``process_seconds``, which are then fewer than
    its ``seconds`` times ``threads``.
    """
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("tidegate", "torch", "numpy")},
    }


def write(subject: str, row: Mapping[str, Any]) -> None:
    """Add a row, or replace the one of the same ``name``, in benchmarks/results/SUBJECT.json."""
    path = RESULTS / f"{subject}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    rows = [other for other in rows if other["name"] != row["name"]]
    rows.append({**row, **circumstances()})
    path.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)

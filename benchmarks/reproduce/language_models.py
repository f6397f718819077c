"""How the reproductions train a language model: in a folder where an interrupted run goes on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from record import Clock

import tidegate as tg
from tidegate.data.text.reading import read_text
from tidegate.tasks.estimator import Estimator
from tidegate.training.curve import as_rows

RUNS = Path("runs") / "reproduce"


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command's arguments; of those that all have, ``--threads`` is carried out."""
    parser.add_argument("--threads", type=int, help="default: every core")
    parser.add_argument("--seed", type=int, default=0, help="default 0; a row is kept of each")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return arguments


def run_folder(name: str, seed: int) -> Path:
    return RUNS / f"{name}-seed-{seed}"


def penn_treebank(data: Path) -> list[str]:
    """Training, validation and test text, in the folder ptb/ of ``data``."""
    return [read_text(data / "ptb" / f"ptb.{part}.txt.gz") for part in ("train", "valid", "test")]


def train(model: tg.LanguageModel, name: str, *texts: str | list[str]) -> dict[str, Any]:
    """Fit ``model`` to ``texts`` in a folder of its name and seed, and say what it took.

    ``cpu_seconds`` are of all threads; after an interruption of this process alone, while
    ``seconds`` on the clock are of all that took part.
    """
    folder = run_folder(name, model.seed)
    model.set_params(run_folder=folder, resume=(folder / "state.safetensors").exists())
    clock = Clock()
    model.fit(*texts)
    return trained(model, clock)


def trained(model: Estimator, clock: Clock) -> dict[str, Any]:
    """Size, length and course of a training that began with the clock."""
    return {
        "seed": model.seed,
        "parameters": sum(p.numel() for p in model.network_.parameters()),
        "epochs": model.provenance_["epochs"],
        "steps": model.provenance_["steps"],
        "best_step": model.provenance_["best_step"],
        "seconds": model.provenance_["training_seconds"],
        "cpu_seconds": clock.read()["cpu_seconds"],
        "validation": {k: v for k, v in model.metrics_.items() if not k.startswith("test_")},
        "curve": as_rows(model.history_),
    }

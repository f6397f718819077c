"""The runs of a comparison: each cell with each seed, on the same parts, within the same budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.cells import get_cell
from tidegate.comparison.experiments.experiment import Experiment, Figures
from tidegate.comparison.runs.equal_parameters import with_equal_parameters
from tidegate.errors import InputError
from tidegate.tasks.estimator import Estimator


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """A run that came to its end: the fitted model, its figures on each part, and its losses.

    ``losses``: on the examples of the validation and of the held-out part, `Experiment.losses`.
    """

    cell: str
    seed: int
    model: Estimator
    path: Path | None
    held_out: Figures
    training: Figures
    losses: tuple[np.ndarray, np.ndarray]

    @property
    def validation(self) -> Figures:
        return self.model.metrics_

    @property
    def parameters(self) -> int:
        return self.model.runtime_.architecture.parameter_count()

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        return self.model.runtime_.architecture.hidden_sizes

    @property
    def history(self) -> list[dict[str, float]]:
        """A row per evaluation."""
        from tidegate.training.curve import as_rows

        return as_rows(self.model.history_)

    @property
    def seconds_per_epoch(self) -> float:
        """Of training, with its evaluations."""
        return self.history[-1]["seconds"] / self.model.provenance_["epochs"]

    @property
    def seconds_to_best(self) -> float:
        best = self.model.provenance_["best_step"]
        return next(row["seconds"] for row in self.history if row["step"] == best)


def seconds_per_epoch(runs: Sequence[Run]) -> float:
    """Of runs of one cell: the median, since a disturbed run says nothing of the cell."""
    return float(np.median([run.seconds_per_epoch for run in runs]))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A run that came to nothing, and why."""

    cell: str
    seed: int
    problem: str


def equal_sizes(
    experiment: Experiment, model: Estimator, cells: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Hidden sizes with which every cell has as many parameters as the first with the model's own.

    How many those are depends on the data: one step of training shows it.
    """
    free = {"epochs": None, "fewest_steps": None, "max_minutes": None}
    tried = copy_of(model, cell=cells[0], **options_of(model, cells[0]), **free, max_steps=1)
    experiment.fit(tried)
    architecture = tried.runtime_.architecture
    return {
        cell: architecture.hidden_sizes
        if cell == cells[0]
        else with_equal_parameters(architecture, cell, **options_of(model, cell)).hidden_sizes
        for cell in cells
    }


def run_all(
    experiment: Experiment,
    models: Sequence[Estimator],
    *,
    folder: Path | None,
    provenance: Mapping[str, Any],
    begin: Callable[[Estimator], None],
) -> Iterator[Run | Failure]:
    """Train and score each of ``models``, one after the other; ``begin`` is told of each.

    With a ``folder``, models and run folders are kept there; a run that finished there is not
    repeated, and one that was interrupted goes on.  Raises InputError where data or options cannot
    be used, among them others than those with which a run in the folder began.
    """
    for model in models:
        begin(model)
        assert isinstance(model.cell, str)
        path = None
        if folder is not None:
            path, run_folder = places_of(model, folder)
            begun = (run_folder / "state.safetensors").exists()
            model.set_params(run_folder=run_folder, resume=begun)
        try:
            experiment.fit(model)
            held_out, training = experiment.score(model)
            losses = experiment.losses(model)
        except InputError:
            raise
        except Exception as e:  # of this run alone: the others go on
            yield Failure(cell=model.cell, seed=model.seed, problem=f"{type(e).__name__}: {e}")
            continue
        model.provenance_ |= provenance
        if path is not None:
            model.save(path, force=model.force)
        yield Run(
            cell=model.cell,
            seed=model.seed,
            model=model,
            path=path,
            held_out=held_out,
            training=training,
            losses=losses,
        )


def places_of(model: Estimator, folder: Path) -> tuple[Path, Path]:
    """Where a comparison in ``folder`` keeps a model's file, and its run."""
    name = f"{model.cell}-seed-{model.seed}"
    return folder / f"{name}.safetensors", folder / "runs" / name


def options_of(model: Estimator, cell: str) -> dict[str, Any]:
    """The options that are for the cells which have a projection, or heads, as this cell has."""
    declared = get_cell(cell)
    return {
        "projection_size": model.projection_size if declared.is_projected else None,
        "num_heads": model.num_heads if declared.heads else 1,
    }


def copy_of(model: Estimator, **changed: Any) -> Any:
    """An unfitted model with the options of ``model``, but for those ``changed``."""
    return type(model)(**model.get_params() | changed)

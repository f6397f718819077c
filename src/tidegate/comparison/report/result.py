"""What a comparison came to: as text, as JSON, as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tidegate.cells import title
from tidegate.comparison.experiments.experiment import BaselineScores, Metric
from tidegate.comparison.report.advice import Advice
from tidegate.comparison.report.drawing import Draw, Reach, curves, faded, reaches
from tidegate.comparison.report.table import Row, as_text, rows_of
from tidegate.comparison.runs.runs import Failure, Run

# Names of the pictures.
PICTURES = ("curve-time", "curve-steps", "gradient-reach")


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """The runs, the baselines and what follows from them; ``print`` shows the table and advice.

    ``held_out`` is the part, ``test`` or ``validation``, that the table's figures are of, ``size``
    of it in ``unit``, compared by ``examples``; ``budget`` and ``options`` say what each run was
    given; ``reach`` has each cell's `Reach`, ``samples`` a text by each cell's best language model.
    """

    task: str
    metric: Metric
    held_out: str
    size: int
    unit: str
    examples: str
    budget: str
    options: str
    seeds: tuple[int, ...]
    runs: list[Run]
    failures: list[Failure]
    baselines: list[BaselineScores]
    baseline_problem: str | None
    advice: Advice
    reach: dict[str, Reach]
    samples: dict[str, str]
    environment: Mapping[str, Any]
    command: str | None

    @property
    def rows(self) -> list[Row]:
        """The table, best figure first."""
        return rows_of(self.runs, self.baselines, self.metric, self.size, self.advice.cell)

    @property
    def best(self) -> Run:
        """The advised cell's run that validates best: nothing is chosen on a test part."""
        runs = [run for run in self.runs if title(run.cell) == self.advice.cell]
        return min(runs, key=lambda run: run.validation[self.metric.name])

    def __str__(self) -> str:
        table = as_text(self.rows, self.metric, self.held_out)
        lines = [self.about_figures, *(f"failed: {text}" for text in self.problems)]
        return "\n".join([table, "", *lines, "", str(self.advice)])

    @property
    def about_figures(self) -> str:
        """What the table's figures are of, in a sentence or two."""
        count = f"mean ± standard deviation over {len(self.seeds)} seeds"
        seeds = count if len(self.seeds) > 1 else "one seed"
        size = f"{self.size:,}".replace(",", " ")
        return f"Figures on the {self.held_out} part: {size} {self.unit}; {seeds}; {self.budget}."

    @property
    def problems(self) -> list[str]:
        """What failed, and why."""
        runs = [f"{f.cell}, seed {f.seed}: {f.problem}" for f in self.failures]
        return runs + ([f"baselines: {self.baseline_problem}"] if self.baseline_problem else [])

    @property
    def pictures(self) -> dict[str, Draw]:
        """By the names of their files."""
        draws = (
            curves(self.runs, self.baselines, self.metric, "seconds"),
            curves(self.runs, self.baselines, self.metric, "step"),
            reaches(self.reach),
        )
        return dict(zip(PICTURES, draws, strict=True))

    def to_json(self) -> dict[str, Any]:
        """All figures, in JSON's types (a figure may be NaN)."""
        return {
            "task": self.task,
            "metric": self.metric.name,
            "measured_on": self.held_out,
            self.unit: self.size,
            "budget": self.budget,
            "seeds": list(self.seeds),
            "table": [row.to_json() for row in self.rows],
            "advice": {
                "cell": self.advice.cell,
                "text": str(self.advice),
                "differences": [
                    asdict(margin) | {"told_apart": margin.told_apart}
                    for margin in self.advice.margins
                ],
            },
            "best_model": None if self.best.path is None else str(self.best.path),
            "runs": [
                {
                    "cell": run.cell,
                    "seed": run.seed,
                    "model": None if run.path is None else str(run.path),
                    "hidden_sizes": list(run.hidden_sizes),
                    "parameters": run.parameters,
                    "seconds": run.history[-1]["seconds"],
                    "seconds_to_best": run.seconds_to_best,
                    "validation": run.validation,
                    self.held_out: run.held_out,
                    "training": run.training,
                }
                for run in self.runs
            ],
            "failures": self.problems,
            "baselines": [baseline.to_json() for baseline in self.baselines],
            "gradient_faded_after_steps": {
                cell: {"before": faded(reach.before), "after": faded(reach.after)}
                for cell, reach in self.reach.items()
            },
            "environment": dict(self.environment),
            "command": self.command,
        }

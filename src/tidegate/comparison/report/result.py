"""What a comparison came to: as text, as JSON, as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from tidegate.cells import title
from tidegate.comparison.experiments.experiment import BaselineScores, Metric
from tidegate.comparison.report.advice import Advice
from tidegate.comparison.report.drawing import Draw, Reach, curves, drawn, faded, reaches
from tidegate.comparison.report.table import Row, as_text, cells_of, columns_of, rows_of
from tidegate.comparison.runs.runs import Failure, Run
from tidegate.output.html_tables import data_frame, html_table, html_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

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

    def plot_curves(self, across: Literal["seconds", "step"] = "seconds") -> Axes:
        """Draw validation figures over the training time, or over the optimiser ``step``.

        A notebook shows the picture.  Raises InputError where there is no matplotlib.
        """
        draw = curves(self.runs, self.baselines, self.metric, across)
        return drawn(draw, shown=True).axes[0]

    def plot_gradient_reach(self) -> Axes:
        """Draw how far back gradients reach, before and after training; as ``plot_curves``."""
        return drawn(reaches(self.reach), shown=True).axes[0]

    def to_frame(self) -> DataFrame:
        """The table as a pandas frame, the best row first.  Raises InputError without pandas."""
        rows = [row.to_json() for row in self.rows]
        ends = [row["interval"] or (None, None) for row in rows]
        for row, (low, high) in zip(rows, ends, strict=True):
            row |= {"interval": None, "accuracy_low": low, "accuracy_high": high}
            del row["interval"]
        return data_frame(rows)

    def _repr_html_(self) -> str:
        """What a notebook shows: the table of the report and the advice."""
        head = columns_of(self.metric, self.held_out, self.rows[0].accuracy is not None)
        rows = [cells_of(row, self.held_out) for row in self.rows]
        told = [self.about_figures, *(f"failed: {text}" for text in self.problems)]
        return "".join([html_table(head, rows), *map(html_text, [*told, str(self.advice)])])

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

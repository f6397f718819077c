"""The table of a comparison: a row for each cell and each baseline, the best one first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tidegate.cells import title
from tidegate.comparison.experiments.experiment import BaselineScores, Metric
from tidegate.comparison.runs.runs import Run, seconds_per_epoch
from tidegate.intervals import Interval, wilson


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table.  None: does not apply, or (deviations) there is but one run.

    ``mean`` and ``deviation`` (of the sample) are of the losses on the held-out part over ``runs``
    seeds, ``accuracy`` is there where answers are labels, with its 95 % ``interval``,
    ``validation`` is the mean of the losses on the validation part.  ``gap``: training less
    held-out loss, of the weights that are kept.
    """

    name: str
    about: str
    mean: float
    deviation: float | None
    accuracy: float | None
    interval: Interval | None
    validation: float
    runs: int | None = None
    parameters: int | None = None
    seconds_per_epoch: float | None = None
    seconds_to_best: float | None = None
    gap: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Every field by name."""
        return asdict(self)


def rows_of(
    runs: Sequence[Run],
    baselines: Sequence[BaselineScores],
    metric: Metric,
    size: int,
    advised: str,
) -> list[Row]:
    """The rows, least loss first; ``size`` of the held-out part; ``advised``: a cell's title."""
    cells = dict.fromkeys(run.cell for run in runs)
    rows = [
        _of_cell(cell, [run for run in runs if run.cell == cell], metric, size, advised)
        for cell in cells
    ]
    rows += [
        Row(
            name=b.name,
            about=b.about,
            mean=b.held_out,
            deviation=None,
            accuracy=b.accuracy,
            interval=_interval(b.accuracy, size),
            validation=b.validation,
            parameters=b.parameters,
        )
        for b in baselines
    ]
    return sorted(rows, key=lambda row: row.mean)


def _interval(accuracy: float | None, size: int) -> Interval | None:
    """Of an accuracy, which the examples leave open, whatever the seeds do."""
    return None if accuracy is None else wilson(accuracy, size)


def _of_cell(cell: str, runs: list[Run], metric: Metric, size: int, advised: str) -> Row:
    figures = np.array([run.held_out[metric.name] for run in runs])
    training = np.array([run.training[metric.name] for run in runs])
    right = [run.held_out["accuracy"] for run in runs if "accuracy" in run.held_out]
    accuracy = float(np.mean(right)) if right else None
    sizes = " + ".join(map(str, runs[0].hidden_sizes))
    return Row(
        name=title(cell),
        about=f"{sizes} units{', advised' if title(cell) == advised else ''}",
        mean=float(figures.mean()),
        accuracy=accuracy,
        interval=_interval(accuracy, size),
        deviation=float(figures.std(ddof=1)) if len(runs) > 1 else None,
        validation=float(np.mean([run.validation[metric.name] for run in runs])),
        runs=len(runs),
        parameters=runs[0].parameters,
        seconds_per_epoch=seconds_per_epoch(runs),
        seconds_to_best=float(np.mean([run.seconds_to_best for run in runs])),
        gap=float((training - figures).mean()),
    )


def columns_of(metric: Metric, held_out: str, labelled: bool) -> list[str]:
    """Headings of ``cells_of``; lower-case, with units.  ``labelled``: answers are labels."""
    chosen = ["validation"] if held_out == "test" else []
    return [
        "",
        "",
        f"{metric.label} ({held_out})",
        *(["accuracy", "95 % interval"] if labelled else []),
        *chosen,
        "parameters",
        "s per epoch",
        "s to best",
        f"training − {held_out}",
    ]


def cells_of(row: Row, held_out: str) -> list[str]:
    """A row as text."""
    figure = f"{row.mean:.4g}"
    if row.deviation is not None:
        figure += f" ± {row.deviation:.2g}"
    chosen = [f"{row.validation:.4g}"] if held_out == "test" else []

    def told(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form).replace(",", " ")

    return [
        row.name,
        row.about,
        figure,
        *([] if row.accuracy is None else [f"{row.accuracy:.4g}", str(row.interval)]),
        *chosen,
        told(row.parameters, ",d"),
        told(row.seconds_per_epoch, ".3g"),
        told(row.seconds_to_best, ".3g"),
        told(row.gap, "+.3g"),
    ]


def as_text(rows: Sequence[Row], metric: Metric, held_out: str) -> str:
    """The table in lines of text."""
    labelled = rows[0].accuracy is not None
    lines = [columns_of(metric, held_out, labelled), *(cells_of(row, held_out) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = 2  # columns of words; the others are numbers
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )

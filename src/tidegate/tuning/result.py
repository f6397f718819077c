"""What a search came to: the best trials, what mattered, the gain; as text, as JSON, a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from tidegate.comparison.experiments.experiment import Metric
from tidegate.comparison.report.drawing import as_png, drawn
from tidegate.errors import written
from tidegate.output.html_tables import data_frame, html_table, html_text
from tidegate.tuning.gain import Gain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from tidegate.tasks.estimator import Estimator

_SHOWN = 5  # trials in the table
_BAR, _GREY = "#0072B2", "#888888"


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A trial: what was drawn, and its figure on the validation part; None if it did not end.

    ``state``: complete, pruned (stopped, as it was behind others) or fail; ``options``: the values
    that ``drawn`` gives; ``number``: None for the defaults where they are not in the space.
    """

    number: int | None
    state: str
    value: float | None
    seconds: float
    drawn: Mapping[str, Any]
    options: Mapping[str, Any]
    defaults: bool = False
    parameters: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Tuning:
    """The result of ``tune``; ``print`` shows the table, what mattered, the gain and what to do.

    ``best``: the trial with the least validation figure, whose ``options`` the unfitted
    ``estimator`` has.  ``model``: that, trained for the gain and measured, or None.  ``gain`` is
    None where it was not measured, and where the defaults are best.  ``importances``: shares by
    dimension, the most important first; nothing where trials are too few.  ``command`` trains the
    winner, if the search was begun by one.
    """

    task: str
    metric: Metric
    held_out: int
    unit: str
    study: str
    storage: str
    trials: Sequence[Tried]
    best: Tried
    importances: Mapping[str, float]
    gain: Gain | None
    estimator: Estimator
    model: Any
    limits: str
    command: str | None

    @property
    def options(self) -> Mapping[str, Any]:
        """The winner's options that were searched."""
        return self.best.options

    @property
    def table(self) -> list[Tried]:
        """The trials that came to their end, the best first."""
        done = [t for t in self.trials if t.state == "complete" and t.value is not None]
        return sorted(done, key=lambda t: t.value or 0.0)

    def __str__(self) -> str:
        parts = [_as_text(self.table[:_SHOWN], self.metric), self._about, self._mattered()]
        return "\n\n".join([*parts, self.verdict, f"Train the winner with:\n{self.how_to_train}"])

    @property
    def _about(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self._counts().items())
        return (
            f"{len(self.trials)} trials ({counts}), the best first, by {self.metric.label} on the "
            f"validation part; each {self.limits}."
        )

    @property
    def verdict(self) -> str:
        """The gain over the defaults, in a sentence or two."""
        if all(t.defaults for t in self.trials):
            return "No gain: there was time for the defaults alone; give more minutes or trials."
        if self.best.defaults:
            return "No gain: no trial was better than the defaults on the validation part."
        if self.gain is None:
            return "The gain over the defaults was not measured."
        return str(self.gain)

    @property
    def how_to_train(self) -> str:
        """The command that trains the winner, or the estimator, for who did not give a command."""
        return repr(self.estimator) if self.command is None else self.command

    def _mattered(self) -> str:
        if not self.importances:
            return "Too few trials came to their end to tell what mattered."
        shares = ", ".join(f"{name} {100 * v:.0f} %" for name, v in self.importances.items())
        return f"What mattered (share of what parts good trials from others): {shares}."

    def _counts(self) -> dict[str, int]:
        states = [t.state for t in self.trials]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    def plot_importances(self) -> Axes:
        """Draw how much each dimension mattered; a notebook shows the picture.

        Raises InputError where there is no matplotlib.
        """
        return drawn(self._draw, shown=True).axes[0]

    def to_frame(self) -> DataFrame:
        """All trials as a pandas frame, a row for each.  Raises InputError without pandas."""
        return data_frame([
            {
                "trial": t.number, "state": t.state, self.metric.name: t.value,
                "seconds": t.seconds, "parameters": t.parameters, **t.options,
            }
            for t in self.trials
        ])  # fmt: skip

    def _repr_html_(self) -> str:
        """What a notebook shows: the best trials, what mattered, the gain."""
        (head, *rows) = _table(self.table[:_SHOWN], self.metric)
        return "".join([
            html_table(head, rows),
            *map(html_text, [self._about, self._mattered(), self.verdict]),
            f"<pre>{escape(self.how_to_train)}</pre>",
        ])  # fmt: skip

    @property
    def picture(self) -> bytes:
        """What ``plot_importances`` draws, as a PNG file."""
        return as_png(self._draw)

    def _draw(self, figure: Figure) -> None:
        axes = figure.add_subplot()
        names = list(self.importances)[::-1]
        shares = [100 * self.importances[name] for name in names]
        axes.barh([name.replace("_", " ") for name in names], shares, color=_BAR)
        axes.set_xlabel("share of what parts good trials from others (%)")
        axes.set_xlim(left=0)
        axes.grid(axis="x", color=_GREY, alpha=0.25, lw=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if not names:
            axes.text(0.5, 0.5, "too few trials to tell", ha="center", transform=axes.transAxes)

    def to_json(self) -> dict[str, Any]:
        """All figures, in JSON's types."""
        return {
            "task": self.task,
            "metric": self.metric.name,
            "study": self.study,
            "storage": self.storage,
            "limits": self.limits,
            "trials": self._counts(),
            "best": _plain(self.best),
            "table": [_plain(t) for t in self.table],
            "importances": dict(self.importances),
            "gain": None if self.gain is None else self.gain.to_json(),
            "verdict": self.verdict,
            "held_out": {self.unit: self.held_out},
            "command": self.command,
        }


def _plain(trial: Tried) -> dict[str, Any]:
    about = asdict(trial)
    options = {n: list(v) if isinstance(v, tuple) else v for n, v in trial.options.items()}
    return about | {"options": options, "drawn": dict(trial.drawn)}


def _table(trials: Sequence[Tried], metric: Metric) -> list[list[str]]:
    """A column for each trial, so that it fits on a terminal; the first has the names."""
    names = list(dict.fromkeys(name for t in trials for name in t.options))
    heads = ["trial", metric.label, "seconds", "parameters", *(n.replace("_", " ") for n in names)]
    columns = [heads]
    for t in trials:
        number = "defaults" if t.defaults else str(t.number)
        size = "" if t.parameters is None else f"{t.parameters:,}".replace(",", " ")
        values = [_value(t.options[name]) if name in t.options else "" for name in names]
        columns.append([number, f"{t.value:.4g}", f"{t.seconds:.3g}", size, *values])
    return [list(row) for row in zip(*columns, strict=True)]


def _as_text(trials: Sequence[Tried], metric: Metric) -> str:
    """The table in lines of text."""
    rows = _table(trials, metric)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else written(value)

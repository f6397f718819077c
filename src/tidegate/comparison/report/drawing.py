"""The pictures of a comparison: figures over time and steps, and how far back gradients reach."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.cells import title
from tidegate.comparison.experiments.experiment import BaselineScores, Metric
from tidegate.comparison.runs.runs import Run
from tidegate.output.pictures import image_of, new_figure
from tidegate.training.gradient_reach import FADED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with any kind of colour vision; markers say the same once more.
# Cells take them in the order of the comparison; of many cells no two have the same pair.
_COLOURS = ("#009E73", "#0072B2", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("^", "s", "o", "v", "D", "P", "X")
_GREY = "#888888"  # on white and on black
_FLOOR = 1e-8  # of gradients that are drawn
_INK = "#0b0c0d"  # stands for the text's colour, which a page sets

Draw = Callable[["Figure"], None]


@dataclass(frozen=True, eq=False)
class Reach:
    """‖∂loss_T/∂h_t‖ of a cell by distance, relative to distance 0, before and after training."""

    before: np.ndarray
    after: np.ndarray


def faded(reach: np.ndarray) -> int | None:
    """The distance from which on a gradient is below a thousandth; None where it never is."""
    below = np.flatnonzero(reach < FADED)
    return int(below[0]) if len(below) else None


def as_png(draw: Draw) -> bytes:
    """A picture on white."""
    return image_of(drawn(draw))


def as_svg(draw: Draw, name: str) -> str:
    """An <svg> that takes a page's text colour and width; ``name`` says what it is."""
    import matplotlib as mpl

    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    with mpl.rc_context({**dict.fromkeys(ink, _INK), "svg.hashsalt": name}):
        figure = drawn(draw)
        image = io.StringIO()
        figure.savefig(image, format="svg", transparent=True, metadata={"Date": None})
    svg = image.getvalue().replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    size = r'width="[\d.]+pt" height="[\d.]+pt"'
    svg = re.sub(size, f'role="img" aria-label="{name}"', svg[svg.index("<svg") :], count=1)
    return svg.strip()


def curves(
    runs: Sequence[Run], baselines: Sequence[BaselineScores], metric: Metric, across: str
) -> Draw:
    """Validation figures over ``seconds`` or ``step``: each cell's mean and range over seeds."""

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        unit, drawn = 1.0, metric.drawn or metric.name
        if across == "seconds":
            unit = 60.0 if max(run.history[-1]["seconds"] for run in runs) > 180 else 1.0
        for k, cell in enumerate(dict.fromkeys(run.cell for run in runs)):
            x, figures = _aligned([r for r in runs if r.cell == cell], drawn, across)
            colour, marker = _COLOURS[k % len(_COLOURS)], _MARKERS[k % len(_MARKERS)]
            axes.plot(
                x / unit, figures.mean(0), marker + "-", color=colour, label=title(cell), ms=5
            )
            axes.fill_between(
                x / unit, figures.min(0), figures.max(0), color=colour, alpha=0.18, lw=0
            )
        if metric.drawn is None:
            _draw_baseline(axes, baselines)
        labels = {"seconds": f"training time ({'s' if unit == 1 else 'min'})"}
        axes.set_xlabel(labels.get(across, "optimiser steps"))
        axes.set_ylabel(f"validation {metric.axis or metric.label}")
        axes.set_xlim(left=0)
        if across == "step":
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _finish(figure, axes)

    return draw


def reaches(of: Mapping[str, Reach]) -> Draw:
    """Gradients against distance for each cell, dashed before training and full after it."""

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        furthest = 1
        for k, (cell, reach) in enumerate(of.items()):
            colour = _COLOURS[k % len(_COLOURS)]
            after, before = (_told(r) for r in (reach.after, reach.before))
            label = f"{title(cell)}: {after} (before training: {before})"
            for values, style in ((reach.after, "-"), (reach.before, (0, (3, 2)))):
                shown = values >= _FLOOR
                furthest = max(furthest, int(np.flatnonzero(shown).max(initial=1)))
                axes.plot(
                    np.where(shown, values, np.nan),
                    linestyle=style,
                    color=colour,
                    label=label if style == "-" else None,
                )
        axes.axhline(FADED, color=_GREY, lw=0.8)
        axes.annotate(
            "a thousandth",
            (0, FADED),
            xytext=(3, 3),  # above the line, where curves are only far to the right
            textcoords="offset points",
            va="bottom",
            color=_GREY,
            size="small",
        )
        axes.set(
            yscale="log", xlim=(0, furthest), xlabel="recurrent steps before the last, $T - t$"
        )
        axes.set_ylabel(r"$\|\partial\,loss_T\, /\, \partial h_t\|$, relative to $t = T$")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        _finish(figure, axes, columns=1, heading="steps until it is below a thousandth")

    return draw


def _told(reach: np.ndarray) -> str:
    steps = faded(reach)
    return f"not in {len(reach) - 1}" if steps is None else str(steps)


def drawn(draw: Draw, *, shown: bool = False) -> Figure:
    """The picture; ``shown``: by pyplot."""
    figure = new_figure((5.2, 3.5), shown=shown, dpi=180)
    draw(figure)
    return figure


def _finish(figure: Figure, axes: Axes, columns: int = 4, heading: str | None = None) -> None:
    axes.grid(color=_GREY, alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    while True:  # as many columns as fit beside each other
        legend = figure.legend(
            loc="outside upper center", ncols=columns, frameon=False, title=heading
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
        columns -= 1


def _aligned(runs: list[Run], name: str, across: str) -> tuple[np.ndarray, np.ndarray]:
    """Where on the axis, [N], and the figures of each run there, [runs, N].

    The k-th evaluation of each run stands where it does on average: seeds are evaluated after the
    same steps, but not after the same time.
    """
    count = min(len(run.history) for run in runs)
    table: Any = [[(row[across], row[name]) for row in run.history[:count]] for run in runs]
    values = np.array(table)  # [runs, N, 2]
    return values[:, :, 0].mean(0), values[:, :, 1]


def _draw_baseline(axes: Axes, baselines: Sequence[BaselineScores]) -> None:
    """The best baseline as a line, unless it is so far off that it would flatten the curves."""
    if not baselines:
        return
    best = min(baselines, key=lambda b: b.validation)
    low, high = axes.get_ylim()
    if low - (high - low) <= best.validation <= high + (high - low):
        axes.axhline(
            best.validation, color=_GREY, linestyle=(0, (4, 3)), lw=1.2, label=best.name, zorder=1
        )

"""The course of a run: its picture, and what one would have done knowing it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.output.pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Mapping[str, Sequence[float]]

# Of every evaluation; then validation_loss where a part is held out, and the task's figures.
FIRST_COLUMNS = ("step", "epoch", "seconds", "learning_rate", "train_loss")
COLUMNS = (*FIRST_COLUMNS, "validation_loss")

_TRAINING, _VALIDATION, _FIGURE = "#3b75af", "#d1495b", "#3a8a5f"
_MOST_FIGURES = 2  # panels below the losses
_LONG = 5  # evaluations after the best
_WIDE_RANGE = 30.0  # between largest and smallest, from which on a scale is logarithmic
_MOST = 1e100  # of a figure that a logarithmic axis can hold


def as_columns(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """A history with a row per evaluation as lists by name."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def as_rows(columns: History) -> list[dict[str, float]]:
    """A history of lists by name as a row per evaluation."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def draw_history(history: History, best_step: int, *, shown: bool = False) -> list[Axes]:
    """Losses over the optimiser steps on one axis, and the task's figures below them.

    What is measured on the validation part stands beside the training loss where it is the same
    quantity.  The best weights, of ``best_step`` (0: none), are marked.  ``shown``: by pyplot.
    """
    names = _figures_of(history)
    figure = new_figure((7, 3 + 1.8 * len(names)), shown=shown)

    from matplotlib.ticker import MaxNLocator

    ratios = [2.4, *[1.6] * len(names)]
    panels = list(
        figure.subplots(
            1 + len(names), sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
        )[:, 0]
    )
    _draw(panels[0], history, "train_loss", "training loss", _TRAINING)
    if "validation_loss" in history:
        _draw(panels[0], history, "validation_loss", "validation loss", _VALIDATION)
    panels[0].set_ylabel("loss")
    for panel, name in zip(panels[1:], names, strict=True):
        told = name.replace("_", " ")
        told = told if name.startswith("training_") else f"validation {told}"
        _draw(panel, history, name, told, _FIGURE)
        panel.set_ylabel(told.removeprefix("validation ").removeprefix("training "))
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        if best_step:
            label = f"best weights, step {best_step}" if panel is panels[0] else None
            panel.axvline(best_step, color="0.5", linestyle=":", zorder=0, label=label)
        panel.legend(frameon=False, fontsize="small")
    panels[-1].set_xlabel("optimiser step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # no half steps
    return panels


def hindsight(history: History, best_step: int, chosen_by: str) -> str | None:
    """What to say of a run that went on long after its best weights; None of any other.

    The patience that is named would have brought the run back to the same weights: up to these it
    is more than any wait for better ones took.
    """
    steps = list(history["step"])
    best = steps.index(best_step)
    if 2 * best_step > steps[-1] or len(steps) - 1 - best < _LONG:
        return None
    better = _improvements(history, chosen_by, best)
    patience = max(2, *np.diff([-1, *better]).tolist())
    if best + patience >= len(steps) - 1:
        return None
    why = "brought nothing better"
    losses = history.get("validation_loss")
    if losses is not None and losses[-1] > losses[best]:
        fell = history["train_loss"][-1] < history["train_loss"][best]
        why = "overfitted" if fell else why
    return (
        f"the best weights are those of step {best_step} of {steps[-1]:.0f}; training after that "
        f"step {why}. With patience {patience} the run would have gone back to them at step "
        f"{steps[best + patience]:.0f}, and ended soon"
    )


def went_back(history: History, to: int, at: int, best_step: int, chosen_by: str) -> str:
    """What to say of a run that at a step went back to the weights of an earlier one."""
    steps, figures = list(history["step"]), history[chosen_by]
    before = figures[steps.index(to)]
    told = (
        f"from step {to} to {at} nothing became better, so the run went back to step {to} and "
        f"ended with a falling learning rate: {chosen_by.replace('_', ' ')} {before:.4g}"
    )
    if best_step == to:
        return f"{told}, no better than before"
    return f"{told} became {figures[steps.index(best_step)]:.4g}"


def _improvements(history: History, chosen_by: str, best: int) -> list[int]:
    """Evaluations that were better than all before, up to the best one, as the run judged."""
    figures = history[chosen_by][: best + 1]
    losses = history.get("validation_loss", [0.0] * len(figures))
    lower = all(math.isnan(figure) or figure >= figures[best] for figure in figures)
    found: list[int] = []
    for i, figure in enumerate(figures):
        last = figures[found[-1]] if found else math.nan
        if figure == last:
            better = losses[i] < losses[found[-1]]
        else:
            better = math.isnan(last) or (figure < last if lower else figure > last)
        if better:
            found.append(i)
    return found


def _figures_of(history: History) -> list[str]:
    """The figures to draw: those that are not the validation loss under another name."""
    losses = np.array(history.get("validation_loss", ()), dtype=float)
    found = []
    for name, values in history.items():
        told = np.array(values, dtype=float)
        same = len(losses) and np.allclose(told, losses, rtol=1e-3, equal_nan=True)
        if name not in COLUMNS and not same:
            found.append(name)
    return found[:_MOST_FIGURES]


def _draw(axes: Axes, history: History, name: str, label: str, colour: str) -> None:
    values = np.array(history[name], dtype=float)
    axes.plot(list(history["step"]), values, ".-", color=colour, label=label)
    known: Any = values[np.isfinite(values)]
    if len(known) and known.min() > 0 and _WIDE_RANGE * known.min() < known.max() < _MOST:
        axes.set_yscale("log")

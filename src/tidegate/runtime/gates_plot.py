"""A picture of gates: for each a panel of its units from below, over the steps."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from tidegate.output.pictures import new_figure, write_picture
from tidegate.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tidegate.runtime.inspection import Inspection

_MOST_PANELS = 24
_MOST_NAMED = 60  # steps that are named; of more, every so many


def plot_gates(path: str | PathLike[str], found: Inspection, *, force: bool = False) -> None:
    """Write the picture.  Raises InputError for a path that ``check_plot_path`` refuses."""
    write_picture(path, draw_gates(found)[0].figure, force=force)


def draw_gates(found: Inspection, *, shown: bool = False) -> list[Axes]:
    """What ``plot_gates`` writes; the axes, one for each gate.  ``shown``: by pyplot."""
    watched = found.watched[:_MOST_PANELS]
    width = min(max(5.0, 2.5 + 0.16 * len(found.steps)), 16.0)
    figure = new_figure((width, 1.4 + 1.25 * max(len(watched), 1)), shown=shown)
    panels = list(figure.subplots(max(len(watched), 1), sharex=True, squeeze=False)[:, 0])
    for axes, one in zip(panels, watched, strict=False):
        low, high = one.bounds if np.isfinite(one.bounds).all() else (None, None)
        colours = "RdBu_r" if low is not None and low < 0 else "viridis"
        if one.values.size:
            drawn = axes.imshow(
                one.values.T, aspect="auto", origin="lower", interpolation="nearest",
                vmin=low, vmax=high, cmap=colours,
            )  # fmt: skip
            figure.colorbar(drawn, ax=axes, pad=0.01)
        named = f"{printable(one.name)}: {one.meaning}"
        axes.set_title(named, loc="left", fontsize="small", parse_math=False)
        axes.set_ylabel("unit")
        axes.tick_params(length=0)
    every = -(-len(found.steps) // _MOST_NAMED) or 1
    names = [_named(step) for step in found.steps[::every]]
    last = panels[-1]
    last.set_xticks(range(0, len(found.steps), every), names, parse_math=False)
    if max(map(len, names), default=0) > 1:
        last.tick_params("x", rotation=90)
    if not watched:
        last.text(0.5, 0.5, "this cell has no gates", ha="center", transform=last.transAxes)
    return panels


def _named(step: str) -> str:
    return printable(step) if step.strip() else "\N{OPEN BOX}"

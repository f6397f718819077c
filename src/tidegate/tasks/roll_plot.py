"""A picture of a roll: which outputs are on at which step."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from tidegate.data.sequences.rolls.rolls import pitches_of
from tidegate.output.pictures import new_figure, write_picture
from tidegate.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NAMED = 60  # outputs that are named each; of more, some
_PROMPT, _WRITTEN = "#6f9fc8", "#d1495b"


def plot_roll(
    path: str | PathLike[str],
    roll: np.ndarray,
    outputs: tuple[str, ...],
    *,
    prompt: int = 0,
    force: bool = False,
) -> None:
    """Draw a roll [T, O], low outputs below, the first ``prompt`` steps in another colour.

    Outputs below the first and above the last that is ever on are left out.  Raises InputError for
    a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    write_picture(path, draw_roll(roll, outputs, prompt=prompt).figure, force=force)


def draw_roll(
    roll: np.ndarray, outputs: tuple[str, ...], *, prompt: int = 0, shown: bool = False
) -> Axes:
    """What ``plot_roll`` writes.  ``shown``: by pyplot."""
    (on,) = np.nonzero(roll.any(0))
    first, last = (int(on[0]), int(on[-1])) if len(on) else (0, roll.shape[1] - 1)
    colour_of = roll[:, first : last + 1].astype(int)
    colour_of[prompt:] *= 2
    rows = last + 1 - first
    size = (min(4 + len(roll) / 16, 40), 2 + min(rows, 88) / 8)
    axes = new_figure(size, shown=shown, dpi=100).subplots()

    from matplotlib.colors import ListedColormap

    colours = ListedColormap(["white", _PROMPT, _WRITTEN])
    extent = (0, max(len(roll), 1), first - 0.5, last + 0.5)
    axes.imshow(
        colour_of.T, cmap=colours, vmin=0, vmax=2, aspect="auto", origin="lower",
        interpolation="nearest", extent=extent,
    )  # fmt: skip
    every = 12 if pitches_of(outputs) is not None and rows > 24 else -(-rows // _MOST_NAMED)
    begin = next((k for k in range(first, last + 1) if outputs[k].startswith("C")), first)
    named = range(begin if every == 12 else first, last + 1, every)
    axes.set_yticks(list(named), [printable(outputs[k]) for k in named], parse_math=False)
    axes.set_xlabel("step")
    axes.set_title("blue: prompt, red: written" if 0 < prompt < len(roll) else "written")
    axes.grid(axis="y", color="#e0e0e0", linewidth=0.5)
    axes.set_axisbelow(False)
    return axes

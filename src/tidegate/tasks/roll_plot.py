"""A picture of a roll: which outputs are on at which step."""

from __future__ import annotations

import io
from os import PathLike

import numpy as np

from tidegate.data.sequences.rolls.rolls import pitches_of
from tidegate.output.places import MARK
from tidegate.output.writing import write_atomically
from tidegate.tasks.forecast_plot import check_plot_path
from tidegate.terminal import printable

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
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    kind = check_plot_path(path, force=force)
    (on,) = np.nonzero(roll.any(0))
    first, last = (int(on[0]), int(on[-1])) if len(on) else (0, roll.shape[1] - 1)
    shown = roll[:, first : last + 1].astype(int)
    shown[prompt:] *= 2
    rows = last + 1 - first
    figure = Figure(figsize=(min(4 + len(roll) / 16, 40), 2 + min(rows, 88) / 8))
    axes = figure.subplots()
    colours = ListedColormap(["white", _PROMPT, _WRITTEN])
    extent = (0, max(len(roll), 1), first - 0.5, last + 0.5)
    axes.imshow(
        shown.T, cmap=colours, vmin=0, vmax=2, aspect="auto", origin="lower",
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
    held = io.BytesIO()
    about = {"Software" if kind == "png" else "Creator": MARK}
    figure.savefig(held, format=kind, dpi=100, bbox_inches="tight", metadata=about)
    write_atomically(path, held.getvalue())

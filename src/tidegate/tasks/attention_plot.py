"""A picture of what answers look at: for each token of an answer, the weights of its source's."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from tidegate.output.pictures import new_figure, write_picture
from tidegate.tasks.answering import Attended
from tidegate.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 6  # answers drawn; the first ones of more
_CELL = 0.24  # inches of a token
_MOST_TOKENS = 80  # on an axis; the first ones of more
_SPACE = "\N{OPEN BOX}"


def plot_attention(
    path: str | PathLike[str], attended: Sequence[Attended], *, force: bool = False
) -> None:
    """One panel for each answer, at most MOST_PANELS: the source from left to right, the answer
    downwards, darker where more is looked at.

    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    write_picture(path, draw_attention(attended)[0].figure, force=force)


def draw_attention(attended: Sequence[Attended], *, shown: bool = False) -> list[Axes]:
    """What ``plot_attention`` writes; the axes, one for each answer.  ``shown``: by pyplot."""
    drawn = attended[:MOST_PANELS]
    sizes = [
        (max(1, len(one.read[:_MOST_TOKENS])), max(1, len(one.written[:_MOST_TOKENS])))
        for one in drawn
    ]
    width = 1.2 + _CELL * max(w for w, _ in sizes)
    heights = [0.6 + _CELL * h for _, h in sizes]
    figure = new_figure((max(3.0, width), sum(heights)), shown=shown)
    panels = list(figure.subplots(len(drawn), squeeze=False, height_ratios=heights)[:, 0])
    for axes, one in zip(panels, drawn, strict=True):
        weights = one.weights[:_MOST_TOKENS, :_MOST_TOKENS]
        if weights.size:
            axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        for axis, tokens in ((axes.xaxis, one.read), (axes.yaxis, one.written)):
            labels = [_label(token) for token in tokens[:_MOST_TOKENS]]
            axis.set_ticks(range(len(labels)), labels, parse_math=False)  # a token is no formula
        if max(map(len, [*one.read, ""])) > 1:
            axes.tick_params("x", rotation=90)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return panels


def _label(token: str) -> str:
    return printable(token) if token.strip() else _SPACE

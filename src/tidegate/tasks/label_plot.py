"""Pictures of predicted labels: which are taken for which, and whether probabilities hold."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.output.pictures import axes_of, new_figure, write_picture
from tidegate.tasks.label_figures import calibration_bins
from tidegate.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NUMBERS = 20  # labels, of more of which cells have a colour and no number
_BAR = (0.23, 0.46, 0.69)  # red, green, blue


def plot_labels(
    path: str | PathLike[str],
    matrix: np.ndarray,
    labels: Sequence[Any],
    log_p: np.ndarray,
    truth: np.ndarray,
    *,
    force: bool = False,
) -> None:
    """Both pictures side by side, as ``draw_confusion`` and ``draw_calibration`` make them.

    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    left, right = _size(len(labels)), 4.2
    figure = new_figure((left + right, max(left, right) - 0.4))
    first, second = figure.subplots(1, 2, width_ratios=[left, right])
    draw_confusion(matrix, labels, first)
    draw_calibration(log_p, truth, second)
    write_picture(path, figure, force=force)


def draw_confusion(
    matrix: np.ndarray, labels: Sequence[Any], ax: Axes | None = None, *, shown: bool = False
) -> Axes:
    """Counts [L, L] by true label (row) and predicted label (column), as shares of each row."""
    size = _size(len(labels))
    axes = axes_of((size, size - 0.4), ax, shown=shown)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= _MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour)
    names = [printable(str(label)) for label in labels]
    axes.set_yticks(range(len(names)), names, parse_math=False)  # a label is no formula
    axes.set_xticks(range(len(names)), names, parse_math=False)
    if max(map(len, names)) * len(names) > 30:
        axes.tick_params("x", rotation=90)
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes


def draw_calibration(
    log_p: np.ndarray, truth: np.ndarray, ax: Axes | None = None, *, shown: bool = False
) -> Axes:
    """How often the predicted label is right, by its probability: a reliability diagram.

    log_p: [N, L], log-probabilities; truth: [N], true labels' columns.  The bins are those of
    ``calibration_error``.  DeGroot & Fienberg 1983;
    Guo et al. 2017, arXiv:1706.04599.
    """
    axes = axes_of((4.2, 3.8), ax, shown=shown)
    counts, right, confidences = calibration_bins(np.exp(log_p.max(1)), log_p.argmax(1) == truth)
    width, told = 1 / len(counts), counts > 0
    begins = np.arange(len(counts))[told] * width
    strengths = 0.25 + 0.65 * counts[told] / counts.max()
    colours = [(*_BAR, strength) for strength in strengths]
    label = "right: the darker, the more inputs"
    axes.bar(begins, right[told], width, align="edge", color=colours, label=label)
    said = confidences[told]
    axes.hlines(said, begins, begins + width, color="black", label="as their probabilities say")
    axes.set(xlim=(0, 1.03), ylim=(0, 1.2), xlabel="probability of the predicted label")
    axes.set_ylabel("share of inputs that are right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="upper left")
    return axes


def _size(labels: int) -> float:
    """Inches of a table of so many labels."""
    return min(max(3.6, 1.4 + 0.5 * labels), 14.0)

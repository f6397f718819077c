"""What layers attain beside the machine's limits (Williams, Waterman & Patterson 2009)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.bench.catalogue import OURS
from tidegate.bench.shapes import MODES, Shape, least_bytes, operations
from tidegate.cells import title
from tidegate.output.writing import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# in the order in which cells were measured
_STYLES = (("#6f9fc8", "s"), ("#d1495b", "o"), ("#3d7a5a", "D"), ("#8a6fc8", "^"), ("#b0813a", "v"))


def draw(path: Path, results: Mapping[str, Any]) -> None:
    """One panel for inference and one for training; a marker for each shape and cell.

    Across: operations for each byte of inputs, weights and outputs (`shapes.least_bytes`); up: what
    ours attains.  The slanted roof is a copy's bandwidth, the level one a large product's speed.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = [row for row in results["rows"] if row["figure"] == "layers"]
    shapes = list(dict.fromkeys(Shape(*row["shape"]) for row in rows))
    measured = dict.fromkeys(row["cell"] for row in rows)
    styles = {cell: _STYLES[k % len(_STYLES)] for k, cell in enumerate(measured)}
    about = results["machine"]
    # the same bytes for the same results: no date, names of parts from a fixed salt
    with mpl.rc_context({"svg.hashsalt": "roofline", "font.size": 9}):
        figure = Figure(figsize=(11, 5.2), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, mode in zip(panels, MODES, strict=True):
            _panel(axes, mode, [row for row in rows if row["mode"] == mode], shapes, styles, about)
        panels[0].set_ylabel("GF/s")
        cells = [
            Line2D([], [], color=colour, marker=marker, linestyle="", label=title(cell))
            for cell, (colour, marker) in styles.items()
        ]
        numbers = [
            Line2D([], [], linestyle="", label=f"{n}  {shape}") for n, shape in enumerate(shapes, 1)
        ]
        figure.legend(
            handles=[*cells, *numbers],
            loc="outside right upper",
            frameon=False,
            title="cell; shape B x T x I x H",
        )
        figure.suptitle(
            f"tidegate's layers: {about['processor']}, {about['isa']}, {about['threads']} threads, "
            f"{about['date']}",
            fontsize="medium",
        )
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
    write_atomically(path, image.getvalue())


def _panel(
    axes: Axes,
    mode: str,
    rows: list[dict],
    shapes: list[Shape],
    styles: Mapping[str, tuple[str, str]],
    about: Mapping[str, Any],
) -> None:
    peak = about["peak_operations_per_second"] / 1e9
    bandwidth = about["bandwidth_bytes_per_second"] / 1e9
    intensities = []
    for row in rows:
        shape, cell = Shape(*row["shape"]), row["cell"]
        work = operations(cell, shape, mode)
        intensity = work / least_bytes(cell, shape, mode)
        attained = work / row["seconds"][OURS][0] / 1e9
        colour, marker = styles[cell]
        axes.plot(intensity, attained, marker, color=colour, markersize=10, alpha=0.75, mew=0)
        number = str(shapes.index(shape) + 1)
        axes.annotate(
            number, (intensity, attained), ha="center", va="center_baseline", size=6.5, color="w"
        )
        intensities.append(intensity)
    ends = min([*intensities, peak / bandwidth]) / 2, max(intensities) * 2
    x = np.geomspace(*ends, 200)
    axes.plot(x, np.minimum(peak, bandwidth * x), color="0.3", linewidth=1.2, zorder=1.5)
    axes.annotate(
        f"a large product: {peak:.0f} GF/s; a copy: {bandwidth:.0f} GB/s",
        (ends[1], peak),
        xytext=(-2, 4),
        textcoords="offset points",
        ha="right",
    )
    axes.set(xscale="log", yscale="log", title=mode, xlabel="operations per byte in and out")
    axes.grid(color="0.92", which="both")
    axes.set_axisbelow(True)
    axes.margins(y=0.1)
    axes.spines[["top", "right"]].set_visible(False)

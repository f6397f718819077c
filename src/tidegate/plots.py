"""Pictures of forecasts, as PNG, SVG or PDF."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.container import write_atomically
from tidegate.errors import InputError

if TYPE_CHECKING:
    from tidegate.series import Series
    from tidegate.tasks.forecaster import Forecast

FORMATS = ("png", "svg", "pdf")


def check_plot_path(path: str | PathLike[str]) -> str:
    """The format that a file's ending names.  Raises InputError for another, or no such folder."""
    ending = Path(path).suffix.lower().lstrip(".")
    if ending not in FORMATS:
        endings = ", ".join(f".{known}" for known in FORMATS)
        raise InputError(f"expected the ending of a picture, {endings}, got {ending!r}", file=path)
    if not Path(path).parent.is_dir():
        raise InputError("expected a folder to write to, got none; make it first", file=path)
    return ending


def plot_forecast(
    path: str | PathLike[str],
    past: Series,
    forecast: Forecast,
    truth: Series | None = None,
    past_rows: int | None = None,
) -> None:
    """Draw the end of ``past`` (by default six horizons of it), the forecast and what came.

    ``truth``: the series over the forecast's times, where it is known.  Raises InputError for an
    ending of ``path`` that names no format.
    """
    # not pyplot: it takes twice as long to import, and looks for a display
    from matplotlib.figure import Figure

    ending = check_plot_path(path)
    count, horizon = len(forecast.names), len(forecast.times)
    last = past.rows(max(0, len(past) - (past_rows or 6 * horizon)), len(past))
    figure = Figure(figsize=(9, 1.2 + 2.2 * count), dpi=120, layout="constrained")
    axes = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for c, (axis, name) in enumerate(zip(axes, forecast.names, strict=True)):
        axis.plot(last.times, last.values[:, c], color="tab:blue", label="known")
        if truth is not None:
            axis.plot(truth.times, truth.values[:, c], color="tab:blue", ls=":", label="what came")
        axis.plot(forecast.times, forecast.values[:, c], color="tab:red", label="forecast")
        axis.set_ylabel(name)
    axes[0].legend(loc="upper left", frameon=False, ncols=3)
    image = io.BytesIO()
    figure.savefig(image, format=ending)
    write_atomically(path, image.getvalue())

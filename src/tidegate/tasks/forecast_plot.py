"""Pictures of forecasts: what comes next, and how well earlier forecasts did."""

from __future__ import annotations

import io
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.series.frames import Forecast
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.output.places import MARK, check_output
from tidegate.output.writing import write_atomically
from tidegate.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tidegate.tasks.anomalies import Anomalies
    from tidegate.tasks.backtest import Backtest

FORMATS = ("png", "svg", "pdf")

_MOST_PANELS = 12  # series drawn; the first ones of more
_HISTORY = 5  # horizons of past shown before a forecast
_WINDOWS = 7  # of a backtest: the last ones
_TRUTH, _MODEL, _NAIVE = "#333333", "#d1495b", "#6f9fc8"


def check_plot_path(
    path: str | PathLike[str], *, inputs: Iterable[str | PathLike[str]] = (), force: bool = False
) -> str:
    """The format that a file's ending names.

    Raises InputError for another, and for a file that ``output.places.check_output`` refuses.
    """
    ending = Path(path).suffix.lower().lstrip(".")
    if ending not in FORMATS:
        endings = ", ".join(f".{known}" for known in FORMATS)
        raise InputError(
            f"expected the ending of a picture, {endings}, got {ending!r}; rename it", file=path
        )
    check_output(path, inputs=inputs, force=force)
    return ending


def plot_forecast(
    path: str | PathLike[str], series: Series, forecast: Forecast, *, force: bool = False
) -> None:
    """The end of ``series`` and the forecast, one panel per series.

    Where ``series`` goes on beyond the forecast's first time, its values are drawn as the truth.
    Quantiles of the forecast are drawn as a fan.
    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    horizon = len(forecast.times)
    origin = int(np.searchsorted(series.times, forecast.times[0]))  # rows known to the forecast
    past = slice(max(origin - _HISTORY * horizon, 0), origin)
    truth = slice(max(origin - 1, 0), origin + horizon)
    figure, panels = _panels(forecast.names, "forecast")
    for c, axes in enumerate(panels):
        axes.plot(series.times[past], series.values[past, c], color=_TRUTH, label="known")
        if origin < len(series):
            after = series.times[truth], series.values[truth, c]
            axes.plot(*after, color=_TRUTH, linestyle=":", label="what came")
        times, values = forecast.times, forecast.values[:, c]
        _fan(axes, series, forecast, origin, c)
        if origin > 0:  # join it to the last known value
            times = np.concatenate([series.times[origin - 1 : origin], times])
            values = np.concatenate([series.values[origin - 1 : origin, c], values])
        axes.plot(times, values, color=_MODEL, label="forecast")
        axes.axvline(forecast.times[0], color="0.8", linewidth=0.8, zorder=0)  # pyright: ignore
    _save(path, figure, panels, series.times, force)


def _fan(axes: Axes, series: Series, forecast: Forecast, origin: int, c: int) -> None:
    """The forecast's quantiles, from the last known value on: bands from the outermost inwards."""
    if forecast.quantiles is None:
        return
    times, quantiles = forecast.times, forecast.quantiles[:, :, c]
    if origin > 0:
        times = np.concatenate([series.times[origin - 1 : origin], times])
        last = np.full((len(quantiles), 1), series.values[origin - 1, c])
        quantiles = np.concatenate([last, quantiles], axis=1)
    levels, most = forecast.levels, len(forecast.levels)
    for k in range(most // 2):
        low, high = levels[k], levels[most - 1 - k]
        even = abs(low + high - 1) < 1e-9
        label = f"{100 * (high - low):.4g} % interval" if even else f"q{low:g} to q{high:g}"
        band = quantiles[k], quantiles[most - 1 - k]
        axes.fill_between(times, *band, color=_MODEL, alpha=0.18, linewidth=0, label=label)
    if most % 2:
        middle = most // 2
        style: dict[str, Any] = {"color": _MODEL, "linestyle": "--", "linewidth": 0.8}
        axes.plot(times, quantiles[middle], label=f"q{levels[middle]:g}", **style)


def plot_backtest(path: str | PathLike[str], backtest: Backtest, *, force: bool = False) -> None:
    """The last forecasts of a backtest against what came and the seasonal naive forecast.

    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    last = slice(-_WINDOWS, None)
    times = backtest.times[last]
    figure, panels = _panels(backtest.names, "forecasts, each made where a line begins")
    lines = (
        (backtest.forecasts["seasonal_naive"], _NAIVE, "last season again"),
        (backtest.forecasts["model"], _MODEL, "forecast"),
    )
    for c, axes in enumerate(panels):
        truth = backtest.truth[last, :, c].ravel()  # windows lie end to end
        axes.plot(times.ravel(), truth, color=_TRUTH, label="what came")
        for values, colour, label in lines:
            for k, window in enumerate(values[last, :, c]):
                axes.plot(times[k], window, color=colour, label=label if k == 0 else None)
        for origin in times[:, 0]:
            axes.axvline(origin, color="0.85", linewidth=0.8, zorder=0)
    _save(path, figure, panels, times.ravel(), force)


def plot_anomalies(path: str | PathLike[str], found: Anomalies, *, force: bool = False) -> None:
    """The series, and the rows that are flagged.

    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    series, flags = found.series, found.flags
    figure, panels = _panels(series.names, f"{int(flags.sum())} of {len(flags)} rows flagged")
    for c, axes in enumerate(panels):
        axes.plot(series.times, series.values[:, c], color=_TRUTH, label="known")
        marked = series.times[flags], series.values[flags, c]
        axes.plot(*marked, color=_MODEL, marker="o", linestyle="", label="flagged")
    _save(path, figure, panels, series.times, force)


def _panels(names: tuple[str, ...], title: str) -> tuple[Figure, list[Axes]]:
    """One panel under the other for each series, with a common time axis."""
    # not pyplot: it takes twice as long to import, and looks for a display
    from matplotlib.figure import Figure

    shown = names[:_MOST_PANELS]
    if len(shown) < len(names):
        title += f" (the first {len(shown)} of {len(names)} series)"
    size = (9, 1.4 + max(1.5 * len(shown), 2.6))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    panels = list(figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0])
    for axes, name in zip(panels, shown, strict=True):
        axes.set_ylabel(printable(name), parse_math=False)  # a name is no formula
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    return figure, panels


def _save(path: Any, figure: Figure, panels: list[Axes], times: np.ndarray, force: bool) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    picture_format = check_plot_path(path, force=force)
    bottom = panels[-1]
    if np.issubdtype(times.dtype, np.datetime64):
        locator = AutoDateLocator()
        bottom.xaxis.set_major_locator(locator)
        bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    bottom.set_xlabel("time")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    image = io.BytesIO()
    mark = {"Software" if picture_format == "png" else "Creator": MARK}
    figure.savefig(image, format=picture_format, metadata=mark)
    write_atomically(path, image.getvalue())

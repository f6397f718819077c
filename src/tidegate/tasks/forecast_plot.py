"""Pictures of forecasts: what comes next, and how well earlier forecasts did."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.series.held import Forecast
from tidegate.data.series.panel import Panel
from tidegate.data.series.series import Series
from tidegate.errors import InputError
from tidegate.output.places import MARK, check_output
from tidegate.output.writing import write_atomically
from tidegate.tasks.backtest import Backtest
from tidegate.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tidegate.tasks.anomalies import Anomalies

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
    path: str | PathLike[str], data: Series | Panel, forecast: Forecast, *, force: bool = False
) -> None:
    """The end of each series and its forecast, one panel per series.

    Where a series goes on beyond the forecast's first time, its values are drawn as the truth.
    Quantiles of the forecast are drawn as a fan.
    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    panel = Panel((data,)) if isinstance(data, Series) else data
    horizon = len(forecast.times) // len(panel.series)
    drawn = [
        (_called(panel, g, c), one, c, slice(g * horizon, (g + 1) * horizon))
        for g, one in enumerate(panel.series)
        for c in range(len(forecast.names))
    ]
    figure, panels = _panels([name for name, *_ in drawn], "forecast")
    times = []
    for axes, (_, series, c, rows) in zip(panels, drawn, strict=False):
        ahead = forecast.times[rows]
        origin = int(np.searchsorted(series.times, ahead[0]))  # rows known to the forecast
        past = slice(max(origin - _HISTORY * horizon, 0), origin)
        truth = slice(max(origin - 1, 0), origin + horizon)
        axes.plot(series.times[past], series.values[past, c], color=_TRUTH, label="known")
        if origin < len(series):
            after = series.times[truth], series.values[truth, c]
            axes.plot(*after, color=_TRUTH, linestyle=":", label="what came")
        joint = slice(max(origin - 1, 0), origin)  # the last known value, to which it is joined
        begin, value = series.times[joint], series.values[joint, c]
        if forecast.quantiles is not None:
            quantiles = forecast.quantiles[:, rows, c]
            start = np.repeat(value[None], len(quantiles), axis=0)
            joined = np.concatenate([start, quantiles], axis=1)
            _fan(axes, np.concatenate([begin, ahead]), forecast.levels, joined)
        line = np.concatenate([begin, ahead]), np.concatenate([value, forecast.values[rows, c]])
        axes.plot(*line, color=_MODEL, label="forecast")
        axes.axvline(ahead[0], color="0.8", linewidth=0.8, zorder=0)  # pyright: ignore
        times.append(series.times)
    _save(path, figure, panels, np.concatenate(times), force)


def _called(panel: Panel, g: int, c: int) -> str:
    names = panel.first.names
    if panel.id_name is None:
        return names[c]
    return f"{panel.ids[g]} {names[c]}" if len(names) > 1 else str(panel.ids[g])


def _fan(
    axes: Axes,
    times: np.ndarray,
    levels: tuple[float, ...],
    quantiles: np.ndarray,
    *,
    labelled: bool = True,
) -> None:
    """Quantiles [levels, T] over ``times``: bands from the outermost inwards."""
    most = len(levels)
    for k in range(most // 2):
        low, high = levels[k], levels[most - 1 - k]
        even = abs(low + high - 1) < 1e-9
        label = f"{100 * (high - low):.4g} % interval" if even else f"q{low:g} to q{high:g}"
        band = quantiles[k], quantiles[most - 1 - k]
        told = label if labelled else None
        axes.fill_between(times, *band, color=_MODEL, alpha=0.18, linewidth=0, label=told)
    if most % 2:
        middle = most // 2
        style: dict[str, Any] = {"color": _MODEL, "linestyle": "--", "linewidth": 0.8}
        axes.plot(times, quantiles[middle], label=f"q{levels[middle]:g}", **style)


def plot_backtest(
    path: str | PathLike[str],
    backtests: Backtest | Mapping[Any, Backtest],
    *,
    force: bool = False,
) -> None:
    """The last forecasts of a backtest against what came and the seasonal naive forecast.

    Of several by the ids of their series each gets a panel.  Quantiles are drawn as a fan.
    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    last = slice(-_WINDOWS, None)
    several = {"": backtests} if isinstance(backtests, Backtest) else backtests
    drawn = [
        (f"{one} {name}".strip() if len(of.names) > 1 or one == "" else str(one), of, c)
        for one, of in several.items()
        for c, name in enumerate(of.names)
    ]
    title = "forecasts, each made where a line begins"
    figure, panels = _panels([name for name, *_ in drawn], title)
    every = []
    for axes, (_, backtest, c) in zip(panels, drawn, strict=False):
        times = backtest.times[last]
        truth = backtest.truth[last, :, c].ravel()  # windows lie end to end
        if backtest.quantiles is not None:
            for k, fan in enumerate(backtest.quantiles[:, last, :, c].swapaxes(0, 1)):
                _fan(axes, times[k], backtest.levels, fan, labelled=k == 0)
        axes.plot(times.ravel(), truth, color=_TRUTH, label="what came")
        for values, colour, label in (
            (backtest.forecasts["seasonal_naive"], _NAIVE, "last season again"),
            (backtest.forecasts["model"], _MODEL, "forecast"),
        ):
            for k, window in enumerate(values[last, :, c]):
                axes.plot(times[k], window, color=colour, label=label if k == 0 else None)
        for origin in times[:, 0]:
            axes.axvline(origin, color="0.85", linewidth=0.8, zorder=0)
        every.append(times.ravel())
    _save(path, figure, panels, np.concatenate(every), force)


def plot_anomalies(path: str | PathLike[str], found: Anomalies, *, force: bool = False) -> None:
    """The series, and the rows that are flagged.

    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    flags, panel, begin, drawn = found.flags, found.panel, 0, []
    for g, one in enumerate(panel.series):
        own = flags[begin : begin + len(one)]
        drawn += [(_called(panel, g, c), one, c, own) for c in range(len(one.names))]
        begin += len(one)
    title = f"{int(flags.sum())} of {len(flags)} rows flagged"
    figure, panels = _panels([name for name, *_ in drawn], title)
    for axes, (_, one, c, own) in zip(panels, drawn, strict=False):
        axes.plot(one.times, one.values[:, c], color=_TRUTH, label="known")
        marked = one.times[own], one.values[own, c]
        axes.plot(*marked, color=_MODEL, marker="o", linestyle="", label="flagged")
    _save(path, figure, panels, found.times, force)


def _panels(names: Sequence[str], title: str) -> tuple[Figure, list[Axes]]:
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

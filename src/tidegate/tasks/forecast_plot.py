"""Pictures of forecasts: what comes next, and how well earlier forecasts did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.series.held import Forecast
from tidegate.data.series.panel import Panel
from tidegate.data.series.series import Series
from tidegate.data.times.styles import TimeStyle
from tidegate.output.pictures import new_figure, write_picture
from tidegate.tasks.backtest import Backtest
from tidegate.terminal import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tidegate.tasks.anomalies import Anomalies

_MOST_PANELS = 12  # series drawn; the first ones of more
_HISTORY = 5  # horizons of past shown before a forecast
_WINDOWS = 7  # of a backtest: the last ones
_TRUTH, _MODEL, _NAIVE = "#333333", "#d1495b", "#6f9fc8"


def plot_forecast(
    path: str | PathLike[str], data: Series | Panel, forecast: Forecast, *, force: bool = False
) -> None:
    """The end of each series and its forecast, one panel per series.

    Where a series goes on beyond the forecast's first time, its values are drawn as the truth.
    Quantiles of the forecast are drawn as a fan.
    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    write_picture(path, draw_forecast(data, forecast)[0].figure, force=force)


def draw_forecast(data: Series | Panel, forecast: Forecast, *, shown: bool = False) -> list[Axes]:
    """What ``plot_forecast`` writes; the axes, one for each series.  ``shown``: by pyplot."""
    panel = Panel((data,)) if isinstance(data, Series) else data
    horizon = len(forecast.times) // len(panel.series)
    drawn = [
        (_called(panel, g, c), one, c, slice(g * horizon, (g + 1) * horizon))
        for g, one in enumerate(panel.series)
        for c in range(len(forecast.names))
    ]
    panels = _panels([name for name, *_ in drawn], "forecast", shown)
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
    return _finished(panels, np.concatenate(times), panel.first.style)


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
    write_picture(path, draw_backtest(backtests)[0].figure, force=force)


def draw_backtest(
    backtests: Backtest | Mapping[Any, Backtest], *, shown: bool = False
) -> list[Axes]:
    """What ``plot_backtest`` writes; the axes, one for each series.  ``shown``: by pyplot."""
    last = slice(-_WINDOWS, None)
    several = {"": backtests} if isinstance(backtests, Backtest) else backtests
    drawn = [
        (f"{one} {name}".strip() if len(of.names) > 1 or one == "" else str(one), of, c)
        for one, of in several.items()
        for c, name in enumerate(of.names)
    ]
    title = "forecasts, each made where a line begins"
    panels = _panels([name for name, *_ in drawn], title, shown)
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
    return _finished(panels, np.concatenate(every), next(iter(several.values())).style)


def plot_anomalies(path: str | PathLike[str], found: Anomalies, *, force: bool = False) -> None:
    """The series, and the rows that are flagged.

    Raises InputError for a path that ``check_plot_path`` refuses; ``force`` replaces any file.
    """
    write_picture(path, draw_anomalies(found)[0].figure, force=force)


def draw_anomalies(found: Anomalies, *, shown: bool = False) -> list[Axes]:
    """What ``plot_anomalies`` writes; the axes, one for each column.  ``shown``: by pyplot."""
    flags, panel, begin, drawn = found.flags, found.panel, 0, []
    for g, one in enumerate(panel.series):
        own = flags[begin : begin + len(one)]
        drawn += [(_called(panel, g, c), one, c, own) for c in range(len(one.names))]
        begin += len(one)
    title = f"{int(flags.sum())} of {len(flags)} rows flagged"
    panels = _panels([name for name, *_ in drawn], title, shown)
    for axes, (_, one, c, own) in zip(panels, drawn, strict=False):
        axes.plot(one.times, one.values[:, c], color=_TRUTH, label="known")
        marked = one.times[own], one.values[own, c]
        axes.plot(*marked, color=_MODEL, marker="o", linestyle="", label="flagged")
    return _finished(panels, found.times, panel.first.style)


def _panels(names: Sequence[str], title: str, shown: bool) -> list[Axes]:
    """One panel under the other for each series, with a common time axis."""
    drawn = names[:_MOST_PANELS]
    if len(drawn) < len(names):
        title += f" (the first {len(drawn)} of {len(names)} series)"
    figure = new_figure((9, 1.4 + max(1.5 * len(drawn), 2.6)), shown=shown)
    panels = list(figure.subplots(len(drawn), sharex=True, squeeze=False)[:, 0])
    for axes, name in zip(panels, drawn, strict=True):
        axes.set_ylabel(printable(name), parse_math=False)  # a name is no formula
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    return panels


def _finished(panels: list[Axes], times: np.ndarray, style: TimeStyle) -> list[Axes]:
    """The panels with their time axis, by the clock of their source, and what lines mean."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    bottom, zone = panels[-1], style.zone
    if np.issubdtype(times.dtype, np.datetime64):
        locator = AutoDateLocator(tz=zone)
        bottom.xaxis.set_major_locator(locator)
        bottom.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))
    bottom.set_xlabel("time" if zone is None else f"time ({zone})")
    handles, labels = panels[0].get_legend_handles_labels()
    figure = panels[0].figure
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return panels

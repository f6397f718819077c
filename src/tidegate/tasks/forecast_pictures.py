"""What a forecaster draws: what comes next, and how earlier forecasts did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAN = (0.1, 0.25, 0.75, 0.9)  # quantiles drawn where none are asked for


class ForecastPictures:
    """Of a fitted forecaster; a notebook shows each picture below its cell."""

    def plot_forecast(
        self: Any, data: Any, *, quantiles: Sequence[float] | None = FAN
    ) -> list[Axes]:
        """Draw the end of each series and its forecast with intervals, one panel per series.

        ``data``, ``quantiles``: as ``forecast``; a model that has no quantiles draws none.  Raises
        InputError as ``forecast``, and where there is no matplotlib.
        """
        from tidegate.tasks.forecast_plot import draw_forecast

        panel = self._held(data).panel
        fan = None if self.error_quantiles_ is None else quantiles
        return draw_forecast(panel, self.forecast(panel, quantiles=fan), shown=True)

    def plot_backtest(self: Any, data: Any, start: Any = None, end: Any = None) -> list[Axes]:
        """Draw the last forecasts of ``backtest`` beside what came, one panel per series."""
        from tidegate.tasks.forecast_plot import draw_backtest

        return draw_backtest(self.backtest(data, start, end), shown=True)

"""What forecasters are judged by: their forecasts of what is known by now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.data.series.columns import opened
from tidegate.data.series.frames import Held, held_series
from tidegate.data.series.naive import near_zero
from tidegate.data.series.series import Series
from tidegate.data.series.windowing import Windows, windows
from tidegate.errors import InputError, shown, spelled
from tidegate.runtime.batches import forecast_windows
from tidegate.tasks.anomalies import Anomalies
from tidegate.tasks.backtest import Backtest, spread_of_targets
from tidegate.tasks.estimator import Estimator
from tidegate.tasks.forecast_intervals import losses, told

Moment = str | int | float  # a time, a row number or a fraction, as Series.row_of reads it

_CHUNK = 2048  # windows evaluated at once, which bounds memory on long series
_UNDEFINED = ("mase", "smape", "weighted_quantile_loss")  # of some series


@dataclass(kw_only=True, eq=False, repr=False)
class JudgedForecaster(Estimator):
    """A forecaster that compares its forecasts with known rows; inputs follow ``windowing_``.

    ``error_quantiles_``, if it has any, are what it misses on held-out windows.
    """

    def score(self, data: Any, *, start: Moment | None = None, end: Moment | None = None) -> float:
        """Measure R squared of the forecasts that ``evaluate`` uses, as the mean over the series.

        1 is perfect, 0 is no better than always forecasting the mean of the known rows.  NaN if no
        series changes.
        """
        held = self._held(data)
        starts = self._starts(held, start, end)
        by_series = self._figures(held.series, starts)
        w = self.windowing_
        spread = spread_of_targets(held.series.values, starts + w.context, w.horizon)
        unexplained = np.array([row["mse"] for row in by_series.values()]) * w.scaler.scale**2
        explained = 1 - unexplained[spread > 0] / spread[spread > 0]
        return float(explained.mean()) if len(explained) else float("nan")

    def evaluate(
        self, data: Any, start: Moment | None = None, end: Moment | None = None
    ) -> dict[str, float]:
        """Measure figures of all forecasts of rows from ``start`` to before ``end``, by name.

        ``start`` is by default the first row that ``fit`` did not use; rows without times, such as
        those of an array, count as new.  ``end`` is by default the end of the data.  ``mse`` and
        ``mae``: mean squared and mean absolute error, in standard deviations of the training rows,
        as is usual for the ETT data.  ``mase``: mean absolute error divided by that of the seasonal
        naive forecast on the training rows (Hyndman & Koehler 2006); NaN for series that only
        repeat.  ``smape``: mean of 200 |y - f| / (|y| + |f|), from 0 to 200; NaN for series that
        come near zero, of which percentages mean nothing (data/series/naive.py).  Of a model that
        has quantiles, ``coverage_80`` is the share of values from quantile 0.1 to 0.9, and
        ``weighted_quantile_loss`` the mean over the quantiles 0.1, 0.2, ... 0.9 of the sum of 2
        max(q (y - f), (q - 1) (y - f)), f being quantile q, divided by the sum of abs(y).  Each is
        the mean over the series; ``smape_series`` and so on count them, where it is not defined of
        all.  ``naive_mse`` and so on are the figures of the naive forecast, which
        repeats the last value; ``seasonal_naive_mse`` and so on are those of the forecast that
        repeats the last season.  ``n``: number of forecasts.  Raises InputError for too few rows.
        """
        by_series = list(self.evaluate_series(data, start, end).values())
        figures = {}
        for name in by_series[0]:
            values = [v for v in (row[name] for row in by_series) if not np.isnan(v)]
            figures[name] = float(np.mean(values)) if values else float("nan")
            if name in _UNDEFINED and 0 < len(values) < len(by_series):
                figures[f"{name}_series"] = len(values)
        return figures | {"n": by_series[0]["n"]}

    def evaluate_series(
        self, data: Any, start: Moment | None = None, end: Moment | None = None
    ) -> dict[str, dict[str, float]]:
        """Measure the figures of ``evaluate`` for each series, by the name of the series."""
        held = self._held(data)
        return self._figures(held.series, self._starts(held, start, end))

    def backtest(
        self, data: Any, start: Moment | None = None, end: Moment | None = None
    ) -> Backtest:
        """Forecast known rows end to end, one forecast per ``horizon`` rows, as ``evaluate``."""
        held = self._held(data)
        starts = self._starts(held, start, end)
        return self._backtest(held.series, starts[:: -self.windowing_.horizon][::-1])

    def detect(
        self,
        data: Any,
        *,
        start: Moment | None = None,
        calibrate_until: Moment | None = None,
        rate: float = 0.001,
    ) -> Anomalies:
        """Score rows by how far they are from what was forecast one row before; flag the largest.

        Rows from ``start``, by default the first one that ``fit`` did not use, to before
        ``calibrate_until``, by default the middle of those there are, say which scores are usual;
        the rows from there on are scored, and flagged so that of usual ones at most a share of
        ``rate`` is, in expectation.  Raises InputError for too few rows.
        """
        held = self._held(data)
        w, series = self.windowing_, held.series
        if start is None:
            first = self._first_unseen(series) if held.timed else 0
        else:
            first = series.row_of(start)
        first, end = max(first, w.context), len(series)
        if end - first < 2:
            raise InputError(
                f"expected 2 rows or more from {self.unseen_from_} on, which the model has not "
                f"learned from, got {max(end - first, 0)} with {w.context} rows of context before "
                f"them; give newer rows, or an earlier {spelled('start')}"
            )
        middle = (first + end) // 2 if calibrate_until is None else series.row_of(calibrate_until)
        if not first < middle < end:
            raise InputError(
                f"expected a moment after row {first} and before the last row, {end - 1}, got row "
                f"{middle}; choose another",
                option="calibrate_until",
            )
        need_finite(series.rows(first - w.context, end))
        starts = np.arange(first, end) - w.context
        errors = []
        for chunk in np.split(starts, range(_CHUNK, len(starts), _CHUNK)):
            ahead = forecast_windows(self.runtime_, Windows(w, series, chunk))[:, 0]
            errors.append(series.values[chunk + w.context] - ahead)
        return Anomalies.of(series.rows(middle, end), np.concatenate(errors), rate)

    def _figures(self, series: Series, starts: np.ndarray) -> dict[str, dict[str, float]]:
        w, known = self.windowing_, self.error_quantiles_
        means: dict[str, Any] = {}
        for chunk in np.split(starts, range(_CHUNK, len(starts), _CHUNK)):
            backtest = self._backtest(series, chunk)
            figures = backtest.figures(w.scaler.scale, self.naive_error_)
            if known is not None:
                errors = (backtest.truth - backtest.forecasts["model"]) / w.scaler.scale
                figures |= losses(errors, np.abs(backtest.truth) / w.scaler.scale, known)
            for name, values in figures.items():
                means[name] = means.get(name, 0) + values * (len(chunk) / len(starts))
        asked = series.values[starts[0] + w.context : starts[-1] + w.context + w.horizon]
        for c in np.flatnonzero([near_zero(column) for column in asked.T]):
            for name in means:
                means[name][c] = np.nan if name.endswith("smape") else means[name][c]
        if known is not None:
            means = told(means)
        return {
            name: {k: float(v[c]) for k, v in means.items()} | {"n": len(starts)}
            for c, name in enumerate(w.names)
        }

    def _backtest(self, series: Series, starts: np.ndarray) -> Backtest:
        w = self.windowing_
        values = forecast_windows(self.runtime_, Windows(w, series, starts))
        return Backtest.of(series, starts + w.context, w.season, values)

    def _starts(self, held: Held, start: Moment | None, end: Moment | None) -> np.ndarray:
        """First rows of the windows to evaluate, which have a season before their targets, too."""
        w, series = self.windowing_, held.series
        if start is None and not held.timed:
            start = 0
        first = self._first_unseen(series) if start is None else series.row_of(start)
        last = len(series) if end is None else series.row_of(end)
        if start is None and last - first < w.horizon:
            raise InputError(
                f"expected {w.horizon} rows or more from {self.unseen_from_} on, which the model "
                f"has not learned from, got {max(last - first, 0)}; give newer rows, or an earlier "
                f"{spelled('start')}"
            )
        first = max(first, w.context, w.season)
        starts = windows(series.values, w.context, w.horizon, first, last)
        need_finite(series.rows(int(starts[0]), int(starts[-1]) + w.context + w.horizon))
        return starts

    def _first_unseen(self, series: Series) -> int:
        return int(np.searchsorted(series.times, time_of(self.unseen_from_, series.times.dtype)))

    def _held(self, data: Any) -> Held:
        """The series in ``data``.  Raises InputError for one of another kind than in training.

        Data that do not name their series are taken as those of the training, in their order.
        """
        self.runtime_  # noqa: B018  raises where there is none
        w, data = self.windowing_, opened(data)
        told: dict[str, Any] = {}
        if (columns := getattr(data, "columns", None)) is not None:
            time = self.provenance_.get("time_column")
            told["time"] = time if time in [str(name) for name in columns] else None
            there = {str(name) for name in columns}
            if lacking := [n for n in (*w.names, *w.covariate_names) if n not in there]:
                raise InputError(
                    f"expected the columns it was trained on, got none called {', '.join(lacking)} "
                    f"among {', '.join(sorted(there))}; give the same columns"
                )
            told |= {"target": list(w.names), "covariate": list(w.covariate_names)}
        return held_series(data, **told).as_in_training(w.names, w.covariate_names, w.step)


def time_of(text: str, dtype: Any) -> Any:
    """The time that ``str`` made text of.  Raises ValueError for other text."""
    # numpy also reads "now", which is another time each time, and "NaT"
    if not isinstance(text, str) or text[:1] not in "-0123456789":
        raise ValueError(f"expected a time as text, got {shown(text)}")
    return np.array(text).astype(dtype)[()]


def need_finite(series: Series) -> None:
    """Raise InputError, naming row and column, for a value that is not finite."""
    for names, array in (
        (series.names, series.values),
        (series.covariate_names, series.covariates),
    ):
        if not np.isfinite(array).all():
            row, channel = np.argwhere(~np.isfinite(array))[0].tolist()
            raise InputError(
                f"expected a finite value at {series.times[row]}, got {array[row, channel]}; "
                "fill it in, or leave out the rows up to it",
                column=names[channel],
            )

"""What forecasters are judged by: their forecasts of what is known by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tidegate.data.series.columns import opened
from tidegate.data.series.frames import held_series
from tidegate.data.series.held import Held
from tidegate.data.series.naive import mean_known, near_zero
from tidegate.data.series.panel import Panel, Stack
from tidegate.data.series.series import Series
from tidegate.data.series.windows import Windows
from tidegate.data.times.grid import time_type
from tidegate.errors import InputError, shown, spelled
from tidegate.runtime.batches import forecast_windows
from tidegate.tasks.anomalies import Anomalies, spans_to_score
from tidegate.tasks.backtest import Backtest, seasonal_naive_error, spread_of_targets
from tidegate.tasks.estimator import Estimator
from tidegate.tasks.forecast_intervals import losses, spreads, told
from tidegate.tasks.forecast_pictures import FAN, ForecastPictures
from tidegate.tasks.forecast_roles import roles_again
from tidegate.tasks.measured import Measured

Moment = str | int | float  # a time, a row number or a fraction, as Series.row_of reads it
Spans = Sequence[tuple[int, int]]  # of each series the rows from the first to before the last

_CHUNK = 2048  # windows evaluated at once, which bounds memory on long series
_UNDEFINED = ("mase", "smape", "weighted_quantile_loss")  # of some series


@dataclass(kw_only=True, eq=False, repr=False)
class JudgedForecaster(ForecastPictures, Estimator):
    """A forecaster that compares its forecasts with known rows; inputs follow ``windowing_``.

    ``error_quantiles_``, if it has any, are what it misses on held-out windows.  ``statics_``, if
    it has any, are what is told of whole series.
    """

    def score(self, data: Any, *, start: Moment | None = None, end: Moment | None = None) -> float:
        """Measure R squared of the forecasts that ``evaluate`` uses, as the mean over the series.

        1 is perfect, 0 is no better than always forecasting the mean of the known rows.  NaN if no
        series changes.
        """
        stack, starts = self._judged(self._held(data), start, end)
        figures = self._figures(stack, starts)
        explained = []
        for g, rows in self._by_series(stack, starts):
            values, horizon = stack.panel.series[g].values, self.windowing_.horizon
            spread = spread_of_targets(values, rows, horizon)
            left = figures["squared"][g]
            explained += (1 - left[spread > 0] / spread[spread > 0]).tolist()
        known = [v for v in explained if not np.isnan(v)]
        return float(np.mean(known)) if known else float("nan")

    def evaluate(
        self, data: Any, start: Moment | None = None, end: Moment | None = None
    ) -> dict[str, float]:
        """Measure figures of all forecasts of rows from ``start`` to before ``end``, by name.

        ``start`` is by default the first row that ``fit`` did not use; rows without times, such as
        those of an array, count as new, and so do series of new ids.  ``end`` is by default the end
        of the data.  ``mse`` and ``mae``: mean squared and mean absolute error, in standard
        deviations of the training rows, as is usual for the ETT data; of a model that reads series
        in a scale of their own, in standard deviations of what each forecast reads.  ``mase``: mean
        absolute error divided by that of the seasonal naive forecast on the training rows (Hyndman
        & Koehler 2006), of series with ids on their rows before the first forecast; NaN for series
        that only repeat.  ``smape``: mean of 200 |y - f| / (|y| + |f|), from 0 to 200; NaN for
        series that come near zero, of which percentages mean nothing (data/series/naive.py).  Of a
        model that has quantiles, ``coverage_80`` is the share of values from quantile 0.1 to 0.9,
        and ``weighted_quantile_loss`` the mean over the quantiles 0.1, 0.2, ... 0.9 of the sum of 2
        max(q (y - f), (q - 1) (y - f)), f being quantile q, divided by the sum of abs(y); it
        approximates the continuous ranked probability score.  Each is the mean over the series, of
        series with ids as each has forecasts; ``smape_series`` and so on count them, where it is
        not defined of all.  ``naive_mse`` and so on are the figures of the naive forecast, which
        repeats the last value; ``seasonal_naive_mse`` and so on are those of the forecast that
        repeats the last season.  ``n``: number of forecasts.  Missing values are not judged.
        Raises InputError for too few rows.
        """
        stack, starts = self._judged(self._held(data), start, end)
        return Measured(_averaged(self._named_figures(stack, starts), len(starts)))

    def evaluate_series(
        self, data: Any, start: Moment | None = None, end: Moment | None = None
    ) -> dict[str, dict[str, float]]:
        """Measure the figures of ``evaluate`` for each series, by its name or its id."""
        return self._named_figures(*self._judged(self._held(data), start, end))

    def evaluate_spans(self, panel: Panel, spans: Spans) -> dict[str, float]:
        """Measure the figures of ``evaluate`` of forecasts of rows within each series' span."""
        stack, starts = self.windows_within(panel, spans)
        return _averaged(self._named_figures(stack, starts), len(starts))

    def windows_within(self, panel: Panel, spans: Spans) -> tuple[Stack, np.ndarray]:
        """First rows of all windows whose targets lie in the spans, and the rows they are of.

        They have a season before their targets, and of a series without an id all their context.
        """
        w = self.windowing_
        least = max(w.season, w.context if panel.id_name is None else 1)
        spans = [(max(first, least), last) for first, last in spans]
        stack = self._stack(panel, [first for first, _ in spans])
        return stack, stack.starts(spans)

    def backtest(self, data: Any, start: Moment | None = None, end: Moment | None = None) -> Any:
        """Forecast known rows end to end, one forecast per ``horizon`` rows, as ``evaluate``.

        Gives a Backtest; of series with ids a dict of them by id, with those that have rows enough.
        """
        stack, starts = self._judged(self._held(data), start, end)
        horizon, found = self.windowing_.horizon, {}
        for g, _ in self._by_series(stack, starts):
            own = starts[stack.rows.series_of(starts) == g]
            found[stack.panel.ids[g]] = self._backtest(stack, own[::-horizon][::-1])
        return found if stack.panel.id_name is not None else next(iter(found.values()))

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
        ``rate`` is, in expectation.  Of several series each has a middle and a usual error of its
        own, and one threshold; those with too few rows are left out.  Missing values have no score.
        Raises InputError for too few rows.
        """
        held = self._held(data)
        w, panel, told = self.windowing_, held.panel, held.panel.id_name is not None
        firsts = [
            self._first_row(held, g) if start is None else one.row_of(start, clipped=told)
            for g, one in enumerate(panel.series)
        ]
        least = 1 if told else w.context  # of series with ids, short ones are read, too
        spans = spans_to_score(panel, least, firsts, calibrate_until)
        if not spans:
            since = self._unseen(panel.ids[int(np.argmax(panel.lengths))])
            where = "" if start is not None or since is None else f" from {since} on, which the "
            where += "model has not learned from," if where else ""
            raise InputError(
                f"expected 2 rows or more{where} with {least} before them, which are read, got "
                f"fewer{' in each series' if told else ''}; give newer rows, or an earlier "
                f"{spelled('start')}"
            )
        stack = self._stack(panel, [max(first, least) for first in firsts])
        errors, rows = [], []
        for g, (first, middle, end) in spans.items():
            need_finite(panel.series[g].rows(max(first - w.context, 0), end))
            starts = stack.zero[g] + np.arange(first, end) - w.context
            every, found = Windows(w, stack.rows, starts), []
            for chunk in np.split(starts, range(_CHUNK, len(starts), _CHUNK)):
                part = every.at(chunk)
                found.append(part.asked(1)[:, 0] - forecast_windows(self.runtime_, part)[:, 0])
            errors.append(np.concatenate(found))
            rows.append(panel.series[g].rows(middle, end))
        ids = tuple(panel.ids[g] for g in spans)
        return Anomalies.of(Panel(tuple(rows), ids, panel.id_name), errors, rate)

    def _named_figures(self, stack: Stack, starts: np.ndarray) -> dict[str, dict[str, float]]:
        figures = self._figures(stack, starts)
        del figures["squared"]
        if self.error_quantiles_ is not None:
            figures = told(figures)
        names, panel = self.windowing_.names, stack.panel
        found = {}
        for g, rows in self._by_series(stack, starts):
            for c, name in enumerate(names):
                called = name if panel.id_name is None else str(panel.ids[g])
                called = f"{called} {name}" if panel.id_name is not None and c else called
                of_one = {k: float(v[g, c]) for k, v in figures.items()}
                found[called] = of_one | {"n": len(rows)}
        return found

    def _figures(self, stack: Stack, starts: np.ndarray) -> dict[str, np.ndarray]:
        """Means over the windows of each series, [G, C]; ``squared``: in the values' own units."""
        w, known = self.windowing_, self.error_quantiles_
        every = Windows(w, stack.rows, starts)
        shape = len(stack.panel.series), len(w.names)
        naive_error = self._naive_errors(stack, starts)
        sums: dict[str, np.ndarray] = {}
        counts: dict[str, np.ndarray] = {}
        for chunk in np.split(starts, range(_CHUNK, len(starts), _CHUNK)):
            part = every.at(chunk)
            of, _ = stack.places(chunk)
            unit, forecasts = part.units(), forecast_windows(self.runtime_, part)
            backtest = Backtest.of(part, forecasts, stack.times_ahead(chunk))
            figures = backtest.by_window(unit, naive_error[of])
            missed = backtest.truth - forecasts
            figures["squared"] = mean_known(missed**2, 1)
            if known is not None:
                spread = spreads(known, part)
                scaled = missed / np.where(spread > 0, spread, np.nan)  # none without a scale
                figures |= losses(scaled, spread / unit, np.abs(backtest.truth) / unit, known)
            for name, values in figures.items():
                there = np.isfinite(values)
                np.add.at(sums.setdefault(name, np.zeros(shape)), of, np.where(there, values, 0))
                np.add.at(counts.setdefault(name, np.zeros(shape)), of, there)
        with np.errstate(invalid="ignore"):
            means = {name: sums[name] / counts[name] for name in sums}
        for g, rows in self._by_series(stack, starts):
            asked = stack.panel.series[g].values[rows[0] : rows[-1] + w.horizon]
            for c, column in enumerate(asked.T):
                if near_zero(column[np.isfinite(column)]):
                    for name in means:
                        means[name][g, c] = np.nan if name.endswith("smape") else means[name][g, c]
        return means

    def _naive_errors(self, stack: Stack, starts: np.ndarray) -> np.ndarray:
        """MASE's unit for each series, [G, C]: of training, or of its rows before the forecasts."""
        if self.naive_error_ is not None:
            return np.broadcast_to(self.naive_error_, (len(stack.zero), len(self.naive_error_)))
        found = np.full((len(stack.zero), len(self.windowing_.names)), np.nan)
        for g, rows in self._by_series(stack, starts):
            if rows[0] > (season := self.windowing_.season):
                before = stack.panel.series[g].values[: rows[0]]
                found[g] = seasonal_naive_error(before, season)
        return found

    def _by_series(self, stack: Stack, starts: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """The series that have windows, and the first rows that these are asked for."""
        of, rows = stack.places(starts)
        found, first = np.unique(of, return_index=True)
        parts = np.split(rows + self.windowing_.context, first[1:])
        return list(zip(found.tolist(), parts, strict=True))

    def _backtest(self, stack: Stack, starts: np.ndarray) -> Backtest:
        """Of windows of one series."""
        part = Windows(self.windowing_, stack.rows, starts)
        values = forecast_windows(self.runtime_, part)
        made = Backtest.of(part, values, stack.times_ahead(starts))
        made = replace(made, style=stack.panel.first.style)
        if self.error_quantiles_ is None:
            return made
        spread = self.error_quantiles_.at(FAN)[:, None] * spreads(self.error_quantiles_, part)
        return replace(made, levels=FAN, quantiles=values + spread)

    def _stack(self, panel: Panel, asked: Sequence[int] | None = None) -> Stack:
        """The series below each other; those with ids may be asked for the row ``asked`` each."""
        told = None
        if self.statics_ is not None and panel.statics:
            told = self.statics_.numbers(panel.statics)
        asked = asked if panel.id_name is not None else None
        return Stack.of(panel, self.windowing_, asked=asked, statics=told)

    def _judged(
        self, held: Held, start: Moment | None, end: Moment | None
    ) -> tuple[Stack, np.ndarray]:
        """The windows to evaluate, which have a season before their targets, too."""
        w, panel = self.windowing_, held.panel
        alone = panel.id_name is None
        spans = []
        for g, series in enumerate(panel.series):
            fresh = self._first_row(held, g)
            first = fresh if start is None else series.row_of(start, clipped=not alone)
            last = len(series) if end is None else series.row_of(end, clipped=not alone)
            if alone and start is None and last - first < w.horizon:
                raise InputError(
                    f"expected {w.horizon} rows or more from {self._unseen(panel.ids[g])} on, "
                    f"which the model has not learned from, got {max(last - first, 0)}; give newer "
                    f"rows, or an earlier {spelled('start')}"
                )
            spans.append((first, last))
        stack, starts = self.windows_within(panel, spans)
        for g, rows in self._by_series(stack, starts):
            first = max(int(rows[0]) - w.context, 0)
            need_finite(panel.series[g].rows(first, int(rows[-1]) + w.horizon))
        return stack, starts

    def _unseen(self, one: Any) -> str | None:
        """The first time of a series that ``fit`` did not use; None of a new one."""
        seen = self.unseen_from_
        return seen.get(str(one)) if isinstance(seen, dict) else seen

    def _first_row(self, held: Held, g: int) -> int:
        """The first row of a series that ``fit`` did not use."""
        unseen, series = self._unseen(held.panel.ids[g]), held.panel.series[g]
        if unseen is None or not held.timed:
            return 0
        return int(np.searchsorted(series.times, time_of(unseen, time_type(self.windowing_.step))))

    def _held(self, data: Any) -> Held:
        """The series in ``data``.  Raises InputError for one of another kind than in training.

        Data that do not name their series are taken as those of the training, in their order.
        """
        self.runtime_  # noqa: B018  raises where there is none
        w, data = self.windowing_, opened(data)
        held = held_series(data, **roles_again(data, w, self.provenance_))
        return held.as_in_training(w.names, w.covariate_names, w.step, w.known_names)


def _averaged(by_series: dict[str, dict[str, float]], n: int) -> dict[str, float]:
    """Means over series, each weighed by its forecasts, of those of which a figure is defined."""
    rows = list(by_series.values())
    figures: dict[str, float] = {}
    for name in (name for name in rows[0] if name != "n"):
        told_of = [row for row in rows if not np.isnan(row[name])]
        weights = [row["n"] for row in told_of]
        values = [row[name] for row in told_of]
        figures[name] = float(np.average(values, weights=weights)) if values else float("nan")
        if name in _UNDEFINED and 0 < len(values) < len(rows):
            figures[f"{name}_series"] = len(values)
    return figures | {"n": n}


def time_of(text: str, dtype: Any) -> Any:
    """The time that ``str`` made text of.  Raises ValueError for other text."""
    # numpy also reads "now", which is another time each time, and "NaT"
    if not isinstance(text, str) or text[:1] not in "-0123456789":
        raise ValueError(f"expected a time as text, got {shown(text)}")
    return np.array(text).astype(dtype)[()]


def need_finite(series: Series) -> None:
    """Raise InputError, naming row and column, for a value that is neither finite nor a gap."""
    for names, array in (
        (series.names, series.values),
        (series.covariate_names, series.covariates),
    ):
        wrong = np.isinf(array) if series.gaps else ~np.isfinite(array)
        if wrong.any():
            row, channel = np.argwhere(wrong)[0].tolist()
            raise InputError(
                f"expected a finite value at {series.times[row]}, got {array[row, channel]}; "
                "fill it in, or leave out the rows up to it",
                column=names[channel],
            )

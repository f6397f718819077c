"""Forecasts of time series: the next ``horizon`` rows at once, from the ``context`` before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.architecture import Architecture
from tidegate.cells import get_cell
from tidegate.data.grid import step_to_json, time_type
from tidegate.data.series import Scaler, Series, guess_season, windows
from tidegate.data.sources import as_list
from tidegate.data.windowing import Windowing, Windows, choose_context, choose_segment
from tidegate.errors import InputError, shown
from tidegate.tasks.backtest import Backtest, seasonal_naive_error
from tidegate.tasks.estimator import Estimator
from tidegate.training.options import option

if TYPE_CHECKING:
    from tidegate.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork
    from tidegate.training.objective import Objective

Moment = str | int | float  # a time, a row number or a fraction, as Series.row_of reads it

_CHUNK = 2048  # windows evaluated at once, which bounds memory on long series
_SCALING_KEYS = {"windowing", "naive_error", "unseen_from"}


@dataclass(frozen=True, eq=False)
class Forecast:
    """What comes next: times [horizon], names of the series, values [horizon, C] in their units."""

    times: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray


@dataclass(kw_only=True, eq=False, repr=False)
class Forecaster(Estimator):
    """Forecasts one or several series, each from its own past or jointly.

    ``windowing_`` tells how series become inputs: context, season, segment and scaling as chosen;
    ``naive_error_`` [C] is the scale of MASE; ``unseen_from_`` the first time fit has not learned
    from.
    """

    TASK: ClassVar[str] = "forecaster"
    DEFAULT_EPOCHS: ClassVar[int] = 4

    horizon: int = option(24, "rows ahead to forecast", at_least=1)
    context: int | None = option(
        None, "past rows that are read (default: 14 seasons, fewer of a short series)", at_least=1
    )
    season: int | None = option(
        None, "rows after which the series repeats (default: guessed)", at_least=1
    )
    segment: int | None = option(
        None, "rows read in one recurrent step (default: a season or a part of it)", at_least=1
    )
    joint: bool = option(False, "one network sees all series together, not each one alone")
    anchored: bool = option(True, "read and forecast differences from the last known value")
    loss: str = option("mae", "error that training makes small", choices=("mse", "mae", "huber"))
    train_until: str | None = option(
        None, "end of the rows to learn from: a time, row or fraction (default: 0.8)"
    )
    validate_until: str | None = option(
        None, "end of the rows that choose the best weights, the rest being a test (default: none)"
    )
    dropout: float = option(
        0.3, "between recurrent layers and before the output", at_least=0, below=1
    )
    epochs: int | None = option(
        None,
        "stop after so many passes over the data (default: 4 if no limit is given)",
        at_least=1,
    )
    batch_size: int = option(128, "windows per step, over all processes", at_least=1)

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        if self.context and self.segment and self.context % self.segment:
            raise InputError(
                f"option segment: expected a divisor of the context {self.context}, "
                f"got {self.segment}"
            )

    def fit(self, series: Series) -> Self:
        """Learn from the rows before ``train_until``; those up to ``validate_until`` choose.

        Rows after that have no part in it; if they hold a window, their figures are added to
        ``metrics_`` at the end, as ``test_mse`` and so on.  Raises InputError for options or
        series that cannot be used, TrainingError for a loss that is not finite.
        """
        self.check()
        cut, end = self.spans(series)
        known = series.rows(0, end)
        _need_finite(known)
        self.windowing_ = w = self._windowing(known.rows(0, cut))
        train, validation = (
            Windows(w, known, windows(known.values, w.context, w.horizon, first, last))
            for first, last in ((w.context, cut), (cut, end))
        )
        self.naive_error_ = seasonal_naive_error(known.values[:cut], w.season)
        self.unseen_from_ = str(known.future_times(1)[0])
        self._train(
            self._architecture(),
            lambda network: self._objective(network, train, validation),
            {
                "training_rows": cut,
                "validation_rows": end - cut,
                "rows_from": str(series.times[0]),
                "target_columns": as_list(series.names),
                "covariate_columns": as_list(series.covariate_names),
            },
        )
        if len(series) - end >= w.horizon:
            self.metrics_ |= {f"test_{k}": v for k, v in self.evaluate(series, end).items()}
        return self

    def forecast(self, series: Series) -> Forecast:
        """The ``horizon`` rows after the last one of ``series``, of which the context is read.

        Raises InputError for other columns or another step than in training, fewer rows than the
        context, and values that are not finite.
        """
        network, w = self._checked(series)
        if len(series) < w.context:
            raise InputError(
                f"expected at least {w.context} rows, the context that is read, got "
                f"{len(series)}; give more rows, or train with a shorter context"
            )
        from tidegate.training.forecasting import forecast_windows

        past = series.rows(len(series) - w.context, len(series))
        _need_finite(past)
        values = forecast_windows(network, Windows(w, past, np.array([0])))[0]
        return Forecast(series.future_times(w.horizon), w.names, values)

    def evaluate(
        self, series: Series, start: Moment | None = None, end: Moment | None = None
    ) -> dict[str, float]:
        """Figures on all windows whose targets lie from ``start`` to before ``end``.

        ``start`` is by default the first row that fit has not learned from.  ``mse``, ``mae``: in
        standard deviations of the training span, as is the custom for ETT; ``mase``: mean absolute
        error over that of the seasonal naive forecast on the training span (Hyndman & Koehler
        2006), NaN for series that only repeat; ``smape``: mean of 200 |y - f| / (|y| + |f|), in
        original units; each averaged over the series.  The same with ``naive_`` and
        ``seasonal_naive_`` before it for these forecasts; ``n``: windows.
        """
        by_series = list(self.evaluate_series(series, start, end).values())
        figures = {}
        for name in by_series[0]:
            values = [v for v in (row[name] for row in by_series) if not np.isnan(v)]
            figures[name] = float(np.mean(values)) if values else float("nan")
        return figures | {"n": by_series[0]["n"]}

    def evaluate_series(
        self, series: Series, start: Moment | None = None, end: Moment | None = None
    ) -> dict[str, dict[str, float]]:
        """The figures of ``evaluate`` for each series, by its name."""
        _, w = self._checked(series)
        starts = self._starts(series, start, end)
        sums: dict[str, Any] = {}
        for chunk in np.split(starts, range(_CHUNK, len(starts), _CHUNK)):
            figures = self._backtest(series, chunk).figures(w.scaler.scale, self.naive_error_)
            for name, values in figures.items():
                sums[name] = sums.get(name, 0) + values * len(chunk)
        return {
            name: {k: float(v[c] / len(starts)) for k, v in sums.items()} | {"n": len(starts)}
            for c, name in enumerate(w.names)
        }

    def backtest(
        self, series: Series, start: Moment | None = None, end: Moment | None = None
    ) -> Backtest:
        """Forecasts end to end, one per ``horizon`` rows, up to ``end``; ``start`` as above."""
        self._checked(series)
        starts = self._starts(series, start, end)
        return self._backtest(series, starts[:: -self.windowing_.horizon][::-1])

    def spans(self, series: Series) -> tuple[int, int]:
        """Ends of training and validation, as rows.  Raises InputError."""
        rows = {}
        for name in ("train_until", "validate_until"):
            value = getattr(self, name)
            try:
                rows[name] = None if value is None else series.row_of(value)
            except InputError as e:
                raise InputError(f"option {name}: {e}") from e
        end = len(series) if rows["validate_until"] is None else rows["validate_until"]
        cut = round(0.8 * end) if rows["train_until"] is None else rows["train_until"]
        if not 0 < cut < end:
            raise InputError(
                f"option train_until: expected a moment before validate_until (row {end}), "
                f"got row {cut}"
            )
        return cut, end

    def _backtest(self, series: Series, starts: np.ndarray) -> Backtest:
        from tidegate.training.forecasting import forecast_windows

        w = self.windowing_
        values = forecast_windows(self.network_, Windows(w, series, starts))
        return Backtest.of(series, starts + w.context, w.season, values)

    def _starts(self, series: Series, start: Moment | None, end: Moment | None) -> np.ndarray:
        """First rows of the windows to evaluate, which have a season before their targets, too."""
        w = self.windowing_
        first = self._first_unseen(series) if start is None else series.row_of(start)
        last = len(series) if end is None else series.row_of(end)
        if start is None and last - first < w.horizon:
            raise InputError(
                f"expected {w.horizon} rows or more from {self.unseen_from_} on, which the model "
                f"has not learned from, got {max(last - first, 0)}; give newer rows, or a start"
            )
        first = max(first, w.context, w.season)
        starts = windows(series.values, w.context, w.horizon, first, last)
        _need_finite(series.rows(int(starts[0]), int(starts[-1]) + w.context + w.horizon))
        return starts

    def _first_unseen(self, series: Series) -> int:
        return int(np.searchsorted(series.times, _time(self.unseen_from_, series.times.dtype)))

    def _windowing(self, train: Series) -> Windowing:
        """What is read and how, chosen and scaled by the training span alone."""
        season = self.season or guess_season(train.step, train.values)
        context = self.context or choose_context(len(train), self.horizon, season, self.segment)
        covariates = Scaler.fit(train.covariates) if train.covariate_names else None
        return Windowing(
            names=train.names,
            covariate_names=train.covariate_names,
            step=train.step,
            context=context,
            horizon=self.horizon,
            season=season,
            segment=self.segment or choose_segment(context, season),
            joint=self.joint,
            anchored=self.anchored,
            scaler=Scaler.fit(train.values),
            covariate_scaler=covariates,
        )

    def _architecture(self) -> Architecture:
        return Architecture(
            cell=get_cell(self.cell).name,
            vocabulary_size=None,
            input_size=self.windowing_.input_size,
            embedding_size=None,
            hidden_sizes=tuple(self.hidden_sizes),
            bidirectional=False,
            readout="last",
            output_size=self.windowing_.output_size,
            batch_norm=self.batch_norm,
            embedding_dropout=0.0,
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
        )

    def _objective(
        self, network: SequenceNetwork, train: Windows, validation: Windows
    ) -> Objective:
        from tidegate.training.forecasting import Forecasting

        return Forecasting(
            network,
            train,
            validation,
            loss=self.loss,
            batch_size=self.batch_size,
            seed=self.seed,
        )

    def _checked(self, series: Series) -> tuple[SequenceNetwork, Windowing]:
        """The network and its windowing.  Raises InputError for a series of another kind."""
        network, w = self.network_, self.windowing_
        for what, expected, got in (
            ("series", w.names, series.names),
            ("covariates", w.covariate_names, series.covariate_names),
        ):
            if expected != got:
                raise InputError(
                    f"expected the {what} it was trained on, {', '.join(expected) or 'none'}, in "
                    f"this order, got {', '.join(got) or 'none'}"
                )
        expected, got = step_to_json(w.step), step_to_json(series.step)
        if expected != got:
            raise InputError(f"expected rows {expected} apart, as in training, got {got}")
        return network, w

    def _learned(self) -> dict[str, Any]:
        scaling = {
            "windowing": self.windowing_.to_json(),
            "naive_error": self.naive_error_.tolist(),
            "unseen_from": self.unseen_from_,
        }
        return {"scaling": scaling}

    def _restore(self, model: ModelFile) -> None:
        scaling, architecture = model.scaling, model.architecture
        if scaling is None or set(scaling) != _SCALING_KEYS:
            raise ValueError(f"scaling: expected exactly the keys {sorted(_SCALING_KEYS)}")
        self.windowing_ = w = Windowing.from_json(scaling["windowing"])
        sizes = (architecture.input_size, architecture.output_size, architecture.readout)
        if sizes != (w.input_size, w.output_size, "last"):
            raise ValueError("windowing: expected sizes as in the architecture, got others")
        errors = scaling["naive_error"]
        if not isinstance(errors, list) or any(type(e) not in (int, float) for e in errors):
            raise ValueError("naive_error: expected a list of numbers")
        self.naive_error_ = np.array(errors, dtype=np.float64)
        good = self.naive_error_.shape == (len(w.names),) and np.isfinite(self.naive_error_).all()
        if not good or not (self.naive_error_ >= 0).all():
            raise ValueError("naive_error: expected a number from 0 per series")
        self.unseen_from_ = scaling["unseen_from"]
        _time(self.unseen_from_, time_type(w.step))


def _time(text: str, dtype: Any) -> Any:
    """The time that ``str`` made text of.  Raises ValueError for other text."""
    # numpy also reads "now", which is another time each time, and "NaT"
    if not isinstance(text, str) or text[:1] not in "-0123456789":
        raise ValueError(f"expected a time as text, got {shown(text)}")
    return np.array(text).astype(dtype)[()]


def _need_finite(series: Series) -> None:
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

"""Forecasts of time series: the next ``horizon`` rows at once, from the ``context`` before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.windows import best_of
from tidegate.data.series.error_quantiles import ErrorQuantiles, checked_levels
from tidegate.data.series.frames import Forecast, held_series
from tidegate.data.series.line import fold_count, line_folds, line_steps
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.season import guess_season, longer_seasons
from tidegate.data.series.series import Series
from tidegate.data.series.windowing import (
    Windowing,
    Windows,
    choose_context,
    choose_segment,
    windows,
)
from tidegate.data.source import as_list
from tidegate.data.times.grid import time_type
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import forecast_windows
from tidegate.tasks.backtest import seasonal_naive_error
from tidegate.tasks.estimator import with_default
from tidegate.tasks.forecast_blend import Blend, line_in_time, start_from_line, with_weights
from tidegate.tasks.forecast_figures import JudgedForecaster, need_finite, time_of
from tidegate.tasks.forecast_intervals import calibrated, need_quantiles
from tidegate.terminal import say
from tidegate.training.budget import Closing
from tidegate.training.options import documented, option
from tidegate.training.search_space import Among

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream
    from tidegate.training.objective import Objective

_SCALING_KEYS = {"windowing", "naive_error", "unseen_from"}


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class Forecaster(JudgedForecaster):
    """Forecasts the next ``horizon`` rows of one or several time series.

    ``windowing_`` holds the chosen context, season, segment and scaling, by which series become
    inputs.  ``naive_error_`` [C] is the scale of the error ``mase`` for each of C series.
    ``unseen_from_`` is the first time that ``fit`` did not use.  `fit` and `forecast` raise
    InputError for options or data that cannot be used.

    >>> import numpy as np, tidegate as tg
    >>> load = 10 + np.sin(np.arange(500) * 2 * np.pi / 24)  # hourly, one series
    >>> model = tg.Forecaster(horizon=3, context=48, max_steps=20, verbose=0).fit(load)
    >>> ahead = model.forecast(load)
    >>> ahead.times.tolist(), ahead.values.shape
    ([500, 501, 502], (3, 1))
    """

    TASK: ClassVar[str] = "forecaster"
    DEFAULT_EPOCHS: ClassVar[int] = 4
    DEFAULT_STEPS: ClassVar[int] = 400

    horizon: int = option(24, "how many rows ahead to forecast", at_least=1, common=True)
    context: int | None = option(
        None,
        "how many past rows a forecast reads (default: 14 seasons and the longest season found, "
        "fewer if the series is short)",
        at_least=1,
    )
    season: int | None = option(
        None,
        "rows after which the series repeats, such as 24 for hourly data (default: guessed, and "
        "longer ones looked for)",
        at_least=1,
    )
    segment: int | None = option(
        None,
        "rows read in one recurrent step; a divisor of `context` (default: a season or a part of "
        "it)",
        at_least=1,
    )
    joint: bool = option(
        False, "forecast all series from the past of all; otherwise each from its own past"
    )
    anchored: bool = option(
        True,
        "read and forecast differences from the last known value; helps if the level drifts",
        search=Among(True, False),
    )
    linear: bool = option(
        True,
        "add a straight line beside the network: a ridge regression on what it reads, fitted "
        "first, so that the network learns what the line leaves",
    )
    loss: str = option(
        "mae",
        "error that training minimises",
        choices=("mse", "mae", "huber"),
        search=Among("mse", "mae", "huber"),
    )
    train_until: str | int | float | None = option(
        None,
        "end of the training rows: a time, a row number or a fraction of the rows (default: 0.8 of "
        "the rows before the end of the validation rows)",
    )
    validate_until: str | int | float | None = option(
        None,
        "end of the validation rows, which choose the best weights; the rows after it are the test "
        "(default: the last row, no test)",
    )
    dropout: float = with_default("dropout", 0.3)
    batch_size: int = option(
        128, "windows in one optimiser step, over all processes together", at_least=1
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        if self.context and self.segment and self.context % self.segment:
            raise InputError(
                f"expected a divisor of {spelled('context')}, {self.context}, got {self.segment}; "
                f"give a smaller one that divides it, such as {gcd(self.context, self.segment)}",
                option="segment",
            )

    def fit(
        self, data: Any, *, time: str | None = None, target: Any = None, covariate: Any = ()
    ) -> Self:
        """Train on the rows before ``train_until``.

        The rows from there to ``validate_until`` choose the best weights.  Later rows are the test:
        if there are enough of them for one forecast, ``metrics_`` gets their figures after
        training, as ``test_mse`` and so on.  Raises InputError for options or data that cannot be
        used, and TrainingError for a loss that is not finite.

        data: a frame or Series of pandas or polars, an array [N] or [N, series], or what
            ``tidegate.data.files.tables.read_series`` gives.  Rows are evenly spaced in time.
        time: the column of times, by default pandas' index or the only column of times.
        target: the columns to forecast, by default all other columns.
        covariate: more columns to read; their future values need not be known.
        """
        self.check_training()
        held = held_series(data, time=time, target=target, covariate=covariate)
        series = held.series
        cut, end = self.spans(series)
        known = series.rows(0, end)
        need_finite(known)
        self.windowing_ = w = self._windowing(known.rows(0, cut))
        try:
            starts = windows(known.values, w.context, w.horizon, w.context, cut)
        except InputError as e:
            raise InputError(str(e), option=self._end_given()) from e
        try:
            judged = windows(known.values, w.context, w.horizon, cut, end)
        except InputError as e:
            raise InputError(str(e), option="train_until") from e
        train, validation = Windows(w, known, starts), Windows(w, known, judged)
        everything = Windows(w, known, windows(known.values, w.context, w.horizon, w.context, end))
        self.naive_error_ = seasonal_naive_error(known.values[:cut], w.season)
        self.unseen_from_ = str(known.future_times(1)[0])
        if self.speaks:
            say(w.said())
        steps = w.context // w.segment
        steps = line_steps(w.input_size, w.output_size, steps) if self.linear else 0
        line, line_s = None, 0.0
        if steps:
            line, line_s = line_in_time(train, validation, steps, self._preparation, self.speaks)
            steps = line.weights.shape[1] // w.input_size
        tested = len(series) - end >= w.horizon
        self._stand_beside(
            lambda seconds: best_of(train, validation, line, seconds=seconds),
            validation,
            Windows(w, series, self._starts(held, end, None)) if tested else None,
        )
        result = self._train(
            self._architecture(
                input_size=w.input_size,
                output_size=w.output_size,
                bidirectional=False,
                readout="last",
                linear_steps=steps,
            ),
            lambda network: self._objective(network, train, validation),
            {
                "training_rows": cut,
                "validation_rows": end - cut,
                "rows_from": str(series.times[0]),
                "seasons": ", ".join(map(str, (w.season, *w.longer_seasons))),
                "context_rows": w.context,
                "target_columns": as_list(series.names),
                "covariate_columns": as_list(series.covariate_names),
            },
            None if line is None else lambda network: start_from_line(network, line),
            everything_of=lambda network: self._objective(network, everything, validation),
            # afterwards lines of other rows are fitted, and all sums are made for the blend
            closing=Closing(
                tested=len(series) - end,
                again=1 if line is None else 3,
                seconds=line_s * (1 + fold_count(train, validation)),
                refit_s=line_s,
            ),
        )
        judged = with_weights(self.runtime_, result.judged)
        if line is not None:
            folds = line_folds(line, train, validation, steps)
            blend = Blend.of(judged, line, folds, w)
            judged = blend.applied(judged, line, line)
            self.metrics_ |= self._errors(judged, validation)
            kept = line if not result.refit_steps else line.fitted_to(everything, steps)
            self.runtime_ = blend.applied(self.runtime_, line, kept)
            self.provenance_ |= blend.told()
            if self.speaks:
                say(blend.said(self.metrics_["mse"]))
        # of the weights that have not learned from these windows, though all data teach more
        self.error_quantiles_, figures, count = calibrated(judged, validation, known)
        self.metrics_ |= figures
        self.provenance_["interval_windows"] = count
        name = held.time_column or getattr(getattr(data, "index", None), "name", None)
        if isinstance(name, str):  # of a column or of pandas' index, which a file has as a column
            self.provenance_["time_column"] = name
        return self._conclude(self.evaluate(series, end) if tested else {})

    def forecast(self, data: Any, *, quantiles: Sequence[float] | None = None) -> Any:
        """Forecast the ``horizon`` rows after the last row of ``data``.

        The forecast reads the last rows of ``data``, as many as the context has.  A pandas or
        polars frame or Series gives a frame or Series of that library, whose times continue those
        of ``data``.  Anything else gives a Forecast, with times, names and values.

        ``quantiles``, such as (0.1, 0.5, 0.9): a column of each beside each series' forecast, such
        as ``OT q0.1``, which what comes stays below with that probability (data/series/
        error_quantiles.py); a Series then gives a frame, and a Forecast has them as ``quantiles``
        [levels, horizon, C].  The forecast itself is the same with them and without.

        Raises InputError if columns or time step are not those of training, if there are fewer rows
        than the context, for values that are not finite, and for quantiles that are not between 0
        and 1, or beyond those that the held-out windows could tell.
        """
        levels = () if quantiles is None else checked_levels(quantiles)
        held = self._held(data)
        series, w = held.series, self.windowing_
        values = forecast_windows(self.runtime_, self._last_window(series))[0]
        ahead = Forecast(series.future_times(w.horizon), w.names, values)
        if levels:
            known = need_quantiles(self.error_quantiles_, self.provenance_)
            spread = known.at(levels) * w.scaler.scale
            ahead = replace(ahead, levels=levels, quantiles=values + spread)
        return held.give_back(ahead)

    def predict(self, data: Any) -> np.ndarray:
        """Forecast values only: [horizon, series], or [horizon] for data of one dimension."""
        held = self._held(data)
        values = self.forecast(held.series).values
        return values[:, 0] if held.flat else values

    def _last_window(self, series: Series) -> Windows:
        """The last rows, as many as the context.  Raises InputError for fewer or missing ones."""
        w = self.windowing_
        if len(series) < w.context:
            raise InputError(
                f"expected at least {w.context} rows, the context that is read, got "
                f"{len(series)}; give more rows, or train with a shorter context"
            )
        past = series.rows(len(series) - w.context, len(series))
        need_finite(past)
        return Windows(w, past, np.array([0]))

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        series, w = self._held(x).series, self.windowing_
        read = self._last_window(series).inputs(np.arange(w.rows_per_window)).swapaxes(0, 1)
        names = w.names if w.rows_per_window > 1 else ("",)
        times = series.style.write(series.times[len(series) - w.context :: w.segment])
        return dict(zip(names, read, strict=True)), [str(time) for time in times]

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.number_streams import ForecastStream

        return ForecastStream(network, batch_size, self.windowing_)

    def spans(self, series: Series) -> tuple[int, int]:
        """Ends of training and validation, as rows.  Raises InputError."""
        rows = {}
        for name in ("train_until", "validate_until"):
            value = getattr(self, name)
            try:
                rows[name] = None if value is None else series.row_of(value)
            except InputError as e:
                raise InputError(str(e), option=name) from e
        end = len(series) if rows["validate_until"] is None else rows["validate_until"]
        cut = round(0.8 * end) if rows["train_until"] is None else rows["train_until"]
        if not 0 < cut < end and self.train_until is None:
            problem = f"expected 3 rows or more to learn from, got {end}; give more rows"
            raise InputError(problem, option=self._end_given())
        if not 0 < cut < end:
            raise InputError(
                f"expected a moment before {spelled('validate_until')} (row {end}), got row "
                f"{cut}; choose an earlier one",
                option="train_until",
            )
        return cut, end

    def _end_given(self) -> str | None:
        """The option that says where the training rows end, if one does."""
        given = (n for n in ("train_until", "validate_until") if getattr(self, n) is not None)
        return next(given, None)

    def _windowing(self, train: Series) -> Windowing:
        """What is read and how, chosen and scaled by the training span alone."""
        season = self.season or guess_season(train.step, train.values)
        longer = longer_seasons(train.step, train.values, season) if self.season is None else ()
        longest = max((season, *longer))
        context = self.context or choose_context(
            len(train), self.horizon, season, self.segment, longest
        )
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
            longer_seasons=longer,
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

    def _errors(self, network: Network, validation: Windows) -> dict[str, float]:
        from tidegate.training.forecasting import errors_of

        return errors_of(network, validation, self.loss)

    def _learned(self) -> dict[str, Any]:
        scaling = {
            "windowing": self.windowing_.to_json(),
            "naive_error": self.naive_error_.tolist(),
            "unseen_from": self.unseen_from_,
        }
        if self.error_quantiles_ is not None:
            scaling["error_quantiles"] = self.error_quantiles_.to_json()
        return {"scaling": scaling}

    def _restore(self, model: ModelFile) -> None:
        scaling, architecture = model.scaling, model.architecture
        if scaling is None or set(scaling) - {"error_quantiles"} != _SCALING_KEYS:
            raise ValueError(f"scaling: expected exactly the keys {sorted(_SCALING_KEYS)}")
        self.windowing_ = w = Windowing.from_json(scaling["windowing"])
        sizes = (architecture.input_size, architecture.output_size, architecture.readout)
        if sizes != (w.input_size, w.output_size, "last"):
            raise ValueError("windowing: expected sizes as in the architecture, got others")
        if architecture.linear_steps > w.context // w.segment:
            raise ValueError("linear_steps: expected those of the context at most, got more")
        errors = scaling["naive_error"]
        if not isinstance(errors, list) or any(type(e) not in (int, float) for e in errors):
            raise ValueError("naive_error: expected a list of numbers")
        self.naive_error_ = np.array(errors, dtype=np.float64)
        good = self.naive_error_.shape == (len(w.names),) and np.isfinite(self.naive_error_).all()
        if not good or not (self.naive_error_ >= 0).all():
            raise ValueError("naive_error: expected a number from 0 per series")
        self.unseen_from_ = scaling["unseen_from"]
        time_of(self.unseen_from_, time_type(w.step))
        known = scaling.get("error_quantiles")  # files of before there were any have none
        if known is not None:
            known = ErrorQuantiles.from_json(known, w.horizon, len(w.names))
        self.error_quantiles_ = known

"""Forecasts of time series: the next ``horizon`` rows at once, from the ``context`` before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.windows import best_of
from tidegate.data.series.error_quantiles import checked_levels
from tidegate.data.series.frames import held_series
from tidegate.data.series.held import Forecast
from tidegate.data.series.line import fold_count, line_folds, line_steps
from tidegate.data.series.panel import Panel, Stack
from tidegate.data.series.wandering import mostly_wander
from tidegate.data.series.windows import Windows
from tidegate.data.text.conditions import Conditions
from tidegate.errors import InputError
from tidegate.runtime.batches import forecast_windows
from tidegate.runtime.connectivity import Question, questions_of
from tidegate.tasks.backtest import seasonal_naive_error
from tidegate.tasks.forecast_blend import Blend, line_in_time, start_from_line, with_weights
from tidegate.tasks.forecast_figures import need_finite
from tidegate.tasks.forecast_intervals import calibrated, need_quantiles, spreads
from tidegate.tasks.forecast_options import ForecastOptions
from tidegate.tasks.forecast_roles import need_known, roles_told
from tidegate.tasks.forecast_scaling import scaling_in, scaling_of
from tidegate.tasks.forecast_spans import (
    end_given,
    first_asked,
    gaps_told,
    horizon_of,
    horizon_told,
    need_answered,
    spans_of,
    unseen_from,
    windowing_of,
)
from tidegate.terminal import say
from tidegate.training.budget import Closing
from tidegate.training.options import documented

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream
    from tidegate.training.objective import Objective


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class Forecaster(ForecastOptions):
    """Forecasts the next ``horizon`` rows of one or several time series.

    ``windowing_`` holds the chosen context, season, segment and scaling, by which series become
    inputs.  ``naive_error_`` [C] is the scale of the error ``mase`` for each of C series; None of
    series with ids, whose own rows tell it.  ``unseen_from_`` is the first time that ``fit`` did
    not use, of series with ids by id.  `fit` and `forecast` raise InputError for options or data
    that cannot be used.

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

    def fit(
        self,
        data: Any,
        *,
        time: str | None = None,
        target: Any = None,
        covariate: Any = (),
        known: Any = (),
        id: str | None = None,
        static: Any = (),
        fill_gaps: bool = False,
        every: str | None = None,
        elapsed: bool = False,
    ) -> Self:
        """Train on the rows before ``train_until``.

        The rows from there to ``validate_until`` choose the best weights.  Later rows are the test:
        if there are enough of them for one forecast, ``metrics_`` gets their figures after
        training, as ``test_mse`` and so on.  Raises InputError for options or data that cannot be
        used, and TrainingError for a loss that is not finite.

        data: a frame or Series of pandas or polars, or an array [N] or [N, series].  Rows are
            evenly spaced in time, unless ``every`` or ``elapsed`` is given.
        time: the column of times, by default pandas' index or the only column of times.
        target: the columns to forecast, by default all other columns.
        covariate: more columns to read; their future values need not be known.
        known: more columns to read, such as prices and holidays, of which those of the horizon are
            known, too: ``forecast`` reads them in rows after the last one with a value.
        id: the column that tells several series apart, of any lengths, one model of all of them.
        static: columns, of categories or numbers, that say the same in all rows of a series.
        fill_gaps: rows and values may be missing.  The last known value is read there, and nothing
            is learned from them or judged by them.
        every: the step to which rows at irregular times are brought by means, as pandas names it:
            ``15min``, ``h``, ``D``, ``B``, ``W``, ``MS``, ...; of times that count a number.  Steps
            without rows are missing.
        elapsed: rows at irregular times are read as they stand, with the time since the row before,
            in days if times are dates, by which the cell ``gru_decay`` lets its state fade; of an
            array the last column is that time.  Of rows to forecast it is known: ``forecast`` reads
            their times in rows after the last one with a value.
        """
        self.check_training()
        held = held_series(data, time=time, target=target, covariate=covariate, known=known, id=id,
                           static=static, fill_gaps=fill_gaps, every=every,
                           elapsed=elapsed)  # fmt: skip
        panel = held.panel
        horizon = horizon_of(self, panel)
        spans = spans_of(self, panel, horizon)
        cuts, ends = zip(*spans, strict=True)
        for one, end in zip(panel.series, ends, strict=True):
            need_finite(one.rows(0, end))
        self.statics_ = _learned_statics(panel)
        size = 0 if self.statics_ is None else self.statics_.size
        self.windowing_ = w = windowing_of(self, panel.before(cuts), horizon, size)
        stack = self._stack(panel, [first_asked(w, cut) for cut in cuts])
        alone = panel.id_name is None
        first = w.context if alone else 0
        starts = _starts(stack, [(first, cut) for cut in cuts], end_given(self))
        train = Windows(w, stack.rows, starts)
        validation = train.at(_starts(stack, spans, "train_until"))
        need_answered(train, "training")
        need_answered(validation, "validation")
        everything = train.at(_starts(stack, [(first, end) for end in ends]))
        later = [(end, len(one)) for end, one in zip(ends, panel.series, strict=True)]
        tested = None
        if any(last - end >= w.horizon for end, last in later):
            tested = self.windows_within(panel, later)
        self.naive_error_ = None
        if alone:
            learned = panel.first.values[: cuts[0]]
            self.naive_error_ = np.nan_to_num(seasonal_naive_error(learned, w.season))
        self.unseen_from_ = unseen_from(panel.before(ends))
        if self.speaks:
            say(w.said() + (f"; {len(panel.series)} series" if not alone else ""))
            for told in filter(None, (horizon_told(self, horizon), gaps_told(panel))):
                say(told)
        steps = line_steps(w.input_size, w.output_size, w.steps) if self.linear else 0
        steps = steps if steps > w.steps_ahead else 0
        line, line_s = None, 0.0
        if steps:
            line, line_s = line_in_time(train, validation, steps, self._preparation, self.speaks)
            steps = line.weights.shape[1] // w.input_size
        self._stand_beside(
            lambda seconds: best_of(train, validation, line, seconds=seconds),
            validation,
            None if tested is None else Windows(w, tested[0].rows, tested[1]),
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
                "training_rows": sum(cuts),
                "validation_rows": sum(ends) - sum(cuts),
                "rows_from": str(min(one.times[0] for one in panel.series)),
                "seasons": ", ".join(map(str, (w.season, *w.longer_seasons))),
                "context_rows": w.context,
                **roles_told(held),
            },
            None if line is None else lambda network: start_from_line(network, line),
            everything_of=lambda network: self._objective(network, everything, validation),
            # afterwards lines of other rows are fitted, and all sums are made for the blend
            closing=Closing(
                tested=sum(last - end for end, last in later),
                again=1 if line is None else 3,
                seconds=line_s * (1 + fold_count(train, validation)),
                refit_s=line_s,
            ),
        )
        judged = with_weights(self.runtime_, result.judged)
        if line is not None:
            folds = line_folds(line, train, validation, steps)
            wandering = mostly_wander(panel.before(cuts))
            blend = Blend.of(judged, line, folds, w, wandering=wandering)
            judged = blend.applied(judged, line, line)
            self.metrics_ |= self._errors(judged, validation)
            kept = line if not result.refit_steps else line.fitted_to(everything, steps)
            self.runtime_ = blend.applied(self.runtime_, line, kept)
            self.provenance_ |= blend.told()
            if self.speaks:
                say(blend.said(self.metrics_["mse"]))
        # of the weights that have not learned from these windows, though all data teach more
        self.error_quantiles_, figures, count = calibrated(judged, validation)
        self.metrics_ |= figures
        self.provenance_["interval_windows"] = count
        return self._conclude({} if tested is None else self.evaluate_spans(panel, later))

    def forecast(self, data: Any, *, quantiles: Sequence[float] | None = None) -> Any:
        """Forecast the ``horizon`` rows after the last row of ``data``.

        The forecast reads the last rows of ``data``, as many as the context has.  A pandas or
        polars frame or Series gives a frame or Series of that library, whose times continue those
        of ``data``; irregular times are those of its rows without values.  Anything else gives a
        Forecast, with times, names and values.

        ``quantiles``, such as (0.1, 0.5, 0.9): a column of each beside each series' forecast, such
        as ``OT q0.1``, which what comes stays below with that probability (data/series/
        error_quantiles.py); a Series then gives a frame, and a Forecast has them as ``quantiles``
        [levels, horizon, C].  The forecast itself is the same with them and without.

        Raises InputError if columns or time step are not those of training, if there are fewer rows
        than the context, for values that are not finite, and for quantiles that are not between 0
        and 1, or beyond those that the held-out windows could tell.
        """
        held = self._held(data)
        return held.give_back(self._ahead(held.panel, quantiles))

    def predict(self, data: Any) -> np.ndarray:
        """Forecast values only: [horizon, series], or [horizon] for data of one dimension.

        Of series with ids as many horizons, one after the other.
        """
        held = self._held(data)
        values = self._ahead(held.panel).values
        return values[:, 0] if held.flat else values

    def _ahead(self, panel: Panel, quantiles: Sequence[float] | None = None) -> Forecast:
        levels = () if quantiles is None else checked_levels(quantiles)
        w = self.windowing_
        last = self._last_windows(panel)
        values = forecast_windows(self.runtime_, last)  # [G, horizon, C]
        times = np.concatenate([one.future_times(w.horizon) for one in panel.series])
        ahead = Forecast(times, w.names, _rows_of(values))
        if levels:
            known = need_quantiles(self.error_quantiles_, self.provenance_)
            spread = known.at(levels)[:, None] * spreads(known, last)
            told = np.stack([_rows_of(one) for one in values + spread])
            ahead = replace(ahead, levels=levels, quantiles=told)
        if panel.id_name is not None:
            ahead = replace(ahead, ids=tuple(i for i in panel.ids for _ in range(w.horizon)))
        return ahead

    def _last_windows(self, panel: Panel) -> Windows:
        """The last rows of each series, as many as the context.

        Raises InputError for fewer rows of a series without an id, for missing values, and where
        what must be known of the horizon is not.
        """
        w = self.windowing_
        if panel.id_name is None and len(panel.first) < w.context:
            raise InputError(
                f"expected at least {w.context} rows, the context that is read, got "
                f"{len(panel.first)}; give more rows, or train with a shorter context"
            )
        # a gap at the beginning of a context is filled with what stands before it
        least = [len(one) if one.gaps else max(w.context, w.season) for one in panel.series]
        tails = [
            one.rows(max(len(one) - rows, 0), len(one))
            for one, rows in zip(panel.series, least, strict=True)
        ]
        for one, name in zip(tails, panel.ids, strict=True):
            need_finite(one.rows(max(len(one) - w.context, 0), len(one)))
            need_known(one, w, name)
        lengths = [len(one) for one in tails]
        stack = self._stack(replace(panel, series=tuple(tails)), lengths)
        return Windows(w, stack.rows, stack.zero + np.array(lengths) - w.context)

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        panel, w = self._held(x).panel.alone(0), self.windowing_
        series, last = panel.first, self._last_windows(panel)
        read = last.inputs(np.arange(w.rows_per_window)).swapaxes(0, 1)
        names = w.names if w.rows_per_window > 1 else ("",)
        every = np.concatenate([series.times, series.future_times(w.horizon)])
        begins = len(series) - w.context + w.segment * np.arange(w.steps)
        steps = series.style.write(every[begins.clip(min=0)])
        return dict(zip(names, read, strict=True)), [str(step) for step in steps]

    def _questions(self, read: dict[str, np.ndarray], steps: list[str]) -> list[Question]:  # noqa: ARG002
        return questions_of(self.runtime_, read, self._output_names(), by_step=False)

    def _output_names(self) -> list[str]:
        w = self.windowing_
        series = w.names if w.rows_per_window == 1 else ("",)
        return [f"{one} +{h + 1}".strip() for one in series for h in range(w.horizon)]

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.number_streams import ForecastStream

        self.windowing_.need_past_alone()
        return ForecastStream(network, batch_size, self.windowing_)

    def spans(self, panel: Panel) -> list[tuple[int, int]]:
        """Ends of training and validation of each series, as rows.  Raises InputError."""
        return spans_of(self, panel, horizon_of(self, panel))

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
        return {"scaling": scaling_of(self)}

    def _restore(self, model: ModelFile) -> None:
        for name, value in scaling_in(model).items():
            setattr(self, name, value)


def _starts(
    stack: Stack, spans: Sequence[tuple[int, int]], option: str | None = None
) -> np.ndarray:
    """All windows whose targets lie in the spans; ``option``: which one to name where none does."""
    try:
        return stack.starts(spans)
    except InputError as e:
        raise InputError(str(e), option=option) from e


def _rows_of(values: np.ndarray) -> np.ndarray:
    """Forecasts [G, horizon, C], one after the other, [G * horizon, C]."""
    return values.reshape(-1, values.shape[-1])


def _learned_statics(panel: Panel) -> Conditions | None:
    if not panel.statics:
        return None
    try:
        return Conditions.learn(panel.statics)
    except InputError as e:
        raise InputError(str(e).removeprefix("conditions: "), option="static") from None

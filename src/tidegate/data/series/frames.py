"""Time series as their owners hold them: frames of pandas and polars, arrays, lists; and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tidegate.data.series.columns import floats_of, listed, numbers_in, opened
from tidegate.data.series.series import Series
from tidegate.data.times.frames import Axis, column_axis, index_axis, looks_like_times
from tidegate.data.times.grid import Step, step_to_json
from tidegate.errors import InputError, shown

__all__ = ["Forecast", "Held", "held_series"]


@dataclass(frozen=True, eq=False)
class Forecast:
    """What comes next: times [horizon], names of the series, values [horizon, C] in their units.

    ``quantiles`` [levels, horizon, C]: of each of the ``levels``, if any were asked for, what stays
    above the value with that probability.
    """

    times: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    levels: tuple[float, ...] = ()
    quantiles: np.ndarray | None = None

    def columns(self) -> dict[str, np.ndarray]:
        """Each series' forecast [horizon] by its name, and behind it its quantiles: ``OT q0.1``.

        Raises InputError where a series has such a name.
        """
        found = {}
        for c, name in enumerate(self.names):
            found[name] = self.values[:, c]
            if self.quantiles is not None:
                for level, values in zip(self.levels, self.quantiles, strict=True):
                    found[f"{name} q{level:g}"] = values[:, c]
        if len(found) < len(self.names) * (1 + len(self.levels)):
            problem = "expected names for the quantiles that no series has, got one such as "
            problem += next(n for n in self.names if any(n == f"{o} q{q:g}" for o in self.names
                                                         for q in self.levels))  # fmt: skip
            raise InputError(f"{problem}; rename that series and train again", option="quantiles")
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """A user's data as a series.

    ``timed``: whether the data tell the time of a row; an array's rows are only numbered, from 0.
    ``named``: whether they name the series.  ``flat``: one series, held in one dimension.
    ``time_column`` is the column that holds the times, if one does.  ``give_back`` makes of a
    forecast what the data are: a frame or a Series of the same library, else the forecast itself.
    """

    series: Series
    timed: bool
    named: bool = True
    flat: bool = False
    time_column: str | None = None
    give_back: Callable[[Forecast], Any]

    def as_in_training(
        self, names: tuple[str, ...], covariate_names: tuple[str, ...], step: Step
    ) -> Held:
        """The same, with the names of the training where the data have none.

        Raises InputError for other series, covariates or another step than those of the training.
        """
        series = self.series
        if not self.named and {*names, *covariate_names} <= set(series.names):  # an array's columns
            values, covariates = (
                np.ascontiguousarray(series.values[:, [series.names.index(n) for n in some]])
                for some in (names, covariate_names)
            )
            series = replace(
                series,
                names=names,
                values=values,
                covariate_names=covariate_names,
                covariates=covariates,
            )
        elif not self.named and not covariate_names and len(series.names) == len(names):
            series = replace(series, names=names)
        for what, expected, got in (
            ("series", names, series.names),
            ("covariates", covariate_names, series.covariate_names),
        ):
            if expected != got:
                raise InputError(
                    f"expected the {what} it was trained on, {', '.join(expected) or 'none'}, in "
                    f"this order, got {', '.join(got) or 'none'}; give the same columns"
                )
        if self.timed and step_to_json(step) != step_to_json(series.step):
            raise InputError(
                f"expected rows {step_to_json(step)} apart, as in training, got "
                f"{step_to_json(series.step)}; bring them to that step, or train on rows like these"
            )
        return replace(self, series=series)


def held_series(
    data: Any,
    *,
    time: str | None = None,
    target: Any = None,
    covariate: Any = (),
) -> Held:
    """The series in a Series, a data frame, a column or an array [N] or [N, C].

    ``time`` names the column of the times; by default they are the frame's index, or the only
    column of times.  ``target`` and ``covariate`` name one column or several, by default all that
    is left and none; an array's columns are numbered from 0.  Raises InputError.
    """
    if isinstance(data, Series):
        return Held(series=data, timed=True, give_back=lambda forecast: forecast)
    data = opened(data)
    if hasattr(data, "to_native") and not len(data):
        raise InputError("expected rows, one for each time, got none; add some")
    if hasattr(data, "get_column"):
        return _of_frame(data, time, target, covariate)
    if hasattr(data, "to_native"):
        return _of_column(data)
    return _of_array(data, time, target, covariate)


def _of_array(data: Any, time: str | None, target: Any, covariate: Any) -> Held:
    if time is not None:
        raise InputError(
            f"time: expected none for {type(data).__name__}, which names no columns, got {time!r}; "
            "give a data frame"
        )
    try:
        values = floats_of(data)
        if values.ndim == 0:
            raise TypeError
    except (TypeError, ValueError):
        raise InputError(
            "expected a data frame, a Series, or numbers [N] or [N, series], got "
            f"{type(data).__name__} {shown(data, 40)}; make it one of these"
        ) from None
    flat = values.ndim == 1
    table = values[:, None] if flat else values
    if table.ndim != 2:
        raise InputError(
            f"expected numbers [N] or [N, series], got shape {list(values.shape)}; "
            "give one series per column"
        )
    names = ["value"] if flat else [f"value_{i}" for i in range(table.shape[1])]
    chosen = [names.index(n) for n in _chosen(target, names, covariate, "target")]
    extra = [names.index(n) for n in _chosen(covariate, names, (), "covariate")]
    series = Series.of(
        np.arange(len(table)),
        np.ascontiguousarray(table[:, chosen]),
        names=[names[i] for i in chosen],
        covariates=np.ascontiguousarray(table[:, extra]) if extra else None,
        covariate_names=[names[i] for i in extra] if extra else None,
    )
    return Held(
        series=series, timed=False, named=False, flat=flat, give_back=lambda forecast: forecast
    )


def _of_column(column: Any) -> Held:
    """A Series of pandas, with its index, or of polars, without times."""
    import narwhals as nw

    name = column.name
    axis = index_axis(column)
    values = numbers_in(column, "value" if name is None else str(name))
    times = np.arange(len(values)) if axis is None else axis.times
    series = Series.of(times, values, names=["value" if name is None else str(name)])

    def give_back(forecast: Forecast) -> Any:
        if forecast.levels:  # a frame, with a column for each quantile
            made = nw.from_dict(forecast.columns(), backend=column.implementation).to_native()
            return made if axis is None else made.set_index(axis.continued(forecast.times))
        if axis is None:
            made = nw.new_series(name or "", forecast.values[:, 0], backend=column.implementation)
            return made.to_native()
        return type(column.to_native())(
            forecast.values[:, 0], index=axis.continued(forecast.times), name=name
        )

    return Held(series=series, timed=axis is not None, named=False, flat=True, give_back=give_back)


def _of_frame(frame: Any, time: str | None, target: Any, covariate: Any) -> Held:
    labels = {str(label): label for label in frame.columns}
    if len(labels) < len(frame.columns):
        raise InputError(
            f"expected columns of different names, got {listed(frame.columns)}; rename some"
        )
    wanted = [*_as_names(target), *_as_names(covariate)]
    time_column = _time_column(frame, labels, time, wanted)
    if time_column is not None:
        axis = column_axis(frame.get_column(labels[time_column]))
    else:
        axis = index_axis(frame)
    others = [name for name in labels if name != time_column]
    covariates = _chosen(covariate, others, (), "covariate")
    targets = _chosen(target, others, covariates, "target")
    columns = {n: numbers_in(frame.get_column(labels[n]), n) for n in [*targets, *covariates]}
    series = Series.of(
        np.arange(len(frame)) if axis is None else axis.times,
        np.stack([columns[name] for name in targets], axis=1),
        names=targets,
        covariates=np.stack([columns[n] for n in covariates], axis=1) if covariates else None,
        covariate_names=covariates or None,
    )

    if axis is not None:
        series = replace(series, style=axis.style)

    def give_back(forecast: Forecast) -> Any:
        return _frame_of(frame, labels, time_column, axis, forecast)

    return Held(series=series, timed=axis is not None, time_column=time_column, give_back=give_back)


def _frame_of(
    frame: Any, labels: dict[str, Any], time_column: str | None, axis: Axis | None, ahead: Forecast
) -> Any:
    """The forecast as a frame of the library of ``frame``."""
    kind: Any = type(frame.to_native())
    kind = getattr(kind, "from_pydict", kind)  # of pyarrow
    columns = {labels.get(name, name): values for name, values in ahead.columns().items()}
    if time_column is not None:
        assert axis is not None
        columns = {labels[time_column]: axis.continued(ahead.times), **columns}
    elif axis is not None:
        return kind(columns, index=axis.continued(ahead.times))
    return kind(columns)


def _time_column(
    frame: Any, labels: dict[str, Any], time: str | None, wanted: Sequence[Any]
) -> str | None:
    """The column of the times; None where there is none, or the index holds them."""
    if time is not None:
        if str(time) not in labels:
            problem = f"time: expected one of {listed(labels)}, got {time!r}"
            raise InputError(f"{problem}; name one of these columns")
        return str(time)
    index = index_axis(frame)
    if index is not None and not index.numbered:
        return None
    found = [
        name
        for name, label in labels.items()
        if name not in wanted and label not in wanted and looks_like_times(frame.get_column(label))
    ]
    if len(found) > 1:
        raise InputError(
            f"expected one column of times, got {listed(found)}; name it: time={found[0]!r}"
        )
    return found[0] if found else None


def _chosen(asked: Any, names: Sequence[str], without: Any, what: str) -> list[str]:
    """The names that are asked for, by name or number, or else all but those ``without``."""
    if asked is None:
        left_out = set(_chosen(without, names, (), what))
        left = [name for name in names if name not in left_out]
        if not left:
            raise InputError(f"{what}: expected a column to forecast, got none; add one")
        return left
    found = []
    for name in _as_names(asked):
        if str(name) in names:
            found.append(str(name))
        elif isinstance(name, int) and 0 <= name < len(names):
            found.append(names[name])
        else:
            problem = f"{what}: expected some of {listed(names)}, got {name!r}"
            raise InputError(f"{problem}; name some of these")
    return found


def _as_names(asked: Any) -> list[Any]:
    if asked is None:
        return []
    return list(asked) if isinstance(asked, list | tuple) else [asked]

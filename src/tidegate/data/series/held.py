"""A user's data as series, and what is given back for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tidegate.data.series.panel import Panel
from tidegate.data.series.series import Series
from tidegate.data.times.grid import Spacing, Uneven, step_to_json
from tidegate.errors import InputError

__all__ = ["Forecast", "Held"]


@dataclass(frozen=True, eq=False)
class Forecast:
    """What comes next: times [horizon], names of the series, values [horizon, C] in their units.

    ``quantiles`` [levels, horizon, C]: of each of the ``levels``, if any were asked for, what stays
    above the value with that probability.  Of several series with ids, ``ids`` are those of the
    rows, which are as many horizons, one series after the other.
    """

    times: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    levels: tuple[float, ...] = ()
    quantiles: np.ndarray | None = None
    ids: tuple[Any, ...] | None = None

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
    """A user's data as series.

    ``timed``: whether the data tell the time of a row; an array's rows are only numbered, from 0.
    ``named``: whether they name the series.  ``flat``: one series, held in one dimension.
    ``time_column`` is the column, or pandas' named index, that holds the times, if one does;
    ``every`` the step to which rows at irregular times were brought.  ``give_back`` makes of a
    forecast what the data are: a frame or a Series of the same library, else the forecast itself.
    """

    panel: Panel
    timed: bool
    named: bool = True
    flat: bool = False
    time_column: str | None = None
    every: str | None = None
    give_back: Callable[[Forecast], Any]

    @property
    def series(self) -> Series:
        """The only series, or the first of several."""
        return self.panel.first

    def as_in_training(
        self,
        names: tuple[str, ...],
        covariate_names: tuple[str, ...],
        step: Spacing,
        known_names: tuple[str, ...] = (),
    ) -> Held:
        """The same, with the names of the training where the data have none.

        Raises InputError for other series, covariates or another step than those of the training.
        """
        wanted = names, covariate_names, known_names
        series = [one if self.named else _named(one, *wanted) for one in self.panel.series]
        first = series[0]
        for what, expected, got in (
            ("series", names, first.names),
            ("covariates", covariate_names, first.covariate_names),
            ("known covariates", known_names, first.known_names),
        ):
            if expected != got:
                raise InputError(
                    f"expected the {what} it was trained on, {', '.join(expected) or 'none'}, in "
                    f"this order, got {', '.join(got) or 'none'}; give the same columns"
                )
        if isinstance(step, Uneven) and first.step != step:
            raise InputError(
                f"expected {step_to_json(step)} as times, as in training, got others; give such"
            )
        if self.timed and step_to_json(step) != step_to_json(first.step):
            raise InputError(
                f"expected rows {step_to_json(step)} apart, as in training, got "
                f"{step_to_json(first.step)}; bring them to that step, or train on rows like these"
            )
        return replace(self, panel=replace(self.panel, series=tuple(series)))


def _named(
    series: Series,
    names: tuple[str, ...],
    covariate_names: tuple[str, ...],
    known_names: tuple[str, ...],
) -> Series:
    """The series of an array with these names for its columns, as far as they can be told."""
    if {*names, *covariate_names, *known_names} <= set(series.names):  # an array's columns
        values, covariates, known = (
            np.ascontiguousarray(series.values[:, [series.names.index(n) for n in some]])
            for some in (names, covariate_names, known_names)
        )
        made = replace(
            series,
            names=names,
            values=values,
            covariate_names=covariate_names,
            covariates=covariates,
            known_names=known_names,
            known=known if known_names else None,
        )
        return made.without_future()
    told = series.covariate_names, series.known_names
    if (covariate_names, known_names) == told and len(series.names) == len(names):
        return replace(series, names=names)
    return series

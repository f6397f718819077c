"""What a forecasting network reads and writes: windows of series, scaled, anchored and segmented.

A window is ``context`` past rows and ``horizon`` future ones.  Values are scaled by the training
span; with anchoring, the last known value of each series is subtracted from its whole window, so
that the network forecasts changes and an output of zero is the naive forecast.  With a scale of its
own, a window is divided by the standard deviation of its context (without anchoring, which takes
off the last value, its mean is taken off: Kim et al. 2022, RevIN, ICLR), so that series of any
size, and such that training has not seen, are read alike.  ``segment`` consecutive values make one
recurrent step (Lin et al. 2023, SegRNN, arXiv:2308.11200).  What is known of the horizon beforehand
is read in further steps, in which all else is 0.

In a model file ``to_json`` gives every field; those that have a default are there just where they
differ from it, but for ``longer_seasons``, which always is.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np

from tidegate.data.series.scaling import Scaler
from tidegate.data.series.series import ELAPSED
from tidegate.data.times.calendar import CALENDAR, calendar_size
from tidegate.data.times.grid import Spacing, step_from_json, step_to_json
from tidegate.errors import InputError, shown, spelled

_MOST_STEPS = 2**31  # of context, horizon, season and segment
_MOST_STATICS = 2**16


@dataclass(frozen=True, kw_only=True, eq=False)
class Windowing:
    """How series become inputs and outputs become forecasts; everything the model file needs.

    ``joint``: a row of a batch is a window of all C series together; otherwise a window of one
    series, and the network is shared.  ``covariate_scaler`` is None just without covariates.
    ``longer_seasons``: of several of the first one, ascending; what else the series repeats after.
    ``own_scale``: each window is divided by the deviation of its context.  ``known_names``, scaled
    by ``known_scaler``, and parts of the ``calendar`` are known of the horizon, too.
    ``static_size`` numbers are told of each series.
    """

    names: tuple[str, ...]
    covariate_names: tuple[str, ...]
    step: Spacing
    context: int
    horizon: int
    season: int
    segment: int
    joint: bool
    anchored: bool
    scaler: Scaler
    covariate_scaler: Scaler | None
    longer_seasons: tuple[int, ...] = ()
    own_scale: bool = False
    known_names: tuple[str, ...] = ()
    known_scaler: Scaler | None = None
    calendar: tuple[str, ...] = ()
    static_size: int = 0

    @property
    def rows_per_window(self) -> int:
        return 1 if self.joint else len(self.names)

    @property
    def input_size(self) -> int:
        """Values that one recurrent step reads."""
        series = len(self.names) // self.rows_per_window
        of_rows = series + len(self.covariate_names) + self.known_size
        return self.segment * of_rows + self.static_size

    @property
    def known_size(self) -> int:
        """Numbers that are known of a row before it comes."""
        return len(self.known_names) + calendar_size(self.calendar)

    def need_past_alone(self) -> None:
        """Raise InputError where more is read than past rows: what is told beside them."""
        told = {
            "known": any(name != ELAPSED for name in self.known_names),
            "elapsed": ELAPSED in self.known_names,
            "calendar": bool(self.calendar),
            "static": bool(self.static_size),
        }
        if read := [spelled(name) for name, is_told in told.items() if is_told]:
            raise InputError(
                "expected a model that reads past rows alone, got one that is told more, of the "
                "horizon or of whole series; forecast from all rows so far, or train without "
                f"{' and '.join(read)}"
            )

    @property
    def steps_ahead(self) -> int:
        """Recurrent steps that read the horizon; 0 where nothing is known of it."""
        return -(-self.horizon // self.segment) if self.known_size else 0

    @property
    def steps(self) -> int:
        """Recurrent steps of a window."""
        return self.context // self.segment + self.steps_ahead

    @property
    def output_size(self) -> int:
        return self.horizon * len(self.names) // self.rows_per_window

    def said(self) -> str:
        """What training says of it at its start."""
        season = f"season: {self.season} rows" if self.season > 1 else "season: none found"
        if self.longer_seasons:
            season += f"; also {', '.join(map(str, self.longer_seasons))}"
        return f"{season}; a forecast of {self.horizon} rows reads {self.context}"

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Where a window's inputs, step after step, hold past values, [series, len(rows)].

        rows: of the context, 0 to context - 1; the series are those of one row of a batch.
        """
        series = np.arange(len(self.names) // self.rows_per_window)[:, None]
        step, within = np.divmod(rows, self.segment)
        return step * self.input_size + series * self.segment + within

    def to_json(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values = {name: v for name, v in values.items() if v or name not in _ADDED}
        told = {
            "names": list(self.names),
            "covariate_names": list(self.covariate_names),
            "step": step_to_json(self.step),
            "scaler": self.scaler.to_json(),
            "covariate_scaler": _told(self.covariate_scaler),
            "longer_seasons": list(self.longer_seasons),
            "known_names": list(self.known_names),
            "known_scaler": _told(self.known_scaler),
            "calendar": list(self.calendar),
        }
        return {name: told.get(name, value) for name, value in values.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Windowing:
        """What ``to_json`` gave.  Raises ValueError for keys, types or sizes out of schema."""
        keys = {f.name for f in fields(cls)}
        if not keys - _ADDED <= set(values) <= keys:
            raise ValueError(f"scaling: got or missed {sorted(set(values) ^ keys - _ADDED)}")
        values = _ABSENT | values
        for key in ("context", "horizon", "season", "segment"):
            if type(values[key]) is not int or not 1 <= values[key] <= _MOST_STEPS:
                raise ValueError(f"{key}: expected a whole number from 1, got {values[key]!r}")
        if values["context"] % values["segment"]:
            raise ValueError(f"segment: expected a divisor of the context {values['context']}")
        for key in ("joint", "anchored", "own_scale"):
            if type(values[key]) is not bool:
                raise ValueError(f"{key}: expected true or false, got {values[key]!r}")
        longer = values["longer_seasons"]
        if not isinstance(longer, list) or any(type(season) is not int for season in longer):
            raise ValueError(f"longer_seasons: expected whole numbers, got {shown(longer)}")
        ascending = [values["season"], *longer, _MOST_STEPS]
        if any(later <= one for one, later in pairwise(ascending)):
            raise ValueError(f"longer_seasons: expected ever longer ones, got {shown(longer)}")
        names, covariate_names = _names(values["names"]), _names(values["covariate_names"])
        known_names, calendar = _names(values["known_names"]), _names(values["calendar"])
        if not names or not set(calendar) <= set(CALENDAR):
            raise ValueError("names: expected one series or more, and known parts of the calendar")
        scaler = _scaler(values["scaler"], names)
        if (
            type(values["static_size"]) is not int
            or not 0 <= values["static_size"] <= _MOST_STATICS
        ):
            raise ValueError(f"static_size: expected 0 to {_MOST_STATICS}")
        read = {
            "names": names,
            "covariate_names": covariate_names,
            "step": step_from_json(values["step"]),
            "scaler": scaler,
            "longer_seasons": tuple(longer),
            "covariate_scaler": _scaler(values["covariate_scaler"], covariate_names),
            "known_names": known_names,
            "known_scaler": _scaler(values["known_scaler"], known_names),
            "calendar": calendar,
        }
        return cls(**values | read)


# Fields that files of before they came do not have, and others just where they say something.
_ABSENT: dict[str, Any] = {
    "own_scale": False,
    "known_names": [],
    "known_scaler": None,
    "calendar": [],
    "static_size": 0,
}
_ADDED = frozenset(_ABSENT)


def choose_context(
    rows: int, horizon: int, season: int, unit: int | None = None, longest: int = 1
) -> int:
    """Rows to read where a training span has ``rows``: whole seasons, or multiples of ``unit``.

    14 seasons of up to 1024 rows in all, and the ``longest`` season at least; two horizons where
    there is no season; a quarter of the span at most.  The longest season, which the rows
    themselves have shown, and the horizon may take a half: a forecast that does not see it loses
    more than one that has fewer windows to learn from.  Of hours 14 seasons are the 336 rows that
    linear maps and Transformers read for every horizon (Zeng et al. 2023, Nie et al. 2023).
    """
    most = max(1, rows // 4)
    if most < longest <= rows // 2 - horizon:
        most = rows // 2 - horizon
        enough = longest
    else:
        enough = min(14 * season, 1024) if season > 1 else max(14, 2 * horizon)
    wanted = min(max(enough, longest), most)
    unit = unit or (season if season <= most else 1)
    whole = max(wanted // unit, 1) * unit
    return whole + unit if whole < longest and whole + unit <= most else whole


def choose_segment(context: int, season: int) -> int:
    """The largest part of a season, dividing the context, that leaves 12 or more steps."""
    common = gcd(context, season) if season > 1 else context
    parts = [d for d in range(1, common + 1) if common % d == 0 and context // d >= 12]
    return max(parts, default=1)


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ValueError(f"expected a list of names, got {values!r}")
    if len(set(values)) != len(values):
        raise ValueError(f"expected different names, got {values!r}")
    return tuple(values)


def _told(scaler: Scaler | None) -> dict[str, Any] | None:
    return None if scaler is None else scaler.to_json()


def _scaler(values: Any, names: tuple[str, ...]) -> Scaler | None:
    """The scaler of names; None of none."""
    if not names:
        if values is not None:
            raise ValueError("scaler: expected none where there is nothing to scale")
        return None
    scaler = Scaler.from_json(values)
    if len(scaler.mean) != len(names):
        raise ValueError(f"expected a scale per name, {len(names)}, got {len(scaler.mean)}")
    return scaler

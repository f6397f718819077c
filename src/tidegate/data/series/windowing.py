"""What a forecasting network reads and writes: windows of series, scaled, anchored and segmented.

A window is ``context`` past rows and ``horizon`` future ones.  Values are scaled by the training
span; with anchoring, the last known value of each series is subtracted from its whole window, so
that the network forecasts changes and an output of zero is the naive forecast.  ``segment``
consecutive values make one recurrent step (Lin et al. 2023, SegRNN, arXiv:2308.11200).
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, fields
from itertools import pairwise
from math import gcd
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tidegate.data.series.scaling import Scaler
from tidegate.data.times.grid import Step, step_from_json, step_to_json
from tidegate.errors import InputError, shown

_MOST_STEPS = 2**31  # of context, horizon, season and segment


@dataclass(frozen=True, kw_only=True, eq=False)
class Windowing:
    """How series become inputs and outputs become forecasts; everything the model file needs.

    ``joint``: a row of a batch is a window of all C series together; otherwise a window of one
    series, and the network is shared.  ``covariate_scaler`` is None just without covariates.
    ``longer_seasons``: of several of the first one, ascending; what else the series repeats after.
    """

    names: tuple[str, ...]
    covariate_names: tuple[str, ...]
    step: Step
    context: int
    horizon: int
    season: int
    segment: int
    joint: bool
    anchored: bool
    scaler: Scaler
    covariate_scaler: Scaler | None
    longer_seasons: tuple[int, ...] = ()

    @property
    def rows_per_window(self) -> int:
        return 1 if self.joint else len(self.names)

    @property
    def input_size(self) -> int:
        """Values that one recurrent step reads."""
        series = len(self.names) // self.rows_per_window
        return self.segment * (series + len(self.covariate_names))

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
        covariates = self.covariate_scaler
        return values | {
            "names": list(self.names),
            "covariate_names": list(self.covariate_names),
            "step": step_to_json(self.step),
            "scaler": self.scaler.to_json(),
            "covariate_scaler": None if covariates is None else covariates.to_json(),
            "longer_seasons": list(self.longer_seasons),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Windowing:
        """What ``to_json`` gave.  Raises ValueError for keys, types or sizes out of schema."""
        keys = {f.name for f in fields(cls)}
        if set(values) != keys:
            raise ValueError(f"scaling: got or missed {sorted(set(values) ^ keys)}")
        for key in ("context", "horizon", "season", "segment"):
            if type(values[key]) is not int or not 1 <= values[key] <= _MOST_STEPS:
                raise ValueError(f"{key}: expected a whole number from 1, got {values[key]!r}")
        if values["context"] % values["segment"]:
            raise ValueError(f"segment: expected a divisor of the context {values['context']}")
        for key in ("joint", "anchored"):
            if type(values[key]) is not bool:
                raise ValueError(f"{key}: expected true or false, got {values[key]!r}")
        longer = values["longer_seasons"]
        if not isinstance(longer, list) or any(type(season) is not int for season in longer):
            raise ValueError(f"longer_seasons: expected whole numbers, got {shown(longer)}")
        ascending = [values["season"], *longer, _MOST_STEPS]
        if any(later <= one for one, later in pairwise(ascending)):
            raise ValueError(f"longer_seasons: expected ever longer ones, got {shown(longer)}")
        names, covariate_names = _names(values["names"]), _names(values["covariate_names"])
        covariates = values["covariate_scaler"]
        if not names or (covariates is None) != (not covariate_names):
            raise ValueError("names: expected one series or more, and scaled covariates if any")
        scaler = _scaler(values["scaler"], names)
        read = {
            "names": names,
            "covariate_names": covariate_names,
            "step": step_from_json(values["step"]),
            "scaler": scaler,
            "longer_seasons": tuple(longer),
            "covariate_scaler": None
            if not covariate_names
            else _scaler(covariates, covariate_names),
        }
        return cls(**values | read)


class Rows(Protocol):
    """What windows are cut from; a `Series` is such."""

    @property
    def values(self) -> np.ndarray: ...  # float64 [N, C]

    @property
    def covariates(self) -> np.ndarray: ...  # float64 [N, K]


class Windows:
    """The windows of ``series`` that begin at ``starts`` (rows), as rows of inputs and targets.

    Window ``i`` has the rows ``i * rows_per_window`` and following, one per series unless joint.
    Only views are kept: a batch copies what it needs.
    """

    def __init__(self, windowing: Windowing, series: Rows, starts: np.ndarray) -> None:
        self.windowing, self.starts = windowing, starts
        # float64 until the last known value is taken off: of 1234567890.5, which a meter may read,
        # float32 keeps multiples of 128, while its rows differ by less than one
        self.values = windowing.scaler.transform(series.values)  # [N, C]
        covariates = series.covariates  # [N, K]
        if windowing.covariate_scaler is not None:
            covariates = windowing.covariate_scaler.transform(covariates)
        self.covariates = covariates.astype(np.float32)
        # by length: making such a view takes longer than reading a batch through it
        self._pieces: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.starts) * self.windowing.rows_per_window

    def at(self, starts: np.ndarray) -> Windows:
        """The windows of the same rows that begin at ``starts``."""
        others = copy(self)
        others.starts = starts
        return others

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """What the network reads, float32 [T, B, input_size]; T = context / segment."""
        w = self.windowing
        past = self._of_series(rows, 0, w.context) - self._anchors(rows)
        past = _segments(past.astype(np.float32), w.segment)
        if not w.covariate_names:
            return past
        known = _pieces(self.covariates, w.context)[self._starts(rows)]
        return np.concatenate([past, _segments(known, w.segment)], axis=2)

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """What it should put out, float32 [B, output_size]."""
        w = self.windowing
        future = self._of_series(rows, w.context, w.horizon) - self._anchors(rows)
        return future.astype(np.float32).reshape(len(rows), -1)

    def forecasts(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs for all rows, [rows, output_size], in original units: [windows, horizon, C]."""
        w = self.windowing
        rows = np.arange(len(outputs))
        scaled = outputs.astype(np.float64).reshape(len(rows), -1, w.horizon) + self._anchors(rows)
        scaled = scaled.reshape(len(self.starts), len(w.names), w.horizon)
        return w.scaler.inverse(scaled.transpose(0, 2, 1))

    def _starts(self, rows: np.ndarray) -> np.ndarray:
        return self.starts[rows // self.windowing.rows_per_window]

    def _of_series(self, rows: np.ndarray, offset: int, length: int) -> np.ndarray:
        """[B, C, length] if joint, else [B, 1, length]: ``length`` values from ``offset`` on."""
        pieces = self._pieces.get(length)
        if pieces is None:
            pieces = self._pieces[length] = _pieces(self.values, length)
        starts = self._starts(rows) + offset
        if self.windowing.joint:
            return pieces[starts]
        return pieces[starts, rows % len(self.windowing.names), None]

    def _anchors(self, rows: np.ndarray) -> np.ndarray | float:
        """The last known values, [B, C or 1, 1]."""
        w = self.windowing
        if not w.anchored:
            return 0.0
        last = self._starts(rows) + w.context - 1
        if w.joint:
            return self.values[last, :, None]
        return self.values[last, rows % len(w.names), None, None]


def windows(
    values: np.ndarray, context: int, horizon: int, first_target: int, last_target: int
) -> np.ndarray:
    """First rows, int64, of all windows of values [N, C] whose targets lie in the given rows.

    A window that starts at row s sees rows [s, s + context) and is asked for rows
    [s + context, s + context + horizon), all of them within [first_target, last_target); what it
    sees may lie before.  Raises InputError where no window fits.
    """
    if context < 1 or horizon < 1:
        problem = f"expected context and horizon of 1 or more, got {context} and {horizon}"
        raise InputError(f"{problem}; raise them")
    first = max(first_target - context, 0)
    last = min(last_target, len(values)) - horizon - context
    if last < first:
        raise InputError(_no_room(context, horizon, first_target, min(last_target, len(values))))
    return np.arange(first, last + 1, dtype=np.int64)


def _no_room(context: int, horizon: int, first_target: int, end: int) -> str:
    """What is wrong where no window fits before row ``end``, and what helps."""
    if first_target <= context:  # what is seen begins with the first row
        problem = f"expected {context + horizon} rows or more, {context} of context and {horizon} "
        problem += f"of horizon, got {end}; give more rows"
        if end > horizon:
            return f"{problem}, or a context of {end - horizon} or less"
        return f"{problem}, or a horizon below {end}" if end > 1 else problem
    problem = f"expected {horizon} rows or more to forecast, the horizon, got {end - first_target}"
    problem += f" (row {first_target} to {end}); give more rows"
    if end > first_target:
        problem += f", or a horizon of {end - first_target} or less"
    return f"{problem}, or let them begin at row {end - horizon}" if end > horizon else problem


def window_rows(values: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Rows [s, s + length) of values [N, C] for every start s: [len(starts), length, C]."""
    return values[np.asarray(starts)[:, None] + np.arange(length)]


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


def _pieces(values: np.ndarray, length: int) -> np.ndarray:
    """All pieces of values [N, C], a view [N - length + 1, C, length]."""
    return sliding_window_view(values, length, axis=0)


def _segments(past: np.ndarray, segment: int) -> np.ndarray:
    """[B, C, context] as steps [T, B, C * segment]."""
    batch, channels, context = past.shape
    steps = past.reshape(batch, channels, context // segment, segment)
    return steps.transpose(2, 0, 1, 3).reshape(context // segment, batch, channels * segment)


def _names(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ValueError(f"expected a list of names, got {values!r}")
    if len(set(values)) != len(values):
        raise ValueError(f"expected different names, got {values!r}")
    return tuple(values)


def _scaler(values: Any, names: tuple[str, ...]) -> Scaler:
    scaler = Scaler.from_json(values)
    if len(scaler.mean) != len(names):
        raise ValueError(f"expected a scale per name, {len(names)}, got {len(scaler.mean)}")
    return scaler

"""Windows of series, cut from their rows: what a forecasting network reads and what it is asked.

Where values are missing, the last known one is read, before the first one the first.  What is
missing is no target: it is NaN there, and neither learned from nor judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tidegate.data.series.series import filled
from tidegate.data.series.windowing import Windowing
from tidegate.errors import InputError

__all__ = ["FLAT_CONTEXT", "Rows", "Windows", "no_room", "window_rows", "windows"]

_AT_ONCE = 4096  # rows of windows, which bounds memory
FLAT_CONTEXT = 1e-12  # of the largest value: a deviation below it is rounding
_FAR = 100.0  # deviations of the context: a window that goes on beyond would outweigh all others
_CALMEST = 0.01  # deviations of the training rows
_KNOWN = 0.5  # share of a window's targets from which on it is learned from


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one series, or of G series one below the other, from which windows are cut.

    ``values`` float64 [N, C] and ``covariates`` [N, K] in their units, NaN where one is missing;
    ``known`` float32 [N, L], scaled: what is known of a row before it comes; ``first`` int64 [G]:
    the rows with which series begin; ``statics`` float32 [G, S]: what is told of each series.
    """

    values: np.ndarray
    covariates: np.ndarray
    known: np.ndarray | None = None
    first: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    statics: np.ndarray | None = None

    @cached_property
    def filled(self) -> np.ndarray:
        """The values, where some are missing the last known ones."""
        return filled(self.values, self.first)

    def series_of(self, rows: np.ndarray) -> np.ndarray:
        """The series, 0 to G - 1, that each of ``rows`` belongs to."""
        return np.searchsorted(self.first, rows, side="right") - 1


class Windows:
    """The windows of ``rows`` that begin at ``starts``, as rows of inputs and targets.

    No window may reach from one series into the next.  Window ``i`` has the rows
    ``i * rows_per_window`` and following, one per column unless joint.  Only views are kept: a
    batch copies what it needs.
    """

    def __init__(self, windowing: Windowing, rows: Rows, starts: np.ndarray) -> None:
        self.windowing, self.rows, self.starts = windowing, rows, starts
        # float64 until the last known value is taken off: of 1234567890.5, which a meter may read,
        # float32 keeps multiples of 128, while its rows differ by less than one
        self.values = self.truth = windowing.scaler.transform(rows.values)  # [N, C]
        if rows.filled is not rows.values:
            self.values = windowing.scaler.transform(rows.filled)
        covariates = rows.covariates  # [N, K]
        if windowing.covariate_scaler is not None:
            covariates = filled(windowing.covariate_scaler.transform(covariates), rows.first)
        self.covariates = covariates.astype(np.float32)
        # by length: making such a view takes longer than reading a batch through it
        self._pieces: dict[tuple[str, int], np.ndarray] = {}
        self._answered: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts) * self.windowing.rows_per_window

    def at(self, starts: np.ndarray) -> Windows:
        """The windows of the same rows that begin at ``starts``."""
        others = copy(self)
        others.starts, others._answered = starts, None
        return others

    @property
    def has_gaps(self) -> bool:
        """Whether values are missing."""
        return self.values is not self.truth

    def arrays(self) -> Iterator[np.ndarray]:
        """All that tells these windows from others."""
        yield from (self.starts, self.truth, self.covariates)
        yield from (a for a in (self.rows.known, self.rows.statics) if a is not None)

    @property
    def answered(self) -> np.ndarray:
        """The rows to learn from, int64: those of which half of the targets are known, or more.

        In scales of their own, rows whose context never changes are left out, for they have no
        scale, and rows that go on beyond what their context could tell.
        """
        if self._answered is None:
            w, every = self.windowing, np.arange(len(self))
            if not self.has_gaps and not w.own_scale:
                self._answered = every
            else:
                parts = np.split(every, range(_AT_ONCE, len(every), _AT_ONCE))
                self._answered = every[np.concatenate([self._are_answered(p) for p in parts])]
        return self._answered

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """What the network reads, float32 [T, B, input_size], T = ``windowing.steps``."""
        w = self.windowing
        starts = self._starts(rows)
        anchors, scales = self._measures(rows)
        scales = np.where(np.isnan(scales), 1.0, scales)
        read = ((self._of_series(rows, 0, w.context) - anchors) / scales).astype(np.float32)
        if w.covariate_names:
            read = np.concatenate([read, self._cut("covariates", w.context)[starts]], axis=1)
        if w.known_size:  # read on into the horizon, of which nothing else is known
            assert self.rows.known is not None
            known = self._cut("known", w.context + w.horizon)[starts]
            read, known = (_longer(part, w.steps * w.segment) for part in (read, known))
            read = np.concatenate([read, known], axis=1)
        steps = _segments(read, w.segment)
        if not w.static_size:
            return steps
        told = np.zeros((len(rows), w.static_size), np.float32)
        if self.rows.statics is not None:
            told = self.rows.statics[self.rows.series_of(starts)]
        told = np.broadcast_to(told, (len(steps), *told.shape))
        return np.concatenate([steps, told], axis=2)

    def targets(self, rows: np.ndarray, *, gaps: bool = True) -> np.ndarray:
        """What it should put out, float32 [B, output_size]; NaN where it is missing.

        Without ``gaps`` the last known value stands there.
        """
        w = self.windowing
        anchors, scales = self._measures(rows)
        future = self._of_series(rows, w.context, w.horizon, "truth" if gaps else "values")
        moved = (future - anchors) / scales
        return moved.astype(np.float32).reshape(len(rows), -1)

    def forecasts(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs for all rows, [rows, output_size], in original units: [windows, horizon, C]."""
        w = self.windowing
        anchors, scales = self._all_measures()
        if w.own_scale:  # of a context that never changes the forecast is that it does not
            scales = np.where(np.isnan(scales), 0.0, scales)
        scaled = outputs.astype(np.float64).reshape(len(outputs), -1, w.horizon) * scales + anchors
        scaled = scaled.reshape(len(self.starts), len(w.names), w.horizon)
        return w.scaler.inverse(scaled.transpose(0, 2, 1))

    def units(self) -> np.ndarray:
        """How large a unit of the outputs is in original units, [windows or 1, 1, C].

        NaN where a window has no scale of its own.
        """
        w = self.windowing
        scale = w.scaler.scale[None, None]
        if not w.own_scale:
            return scale
        scales = np.asarray(self._all_measures()[1])
        return scales.reshape(len(self.starts), 1, len(w.names)) * scale

    def spreads(self) -> np.ndarray:
        """A unit of each window's errors, [windows, 1, C], in original units.

        The geometric mean of the standard deviations of the training rows and of the context, of
        which the second counts as a hundredth of the first at least; in a scale of its own that.
        """
        w, unit = self.windowing, self.units()
        if w.own_scale:
            return unit
        parts = np.split(self.starts, range(_AT_ONCE, len(self.starts), _AT_ONCE))
        past = (self.at(part).asked(w.context, 0, filled=True) for part in parts)
        own = np.concatenate([rows.std(1, keepdims=True) for rows in past])
        return np.sqrt(unit * np.maximum(own, _CALMEST * unit))

    def asked(self, length: int, offset: int | None = None, *, filled: bool = False) -> np.ndarray:
        """Rows of each window from ``offset`` on in their units, [windows, length, C].

        By default from the first of the horizon.  NaN where a value is missing, unless ``filled``.
        """
        offset = self.windowing.context if offset is None else offset
        values = self.rows.filled if filled else self.rows.values
        return window_rows(values, self.starts + offset, length)

    def _are_answered(self, rows: np.ndarray) -> np.ndarray:
        targets = self.targets(rows)
        good = np.isfinite(targets).mean(1) >= _KNOWN
        if self.windowing.own_scale:
            good &= ~(np.abs(targets) > _FAR).any(1)
        seen = np.isfinite(self._of_series(rows, 0, self.windowing.context, "truth"))
        return good & seen.any((1, 2))

    def _starts(self, rows: np.ndarray) -> np.ndarray:
        return self.starts[rows // self.windowing.rows_per_window]

    def _cut(self, part: str, length: int) -> np.ndarray:
        """All pieces of ``length`` rows of values [N, C], a view [N - length + 1, C, length]."""
        if (part, length) not in self._pieces:
            array: np.ndarray = getattr(self.rows if part == "known" else self, part)
            self._pieces[part, length] = sliding_window_view(array, length, axis=0)
        return self._pieces[part, length]

    def _of_series(
        self, rows: np.ndarray, offset: int, length: int, part: str = "values"
    ) -> np.ndarray:
        """[B, C, length] if joint, else [B, 1, length]: ``length`` values from ``offset`` on."""
        pieces = self._cut(part, length)
        starts = self._starts(rows) + offset
        if self.windowing.joint:
            return pieces[starts]
        return pieces[starts, rows % len(self.windowing.names), None]

    def _measures(self, rows: np.ndarray) -> tuple[np.ndarray | float, np.ndarray | float]:
        """What is taken off and divided by, [B, C or 1, 1] each: of the context alone.

        A deviation is NaN where the context never changes.
        """
        w = self.windowing
        if not (w.anchored or w.own_scale):
            return 0.0, 1.0
        if not w.own_scale:
            return self._of_series(rows, w.context - 1, 1), 1.0
        past = self._of_series(rows, 0, w.context)
        last = past[..., -1:]
        moved = past - last
        scales = moved.std(-1, keepdims=True)
        flat = scales <= FLAT_CONTEXT * np.abs(past).max(-1, keepdims=True)
        anchors = last if w.anchored else last + moved.mean(-1, keepdims=True)
        return anchors, np.where(flat, np.nan, scales)

    def _all_measures(self) -> tuple[np.ndarray | float, np.ndarray | float]:
        rows = np.arange(len(self))
        if not (self.windowing.anchored or self.windowing.own_scale):
            return self._measures(rows)
        parts = np.split(rows, range(_AT_ONCE, len(rows), _AT_ONCE))
        found = [self._measures(part) for part in parts]
        anchors = np.concatenate([one for one, _ in found])
        if not self.windowing.own_scale:
            return anchors, 1.0
        return anchors, np.concatenate([one for _, one in found])


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
        raise InputError(no_room(context, horizon, first_target, min(last_target, len(values))))
    return np.arange(first, last + 1, dtype=np.int64)


def no_room(context: int, horizon: int, first_target: int, end: int) -> str:
    """What is wrong where no window fits before row ``end``, and what helps."""
    if first_target <= context:  # what is seen begins with the first row
        problem = f"expected {context + horizon} rows or more, {context} of context and {horizon} "
        problem += f"of horizon, got {end}; give more rows"
        if end > horizon:
            return f"{problem}, or a context of {end - horizon} or less"
        room = f", or a horizon of {end - context} or less" if end > context else ""
        return problem + room
    problem = f"expected {horizon} rows or more to forecast, the horizon, got {end - first_target}"
    problem += f" (row {first_target} to {end}); give more rows"
    if end > first_target:
        problem += f", or a horizon of {end - first_target} or less"
    return f"{problem}, or let them begin at row {end - horizon}" if end > horizon else problem


def window_rows(values: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Rows [s, s + length) of values [N, C] for every start s: [len(starts), length, C]."""
    return values[np.asarray(starts)[:, None] + np.arange(length)]


def _longer(part: np.ndarray, length: int) -> np.ndarray:
    """[B, n, rows] followed by zeros, [B, n, length]."""
    return np.pad(part, ((0, 0), (0, 0), (0, length - part.shape[2])))


def _segments(past: np.ndarray, segment: int) -> np.ndarray:
    """[B, n, rows] as steps [rows / segment, B, n * segment]."""
    batch, channels, rows = past.shape
    steps = past.reshape(batch, channels, rows // segment, segment)
    return steps.transpose(2, 0, 1, 3).reshape(rows // segment, batch, channels * segment)

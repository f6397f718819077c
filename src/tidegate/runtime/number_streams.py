"""Numbers that arrive step by step: what their sequence so far is, or how it goes on."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.sequences.sequences import pad_sequences
from tidegate.data.series.columns import array_of, floats_of, listed, numbers_in, opened
from tidegate.data.series.scaling import FARTHEST, Scaler
from tidegate.data.series.windowing import Windowing
from tidegate.data.series.windows import Rows, Windows
from tidegate.errors import InputError, shown
from tidegate.runtime.batches import forecast_windows
from tidegate.runtime.network import Network
from tidegate.runtime.stepping import Arrays, Stepping
from tidegate.runtime.stream import Stream


class SequenceStream(Stream):
    """A sequence of numbers, or several, of which label or number is asked as they grow.

    A piece is an array [T, C], or one step [C]; of one channel [T], or a number.  NaN is a missing
    value.  An answer is what ``predict_proba`` gives for the sequence so far; where there is a
    ``target``, the scale of numbers, what ``predict`` gives.
    """

    def __init__(
        self,
        network: Network,
        batch_size: int | None,
        kind: str,
        inputs: SequenceInputs,
        target: Scaler | None,
    ) -> None:
        self.KIND = kind
        assert not inputs.own_scale  # which is known at the sequence's end
        self._channels, self._segment = inputs.channels, inputs.segment
        self._scaler, self._target = inputs.scaler, target
        super().__init__(network, batch_size)

    def feed(self, x: Any) -> Any:
        """Read the next piece of each sequence; the answer as of now.

        Raises InputError for a piece that cannot be read; then none of them was.
        """
        # the way of one step: what else there is costs more than the network
        if type(x) is np.ndarray and x.shape == self._row_shape and x.dtype.kind == "f":
            if x.dtype is not _FLOAT64 or not x.flags.c_contiguous:
                x = np.array(x, np.float64)
            answers = self._net.probabilities_after(x)
            if answers is not None:
                return answers[0] if self.batch_size is None else answers
        return super().feed(x)

    def _begin(self, rows: int) -> Arrays:
        # in the state ``last``, the mean stands for a value that is missing before the first
        self._net = Stepping(self._network, rows, self._scaler if self._segment == 1 else None)
        alone = self.batch_size is None
        row = (self._channels,) if alone else (rows, self._channels)
        quick = self._segment == 1 and self._channels > 1 and self._target is None
        self._row_shape = row if quick else None
        own: Arrays = {}
        if self._segment > 1:  # values that make no whole segment yet
            own["last"] = np.zeros((rows, self._channels))
            own["pending"] = np.zeros((rows, self._segment, self._channels), np.float32)
            own["pending.steps"] = np.zeros(rows, np.int64)
        return self._net.arrays | own

    def _feed(self, pieces: Any) -> None:
        values, lengths = values_of(pieces, self._channels)
        alike = lengths is None and len(values) == 1 and self._segment == 1
        if alike and self._net.step_scaled(np.ascontiguousarray(values[0])):
            return
        scaled = (values - self._scaler.mean) / self._scaler.scale
        last = self._arrays["last"]
        if not np.abs(scaled).max(initial=0.0) <= FARTHEST:  # one is missing, or too far
            scaled = filled(self._scaler, values, last)
            if lengths is not None:
                scaled[np.arange(len(scaled))[:, None] >= lengths] = 0.0
        if lengths is None:
            if len(scaled):
                last[:] = scaled[-1]
        else:
            fed = np.flatnonzero(lengths)
            last[fed] = scaled[lengths[fed] - 1, fed]
        inputs = scaled.astype(np.float32)
        if self._segment > 1:
            inputs, lengths = self._segments(inputs, lengths)
        if len(inputs):
            self._net.read(inputs, lengths)

    def _answers(self) -> np.ndarray:
        net = self._net
        if self._segment > 1:
            waiting = self._arrays["pending.steps"]
            if waiting.any():  # the last segment is filled up with the last value
                net = net.copy()
                pending = self._arrays["pending"].copy()
                for row, count in enumerate(waiting.tolist()):
                    pending[row, count:] = pending[row, count - 1] if count else 0.0
                flat = pending.reshape(1, len(waiting), -1)
                net.read(flat, (waiting > 0).astype(np.int64))
        if self._target is None:
            return net.probabilities()
        return self._target.inverse(net.outputs().astype(np.float64))[:, 0]

    def _segments(
        self, new: np.ndarray, lengths: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The segments that are whole now, [T, B, segment * C]; the rest waits."""
        size, pending, waiting = self._segment, *map(self._arrays.get, ("pending", "pending.steps"))
        assert pending is not None
        assert waiting is not None
        steps, rows, channels = new.shape
        counts = np.full(rows, steps) if lengths is None else lengths
        made = []
        for row, (old, more) in enumerate(zip(waiting.tolist(), counts.tolist(), strict=True)):
            joined = np.concatenate([pending[row, :old], new[:more, row]])
            whole = len(joined) // size * size
            made.append(joined[:whole].reshape(-1, size * channels))
            waiting[row] = len(joined) - whole
            pending[row, : waiting[row]] = joined[whole:]
        if not made or not any(map(len, made)):
            return np.empty((0, rows, size * channels), np.float32), None
        inputs, found = pad_sequences(made)
        return inputs, None if (found == found[0]).all() else found

    def _check(self, arrays: Arrays) -> None:
        super()._check(arrays)
        waiting = arrays.get("pending.steps")
        if waiting is not None and ((waiting < 0) | (waiting >= self._segment)).any():
            raise ValueError(f"pending.steps: expected 0 to {self._segment - 1}")


_FLOAT64 = np.dtype(np.float64)
_PLAIN = (np.ndarray, np.number, float, int, list, tuple)


class ForecastStream(Stream):
    """A time series, or several alike, that is forecast anew whenever rows come in.

    A piece is rows [T, columns], or one row [columns]: the series that are forecast, and then the
    covariates, as ``columns`` names them; of one column [T], or a number; or a frame that has
    columns of these names, in any order.  Rows follow each other in the time step of training.  An
    answer is the forecast of the ``horizon`` rows after the last one, float64 [horizon, series], in
    the units of the data; NaN until as many rows as the context has were read.
    """

    KIND = "forecaster"

    def __init__(self, network: Network, batch_size: int | None, windowing: Windowing) -> None:
        self._windowing = windowing
        self.columns = (*windowing.names, *windowing.covariate_names)
        super().__init__(network, batch_size)

    def _begin(self, rows: int) -> Arrays:
        past = np.zeros((rows, self._windowing.context, len(self.columns)))
        return {"rows": past, "rows.known": np.zeros(rows, np.int64)}

    def _feed(self, pieces: Any) -> None:
        if not isinstance(pieces, np.ndarray):
            pieces = [_by_name(piece, self.columns) for piece in pieces]
        values, lengths = values_of(pieces, len(self.columns))
        if not np.isfinite(values).all():
            step, row, column = np.argwhere(~np.isfinite(values))[0].tolist()
            raise InputError(
                f"expected finite values, got {values[step, row, column]}; fill it in",
                column=self.columns[column],
            )
        w = self._windowing
        w.scaler.transform(values[..., : len(w.names)])  # refuses what is too far
        if w.covariate_scaler is not None:
            w.covariate_scaler.transform(values[..., len(w.names) :])
        past, known = self._arrays["rows"], self._arrays["rows.known"]
        counts = np.full(len(past), len(values)) if lengths is None else lengths
        for row, count in enumerate(counts.tolist()):
            new = values[:count, row][-w.context :]
            if len(new):
                past[row] = np.concatenate([past[row, len(new) :], new])
        np.minimum(known + counts, w.context, out=known)

    def _answers(self) -> np.ndarray:
        w, past = self._windowing, self._arrays["rows"]
        forecasts = np.full((len(past), w.horizon, len(w.names)), np.nan)
        ready = np.flatnonzero(self._arrays["rows.known"] == w.context)
        if len(ready):
            rows = past[ready].reshape(-1, len(self.columns))
            parted = Rows(rows[:, : len(w.names)], rows[:, len(w.names) :])
            windows = Windows(w, parted, np.arange(len(ready)) * w.context)
            forecasts[ready] = forecast_windows(self._network, windows)
        return forecasts

    def _check(self, arrays: Arrays) -> None:
        super()._check(arrays)
        known, context = arrays["rows.known"], self._windowing.context
        if ((known < 0) | (known > context)).any():
            raise ValueError(f"rows.known: expected 0 to {context}")


def values_of(pieces: Any, columns: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Pieces as one batch, float64 [T, B, columns], and their lengths, None where all are alike.

    Raises InputError for what is no piece.
    """
    if type(pieces) is np.ndarray and pieces.dtype.kind in "fiu":  # of a masked one, row by row
        if pieces.ndim == 3 and pieces.shape[2] == columns:
            return pieces.transpose(1, 0, 2).astype(np.float64), None
        if pieces.ndim == 2 and (columns == 1 or pieces.shape[1] == columns):
            steps = pieces.T[..., None] if columns == 1 else pieces[None]
            return steps.astype(np.float64), None
        if pieces.ndim == 1 and columns == 1:
            return pieces[None, :, None].astype(np.float64), None
    arrays = [_piece(piece, columns) for piece in pieces]
    if len(arrays) == 1:
        return arrays[0][:, None], None
    if len({len(array) for array in arrays}) == 1:
        return np.stack(arrays, axis=1), None
    if not arrays:
        return np.empty((0, 0, columns)), None
    return pad_sequences(arrays)


def filled(scaler: Scaler, values: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Values [T, B, C] scaled, each missing one as the last known, of which ``last`` [B, C] are
    those before the first step.  Raises InputError.
    """
    if np.isinf(values).any():
        raise InputError("expected finite numbers or NaN, got infinity; write NaN for it")
    scaled = scaler.transform(values)
    for step in scaled:  # [B, C]
        np.copyto(step, last, where=np.isnan(step))
        last = step
    return scaled


def _by_name(piece: Any, names: tuple[str, ...]) -> Any:
    """A frame's columns of these names, float64 [T, columns]; anything else as it is."""
    if isinstance(piece, _PLAIN) or not hasattr(frame := opened(piece), "get_column"):
        return piece
    labels = {str(label): label for label in frame.columns}
    if missing := [name for name in names if name not in labels]:
        raise InputError(
            f"expected columns {listed(names)}, got none named {listed(missing)}; add it, or give "
            "an array of all"
        )
    return np.stack([numbers_in(frame.get_column(labels[n]), n) for n in names], axis=1)


def _piece(piece: Any, columns: int) -> np.ndarray:
    """One piece as float64 [T, columns]."""
    try:
        plain = isinstance(piece, _PLAIN)
        array = floats_of(piece) if plain else array_of(piece)
    except (TypeError, ValueError):
        raise InputError(f"expected numbers, got {shown(piece)}; give an array") from None
    shape = array.shape
    if columns == 1 and array.ndim < 2:
        array = array.reshape(-1, 1)
    elif array.ndim == 1 and len(array) in (0, columns):
        array = array.reshape(-1, columns)
    if array.ndim != 2 or array.shape[1] != columns:
        expected = "[T] or a number" if columns == 1 else f"[T, {columns}] or [{columns}]"
        problem = f"expected numbers {expected}, got shape {list(shape)}"
        raise InputError(f"{problem}; give {columns} for each step")
    return array

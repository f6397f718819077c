"""What a network reads of a sequence of numbers: filled, scaled, and several steps at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from tidegate.data.series.columns import array_of, opened, rows_of
from tidegate.data.series.scaling import Scaler
from tidegate.data.times.frames import column_axis, looks_like_times
from tidegate.data.times.grid import elapsed_between
from tidegate.data.times.styles import RowError
from tidegate.errors import InputError, shown

__all__ = ["SequenceInputs", "as_sequences"]

_STEPS = 12  # into which the default segment cuts a sequence of median length
FLAT = 1e-6  # a deviation below it, in units of the scale, is rounding and no movement


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceInputs:
    """How sequences of C channels become inputs; everything the model file needs.

    A missing value is the last known one; before the first there is none, and the channel's mean
    stands for it.  Of each channel the network reads the shape, in standard deviations of the
    sequence itself, so that a faint one is as clear as a strong one; and beside it, at every step,
    two numbers that scaling so has taken away: the sequence's mean, in standard deviations of the
    training part, and the decimal logarithm of its own deviation in that unit.  Without
    ``own_scale`` it reads the values in standard deviations of the training part alone, so that
    what it reads of a step does not depend on what follows.  ``elapsed``: the last channel is the
    time since the step before, which is read in units of its mean, 0 being no time; of 2, the time
    until the next step is read, too, 0 at the last one, which is what a reading backwards has gone
    through.  ``segment`` consecutive values make one recurrent step (Lin et al. 2023, SegRNN,
    arXiv:2308.11200), the last one filled up with the last value.
    """

    scaler: Scaler
    segment: int
    own_scale: bool = True
    elapsed: int = 0

    @classmethod
    def fit(
        cls,
        sequences: list[np.ndarray],
        segment: int | None,
        own_scale: bool = True,
        elapsed: int = 0,
    ) -> Self:
        """Scaled by the values of ``sequences``; the default segment is a twelfth of their length.

        Raises InputError for a channel without any value, and for times that go back.
        """
        rows = np.concatenate(sequences)
        if np.isnan(rows).all(axis=0).any():
            channel = int(np.isnan(rows).all(axis=0).argmax())
            raise InputError(f"channel {channel + 1}: expected some values, got none; leave it out")
        scalers = [Scaler.fit(column[~np.isnan(column), None]) for column in rows.T]
        if elapsed:
            scalers[-1] = _of_elapsed(rows[:, -1])
        mean, scale = (np.concatenate([getattr(s, n) for s in scalers]) for n in ("mean", "scale"))
        median = float(np.median([len(sequence) for sequence in sequences]))
        segment = segment or max(1, round(median / _STEPS))
        scaler = Scaler(mean, scale)
        return cls(scaler=scaler, segment=segment, own_scale=own_scale, elapsed=elapsed)

    @property
    def channels(self) -> int:
        return len(self.scaler.mean)

    @property
    def columns(self) -> int:
        """Values that are read of each step; beside them stands what is said of all steps."""
        return self.channels + (self.elapsed == 2)

    @property
    def input_size(self) -> int:
        """Values that one recurrent step reads."""
        return self.columns * self.segment + (2 * self.channels if self.own_scale else 0)

    def filled(self, sequence: np.ndarray) -> np.ndarray:
        """Values [T, C] in standard deviations of the training part, none missing, float64."""
        values = self.scaler.transform(_carried_forward(sequence))
        return np.where(np.isnan(values), 0.0, values)

    def scaled(self, sequence: np.ndarray) -> np.ndarray:
        """Values [T, C] as shape, mean and magnitude, float32 [T, columns + 2 C]; else scaled."""
        return self.shaped(self.filled(sequence))

    def shaped(self, values: np.ndarray) -> np.ndarray:
        """What ``scaled`` gives of a sequence that ``filled`` gave."""
        parts = [values]
        if self.own_scale:
            mean, deviation = values.mean(axis=0), values.std(axis=0)
            shape = (values - mean) / np.where(deviation > FLAT, deviation, np.inf)
            whole = np.concatenate([mean, np.log10(deviation + FLAT)])
            parts = [shape, np.broadcast_to(whole, (len(values), len(whole)))]
        if self.elapsed:  # whatever the scale of the sequence, a day is a day
            parts[0] = np.concatenate([parts[0][:, :-1], values[:, -1:]], axis=1)
        if self.elapsed == 2:
            parts.insert(1, np.append(values[1:, -1:], np.zeros((1, 1)), axis=0))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def segments(self, scaled: np.ndarray) -> np.ndarray:
        """What ``scaled`` gave as recurrent steps, float32 [ceil(T / segment), input_size].

        Columns that are alike at every step may stand behind it; they are read at every one.
        """
        shape, whole = np.split(scaled, [self.columns], axis=1)
        missing = -len(shape) % self.segment
        shape = np.concatenate([shape, np.repeat(shape[-1:], missing, axis=0)])
        steps = shape.reshape(-1, self.columns * self.segment)
        return np.concatenate([steps, whole[: len(steps)]], axis=1)

    def to_json(self) -> dict[str, Any]:
        """Keys: scaler, segment; own_scale where it is false, and elapsed where it is not 0."""
        values: dict[str, Any] = {"scaler": self.scaler.to_json(), "segment": self.segment}
        values |= {} if self.own_scale else {"own_scale": False}
        return values | ({"elapsed": self.elapsed} if self.elapsed else {})

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """What ``to_json`` gave.  Raises ValueError for keys, types or sizes out of schema."""
        added = {"own_scale", "elapsed"}
        if not isinstance(values, dict) or set(values) - added != {"scaler", "segment"}:
            raise ValueError("inputs: expected an object with the keys scaler and segment")
        if values.get("own_scale", False) is not False:
            raise ValueError(f"own_scale: expected false or none, got {values['own_scale']!r}")
        elapsed = values.get("elapsed", 0)
        if type(elapsed) is not int or (not 1 <= elapsed <= 2 and "elapsed" in values):
            raise ValueError(f"elapsed: expected 1, 2 or none, got {elapsed!r}")
        segment = values["segment"]
        if type(segment) is not int or not 1 <= segment <= 2**31:
            raise ValueError(f"segment: expected a whole number from 1, got {segment!r}")
        scaler = Scaler.from_json(values["scaler"])
        own_scale = "own_scale" not in values
        return cls(scaler=scaler, segment=segment, own_scale=own_scale, elapsed=elapsed)


def _of_elapsed(times: np.ndarray) -> Scaler:
    """The scale of times since the step before, [T], of which 1 is to be the mean.

    Raises InputError for times that go back.
    """
    known = times[~np.isnan(times)]
    if (known < 0).any():
        raise InputError(
            f"expected the time since the step before as the last channel, got {known.min()}; "
            "sort steps by time, or leave elapsed out"
        )
    mean = known.mean()
    return Scaler(np.zeros(1), np.array([mean if mean > 0 else 1.0]))


def as_sequences(
    inputs: Any, channels: int | None = None, *, elapsed: bool = False
) -> list[np.ndarray]:
    """Arrays [T, C] or [T] in a list, or one [N, T, C] or [N, T], as float64 [T, C] each.

    The list may be a column, an array a frame or column of pandas or polars; a frame's rows are
    sequences of one channel, or of its columns where their cells are sequences.  ``elapsed``:
    where the last column of a sequence's frame holds dates, the days since the row before stand for
    them.

    NaN is a missing value.  Raises InputError for other shapes, values that are not numbers or
    infinite, no steps, and another number of channels than ``channels`` or the first one's.
    """
    sequences = []
    for i, item in enumerate(rows_of(inputs)):
        try:
            array = _with_days(item) if elapsed else array_of(item)
        except RowError as error:  # of dates that do not rise
            raise InputError(f"sequence {i}: {error}") from None
        except (TypeError, ValueError):
            got = f"{type(item).__name__} {shown(item, 40)}"
            raise InputError(
                f"sequence {i}: expected an array of numbers, got {got}; make it floats"
            ) from None
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or 0 in array.shape:
            expected = "[T, channels] or [T], of one step or more"
            got = f"got shape {list(array.shape)}; leave it out or reshape it"
            raise InputError(f"sequence {i}: expected {expected}, {got}")
        if np.isinf(array).any():
            problem = "expected finite numbers or NaN, got infinity; put NaN for a missing one"
            raise InputError(f"sequence {i}: {problem}")
        channels = array.shape[1] if channels is None else channels
        if array.shape[1] != channels:
            problem = f"expected {channels} channels, as the others have, got {array.shape[1]}"
            remedy = "give all as many"
            if i == 0 and np.ndim(item) == 1 and len(array) == channels:
                remedy += "; one sequence alone goes in a list: [x]"
            raise InputError(f"sequence {i}: {problem}; {remedy}")
        sequences.append(array)
    return sequences


def _with_days(item: Any) -> np.ndarray:
    """What ``array_of`` gives, with the days since the row before for dates in a last column."""
    frame = opened(item)
    if not hasattr(frame, "get_column"):
        return array_of(item)
    *others, last = frame.columns
    if not looks_like_times(dates := frame.get_column(last)):
        return array_of(item)
    return np.c_[array_of(frame.select(others)), elapsed_between(column_axis(dates).times)]


def _carried_forward(sequence: np.ndarray) -> np.ndarray:
    """[T, C] with each NaN replaced by the last known value; those before the first remain."""
    missing = np.isnan(sequence)
    if not missing.any():
        return sequence
    known = np.where(missing, 0, np.arange(len(sequence))[:, None])
    return np.take_along_axis(sequence, np.maximum.accumulate(known, axis=0), axis=0)

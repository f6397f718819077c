"""Sequences of numbers that grow, and are read anew from their beginning for every answer."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tidegate.data.sequences.reading import SequenceReading
from tidegate.data.series.scaling import FARTHEST, Scaler
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import outputs_of
from tidegate.runtime.network import Network
from tidegate.runtime.number_streams import filled, values_of
from tidegate.runtime.probabilities import log_softmax
from tidegate.runtime.stepping import Arrays
from tidegate.runtime.stream import Stream

MOST_STEPS: Final = 2**20  # of a sequence


class WholeStream(Stream):
    """A sequence of numbers, or several, of which label or number is asked as they grow, by a model
    that needs a sequence's end before its beginning.

    A piece is an array [T, C], or one step [C]; of one channel [T], or a number.  NaN is a missing
    value.  An answer is what ``predict_proba`` gives for the sequence so far; where there is a
    ``target``, the scale of numbers, what ``predict`` gives.

    Whatever depends on the end changes with every step: evidence of the whole sequence, deviations
    of its own, the backward direction.  So all values are remembered, 2**20 steps at most, and each
    answer reads them from the first on: its cost grows with the length of the sequence.  Pieces of
    several steps cost one answer each.
    """

    def __init__(
        self,
        network: Network,
        batch_size: int | None,
        kind: str,
        reading: SequenceReading,
        target: Scaler | None,
    ) -> None:
        self.KIND = kind
        self._reading, self._target = reading, target
        super().__init__(network, batch_size)

    def _begin(self, rows: int) -> Arrays:
        channels = self._reading.inputs.channels
        return {"values": np.zeros((rows, 0, channels)), "steps": np.zeros(rows, np.int64)}

    def _feed(self, pieces: Any) -> None:
        inputs, steps = self._reading.inputs, self._arrays["steps"]
        values = self._arrays["values"]
        new, lengths = values_of(pieces, inputs.channels)
        last = np.zeros((len(steps), inputs.channels))  # before the first value, the mean
        begun = np.flatnonzero(steps)
        last[begun] = values[begun, steps[begun] - 1]
        new = filled(inputs.scaler, new, last)
        counts = np.full(len(steps), len(new)) if lengths is None else lengths
        after = steps + counts
        longest = int(after.max(initial=0))
        if longest > MOST_STEPS:
            raise InputError(
                f"expected a sequence of at most {MOST_STEPS:,} steps, which this model reads anew "
                f"for each answer, got {longest:,}; begin it anew with reset(), or train with "
                + " and ".join(
                    spelled(name, False) for name in ("bidirectional", "own_scale", "evidence")
                )
            )
        values = _of_length(values, longest)
        for row, (begin, end, count) in enumerate(zip(steps, after, counts, strict=True)):
            values[row, begin:end] = new[:count, row]
        self._arrays["values"] = values
        steps[:] = after

    def _answers(self) -> np.ndarray:
        rows = zip(self._arrays["values"], self._arrays["steps"].tolist(), strict=True)
        read = self._reading.of([values[:steps] for values, steps in rows])
        outputs = outputs_of(self._network, read, self._network.architecture.output_size)
        if self._target is None:
            return np.exp(log_softmax(outputs).astype(np.float64))
        return self._target.inverse(outputs.astype(np.float64))[:, 0]

    def _put(self, rows: Any, arrays: Arrays) -> None:
        longest = max(of["values"].shape[-2] for of in (self._arrays, arrays))
        own, given = (_of_length(of["values"], longest) for of in (self._arrays, arrays))
        self._arrays["values"] = own
        super()._put(rows, arrays | {"values": given})
        longest = int(self._arrays["steps"].max(initial=0))
        self._arrays["values"] = _of_length(own, longest)

    def _shape_of(self, name: str, given: tuple[int, ...]) -> tuple[int, ...]:
        rows, *rest = super()._shape_of(name, given)
        if name != "values":
            return rows, *rest
        return rows, min(given[1], MOST_STEPS) if len(given) == 3 else 0, rest[1]

    def _check(self, arrays: Arrays) -> None:
        super()._check(arrays)
        values, steps = arrays["values"], arrays["steps"]
        if (steps > values.shape[1]).any():
            raise ValueError(f"steps: expected at most {values.shape[1]}, those of the values")
        if (np.abs(values) > FARTHEST).any():
            raise ValueError(f"values: expected numbers up to {FARTHEST:g}")


def _of_length(values: np.ndarray, steps: int) -> np.ndarray:
    """Values [..., T, C] as an own array [..., ``steps``, C], with zeros beyond T."""
    result = np.zeros((*values.shape[:-2], steps, values.shape[-1]))
    kept = values[..., :steps, :]
    result[..., : kept.shape[-2], :] = kept
    return result

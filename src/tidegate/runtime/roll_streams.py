"""Rolls that arrive step by step: what comes next."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.data.sequences.rolls.rolls import RollSet, as_rolls
from tidegate.data.sequences.sequences import pad_sequences
from tidegate.errors import InputError
from tidegate.runtime.network import Network
from tidegate.runtime.repeats import Reading
from tidegate.runtime.rolls import probabilities
from tidegate.runtime.stepping import Arrays, Stepping
from tidegate.runtime.stream import Stream


class RollStream(Stream):
    """A roll, or several, of which the next step is asked as they grow.

    All are of one ``condition`` [C].  A piece is an array [T, O] of zeros and ones, or one step
    [O]; or a list of steps, each a list or set of names of outputs.  An answer is how likely each
    output is on at the next step, float64 [O]; before anything was fed, at the first one.
    """

    def __init__(
        self,
        network: Network,
        batch_size: int | None,
        kind: str,
        outputs: tuple[str, ...],
        reading: Reading,
        condition: np.ndarray,
    ) -> None:
        self.KIND, self.outputs, self._reading = kind, outputs, reading
        self._condition = condition
        super().__init__(network, batch_size)

    def _begin(self, rows: int) -> Arrays:
        self._net = Stepping(self._network, rows)
        conditions = np.tile(self._condition, (rows, 1))
        first = np.zeros((rows, self._reading.width), np.float32)  # what a roll begins after
        first[:, self._reading.width - conditions.shape[1] :] = conditions
        self._net.step(first)
        self._past = self._reading.past(rows)
        found = self._net.arrays | ({} if self._past is None else self._past.arrays)
        return found | ({"condition": conditions} if len(self._condition) else {})

    def _feed(self, pieces: Any) -> None:
        rolls = [self._roll(piece) for piece in pieces]
        counts = {len(roll) for roll in rolls}
        if counts <= {0}:
            return
        padded, lengths = pad_sequences(rolls)
        read = np.zeros((*padded.shape[:2], self._reading.width), np.float32)
        conditions = self._arrays.get("condition", np.zeros((len(rolls), 0), np.float32))
        for step, steps in enumerate(padded):
            rows = np.flatnonzero(lengths > step)
            after = self._reading.after(steps[rows], self._past, rows)
            read[step, rows] = self._reading.values(after, conditions[rows])
        self._net.read(read, None if len(counts) == 1 else lengths)

    def _answers(self) -> np.ndarray:
        return probabilities(self._net.outputs())

    def _check(self, arrays: Arrays) -> None:
        super()._check(arrays)
        if self._past is not None:
            self._past.check(arrays)

    def _roll(self, piece: Any) -> np.ndarray:
        """One piece as uint8 [T, O].  Raises InputError."""
        width = len(self.outputs)
        if isinstance(piece, RollSet):
            return piece.aligned(self.outputs).rolls[0]
        named = isinstance(piece, list | tuple) and any(
            isinstance(step, set | frozenset | list | tuple | str) for step in piece
        )
        if not named:
            array = np.asarray(piece)
            if array.size == 0:
                return np.zeros((0, width), np.uint8)
            piece = array[None] if array.ndim == 1 else array
        try:
            return as_rolls([piece], "piece").aligned(self.outputs).rolls[0]
        except InputError as error:
            raise InputError(str(error).replace("piece: piece 0", "piece")) from None

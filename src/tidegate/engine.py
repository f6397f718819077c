"""The compiled kernels on numpy arrays: a layer of a trained network without torch."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from tidegate import _engine

Array = NDArray[np.float32]

_SMALLEST_SHARE = 1_000_000  # multiplications worth waking one more thread for
# What threads that share the units of a sweep wait for each other in a step, each two of them, in
# multiplications (0.4 us on Zen 5); weights that a core's second cache no longer holds; and rows of
# each thread from which on reading those matters little.
_MEETING, _SECOND_CACHE, _MANY_ROWS = 12_000, 1 << 17, 4


def _processors() -> int:
    """Those this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_for(multiplications: int, available: int) -> int:
    """How many of the ``available`` threads a sweep is worth, at least 1."""
    return max(1, min(available, multiplications // _SMALLEST_SHARE))


def shares_units(threads: int, batch_size: int, recurrent_weights: int) -> bool:
    """Whether threads should take some of the units of all rows each, not all units of some rows.

    They then wait for each other at every step, but a single row keeps all of them busy, and each
    reads but its part of the weights.
    """
    if threads < 2 or not 0 < batch_size < _MANY_ROWS * threads:
        return False
    read = recurrent_weights if recurrent_weights >= _SECOND_CACHE else 0
    by_rows = -(-batch_size // threads) * recurrent_weights + read
    by_units = (batch_size * recurrent_weights + read) / threads + _MEETING * threads / 2
    return by_units < by_rows


class EngineLayer:
    """One layer in one direction, for inference.

    weight_ih: [G*H, I]; weight_hh: [G*H, H]; biases: [G*H] or None; float32, torch.nn's order of
    gates.  They are packed here, once.  An object serves one thread at a time.  Raises ValueError
    or TypeError unless the engine has the cell and the arrays these shapes.
    """

    def __init__(
        self,
        cell: str,
        weight_ih: Array,
        weight_hh: Array,
        bias_ih: Array | None = None,
        bias_hh: Array | None = None,
    ) -> None:
        self._layer = _engine.Layer(cell, weight_ih, weight_hh, bias_ih, bias_hh)
        self.input_size, self.hidden_size = weight_ih.shape[1], weight_hh.shape[1]
        self._state_count = 2 if cell == "lstm" else 1
        self._size, self._recurrent_size = weight_ih.size + weight_hh.size, weight_hh.size

    def initial_state(self, batch_size: int) -> tuple[Array, ...]:
        """Zeros, [B, H] for each state of the cell."""
        shape = (batch_size, self.hidden_size)
        return tuple(np.zeros(shape, np.float32) for _ in range(self._state_count))

    def forward(
        self,
        x: Array,
        state: tuple[Array, ...] | None = None,
        lengths: NDArray[np.int64] | None = None,
        reverse: bool = False,
        threads: int | None = None,
    ) -> tuple[Array, tuple[Array, ...]]:
        """Hidden states of every step and the final state.

        x: [T, B, I]; state: [B, H] each, None for zeros; lengths: [B], in steps.  Returns y
        [T, B, H], zero from each row's length on, and the final state.  ``threads`` None takes all
        processors if there is enough to do.
        """
        T, B, inputs = x.shape  # noqa: N806
        if inputs != self.input_size:
            raise ValueError(f"x: expected [T, B, {self.input_size}], got [{T}, {B}, {inputs}]")
        if threads is None:
            threads = threads_for(T * B * self._size, _processors())
        by_units = shares_units(threads, B, self._recurrent_size)
        schedule = _engine.schedule(T, B, lengths, reverse, threads, by_units)
        given = self.initial_state(B) if state is None else state
        started = [np.ascontiguousarray(s, np.float32) for s in given]
        final = self.initial_state(B)
        y = np.empty((T, B, self.hidden_size), np.float32)
        x = np.ascontiguousarray(x, np.float32)
        self._layer.forward(schedule, x, None, started, list(final), y)
        return y, final

    def step(self, x: Array, state: tuple[Array, ...]) -> Array:
        """One step of a stream: x [B, I]; ``state`` is replaced in place.  Returns the new h."""
        self._layer.step(x, *state)
        return state[0]

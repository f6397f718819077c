"""Sequences and windows in batches, and what a network gives for them.

A ``run`` is a network as a function: inputs as ``pad_sequences`` makes them and lengths, or None
where all have all steps, to outputs float32 [B, O].  A `Network` is one; training makes one of the
network that it trains, to judge it in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.data.series.windows import Windows

Run = Callable[[np.ndarray, np.ndarray | None], np.ndarray]

_STEPS = 50_000  # of a batch, padding included
_WINDOWS = 1024  # of a batch


def outputs_of(run: Run, sequences: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Outputs for each sequence, float32 [N, ``width``]; a row does not depend on its neighbours.

    Sequences of like lengths are run together.
    """
    result = np.empty((len(sequences), width), np.float32)
    order = np.argsort([len(s) for s in sequences], kind="stable")
    while len(order):
        longest = max(1, len(sequences[order[-1]]))
        rows, order = np.split(order[::-1], [max(1, _STEPS // longest)])
        order = order[::-1]
        result[rows] = run(*pad_sequences([sequences[i] for i in rows]))
    return result


def step_outputs(run: Run, sequences: Sequence[np.ndarray], width: int) -> list[np.ndarray]:
    """Outputs at every step of each sequence, float32 [T, ``width``], of a ``run`` that gives
    [T, B, O]; they do not depend on the other sequences.
    """
    found = [np.empty((0, width), np.float32)] * len(sequences)
    order = np.argsort([len(s) for s in sequences], kind="stable")[::-1]
    order = order[: sum(len(s) > 0 for s in sequences)]
    while len(order):
        longest = len(sequences[order[0]])
        rows, order = np.split(order, [max(1, _STEPS // longest)])
        outputs = run(*pad_sequences([sequences[i] for i in rows]))
        for column, i in enumerate(rows):
            found[i] = outputs[: len(sequences[i]), column].copy()
    return found


def window_outputs(run: Run, windows: Windows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers and the outputs for them, [B, O], batch by batch."""
    for rows in np.split(np.arange(len(windows)), range(_WINDOWS, len(windows), _WINDOWS)):
        yield rows, run(windows.inputs(rows), None)


def forecast_windows(run: Run, windows: Windows) -> np.ndarray:
    """The forecast of each window in original units, float64 [windows, horizon, C]."""
    return windows.forecasts(np.concatenate([o for _, o in window_outputs(run, windows)]))

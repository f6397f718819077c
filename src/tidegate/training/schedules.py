"""Learning-rate schedules: pure functions of how much of the run is done."""

from __future__ import annotations

import math
from collections.abc import Callable

# Each maps the fraction done after warm-up, in [0, 1], to a factor that begins at 1.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "linear": lambda done: 1.0 - done,
    "exponential": lambda done: 0.01**done,  # two decades over the run
    "constant": lambda done: 1.0,  # noqa: ARG005
}


def learning_rate_factor(schedule: str, progress: float, warmup: float = 0.0) -> float:
    """What the learning rate is multiplied by at ``progress`` in [0, 1] of the run.

    It rises linearly from 0 to 1 while ``progress`` < ``warmup``, then follows ``schedule``, a name
    in SCHEDULES: ``cosine`` and ``linear`` end at 0, ``exponential`` at 0.01.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    if progress == warmup:  # also keeps warmup = 1 from dividing by zero
        return 1.0
    return SCHEDULES[schedule]((progress - warmup) / (1.0 - warmup))

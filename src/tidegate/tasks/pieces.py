"""Pieces as a user gives them, and which of them are learned from."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from tidegate.data.roll_source import Rolls
from tidegate.data.sequences.rolls.rolls import RollSet, as_rolls, default_outputs
from tidegate.data.text.conditions import condition_columns
from tidegate.errors import InputError, spelled
from tidegate.tasks.splitting import split_parts

# What fit and its sisters take: a file or folder, a RollSet, or what as_rolls makes one of.
Pieces = Any
STEPS_PER_BEAT = 2  # of rolls that were not read from MIDI files

Parts = tuple[RollSet, RollSet, RollSet]


def opened(
    given: Pieces,
    conditions: Any = None,
    what: str = "rolls",
    *,
    steps_per_beat: int = STEPS_PER_BEAT,
) -> RollSet:
    """The pieces in a file, a folder or what a user gives, with ``conditions``.

    Raises InputError.
    """
    if isinstance(given, str | os.PathLike):
        found = Rolls(steps_per_beat=steps_per_beat).read(os.fspath(given), learning=True)[0]
    else:
        found = as_rolls(given, what)
    if conditions is None:
        return found
    return replace(found, conditions=condition_columns(conditions, len(found), "pieces"))


def opened_to_learn(rolls: Pieces, conditions: Any = None) -> RollSet:
    """The same with the outputs' names."""
    given = opened(rolls, conditions)
    return given.aligned(given.outputs or default_outputs(given.width))


def parted(model: Any, given: RollSet, validation: Pieces) -> Parts:
    """Training, validation and test pieces as a model's options part them; the last may be none.

    ``validation``: such pieces, or a pair of pieces and their conditions, or None.  Raises
    InputError.
    """
    if given.validation is not None:
        if validation is not None:
            problem = "expected none beside a file that is parted already, got one"
            raise InputError(f"{problem}; leave it out", option="validation")
        none = given.rows([])
        judges, test = (
            replace(none, rolls=part, names=[f"{name} {k}" for k in range(1, len(part) + 1)])
            for name, part in (("validation", given.validation), ("test", given.test or []))
        )
        return given.rows(range(len(given))), judges, test
    others = None if validation is None else held_apart(validation, given, "validation")
    if len(given) == 1:
        kept = 0.0 if others is not None else model.validation_fraction
        return _cut(given, kept, model.test_fraction, others)
    return split_parts(model, given, len(given), others)


def held_apart(pieces: Pieces, given: RollSet, what: str) -> RollSet:
    """Pieces beside those that are learned from; if these have conditions, a pair with theirs.

    Raises InputError.
    """
    assert given.outputs is not None
    pair = pieces if given.conditions and isinstance(pieces, tuple) else (pieces,)
    return opened(*pair, what=what).aligned(given.outputs)


def _cut(given: RollSet, kept: float, tested: float, others: RollSet | None) -> Parts:
    """One piece in two or three: its end is held out, the test part last."""
    roll = given.rolls[0]
    count = len(roll)
    tests, judges = round(count * tested), max(1, round(count * kept)) if kept else 0
    if tests + judges >= count:
        raise InputError(
            f"expected a piece of more than {tests + judges} steps, those that are held out, got "
            f"{count}; give more, or a smaller {spelled('validation_fraction')}"
        )
    first, second = count - tests - judges, count - tests

    def part(begin: int, end: int) -> RollSet:
        return replace(given, rolls=[roll[begin:end]])

    held_out = part(first, second) if others is None else others
    return part(0, first), held_out, part(second, count) if tests else given.rows([])


def frequencies(train: list[np.ndarray]) -> np.ndarray:
    """The logit of how often each output is on in the rolls, float64 [O]."""
    on = sum(roll.sum(0, dtype=np.float64) for roll in train)
    share = (on + 0.5) / (sum(map(len, train)) + 1)
    return np.log(share / (1 - share))

"""Rolls: sequences of steps, at each of which any number of outputs are on, as keys of a piano."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tidegate.errors import InputError, shown

__all__ = ["PIANO", "RollSet", "as_rolls", "note_name", "pitches_of"]

MOST_CELLS = 2**31  # of the rolls of one file, a byte each
_LETTERS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_NOTE = re.compile(r"([A-G]#?)(-1|\d)")


def note_name(pitch: int) -> str:
    """The name of a MIDI pitch, 0 to 127: 60 is C4, the middle C."""
    return f"{_LETTERS[pitch % 12]}{pitch // 12 - 1}"


PIANO = tuple(note_name(pitch) for pitch in range(21, 109))  # A0 to C8
_ALL_NOTES = tuple(note_name(pitch) for pitch in range(128))


def pitches_of(outputs: Sequence[str]) -> list[int] | None:
    """The MIDI pitch that each output's name is, [O]; None unless all are names of notes."""
    known = {name: pitch for pitch, name in enumerate(_ALL_NOTES)}
    pitches = [known.get(name, -1) for name in outputs]
    return pitches if min(pitches, default=-1) >= 0 else None


def default_outputs(count: int) -> tuple[str, ...]:
    """Names of unnamed outputs: of 88 the keys of a piano, of 128 all of MIDI's, else numbers."""
    named = {len(PIANO): PIANO, len(_ALL_NOTES): _ALL_NOTES}
    return named.get(count) or tuple(str(number) for number in range(1, count + 1))


@dataclass(frozen=True, eq=False)
class RollSet:
    """N pieces, as a file or a user has them.

    ``rolls``: uint8 [T, O] each, T from 1, of zeros and ones.  ``outputs``: O different names, or
    None where outputs are told apart by their place alone.  ``names``: N, to tell pieces by.
    ``validation`` and ``test``: pieces of a file that is parted already.  ``steps_per_beat``: steps
    in a quarter note, of rolls that were read from MIDI files.  ``conditions``: columns of N cells
    that say what each piece is to be.
    """

    rolls: list[np.ndarray]
    outputs: tuple[str, ...] | None
    names: list[str]
    validation: list[np.ndarray] | None = None
    test: list[np.ndarray] | None = None
    steps_per_beat: int | None = None
    conditions: Mapping[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rolls)

    @property
    def width(self) -> int:
        return self.rolls[0].shape[1]

    def pieces(self) -> Iterator[RollSet]:
        """Each piece as a set of its own."""
        for row in range(len(self)):
            yield self.rows([row])

    def rows(self, rows: Iterable[int]) -> RollSet:
        """The pieces of these ``rows``, of none that is parted already."""
        rows = list(rows)
        return replace(
            self,
            rolls=[self.rolls[i] for i in rows],
            names=[self.names[i] for i in rows],
            validation=None,
            test=None,
            conditions={name: [cells[i] for i in rows] for name, cells in self.conditions.items()},
        )

    def aligned(self, outputs: tuple[str, ...]) -> RollSet:
        """The same with the outputs that ``outputs`` name, in this order.

        Raises InputError where another output is on, or another number of unnamed ones is given.
        """
        if self.outputs is None or self.outputs == outputs:
            if self.width != len(outputs):
                raise InputError(
                    f"expected {len(outputs)} outputs a step, as in training, got {self.width}; "
                    "give the same ones in the same order"
                )
            return replace(self, outputs=outputs)
        place = {name: k for k, name in enumerate(outputs)}
        theirs = np.array([place.get(name, -1) for name in self.outputs])
        unknown = np.flatnonzero(theirs < 0)
        aligned = []
        for roll, name in zip(self.rolls, self.names, strict=True):
            if len(unknown) and (on := roll[:, unknown].any(0)).any():
                other = self.outputs[unknown[on.argmax()]]
                raise InputError(
                    f"{name}: expected outputs of the training ({_listed(outputs)}), got "
                    f"{shown(other)}; leave it out, or train with it"
                )
            found = np.zeros((len(roll), len(outputs)), np.uint8)
            found[:, theirs[theirs >= 0]] = roll[:, theirs >= 0]
            aligned.append(found)
        return replace(self, rolls=aligned, outputs=outputs)


def as_rolls(given: Any, what: str = "rolls") -> RollSet:
    """The pieces that a user gives: one array [N, T, O], or a list of N pieces.

    A piece is an array [T, O] of zeros and ones, or a list of steps, each of which is a list or set
    of the names (str) of the outputs that are on.  Raises InputError for anything else.
    """
    if isinstance(given, RollSet):
        return given
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence | np.ndarray):
        got = type(given).__name__
        raise InputError(f"{what}: expected a list of pieces, got {got}; pass [roll]")
    if isinstance(given, np.ndarray) and given.ndim != 3 and given.dtype != object:
        got = f"got one array {list(given.shape)}"
        raise InputError(f"{what}: expected a list of pieces, {got}; pass [roll]")
    if not len(given):
        raise InputError(f"{what}: expected one piece or more, got none; give some")
    names = [f"piece {k}" for k in range(len(given))]
    if _is_named(given[0]):
        return _of_names(list(given), names, what)
    rolls = [_roll(piece, f"{what}: {name}") for piece, name in zip(given, names, strict=True)]
    widths = {roll.shape[1] for roll in rolls}
    if len(widths) > 1:
        got = f"got {' and '.join(map(str, sorted(widths)[:3]))}"
        raise InputError(f"{what}: expected pieces of as many outputs each, {got}; fill them up")
    return RollSet(rolls, None, names)


def _roll(piece: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(piece)
    except ValueError:
        array = np.empty(0, object)
    if array.ndim != 2 or array.dtype.kind not in "biuf" or 0 in array.shape:
        raise InputError(
            f"{what}: expected numbers [steps, outputs], got {array.dtype} {list(array.shape)}; "
            "give an array of zeros and ones, or a list of steps that name what is on"
        )
    other = (array != 0) & (array != 1)
    if other.any():
        step, output = np.argwhere(other)[0].tolist()
        got = f"got {array[step, output]} at step {step}, output {output}"
        raise InputError(f"{what}: expected zeros and ones, {got}; pass roll > 0")
    return array.astype(np.uint8)


def _is_named(piece: Any) -> bool:
    """Whether a piece is a list of steps that name what is on: none of them a number."""
    if isinstance(piece, np.ndarray | str | bytes) or not isinstance(piece, Sequence):
        return False
    steps = [step for step in piece if isinstance(step, Collection) and len(step)]
    first = next(iter(steps[0]), None) if steps and not isinstance(steps[0], str) else None
    return isinstance(first, str) or (len(piece) > 0 and not steps)


def _of_names(given: Sequence[Any], names: list[str], what: str) -> RollSet:
    found: dict[str, int] = {}
    for piece, name in zip(given, names, strict=True):
        for k, step in enumerate(piece):
            if isinstance(step, str) or not isinstance(step, Collection):
                got = f"got {shown(step)}"
                problem = f"{what}: {name}, step {k}: expected a list of names, {got}"
                raise InputError(f"{problem}; write [name] for one")
            for output in step:
                if not isinstance(output, str) or not output.strip() or not output.isprintable():
                    problem = f"{what}: {name}, step {k}: expected names, got {shown(output)}"
                    raise InputError(f"{problem}; write a str of printable characters")
                found.setdefault(output, 0)
        if not len(piece):
            raise InputError(f"{what}: {name}: expected a step or more, got none; leave it out")
    if not found:
        raise InputError(f"{what}: expected an output that is on, got none; name some")
    outputs = ordered(found)
    place = {output: k for k, output in enumerate(outputs)}
    check_size(sum(len(piece) for piece in given), len(outputs), what)
    rolls = []
    for piece in given:
        roll = np.zeros((len(piece), len(outputs)), np.uint8)
        for k, step in enumerate(piece):
            roll[k, [place[output] for output in step]] = 1
        rolls.append(roll)
    return RollSet(rolls, outputs, names)


def ordered(found: Collection[str]) -> tuple[str, ...]:
    """Names of outputs in the order in which they stand in a roll: notes by pitch, else sorted."""
    if all(_NOTE.fullmatch(name) for name in found) and set(found) <= set(_ALL_NOTES):
        return tuple(name for name in _ALL_NOTES if name in set(found))
    return tuple(sorted(found))


def check_size(steps: int, outputs: int, what: str) -> None:
    """Raise InputError for rolls that would fill the memory."""
    if steps * outputs > MOST_CELLS:
        raise InputError(
            f"{what}: expected at most {MOST_CELLS} cells, steps times outputs, got {steps} times "
            f"{outputs}; give fewer steps, or leave out outputs that are seldom on"
        )


def _listed(outputs: Sequence[str]) -> str:
    more = "" if len(outputs) <= 6 else f" and {len(outputs) - 6} more"
    return ", ".join(map(shown, outputs[:6])) + more

"""How a trained model of music goes on with a piece, and how a piece is written."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.sequences.rolls.rolls import RollSet, pitches_of
from tidegate.errors import spelled
from tidegate.output.writing import write_atomically
from tidegate.runtime.repeats import Reading
from tidegate.runtime.rolls import played
from tidegate.tasks.conditioned import Conditioned
from tidegate.tasks.pieces import STEPS_PER_BEAT, Pieces, opened
from tidegate.tasks.roll_files import check_piece_path, piece_content
from tidegate.training.option_values import check_value
from tidegate.training.options import check_seed

if TYPE_CHECKING:
    from os import PathLike

    from tidegate.runtime.stream import Stream


class Composes(Conditioned):
    """What a fitted model of pieces writes: it has the names of its outputs, and a runtime."""

    TASK: str
    outputs_: tuple[str, ...]
    provenance_: dict[str, Any]
    runtime_: Any  # a Network
    repeats: bool

    def generate(
        self,
        prompt: Pieces = None,
        length: int = 500,
        *,
        temperature: float = 1.0,
        greedy: bool = False,
        seed: int | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> np.ndarray:
        """Write the ``length`` steps that follow ``prompt``, uint8 [length, O].

        ``prompt``: pieces of which the first is gone on with; None begins one.  ``temperature``:
        below 1, what is likely becomes likelier; above 1, less likely.  ``greedy``: an output is on
        where it is likelier on than off.  ``seed``: one seed gives one piece; None draws another
        each time.  ``given``: of a model of pieces with conditions what the piece is to be, such as
        ``{"composer": "Bach"}``; what is left out is unknown.  Raises InputError for a value out of
        its range.
        """
        network = self.runtime_
        check_seed(seed)
        check_value("length", length, int, {"bounds": {"at least": 0}})
        about = {"remedy": f"{spelled('greedy', True)} always takes what is likelier"}
        check_value("temperature", temperature, float, {"bounds": {"above": 0}, **about})
        check_value("greedy", greedy, bool, {})
        width = network.architecture.output_size
        begun = np.zeros((0, width), np.uint8) if prompt is None else self._aligned(prompt).rolls[0]
        rng = np.random.default_rng(seed)
        how = {"temperature": temperature, "greedy": greedy}
        steps = played(network, self._reading(width), begun, self._given(given), rng, **how)
        found = list(islice(steps, length))
        return np.stack(found) if found else np.zeros((0, width), np.uint8)

    def write(
        self,
        path: str | PathLike[str],
        roll: np.ndarray,
        *,
        tempo: float | None = None,
        force: bool = False,
    ) -> None:
        """Write a roll [T, O] of this model's outputs to a file: ``.mid``, if outputs are notes,
        ``.npz``, or a table of what is on (``.csv``, ``.tsv``, ``.jsonl``).

        ``tempo``: quarter notes a minute of a MIDI file (None: 120); how many steps are one is as
        in training.  Raises InputError where the file cannot be written.
        """
        check_piece_path(path, self.outputs_, tempo, force=force)
        (steps,) = self._aligned([roll]).rolls
        about = {"steps_per_beat": self.steps_per_beat, "tempo": tempo}
        write_atomically(path, piece_content(path, steps, self.outputs_, **about))

    def stream(
        self, batch_size: int | None = None, *, given: Mapping[str, Any] | None = None
    ) -> Stream:
        """A piece that arrives step by step, or ``batch_size`` of them, whose next step is asked.

        ``given``: of a model of pieces with conditions what all of them are, as ``generate`` has
        it.  See the class of what comes back for what a piece is.  Raises InputError for conditions
        that the model does not know.
        """
        from tidegate.runtime.roll_streams import RollStream

        about = self.outputs_, self._reading(len(self.outputs_)), self._given(given)
        return RollStream(self.runtime_, batch_size, self.TASK, *about)

    @property
    def steps_per_beat(self) -> int:
        """Steps in a quarter note of MIDI files, as in training."""
        return int(self.provenance_.get("steps_per_beat", STEPS_PER_BEAT))

    @property
    def piece_name(self) -> str:
        """The name of a file that a piece by this model can be written to."""
        return "next.csv" if pitches_of(self.outputs_) is None else "song.mid"

    def names_of(self, roll: np.ndarray) -> list[list[str]]:
        """The names of the outputs that are on at each step of a roll [T, O]."""
        return [[self.outputs_[k] for k in np.flatnonzero(step)] for step in roll]

    def _given(self, given: Mapping[str, Any] | None) -> np.ndarray:
        """The condition of a piece that is ``given`` so, float32 [C].  Raises InputError."""
        if given is not None:
            self._check_conditions_fit(True)
        known = self.conditions_
        return np.zeros(0, np.float32) if known is None else known.given(given)

    def _aligned(self, rolls: Pieces, conditions: Any = None) -> RollSet:
        return opened(rolls, conditions, steps_per_beat=self.steps_per_beat).aligned(self.outputs_)

    def _reading(self, outputs: int) -> Reading:
        """What the network reads of rolls of so many outputs."""
        size = 0 if self.conditions_ is None else self.conditions_.size
        return Reading(outputs, repeats=self.repeats, conditions=size)

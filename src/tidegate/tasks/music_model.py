"""Music, and any other sequence of steps at which several of many outputs are on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.rolls import CountedSteps
from tidegate.data.roll_source import Rolls
from tidegate.data.sequences.rolls.rolls import (
    RollSet,
    as_rolls,
    default_outputs,
    pitches_of,
)
from tidegate.errors import InputError, spelled
from tidegate.output.writing import write_atomically
from tidegate.runtime.repeats import Reading
from tidegate.runtime.rolls import (
    nats_by_step,
    outputs_by_step,
    played,
    probabilities,
    roll_figures,
)
from tidegate.tasks.estimator import Estimator, with_default
from tidegate.tasks.roll_files import check_piece_path, piece_content
from tidegate.tasks.splitting import split_rows, thinned
from tidegate.training.budget import Closing
from tidegate.training.option_values import check_value
from tidegate.training.options import check_seed, documented, option

if TYPE_CHECKING:
    from os import PathLike

    from tidegate.model.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream
    from tidegate.training.step_outputs import StepOutputs

# What fit and its sisters take: a file or folder, a RollSet, or what as_rolls makes one of.
Pieces = Any
STEPS_PER_BEAT = 2  # of rolls that were not read from MIDI files


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class MusicModel(Estimator):
    """Predicts which of many outputs are on at the next step, and goes on with a piece.

    Pieces are piano rolls: a list of arrays [T, O] of zeros and ones, a file (MIDI, ``.npz``,
    ``.mat`` of the polyphonic sets, a table) or a folder of MIDI files.  Every step is predicted
    from all steps before it, the first one from nothing: a step of zeros.  Outputs are independent
    within a step.

    Nothing of it is about music alone: baskets of a customer, pages of a visit, events of a machine
    are such sequences, too.  There a piece is a list of steps, each a list or set of names.
    ``outputs_`` holds the outputs' names, which the model file keeps.

    `fit` raises InputError for options or pieces that cannot be used.

    >>> import tidegate as tg
    >>> weeks = [[{"bread", "milk"}, {"bread", "tea"}] * 6] * 20
    >>> model = tg.MusicModel(hidden_sizes=(16,), max_steps=150, verbose=0).fit(weeks)
    >>> model.outputs_
    ('bread', 'milk', 'tea')
    >>> model.generate([[{"bread", "milk"}]], 2, greedy=True).tolist()
    [[1, 0, 1], [1, 1, 0]]
    """

    TASK: ClassVar[str] = "music"
    INPUTS: ClassVar[str] = "pieces"
    MOST_REFIT: ClassVar[str] = "up to 100,000 steps"
    FEW: ClassVar[int] = 100_000
    DEFAULT_EPOCHS: ClassVar[int] = 40
    DEFAULT_STEPS: ClassVar[int] = 600

    hidden_sizes: tuple[int, ...] = with_default("hidden_sizes", (100,))
    dropout: float = with_default("dropout", 0.5)
    input_dropout: float = option(
        0.1,
        "probability of not reading an output that is on, in training",
        at_least=0,
        below=1,
    )
    repeats: bool = option(
        True,
        "also read, beside the last step, the one that followed the longest earlier repetition of "
        "the end of what was read, as tunes and habits come again",
    )
    transpose: int = option(
        0,
        "in training, move each piece up or down by up to this many outputs, at random: of piano "
        "keys 5, say, if pieces are in all keys",
        at_least=0,
        at_most=1000,
    )
    bptt: int = option(
        500,
        "steps of a piece that are learned from at once; longer pieces are cut, each epoch "
        "elsewhere",
        at_least=2,
    )
    learning_rate: float | None = option(1e-2, "peak learning rate", above=0)
    batch_size: int = option(
        16, "pieces in one optimiser step, over all processes together", at_least=1
    )
    validation_fraction: float = option(
        0.1,
        "fraction of the pieces that is held out to choose the best weights; of one piece alone, "
        "its end",
        above=0,
        below=1,
    )
    test_fraction: float = option(
        0.0,
        "fraction of the pieces that is held out and scored once after training",
        at_least=0,
        below=1,
    )

    def fit(self, rolls: Pieces, validation: Pieces = None) -> Self:
        """Train on pieces.

        Some are held out, drawn with the seed, to choose the best weights; ``validation`` instead,
        if it is given.  A file that is parted already, a ``.mat`` of the polyphonic sets, is used
        as it is: its test part is scored once at the end.

        Raises InputError for options or pieces that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        self.check_training()
        given = opened(rolls)
        self.outputs_ = given.outputs or default_outputs(given.width)
        train, judges, test = self.split(given, validation)
        held_out = validation is None and given.validation is None
        reading = self._reading(given.width)
        order = np.random.default_rng(0).permutation(len(train))

        def prepare(count: int) -> None:
            for i in order[:count]:
                reading.before(train[i])

        part = self._part_prepared(self.INPUTS, len(train), prepare)
        train, judges = (
            [pieces[i] for i in thinned(np.arange(len(pieces)), part)] for pieces in (train, judges)
        )
        self._stand_beside(lambda _: CountedSteps.fit(train, judges), judges, test or None)
        whole = [*train, *judges]

        def everything(network: SequenceNetwork) -> StepOutputs:
            return self._objective(network, whole, judges)

        self._train(
            self._architecture(
                input_size=reading.width,
                output_size=given.width,
                bidirectional=False,  # it would see what it is to predict
                readout="every",
            ),
            lambda network: self._objective(network, train, judges),
            {"training_pieces": len(train), "validation_pieces": len(judges)},
            lambda network: _begin_with_frequencies(network, train),
            everything_of=everything if held_out else None,
            closing=Closing(
                tested=sum(map(len, test)), seconds=self._preparation.each_s * len(test)
            ),
        )
        self.provenance_["steps_per_beat"] = given.steps_per_beat or STEPS_PER_BEAT
        return self._conclude(self._figures(test) if test else {})

    def split(
        self, rolls: Pieces, validation: Pieces = None
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
        """Training, validation and test pieces, as ``fit`` parts them; the last may be empty.

        Raises InputError.
        """
        given = opened(rolls)
        outputs = given.outputs or default_outputs(given.width)
        if given.validation is not None:
            if validation is not None:
                problem = "expected none beside a file that is parted already, got one"
                raise InputError(f"{problem}; leave it out", option="validation")
            return given.rolls, given.validation, given.test or []
        others = None if validation is None else opened(validation, "validation").aligned(outputs)
        kept = 0.0 if others is not None else self.validation_fraction
        if len(given) == 1:
            return _cut(given.rolls[0], kept, self.test_fraction, others)
        rows = split_rows(
            len(given), self.seed, validation=kept, test=self.test_fraction, what=self.INPUTS
        )
        train, drawn, test = ([given.rolls[i] for i in part] for part in rows)
        return train, drawn if others is None else others, test

    def predict_proba(self, rolls: Pieces) -> list[np.ndarray]:
        """How likely each output is on at each step, given the steps before it: float64 [T, O] of
        each piece.

        Raises InputError for pieces that cannot be used.
        """
        return [probabilities(one) for one in self._outputs(self._aligned(rolls))]

    def evaluate(self, rolls: Pieces) -> dict[str, float]:
        """Measure how well each step of pieces is predicted from the steps before it, by name.

        ``nats_per_step``: minus the log probability of a step, all its outputs together, in the
        mean over all steps of all pieces, the first ones among them.  ``frame_accuracy``: TP / (TP
        + FP + FN) over all steps, an output being expected where it is likelier on than off.
        ``frames``: their number.  Both as Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392) have
        them.

        Raises InputError for pieces that cannot be used.
        """
        return self._figures(self._aligned(rolls))

    def score(self, rolls: Pieces) -> float:
        """Measure minus the nats per step; larger is better."""
        return -self.evaluate(rolls)["nats_per_step"]

    def generate(
        self,
        prompt: Pieces = None,
        length: int = 500,
        *,
        temperature: float = 1.0,
        greedy: bool = False,
        seed: int | None = None,
    ) -> np.ndarray:
        """Write the ``length`` steps that follow ``prompt``, uint8 [length, O].

        ``prompt``: pieces of which the first is gone on with; None begins one.  ``temperature``:
        below 1, what is likely becomes likelier; above 1, less likely.  ``greedy``: an output is on
        where it is likelier on than off.  ``seed``: one seed gives one piece; None draws another
        each time.  Raises InputError for a value out of its range.
        """
        network = self.runtime_
        check_seed(seed)
        check_value("length", length, int, {"bounds": {"at least": 0}})
        about = {"remedy": f"{spelled('greedy', True)} always takes what is likelier"}
        check_value("temperature", temperature, float, {"bounds": {"above": 0}, **about})
        check_value("greedy", greedy, bool, {})
        width = network.architecture.output_size
        begun = np.zeros((0, width), np.uint8) if prompt is None else self._aligned(prompt)[0]
        rng = np.random.default_rng(seed)
        steps = played(
            network, self._reading(width), begun, rng, temperature=temperature, greedy=greedy
        )
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
        (steps,) = self._aligned([roll])
        about = {"steps_per_beat": self.steps_per_beat, "tempo": tempo}
        write_atomically(path, piece_content(path, steps, self.outputs_, **about))

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

    def inputs_of(self, rolls: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the network reads before each step of rolls of this model's outputs, float32 [T,
        I] each.
        """
        reading = self._reading(len(self.outputs_))
        return [reading.all_before(roll) for roll in rolls]

    def losses(self, rolls: Sequence[np.ndarray]) -> np.ndarray:
        """Nats of each piece, all of its steps together, float64 [N]."""
        pairs = zip(self._outputs(rolls), rolls, strict=True)
        return np.array([nats_by_step(outputs, roll).sum() for outputs, roll in pairs])

    def _figures(self, rolls: Sequence[np.ndarray]) -> dict[str, float]:
        return roll_figures(self._outputs(rolls), rolls)

    def _outputs(self, rolls: Sequence[np.ndarray]) -> list[np.ndarray]:
        network = self.runtime_
        read = self.inputs_of(rolls)
        return outputs_by_step(network, read, network.architecture.output_size)

    def _aligned(self, rolls: Pieces) -> list[np.ndarray]:
        return opened(rolls, steps_per_beat=self.steps_per_beat).aligned(self.outputs_)

    def _objective(
        self, network: SequenceNetwork, train: list[np.ndarray], validation: list[np.ndarray]
    ) -> StepOutputs:
        from tidegate.training.step_outputs import StepOutputs

        return StepOutputs(
            network,
            train,
            validation,
            reading=self._reading(network.architecture.output_size),
            batch_size=self.batch_size,
            bptt=self.bptt,
            transpose=self.transpose,
            input_dropout=self.input_dropout,
            seed=self.seed,
        )

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        """One piece: what is read before each of its steps; a step is named by its number."""
        roll = self._aligned(x if isinstance(x, RollSet | str | os.PathLike) else [x])[0]
        return {"": self.inputs_of([roll])[0]}, [str(step) for step in range(len(roll))]

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.roll_streams import RollStream

        reading = self._reading(len(self.outputs_))
        return RollStream(network, batch_size, self.TASK, self.outputs_, reading)

    def _reading(self, outputs: int) -> Reading:
        """What the network reads of rolls of so many outputs."""
        return Reading(outputs, repeats=self.repeats)

    def _learned(self) -> dict[str, Any]:
        return {"labels": list(self.outputs_)}

    def _restore(self, model: ModelFile) -> None:
        labels = model.labels or []
        if not all(isinstance(label, str) for label in labels):
            raise ValueError("labels: expected the outputs' names, str")
        expected = self._reading(len(labels)).width
        if model.architecture.input_size != expected:
            raise ValueError(f"input_size: expected {expected} values a step")
        self.outputs_ = tuple(str(label) for label in labels)


def opened(given: Pieces, what: str = "rolls", *, steps_per_beat: int = STEPS_PER_BEAT) -> RollSet:
    """The pieces in a file, a folder or what a user gives.  Raises InputError."""
    if isinstance(given, str | os.PathLike):
        return Rolls(steps_per_beat=steps_per_beat).read(os.fspath(given), learning=True)[0]
    return as_rolls(given, what)


def _cut(
    roll: np.ndarray, kept: float, tested: float, others: list[np.ndarray] | None
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """One piece in two or three: its end is held out, the test part last."""
    count = len(roll)
    tests, judges = round(count * tested), max(1, round(count * kept)) if kept else 0
    if tests + judges >= count:
        raise InputError(
            f"expected a piece of more than {tests + judges} steps, those that are held out, got "
            f"{count}; give more, or a smaller {spelled('validation_fraction')}"
        )
    first, second = count - tests - judges, count - tests
    held_out = [roll[first:second]] if others is None else others
    return [roll[:first]], held_out, [roll[second:]] if tests else []


def _begin_with_frequencies(network: SequenceNetwork, train: list[np.ndarray]) -> dict[str, Any]:
    """Let every output be as likely, at first, as it is on in the training part."""
    import torch

    on = sum(roll.sum(0, dtype=np.float64) for roll in train)
    count = sum(map(len, train))
    share = (on + 0.5) / (count + 1)
    with torch.no_grad():
        network.dense.bias.copy_(torch.from_numpy(np.log(share / (1 - share))))
    return {}

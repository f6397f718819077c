"""Music, and any other sequence of steps at which several of many outputs are on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.rolls import CountedSteps
from tidegate.data.sequences.rolls.rolls import RollSet
from tidegate.data.text.conditions import Conditions
from tidegate.runtime.rolls import (
    RollsAndConditions,
    nats_by_step,
    outputs_by_step,
    probabilities,
    roll_figures,
)
from tidegate.tasks.composing import Composes
from tidegate.tasks.estimator import Estimator, with_default
from tidegate.tasks.measured import Measured
from tidegate.tasks.pieces import (
    STEPS_PER_BEAT,
    Pieces,
    frequencies,
    opened_to_learn,
    parted,
)
from tidegate.tasks.splitting import thinned
from tidegate.training.budget import Closing
from tidegate.training.options import documented, option

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork
    from tidegate.training.step_outputs import StepOutputs


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class MusicModel(Composes, Estimator):
    """Predicts which of many outputs are on at the next step, and goes on with a piece.

    Pieces are piano rolls: a list of arrays [T, O] of zeros and ones, a file (MIDI, ``.npz``,
    ``.mat`` of the polyphonic sets, a table) or a folder of MIDI files.  Every step is predicted
    from all steps before it, the first one from nothing: a step of zeros.  Outputs are independent
    within a step.

    Nothing of it is about music alone: baskets of a customer, pages of a visit, events of a machine
    are such sequences, too.  There a piece is a list of steps, each a list or set of names.
    ``outputs_`` holds the outputs' names, which the model file keeps, and ``conditions_`` what the
    model may be told of a piece, None without.

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

    def fit(self, rolls: Pieces, validation: Pieces = None, *, conditions: Any = None) -> Self:
        """Train on pieces.

        Some are held out, drawn with the seed, to choose the best weights; ``validation`` instead,
        if it is given.  A file that is parted already, a ``.mat`` of the polyphonic sets, is used
        as it is: its test part is scored once at the end.

        ``conditions`` say what each piece is to be, such as its composer: a frame or a dict of
        lists with one cell for each piece, or one list, which is called ``condition``.  A column of
        numbers alone is scaled, others are categories; a missing cell is unknown.  ``validation``
        is then a pair of pieces and conditions.

        Raises InputError for options or pieces that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        self.check_training()
        given = opened_to_learn(rolls, conditions)
        train, judges, test = parted(self, given, validation)
        self.outputs_ = train.outputs or ()
        self.conditions_ = Conditions.learn(train.conditions) if train.conditions else None
        held_out = validation is None and given.validation is None
        reading = self._reading(given.width)
        order = np.random.default_rng(0).permutation(len(train))

        def prepare(count: int) -> None:
            some = self.rolls_and_conditions(train.rows(order[:count]))
            for one in zip(*some, strict=True):
                reading.all_before(*one)

        part = self._part_prepared(self.INPUTS, len(train), prepare)
        train, judges = (
            pieces.rows(thinned(np.arange(len(pieces)), part)) for pieces in (train, judges)
        )
        self._stand_beside(
            lambda _: CountedSteps.fit(train.rolls, judges.rolls),
            judges.rolls,
            test.rolls or None,
        )
        learned, judged = map(self.rolls_and_conditions, (train, judges))

        def everything(network: SequenceNetwork) -> StepOutputs:
            numbers = np.concatenate([learned.conditions, judged.conditions])
            whole = RollsAndConditions([*learned.rolls, *judged.rolls], numbers)
            return self._objective(network, whole, judged)

        def initialise(network: SequenceNetwork) -> dict[str, Any]:
            """Let every output be as likely, at first, as it is on in the training part."""
            import torch

            with torch.no_grad():
                network.dense.bias.copy_(torch.from_numpy(frequencies(train.rolls)))
            return {}

        data: dict[str, str | int | float] = {
            "training_pieces": len(train), "validation_pieces": len(judges),
        }  # fmt: skip
        if self.conditions_ is not None:
            data["conditions"] = ", ".join(self.conditions_.names)
        self._train(
            self._architecture(
                input_size=reading.width,
                output_size=given.width,
                bidirectional=False,  # it would see what it is to predict
                readout="every",
            ),
            lambda network: self._objective(network, learned, judged),
            data,
            initialise,
            everything_of=everything if held_out else None,
            closing=Closing(
                tested=sum(map(len, test.rolls)), seconds=self._preparation.each_s * len(test)
            ),
        )
        self.provenance_["steps_per_beat"] = given.steps_per_beat or STEPS_PER_BEAT
        return self._conclude(self._figures(test) if len(test) else {})

    def split(
        self, rolls: Pieces, validation: Pieces = None, *, conditions: Any = None
    ) -> tuple[RollSet, RollSet, RollSet]:
        """Training, validation and test pieces, as ``fit`` parts them; the last may be empty.

        Raises InputError.
        """
        return parted(self, opened_to_learn(rolls, conditions), validation)

    def predict_proba(self, rolls: Pieces, *, conditions: Any = None) -> list[np.ndarray]:
        """How likely each output is on at each step, given the steps before it: float64 [T, O] of
        each piece.

        A model of pieces with conditions is given them as ``fit`` is.  Raises InputError for pieces
        that cannot be used.
        """
        return [probabilities(one) for one in self._outputs(self._asked(rolls, conditions))]

    def evaluate(self, rolls: Pieces, *, conditions: Any = None) -> dict[str, float]:
        """Measure how well each step of pieces is predicted from the steps before it, by name.

        ``nats_per_step``: minus the log probability of a step, all its outputs together, in the
        mean over all steps of all pieces, the first ones among them.  ``frame_accuracy``: TP / (TP
        + FP + FN) over all steps, an output being expected where it is likelier on than off.
        ``frames``: their number.  Both as Boulanger-Lewandowski et al. 2012 (arXiv:1206.6392) have
        them.

        A model of pieces with conditions is given them as ``fit`` is; a category that training did
        not have is unknown.  Raises InputError for pieces that cannot be used.
        """
        return Measured(self._figures(self._asked(rolls, conditions)))

    def score(self, rolls: Pieces, *, conditions: Any = None) -> float:
        """Measure minus the nats per step; larger is better."""
        return -self.evaluate(rolls, conditions=conditions)["nats_per_step"]

    def rolls_and_conditions(self, pieces: RollSet) -> RollsAndConditions:
        """Pieces of this model's outputs with what the network reads of their conditions."""
        if self.conditions_ is None:
            return RollsAndConditions(pieces.rolls, np.zeros((len(pieces), 0), np.float32))
        return RollsAndConditions(pieces.rolls, self.conditions_.numbers(pieces.conditions))

    def inputs_of(self, pieces: RollSet) -> list[np.ndarray]:
        """What the network reads before each step of pieces of this model's outputs, float32 [T,
        I] each.
        """
        reading = self._reading(len(self.outputs_))
        told = zip(*self.rolls_and_conditions(pieces), strict=True)
        return [reading.all_before(*one) for one in told]

    def losses(self, pieces: RollSet) -> np.ndarray:
        """Nats of each piece, all of its steps together, float64 [N]."""
        pairs = zip(self._outputs(pieces), pieces.rolls, strict=True)
        return np.array([nats_by_step(outputs, roll).sum() for outputs, roll in pairs])

    def _asked(self, rolls: Pieces, conditions: Any) -> RollSet:
        """Pieces that are to be predicted, with their conditions where the model needs some."""
        pieces = self._aligned(rolls, conditions)
        self._check_conditions_fit(bool(pieces.conditions))
        return pieces

    def _figures(self, pieces: RollSet) -> dict[str, float]:
        return roll_figures(self._outputs(pieces), pieces.rolls)

    def _outputs(self, pieces: RollSet) -> list[np.ndarray]:
        network = self.runtime_
        return outputs_by_step(network, self.inputs_of(pieces), network.architecture.output_size)

    def _objective(
        self,
        network: SequenceNetwork,
        train: RollsAndConditions,
        validation: RollsAndConditions,
    ) -> StepOutputs:
        from tidegate.training.step_outputs import StepOutputs

        known = self.conditions_
        return StepOutputs(
            network,
            train,
            validation,
            columns=np.zeros(0, int) if known is None else known.columns_of_numbers(),
            reading=self._reading(network.architecture.output_size),
            batch_size=self.batch_size,
            bptt=self.bptt,
            transpose=self.transpose,
            input_dropout=self.input_dropout,
            seed=self.seed,
        )

    def _output_names(self) -> list[str]:
        return list(self.outputs_)

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        """One piece, of unknown conditions unless it comes with some: what is read before each of
        its steps; a step is named by its number.
        """
        piece = self._aligned(x if isinstance(x, RollSet | str | os.PathLike) else [x])
        roll = piece.rolls[0]
        condition = self._given(None)
        if piece.conditions and self.conditions_ is not None:
            condition = self.conditions_.numbers(piece.conditions)[0]
        read = self._reading(len(self.outputs_)).all_before(roll, condition)
        return {"": read}, [str(step) for step in range(len(roll))]

    def _learned(self) -> dict[str, Any]:
        known = self.conditions_
        scaling = None if known is None else {"conditions": known.to_json()}
        return {"labels": list(self.outputs_), "scaling": scaling}

    def _restore(self, model: ModelFile) -> None:
        labels, scaling = model.labels or [], model.scaling
        if not all(isinstance(label, str) for label in labels):
            raise ValueError("labels: expected the outputs' names, str")
        if scaling is not None and set(scaling) != {"conditions"}:
            raise ValueError("scaling: expected null, or conditions alone")
        self.conditions_ = None if scaling is None else Conditions.from_json(scaling["conditions"])
        expected = self._reading(len(labels)).width
        if model.architecture.input_size != expected:
            raise ValueError(f"input_size: expected {expected} values a step")
        self.outputs_ = tuple(str(label) for label in labels)

"""Labels of steps of numbers: activities, phases, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tidegate.baselines.steps import steps_within
from tidegate.baselines.tagged import Tagged
from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.errors import spelled
from tidegate.tasks.estimator import with_default
from tidegate.tasks.sequence_reading import ReadsSequences, elapsed_option
from tidegate.tasks.tags_steps import Read, TagsSteps
from tidegate.terminal import say
from tidegate.training.options import documented, option
from tidegate.training.search_space import Among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.model.checkpoint import ModelFile

_FEW = 10  # sequences: parts of fewer are held out by stretches
_SHORTEST = 5  # steps in such a stretch

Pairs = tuple[Any, Any]  # sequences, and the labels of their steps


@documented
@dataclass(kw_only=True, eq=False, repr=False)
class SeriesTagger(ReadsSequences, TagsSteps):
    """Predicts a label of each step of a sequence of numbers, such as what someone is doing.

    X is a list of N arrays [T, C] or [T], or one array [N, T, C] or [N, T], with T time steps of C
    channels; NaN means a missing value, for which the last known one is read.  y are N lists of T
    labels, all str, int, float or bool.  Of a frame with a row for each step, they are
    ``[rows[["x", "y"]] for _, rows in frame.groupby("id")]`` and
    ``[rows["label"] for _, rows in frame.groupby("id")]``.  ``classes_`` holds the labels in order,
    which is the order of the columns of ``predict_proba``.  ``inputs_`` scales each channel as the
    training part needs it.  `fit` raises InputError for options or data that cannot be used.

    >>> import numpy as np, tidegate as tg
    >>> X = [np.sin(np.arange(k, k + 60) / 4) for k in range(20)]
    >>> y = [["up" if rise > 0 else "down" for rise in np.gradient(x)] for x in X]
    >>> model = tg.SeriesTagger(max_steps=80, verbose=0).fit(X, y)
    >>> labels = model.predict([np.sin(np.arange(0, 9) / 4)])[0]
    >>> labels[2], labels[-2]
    ('up', 'down')
    """

    TASK: ClassVar[str] = "series-tagger"
    INPUTS: ClassVar[str] = "steps"
    WHOLES: ClassVar[str] = "sequences"
    DEFAULT_EPOCHS: ClassVar[int] = 20
    DEFAULT_STEPS: ClassVar[int] = 1000
    MOST_REFIT: ClassVar[str] = "up to 200,000 steps"
    FEW: ClassVar[int] = 200_000

    elapsed: bool = elapsed_option()
    piece: int = option(
        512,
        "learn from longer sequences in pieces of this many steps; they are predicted whole",
        at_least=1,
    )
    bidirectional: bool = option(
        True,
        "read sequences forwards and backwards; without it a stream has each step's label at once",
        search=Among(True, False),
    )
    dropout: float = with_default("dropout", 0.3)
    batch_size: int = option(
        16, "sequences in one optimiser step, over all processes together", at_least=1
    )
    validation_fraction: float = option(
        0.1,
        "fraction of the sequences that is held out to choose the best weights (0: none); of fewer "
        f"than {_FEW} stretches are held out instead",
        at_least=0,
        below=1,
    )
    test_fraction: float = option(
        0.0,
        "fraction of the sequences that is held out and scored once after training",
        at_least=0,
        below=1,
    )

    def fit(self, X: Any, y: Any, validation: Pairs | None = None) -> Self:
        """Train on N sequences ``X`` and the labels of their steps, ``y``, N lists as long.

        ``validation``: sequences and labels that choose the best weights; by default
        ``validation_fraction`` of ``X`` is held out for this.

        Raises InputError for options or data that cannot be used, and TrainingError for a loss
        that is not finite.
        """
        self.check_training()
        whole = self._parted(X, y, validation)
        self._learn_classes(whole[0].labels)
        self.evidence_ = None
        parts = train, held_out, test = self._some_prepared(whole, self._prepare)
        self._learn_scale(train)
        alone = not held_out.steps  # then the weights that fit the training part best are kept
        learned = self._pieces(self._read_labelled(train))
        judged = learned if alone else self._read_labelled(held_out)
        self._stand_beside(
            lambda seconds: steps_within(train, held_out, 2 * held_out.steps + test.steps, seconds),
            None if alone else held_out,
            test if test.steps else None,
        )
        self._learn_tags(
            self._architecture(
                input_size=self._reading.input_size,
                output_size=len(self.classes_),
                readout="every",
            ),
            parts,
            learned,
            judged,
            by="cross_entropy",
            drawn=validation is None,
            as_learned=self._pieces,
        )
        return self._conclude(self.evaluate(*test) if test.steps else {})

    def whole(self, inputs: Any, labels: Any, *, drawn: bool) -> Tagged:
        """Of few sequences, where parts of them are ``drawn``, stretches one after the other."""
        found = super().whole(inputs, labels, drawn=drawn)
        count = len(found.inputs)
        if not drawn or count >= _FEW:
            return found
        stretches: tuple[list[Any], list[Any]] = [], []
        for of_one in zip(*found, strict=True):
            most = max(1, len(of_one[1]) // _SHORTEST)
            ends = np.linspace(0, len(of_one[1]), min(-(-_FEW // count), most) + 1).astype(int)
            for kept, values in zip(stretches, of_one, strict=True):
                kept += [values[a:b] for a, b in zip(ends, ends[1:], strict=False)]
        if self.speaks and len(stretches[0]) > count:
            say(
                f"few sequences ({count}): what is held out is drawn from {len(stretches[0])} "
                f"stretches; {spelled('validation_fraction', 0)} holds out none"
            )
        return Tagged(*stretches)

    def _prepare(self, part: Tagged) -> None:
        """Set ``inputs_``, and read the part as the network does."""
        self._learn_scale(part)
        self._read_labelled(part)

    def _learn_scale(self, part: Tagged) -> None:
        self.inputs_ = SequenceInputs.fit(list(part.inputs), 1, False, self._times_read)

    def _pieces(self, read: Read) -> Read:
        """Long sequences in pieces."""
        found: Read = [], []
        for steps, labels in zip(*read, strict=True):
            for begin in range(0, len(labels), self.piece):
                found[0].append(steps[begin : begin + self.piece])
                found[1].append(labels[begin : begin + self.piece])
        return found

    def _known(self, inputs: Any) -> list[np.ndarray]:
        return self._sequences(inputs)

    def _label_rows(self, labels: Any) -> list[Any]:
        if isinstance(labels, np.ndarray) and labels.ndim == 2:
            return list(labels)
        return super()._label_rows(labels)

    def encode(self, known: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._read(self._sequences(list(known), self.inputs_.channels))

    def _learned(self) -> dict[str, Any]:
        return {"labels": self.classes_.tolist()} | super()._learned()

    def _restore(self, model: ModelFile) -> None:
        assert model.labels is not None  # held by the file's schema
        self.classes_ = np.array(model.labels)
        super()._restore(model)
        if self.inputs_.segment != 1 or self.inputs_.own_scale:
            raise ValueError("inputs: expected a segment of 1, and no scale of each sequence's own")

"""What a tagger says of sequences: a label of each step, how sure it is, and how good that is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.tagged import Tagged
from tidegate.data.files.items import Label, as_items, as_labels
from tidegate.data.text.entities import are_entity_labels
from tidegate.errors import InputError, shown
from tidegate.runtime.batches import step_outputs
from tidegate.runtime.tags import decoded, log_probabilities, losses
from tidegate.tasks.estimator import Estimator
from tidegate.tasks.measured import Measured
from tidegate.tasks.splitting import split_rows, thinned
from tidegate.tasks.tag_figures import table_of, tag_figures
from tidegate.training.budget import Closing

if TYPE_CHECKING:
    from tidegate.model.architecture import Architecture
    from tidegate.nn.network import SequenceNetwork

UNKNOWN = -100  # in place of a label that the model does not know; training leaves it out, too

# Sequences as a network reads them, and the positions of their labels, int64 [T] each.
Read = tuple[list[np.ndarray], list[np.ndarray]]


class TagsSteps(Estimator):
    """A task that gives each step of a sequence one of ``classes_``.

    ``INPUTS`` is what the steps are, ``WHOLES`` what the sequences are, in the plural.
    """

    INPUTS: ClassVar[str]
    WHOLES: ClassVar[str]
    batch_size: int  # options of the task
    validation_fraction: float
    test_fraction: float

    def predict(self, inputs: Any) -> list[list[Label]]:
        """Predict the label of each step: N lists, of the sequences' lengths."""
        classes = self.classes_.tolist()
        found = decoded(self._outputs(self._known(inputs)), self.transitions_)
        return [[classes[i] for i in of_one.tolist()] for of_one in found]

    def predict_proba(self, inputs: Any) -> list[np.ndarray]:
        """Predict the probability of each label, N arrays [T, labels], in ``classes_``' order."""
        return [np.exp(logs) for logs in self.predict_log_proba(inputs)]

    def predict_log_proba(self, inputs: Any) -> list[np.ndarray]:
        """Predict the natural logarithm of ``predict_proba``, N arrays [T, labels]."""
        return log_probabilities(self._outputs(self._known(inputs)), self.transitions_)

    def score(self, inputs: Any, labels: Any) -> float:
        """Measure the F1 of entities, where labels name such; else the accuracy, 0 to 1."""
        figures = self.evaluate(inputs, labels)
        return figures["f1" if self._are_entities else "accuracy"]

    def evaluate(self, inputs: Any, labels: Any) -> dict[str, float]:
        """Measure figures on labelled sequences, by name.

        ``accuracy``: fraction of steps whose label is predicted.  ``macro_f1``: mean of the labels'
        F1, every label counting the same.  ``cross_entropy``: mean of -log p of the true labels, in
        nats per step.  Where labels name entities (B-PER, I-PER, O), instead of macro_f1 ``f1``,
        ``precision`` and ``recall`` of these, as conlleval counts them: an entity is right if its
        kind and all of its steps are.  ``unknown_labels``: steps whose label was not in the
        training data; they count as wrong, and their sequences not in the cross-entropy.  ``n``:
        number of steps, and by name that of the sequences.
        """
        known, truth = self._judged(inputs, labels)
        figures = tag_figures(
            self._outputs(known), self.transitions_, truth, self.classes_.tolist()
        )
        unknown = int(sum((of_one == UNKNOWN).sum() for of_one in truth))
        if unknown:
            figures["unknown_labels"] = unknown
        return Measured({**figures, self.WHOLES: len(known), "n": sum(map(len, known))})

    def table(self, inputs: Any, labels: Any) -> dict[str, dict[str, float]]:
        """Measure precision, recall, F1 and number of each kind of entity, or of each label."""
        known, truth = self._judged(inputs, labels)
        predicted = decoded(self._outputs(known), self.transitions_)
        return table_of(predicted, truth, self.classes_.tolist())

    def losses(self, inputs: Any, labels: Any) -> np.ndarray:
        """Measure -log p of the labels of each sequence, in nats, [N].

        NaN for a sequence with a label that was not in the training data.
        """
        known, truth = self._judged(inputs, labels)
        return losses(self._outputs(known), self.transitions_, truth)

    @property
    def transitions_(self) -> np.ndarray | None:
        """Weights of neighbouring labels, float32 [L + 1, L + 1], or None without a CRF.

        Rows are labels as in ``classes_``, and at last the start of a sequence; columns are the
        labels that follow, and at last the end.
        """
        return self.runtime_.tensors.get("transitions.weight")

    # what is read

    @abstractmethod
    def _known(self, inputs: Any) -> list[Any]:
        """The sequences as a list.  Raises InputError."""

    @abstractmethod
    def encode(self, known: Sequence[Any]) -> list[np.ndarray]:
        """The sequences as the network reads them, [T] or [T, I] each."""

    def _outputs(self, known: Sequence[Any]) -> list[np.ndarray]:
        return step_outputs(self.runtime_, self.encode(known), len(self.classes_))

    def _read_labelled(self, part: Tagged) -> Read:
        return self.encode(part.inputs), self._indices(part.labels)

    # training

    def _some_prepared(
        self, parts: list[Tagged], prepare: Callable[[Tagged], object]
    ) -> list[Tagged]:
        """The parts with as much to train and to validate by as there is time to ``prepare``."""
        train, held_out, test = parts
        order = np.random.default_rng(0).permutation(len(train.inputs))

        def work(count: int) -> None:
            prepare(train.rows(order[:count].tolist()))

        part = self._part_prepared(self.WHOLES, len(order), work)
        if part < 1:
            train, held_out = (
                one.rows(thinned(np.arange(len(one.inputs)), part).tolist())
                for one in (train, held_out)
            )
        return [train, held_out, test]

    def whole(self, inputs: Any, labels: Any, *, drawn: bool) -> Tagged:  # noqa: ARG002
        """What is divided into parts, some of it ``drawn`` at random.  Raises InputError."""
        return Tagged(*self.pairs(inputs, labels))

    def _parted(self, inputs: Any, labels: Any, validation: tuple[Any, Any] | None) -> list[Tagged]:
        """The training, the validation and the test part.  Raises InputError."""
        drawn = validation is None or self.test_fraction > 0
        whole = self.whole(inputs, labels, drawn=drawn)
        rows = split_rows(
            len(whole.inputs),
            self.seed,
            validation=self.validation_fraction if validation is None else 0,
            test=self.test_fraction,
            what=self.WHOLES,
        )
        parts = [whole.rows(part) for part in rows]
        if validation is not None:
            parts[1] = Tagged(*self.pairs(*validation))
        return parts

    def _learn_tags(
        self,
        architecture: Architecture,
        parts: Sequence[Tagged],
        learned: Read,
        judged: Read,
        *,
        by: str,
        drawn: bool,
        vary: Any = None,
        as_learned: Callable[[Read], Read] = lambda read: read,
        initialise: Callable[[SequenceNetwork], dict[str, Any]] | None = None,
    ) -> None:
        """Train on ``learned``; the figure ``by`` of ``judged`` chooses the best weights.

        ``parts``: as ``_parted`` gave them.  ``drawn``: the validation part is of the data given to
        learn from, and may be learned from at the end, ``as_learned``.  ``vary``: `Tagging`'s.
        """
        from tidegate.training.tagging import Tagging

        train, held_out, test = parts
        alone = not held_out.steps

        def objective(network: SequenceNetwork, learned: Read) -> Tagging:
            return Tagging(
                network,
                learned,
                judged,
                unit=self.INPUTS,
                measure=partial(tag_figures, classes=self.classes_.tolist()),
                by="cross_entropy" if alone else by,
                batch_size=self.batch_size,
                seed=self.seed,
                vary=vary,
                prefix="training_" if alone else "",
            )

        def everything(network: SequenceNetwork) -> Tagging:
            pairs = zip(learned, as_learned(judged), strict=True)
            sequences, labels = ([*a, *b] for a, b in pairs)
            return objective(network, (sequences, labels))

        self._train(
            architecture,
            lambda network: objective(network, learned),
            {
                f"training_{self.WHOLES}": len(train.inputs),
                f"training_{self.INPUTS}": train.steps,
                f"validation_{self.INPUTS}": held_out.steps,
            },
            initialise,
            everything_of=everything if drawn and not alone else None,
            closing=Closing(tested=test.steps, seconds=self._preparation.each_s * len(test.inputs)),
        )

    # labels

    @property
    def _are_entities(self) -> bool:
        return are_entity_labels(self.classes_.tolist())

    def pairs(self, inputs: Any, labels: Any) -> tuple[list[Any], list[list[Label]]]:
        """Sequences and labels.  Raises InputError unless there is a label for each step."""
        known, given = self._known(inputs), self._label_rows(labels)
        whole, step = (name.removesuffix("s") for name in (self.WHOLES, self.INPUTS))
        if len(given) != len(known):
            raise InputError(
                f"labels: expected one list per {whole}, {len(known)}, got {len(given)}; give "
                "one for each"
            )
        truth = []
        for i, (sequence, one) in enumerate(zip(known, given, strict=True)):
            try:
                found = as_labels(one)
            except InputError as e:
                raise InputError(f"{whole} {i}: {e}") from None
            if len(found) != len(sequence):
                raise InputError(
                    f"labels: expected one per {step} of {whole} {i}, {len(sequence)}, got "
                    f"{len(found)}; give one for each"
                )
            truth.append(found)
        if not any(map(len, known)):
            raise InputError(
                f"{self.INPUTS}: expected at least one, got none; give some {self.WHOLES}"
            )
        return known, truth

    def _label_rows(self, labels: Any) -> list[Any]:
        """The labels of each sequence."""
        return as_items(labels, "labels")

    def _judged(self, inputs: Any, labels: Any) -> tuple[list[Any], list[np.ndarray]]:
        """Sequences, and the positions of their labels; UNKNOWN for others.

        Raises InputError if none of the labels was in the training data.
        """
        known, truth = self.pairs(inputs, labels)
        found = self._indices(truth)
        if all((of_one == UNKNOWN).all() for of_one in found):
            told = ", ".join(repr(label) for label in self.classes_[:10].tolist())
            other = next(label for of_one in truth for label in of_one)
            raise InputError(
                f"labels: expected those of the training {self.INPUTS} ({told}), got others, such "
                f"as {shown(other)}; mend the labels, or train with them"
            )
        return known, found

    def _learn_classes(self, labels: Sequence[Sequence[Label]]) -> None:
        """Set ``classes_``.  Raises InputError for fewer than two, and for labels of two types."""
        every = [label for of_one in labels for label in of_one]
        for label in every:
            if type(label) is not type(every[0]):
                first, other = (type(one).__name__ for one in (every[0], label))
                raise InputError(
                    f"labels: expected all of one type, got {first} {every[0]!r} and {other} "
                    f"{label!r}; make them all str"
                )
        classes = sorted(set(every))
        if len(classes) < 2:
            got = f"only {classes[0]!r}" if classes else "none"
            raise InputError(
                f"labels: expected at least two different ones, got {got}; give {self.WHOLES} "
                "with another, too"
            )
        self.classes_ = np.array(classes)

    def _indices(self, labels: Sequence[Sequence[Label]]) -> list[np.ndarray]:
        """Of each sequence the labels' positions in ``classes_``, int64 [T]; UNKNOWN for others."""
        positions = {label: i for i, label in enumerate(self.classes_.tolist())}
        return [np.array([positions.get(x, UNKNOWN) for x in one], np.int64) for one in labels]

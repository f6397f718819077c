"""What the tasks on sequences of numbers share: their options, and how the sequences are read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.data.sequences.evidence import MAX_LABELS
from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.sequences.reading import beside_steps
from tidegate.runtime.batches import outputs_of
from tidegate.tasks.architectures import check_readout
from tidegate.tasks.beside import Candidate
from tidegate.tasks.estimator import with_default
from tidegate.tasks.sequence_blend import blended, keep_apart, trust
from tidegate.tasks.sequence_reading import ReadsSequences, elapsed_option
from tidegate.tasks.splitting import split_rows, thinned
from tidegate.tasks.weights import sample_weights
from tidegate.training.budget import Closing
from tidegate.training.options import option
from tidegate.training.search_space import Among, Span

if TYPE_CHECKING:
    from tidegate.nn.network import SequenceNetwork
    from tidegate.training.many_to_one import ManyToOne, Weights

_FEW = 1000  # sequences: a tenth of fewer is too few to tell better weights from worse
_JUDGES = 20  # sequences that tell how far to trust a network beside its evidence

Part = tuple[list[np.ndarray], np.ndarray]  # sequences [T, C] and an answer to each, [N]


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceEstimator(ReadsSequences):
    """Predicts one answer for a whole sequence of numbers, of any length and number of channels.

    Sequences are a list of arrays [T, C] or [T], or one array [N, T, C] or [N, T]; NaN means a
    missing value.  ``inputs_`` turns them into inputs; their scale is learned from the training
    part only.
    """

    INPUTS: ClassVar[str] = "sequences"
    DEFAULT_EPOCHS: ClassVar[int] = 20
    DEFAULT_STEPS: ClassVar[int] = 2000
    REREADS: ClassVar[bool] = True

    segment: int | None = option(
        None,
        "steps of a sequence read in one recurrent step (default: a twelfth of the median length)",
        at_least=1,
        at_most=2**20,
    )
    own_scale: bool = option(
        True,
        "read each sequence in standard deviations of its own, so that faint ones are as clear as "
        "strong ones; without it in those of the training part, so that a stream need not read all "
        "values anew for each answer",
    )
    elapsed: bool = elapsed_option()
    crop: float = option(
        0.1,
        "cut off up to this fraction of each training sequence, at random; so few sequences give "
        "many variants",
        at_least=0,
        below=1,
        search=Span(0.0, 0.3),
    )
    evidence: bool = option(
        True,
        "also read what a ridge regression on random convolutions and on the values says of the "
        f"whole sequence (up to {MAX_LABELS} labels)",
    )
    bidirectional: bool = option(
        True, "read sequences forwards and backwards", search=Among(True, False)
    )
    readout: str = option(
        "mean+max",
        "how the states of all steps are summed up for the output: last, mean, max, or several, as "
        "in mean+max",
        search=Among("last", "mean", "max", "mean+max"),
    )
    dropout: float = with_default("dropout", 0.3)
    batch_size: int = option(
        16, "sequences in one optimiser step, over all processes together", at_least=1
    )
    validation_fraction: float | None = option(
        None,
        "fraction of the sequences that is held out to choose the best weights (default: 0.1; "
        f"of fewer than {_FEW} sequences 0.2, or {_JUDGES} of them up to a half, from which "
        "evidence still learns; without evidence 0, because so small a part misleads)",
        at_least=0,
        below=1,
    )
    test_fraction: float = option(
        0.0,
        "fraction of the sequences that is held out and scored once after training",
        at_least=0,
        below=1,
    )

    def check(self) -> None:
        """Raise InputError naming the first option whose value cannot be used."""
        super().check()
        check_readout(self.readout)

    def _begin(
        self, X: Any, y: Any, validation: tuple[Any, Any] | None, sample_weight: Any
    ) -> tuple[Part, Part, Part, tuple[np.ndarray, np.ndarray | None]]:
        """Check the options and what ``fit`` was given, and divide it.

        Returns the training part, the part that chooses the best weights, the test part, and how
        much each training sequence counts, [N], and each one of the validation part; None for
        those if they were given apart.  Raises InputError.
        """
        self.check_training()
        sequences = self._sequences(X)
        answers = self._learn_answers(sequences, y)
        counts = sample_weights(sample_weight, len(sequences))
        judges: Part | None = None
        if validation is not None:
            others = self._sequences(validation[0], sequences[0].shape[1])
            judges = others, self._answers(others, validation[1])
        fraction = self.validation_fraction
        if fraction is None:
            fraction = self._default_fraction(len(sequences))
        rows = split_rows(
            len(sequences),
            self.seed,
            validation=fraction if judges is None else 0,
            test=self.test_fraction,
            what=self.INPUTS,
        )
        some = np.random.default_rng(0).permutation(rows[0])

        def prepare(count: int) -> None:
            taken = some[:count]
            of_some = [sequences[i] for i in taken]
            self._learn_scale(of_some)
            self._learn_evidence(of_some, answers[taken], np.ones(count), self._answer_size)

        part = self._part_prepared(self.INPUTS, len(some), prepare)
        rows = thinned(rows[0], part, answers), thinned(rows[1], part, answers), rows[2]
        if judges is not None:
            kept = thinned(np.arange(len(judges[1])), part, judges[1])
            judges = [judges[0][i] for i in kept], judges[1][kept]
        train, drawn, test = (([sequences[i] for i in part], answers[part]) for part in rows)
        weights = counts[rows[0]], counts[rows[1]] if judges is None else None
        return train, judges or drawn, test, weights

    def _learn_scale(self, sequences: list[np.ndarray]) -> SequenceInputs:
        """Set ``inputs_``."""
        self.inputs_ = SequenceInputs.fit(sequences, self.segment, self.own_scale, self._times_read)
        return self.inputs_

    def _default_fraction(self, count: int) -> float:
        """What is held out of ``count`` sequences: evidence learns from that part, too."""
        if count >= _FEW:
            return 0.1
        return min(0.5, max(0.2, _JUDGES / count)) if self.evidence else 0.0

    @property
    def _answer_size(self) -> int:
        """How many numbers the network answers with."""
        return 1

    @abstractmethod
    def _answers(self, sequences: list[np.ndarray], y: Any) -> np.ndarray:
        """The answer to each sequence, as numbers [N].  Raises InputError."""

    def _learn_answers(self, sequences: list[np.ndarray], y: Any) -> np.ndarray:
        """The same of the training data, from which a classifier learns the labels there are."""
        return self._answers(sequences, y)

    def _stand_beside_on(
        self,
        train: Part,
        held_out: Part,
        test: Part,
        fit: Callable[[Answered, int, float], Baseline],
        constant: Callable[[Answered], Baseline],
    ) -> None:
        """``fit``: of a training part, for so many questions, in about so many seconds.

        ``constant``: the same, of what answers without reading.
        """
        validation, tested = (
            Answered(*part) if len(part[0]) else None for part in (held_out, test)
        )
        asked = len(held_out[0]) + len(test[0])
        self._stand_beside(
            lambda seconds: fit(Answered(*train), asked, seconds),
            validation,
            tested,
            constant=Candidate(lambda _: constant(Answered(*train))),
        )

    def _learn(
        self,
        objective: type[ManyToOne],
        train: Part,
        validation: Part,
        *,
        output_size: int,
        counts: tuple[np.ndarray, np.ndarray | None],
        weights: Weights,
        weights_of_all: Callable[[], np.ndarray | None] | None,
        tested: int,
        **more: Any,
    ) -> None:
        """Train on answers as ``objective`` wants them, which is given ``more``.

        ``counts`` [N] are how much each sequence of the training and of the validation part teaches
        evidence; None for a validation part that was given apart, which teaches nothing.
        ``weights`` are those of both parts in the loss, [N] or None; ``weights_of_all`` gives those
        of both, one after the other, if both may be learned from; ``tested`` counts the sequences
        of the test part.
        """
        inputs = self._learn_scale(train[0])
        both = [*train[0], *validation[0]]
        answers = np.concatenate([train[1], validation[1]])
        others = np.zeros(len(validation[0])) if counts[1] is None else counts[1]
        teaching = np.concatenate([counts[0], others])
        evidence = self._learn_evidence(both, answers, teaching, output_size)
        scaled = [inputs.scaled(sequence) for sequence in both]
        if evidence is not None:  # of which the network learns nothing
            scaled = beside_steps(scaled, np.zeros_like(evidence))
        scaled, unseen = scaled[: len(train[0])], scaled[len(train[0]) :]
        alone = not len(validation[0])  # then the weights that fit the training part best are kept
        judged = train[1] if alone else validation[1]
        judged_by = [inputs.segments(steps) for steps in (scaled if alone else unseen)]
        weights = (weights[0], weights[0]) if alone else weights
        read = judged_by, judged
        judging: list[ManyToOne] = []

        def learning(network: SequenceNetwork, learned: Part, weights: Weights) -> ManyToOne:
            made = objective(
                network,
                learned,
                read,
                unit=self.INPUTS,
                batch_size=self.batch_size,
                seed=self.seed,
                vary=self._vary,
                prefix="training_" if alone else "",
                weights=weights,
                **more,
            )
            judging.append(made)
            return made

        def everything(network: SequenceNetwork) -> ManyToOne:
            assert weights_of_all is not None
            whole = scaled + unseen, answers
            return learning(network, whole, (weights_of_all(), weights[1]))

        # what was held out tells how far to trust this network: one that has read it is another
        once = alone or weights_of_all is None or evidence is not None
        self._train(
            self._architecture(
                input_size=self._reading.input_size,
                output_size=output_size,
                linear_steps=0 if evidence is None else 1,
            ),
            lambda network: learning(network, (scaled, train[1]), weights),
            {"training_sequences": len(scaled), "validation_sequences": len(validation[0])},
            self._start,
            everything_of=None if once else everything,
            closing=Closing(
                tested=tested,
                again=0 if evidence is None else 2,
                seconds=self._preparation.each_s * tested,
            ),
        )
        if evidence is not None:
            count = counts[0] if alone else counts[1]
            count = np.ones(len(judged)) if count is None else count
            rows = judging[0].judged
            left_out = evidence[-len(judged) :][rows]
            self._blend(judging[0], left_out, alone, count[rows], len(scaled))

    def _blend(
        self,
        objective: ManyToOne,
        evidence: np.ndarray,
        alone: bool,
        counts: np.ndarray,
        learned: int,
    ) -> None:
        """Add ``evidence`` [N, O] in what judges to what the network says, each as it is trusted.

        With nothing held out, ``alone``, each counts a half.  ``counts`` [N]: how much each
        sequence does, where the loss has no weights of its own for what judges.  ``learned``:
        sequences that the network has learned from.
        """
        sequences, answers = objective.validation
        own = outputs_of(self.runtime_, sequences, evidence.shape[1])
        counts = counts if objective.weights[1] is None else objective.weights[1]
        told = self._strength * evidence
        tried = max(1, len(self.history_.get("step", ())))
        trusted = (0.5, 0.5) if alone else trust(told, own, answers, counts, learned, tried)
        self.runtime_ = blended(self.runtime_, self._strength, trusted)
        for steps, row in zip(sequences, evidence, strict=True):
            steps[:, -len(row) :] = row
        figures = objective.evaluate(self.network_)
        self.metrics_ |= {name: figures[name] for name in self.metrics_ if name in figures}
        weights = (round(factor, 4) for factor in trusted)
        self.provenance_ |= dict(zip(("evidence_weight", "network_weight"), weights, strict=True))

    def _vary(self, scaled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The segments of a random part of a scaled sequence."""
        steps = len(scaled)
        kept = steps - int(steps * self.crop * rng.random())
        start = int(rng.integers(steps - kept + 1))
        return self.inputs_.segments(scaled[start : start + kept])

    def _outputs(self, sequences: Any) -> np.ndarray:
        """The network's outputs for sequences as a user gives them, float32 [N, O]."""
        network = self.runtime_
        read = self._read(self._sequences(sequences, self.inputs_.channels))
        return outputs_of(network, read, network.architecture.output_size)

    def _start(self, network: SequenceNetwork) -> dict[str, Any]:
        """Let the network learn apart from the evidence."""
        if self.evidence_ is not None:
            keep_apart(network)
        return {}

"""What the tasks on sequences of numbers share: their options, and how the sequences are read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.baseline import Answered, Baseline
from tidegate.data.sequences.inputs import SequenceInputs, as_sequences
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import outputs_of
from tidegate.tasks.architectures import check_readout
from tidegate.tasks.estimator import Estimator, with_default
from tidegate.tasks.splitting import split_rows
from tidegate.tasks.weights import sample_weights
from tidegate.training.options import option

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.nn.network import SequenceNetwork
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream
    from tidegate.training.many_to_one import ManyToOne, Weights

_FEW = 1000  # sequences: a tenth of fewer is too few to tell better weights from worse

Part = tuple[list[np.ndarray], np.ndarray]  # sequences [T, C] and an answer to each, [N]


@dataclass(kw_only=True, eq=False, repr=False)
class SequenceEstimator(Estimator):
    """Predicts one answer for a whole sequence of numbers, of any length and number of channels.

    Sequences are a list of arrays [T, C] or [T], or one array [N, T, C] or [N, T]; NaN means a
    missing value.  ``inputs_`` turns them into inputs; their scale is learned from the training
    part only.
    """

    INPUTS: ClassVar[str] = "sequences"
    DEFAULT_EPOCHS: ClassVar[int] = 20
    DEFAULT_STEPS: ClassVar[int] = 2000
    SCALING_PARTS: ClassVar[frozenset[str]] = frozenset({"inputs"})  # of the model file

    segment: int | None = option(
        None,
        "steps of a sequence read in one recurrent step (default: a twelfth of the median length)",
        at_least=1,
        at_most=2**20,
    )
    own_scale: bool = option(
        True,
        "read each sequence in standard deviations of its own, so that faint ones are as clear as "
        "strong ones; without it in those of the training part, as a stream needs",
    )
    crop: float = option(
        0.1,
        "cut off up to this fraction of each training sequence, at random; so few sequences give "
        "many variants",
        at_least=0,
        below=1,
    )
    bidirectional: bool = option(True, "read sequences forwards and backwards")
    readout: str = option(
        "mean+max",
        "how the states of all steps are summed up for the output: last, mean, max, or several, as "
        "in mean+max",
    )
    dropout: float = with_default("dropout", 0.3)
    batch_size: int = option(
        16, "sequences in one optimiser step, over all processes together", at_least=1
    )
    validation_fraction: float | None = option(
        None,
        "fraction of the sequences that is held out to choose the best weights (default: 0.1; 0 "
        f"for fewer than {_FEW} sequences, because so small a part misleads)",
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

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags

        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags(two_d_array=True, three_d_array=True, allow_nan=True)
        return tags

    def _begin(
        self, X: Any, y: Any, validation: tuple[Any, Any] | None, sample_weight: Any
    ) -> tuple[Part, Part, Part, tuple[np.ndarray, np.ndarray | None]]:
        """Check the options and what ``fit`` was given, and divide it.

        Returns the training part, the part that chooses the best weights, the test part, and how
        much each training sequence counts, [N], and each one of the validation part; None for
        those if they were given apart.  Raises InputError.
        """
        self.check_training()
        sequences = as_sequences(X)
        answers = self._learn_answers(sequences, y)
        counts = sample_weights(sample_weight, len(sequences))
        judges: Part | None = None
        if validation is not None:
            others = as_sequences(validation[0], sequences[0].shape[1])
            judges = others, self._answers(others, validation[1])
        fraction = self.validation_fraction
        if fraction is None:
            fraction = 0.1 if len(sequences) >= _FEW else 0
        rows = split_rows(
            len(sequences),
            self.seed,
            validation=fraction if judges is None else 0,
            test=self.test_fraction,
            what=self.INPUTS,
        )
        train, drawn, test = (([sequences[i] for i in part], answers[part]) for part in rows)
        weights = counts[rows[0]], counts[rows[1]] if judges is None else None
        return train, judges or drawn, test, weights

    @abstractmethod
    def _answers(self, sequences: list[np.ndarray], y: Any) -> np.ndarray:
        """The answer to each sequence, as numbers [N].  Raises InputError."""

    def _learn_answers(self, sequences: list[np.ndarray], y: Any) -> np.ndarray:
        """The same of the training data, from which a classifier learns the labels there are."""
        return self._answers(sequences, y)

    def _stand_beside_on(
        self, held_out: Part, test: Part, fit: Callable[[float], Baseline]
    ) -> None:
        validation, tested = (
            Answered(*part) if len(part[0]) else None for part in (held_out, test)
        )
        self._stand_beside(fit, validation, tested)

    def _learn(
        self,
        objective: type[ManyToOne],
        train: Part,
        validation: Part,
        *,
        output_size: int,
        weights: Weights,
        weights_of_all: Callable[[], np.ndarray | None] | None,
        tested: int,
        **more: Any,
    ) -> None:
        """Train on answers as ``objective`` wants them, which is given ``more``.

        ``weights`` are those of the training and of the validation part, [N] or None;
        ``weights_of_all`` gives those of both, one after the other, if both may be learned from;
        ``tested`` counts the sequences of the test part.
        """
        self.inputs_ = inputs = SequenceInputs.fit(train[0], self.segment, self.own_scale)
        scaled = [inputs.scaled(sequence) for sequence in train[0]]
        alone = not len(validation[0])  # then the weights that fit the training part best are kept
        judged = train if alone else validation
        weights = (weights[0], weights[0]) if alone else weights
        read = self._read(judged[0]), judged[1]

        def learning(network: SequenceNetwork, learned: Part, weights: Weights) -> ManyToOne:
            return objective(
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

        def everything(network: SequenceNetwork) -> ManyToOne:
            assert weights_of_all is not None
            others = [inputs.scaled(sequence) for sequence in validation[0]]
            whole = scaled + others, np.concatenate([train[1], validation[1]])
            return learning(network, whole, (weights_of_all(), weights[1]))

        self._train(
            self._architecture(input_size=inputs.input_size, output_size=output_size),
            lambda network: learning(network, (scaled, train[1]), weights),
            {"training_sequences": len(scaled), "validation_sequences": len(validation[0])},
            everything_of=None if alone or weights_of_all is None else everything,
            tested=tested,
        )

    def _vary(self, scaled: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The segments of a random part of a scaled sequence."""
        steps = len(scaled)
        kept = steps - int(steps * self.crop * rng.random())
        start = int(rng.integers(steps - kept + 1))
        return self.inputs_.segments(scaled[start : start + kept])

    def _read(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        """What the network reads of each sequence."""
        inputs, read = self.inputs_, []
        for i, sequence in enumerate(sequences):
            try:
                read.append(inputs.segments(inputs.scaled(sequence)))
            except InputError as e:
                raise InputError(f"sequence {i}: {e}") from None
        return read

    def _outputs(self, sequences: Any) -> np.ndarray:
        """The network's outputs for sequences as a user gives them, float32 [N, O]."""
        network = self.runtime_
        read = self._read(as_sequences(sequences, self.inputs_.channels))
        return outputs_of(network, read, network.architecture.output_size)

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        (read,) = self._read(as_sequences([x], self.inputs_.channels))
        return {"": read}, [str(k * self.inputs_.segment) for k in range(len(read))]

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.number_streams import SequenceStream

        target = getattr(self, "target_", None)  # of numbers, none of labels
        return SequenceStream(network, batch_size, self.TASK, self.inputs_, target)

    def _stream_hindrances(self) -> list[tuple[str, str]]:
        found = super()._stream_hindrances()
        if self.inputs_.own_scale:
            reason = "reads a sequence in deviations of its own, which are known at its end"
            found.append((reason, spelled("own_scale", False)))
        return found

    def _learned(self) -> dict[str, Any]:
        return {"scaling": {"inputs": self.inputs_.to_json()}}

    def _restore(self, model: ModelFile) -> None:
        scaling = model.scaling or {}
        if set(scaling) != self.SCALING_PARTS:
            raise ValueError(f"scaling: expected exactly the keys {sorted(self.SCALING_PARTS)}")
        self.inputs_ = SequenceInputs.from_json(scaling["inputs"])
        if self.inputs_.input_size != model.architecture.input_size:
            raise ValueError(
                f"inputs: expected {model.architecture.input_size} values a step, got "
                f"{self.inputs_.input_size}"
            )

"""What a network reads of a sequence of numbers: segments, and what the evidence says of it all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.data.sequences.evidence import MAX_LABELS, SequenceEvidence, learn_evidence
from tidegate.data.sequences.inputs import SequenceInputs, as_sequences
from tidegate.data.sequences.reading import SequenceReading
from tidegate.errors import InputError, spelled
from tidegate.tasks.estimator import Estimator
from tidegate.training.options import option

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream


def elapsed_option() -> Any:
    """Whether steps are read with the times between them."""
    return option(
        False,
        "read how much time lies between steps, by which the cell gru_decay lets its state fade; "
        "of a table from its column of times, in days if they are dates; of arrays, .npz and .ts "
        "the last channel is the time since the step before, of data frames it may be dates",
    )


class ReadsSequences(Estimator):
    """A task on sequences, which ``inputs_`` scales and cuts; ``evidence_`` reads whole ones."""

    SCALING_PARTS: ClassVar[frozenset[str]] = frozenset({"inputs"})  # of the model file

    evidence: bool  # options of the task
    elapsed: bool
    bidirectional: bool
    inputs_: SequenceInputs

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags

        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags(two_d_array=True, three_d_array=True, allow_nan=True)
        return tags

    def _learn_evidence(
        self, sequences: list[np.ndarray], answers: np.ndarray, counts: np.ndarray, outputs: int
    ) -> np.ndarray | None:
        """Set ``evidence_``; what it says of each of the sequences, [N, O], learned without it."""
        self.evidence_: SequenceEvidence | None = None
        if not self.evidence or outputs > MAX_LABELS:
            return None
        filled = [self.inputs_.filled(sequence) for sequence in sequences]
        labels = outputs if answers.dtype.kind == "i" else None
        learned = learn_evidence(filled, answers, counts, labels)
        self.evidence_, left_out, self._strength = learned
        return left_out

    @property
    def _times_read(self) -> int:
        """As ``SequenceInputs.elapsed`` has it."""
        return self.elapsed * (1 + self.bidirectional)

    @property
    def _reading(self) -> SequenceReading:
        return SequenceReading(self.inputs_, self.evidence_)

    def _read(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        """What the network reads of each sequence."""
        filled = []
        for i, sequence in enumerate(sequences):
            try:
                filled.append(self.inputs_.filled(sequence))
            except InputError as e:
                raise InputError(f"sequence {i}: {e}") from None
        return self._reading.of(filled)

    def _sequences(self, given: Any, channels: int | None = None) -> list[np.ndarray]:
        """What a user gives as sequences.  Raises InputError."""
        return as_sequences(given, channels, elapsed=self.elapsed)

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        (read,) = self._read(self._sequences([x], self.inputs_.channels))
        return {"": read}, [str(k * self.inputs_.segment) for k in range(len(read))]

    def _width_of_step(self) -> int | None:
        return self.inputs_.input_size  # beside it stands what the evidence says of the whole

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.number_streams import SequenceStream
        from tidegate.runtime.whole_streams import WholeStream

        target = getattr(self, "target_", None)  # of numbers, none of labels
        if self._ends_first():
            return WholeStream(network, batch_size, self.TASK, self._reading, target)
        return SequenceStream(network, batch_size, self.TASK, self.inputs_, target)

    def _ends_first(self) -> list[tuple[str, str]]:
        found = super()._ends_first()
        if self.inputs_.own_scale:
            reason = "reads a sequence in deviations of its own, which are known at its end"
            found.append((reason, spelled("own_scale", False)))
        if self.evidence_ is not None:
            reason = "reads evidence of the whole sequence, which is known at its end"
            found.append((reason, spelled("evidence", False)))
        return found

    def _learned(self) -> dict[str, Any]:
        evidence = {} if self.evidence_ is None else {"evidence": self.evidence_.to_arrays()}
        return {"scaling": {"inputs": self.inputs_.to_json()}} | evidence

    def _restore(self, model: ModelFile) -> None:
        scaling = model.scaling or {}
        if set(scaling) != self.SCALING_PARTS:
            raise ValueError(f"scaling: expected exactly the keys {sorted(self.SCALING_PARTS)}")
        self.inputs_ = SequenceInputs.from_json(scaling["inputs"])
        self.evidence_ = None
        if model.evidence:
            self.evidence_ = SequenceEvidence.from_arrays(model.evidence)
            if self.evidence_.channels != self.inputs_.channels:
                raise ValueError(f"evidence: expected {self.inputs_.channels} channels")
        size = self._reading.input_size
        if size != model.architecture.input_size:
            raise ValueError(
                f"inputs: expected {model.architecture.input_size} values a step, got {size}"
            )

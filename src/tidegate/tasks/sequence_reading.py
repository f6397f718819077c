"""What a network reads of a sequence of numbers: segments, and what the evidence says of it all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.data.sequences.evidence import MAX_LABELS, SequenceEvidence, learn_evidence
from tidegate.data.sequences.inputs import SequenceInputs, as_sequences
from tidegate.errors import InputError, spelled
from tidegate.runtime.batches import outputs_of
from tidegate.tasks.estimator import Estimator

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream


class ReadsSequences(Estimator):
    """A task on sequences, which ``inputs_`` scales and cuts; ``evidence_`` reads whole ones."""

    SCALING_PARTS: ClassVar[frozenset[str]] = frozenset({"inputs"})  # of the model file

    evidence: bool  # an option of the task
    inputs_: SequenceInputs

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
    def _input_size(self) -> int:
        """Numbers that one recurrent step reads, evidence among them."""
        evidence = 0 if self.evidence_ is None else len(self.evidence_.intercepts)
        return self.inputs_.input_size + evidence

    def _with_evidence(
        self, scaled: list[np.ndarray], evidence: np.ndarray | None
    ) -> list[np.ndarray]:
        """Scaled sequences [T, ...] with their evidence [N, O] beside every step."""
        if evidence is None:
            return scaled
        return [
            np.concatenate([steps, np.broadcast_to(row, (len(steps), len(row)))], axis=1)
            for steps, row in zip(scaled, evidence, strict=True)
        ]

    def _read(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        """What the network reads of each sequence."""
        inputs, scaled, filled = self.inputs_, [], []
        for i, sequence in enumerate(sequences):
            try:
                scaled.append(inputs.scaled(sequence))
                filled.append(inputs.filled(sequence))
            except InputError as e:
                raise InputError(f"sequence {i}: {e}") from None
        evidence = None if self.evidence_ is None else self.evidence_.of(filled)
        return [inputs.segments(steps) for steps in self._with_evidence(scaled, evidence)]

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
        if self._input_size != model.architecture.input_size:
            raise ValueError(
                f"inputs: expected {model.architecture.input_size} values a step, got "
                f"{self._input_size}"
            )

"""What a network reads of whole sequences: their values, and evidence beside every step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidegate.data.sequences.evidence import SequenceEvidence
from tidegate.data.sequences.inputs import SequenceInputs

__all__ = ["SequenceReading", "beside_steps"]


@dataclass(frozen=True, eq=False)
class SequenceReading:
    """How sequences of C channels become what a network reads, with evidence where there is any."""

    inputs: SequenceInputs
    evidence: SequenceEvidence | None

    @property
    def input_size(self) -> int:
        """Numbers that one recurrent step reads, evidence among them."""
        told = 0 if self.evidence is None else len(self.evidence.intercepts)
        return self.inputs.input_size + told

    def of(self, filled: list[np.ndarray]) -> list[np.ndarray]:
        """Recurrent steps float32 [ceil(T / segment), input_size] of what ``inputs.filled`` gave.

        Of a sequence without steps none.
        """
        begun = [values for values in filled if len(values)]
        scaled = [self.inputs.shaped(values) for values in begun]
        if self.evidence is not None:
            scaled = beside_steps(scaled, self.evidence.of(begun))
        steps = map(self.inputs.segments, scaled)
        none = np.empty((0, self.input_size), np.float32)
        return [next(steps) if len(values) else none for values in filled]


def beside_steps(scaled: list[np.ndarray], evidence: np.ndarray) -> list[np.ndarray]:
    """Sequences [T, ...] with the evidence of each, [N, O], beside every step."""
    return [
        np.concatenate([steps, np.broadcast_to(row, (len(steps), len(row)))], axis=1)
        for steps, row in zip(scaled, evidence, strict=True)
    ]

"""What a network reads of a text with a label: its tokens, and beside each the counts' evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.sequences.sequences import with_evidence
from tidegate.data.text.encoders import WordEncoder
from tidegate.data.text.evidence import MAX_LABELS, Evidence, learn_evidence
from tidegate.data.text.reading import TextEncoder
from tidegate.tasks.model_file import encoder_of
from tidegate.tasks.text_task import TextTask

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile


class ReadsTexts(TextTask):
    """A task that reads texts as tokens of ``encoder_``, with ``evidence_`` if it was learned."""

    evidence: bool  # options of the task
    max_length: int | None
    encoder_: TextEncoder

    def _learn_evidence(self, texts: list[str], held: np.ndarray) -> list[np.ndarray]:
        """Set ``evidence_``; the training texts as the network reads them.

        ``held``: which of some answers each text has, bool [N, C], by which evidence is counted.
        """
        self.evidence_: Evidence | None = None
        encoder = self.encoder_
        counted = self.evidence and 1 <= held.shape[1] <= MAX_LABELS
        if not (counted and isinstance(encoder, WordEncoder)):
            return self.encode(texts)
        split = [encoder.split(text) for text in texts]
        self.evidence_, of_texts = learn_evidence(split, held)
        return self._joined(split, of_texts)

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """The texts as the network reads them: int32 [T], or records of tokens and evidence."""
        if self.evidence_ is None:
            return self._shortened(self.encoder_.encode_batch(texts))
        assert isinstance(self.encoder_, WordEncoder)
        split = [self.encoder_.split(text) for text in texts]
        return self._joined(split, self.evidence_.of(split))

    def _joined(self, split: list[list[str]], evidence: list[np.ndarray]) -> list[np.ndarray]:
        assert isinstance(self.encoder_, WordEncoder)
        numbers = (self.encoder_.numbers(words) for words in split)
        joined = (with_evidence(n, e) for n, e in zip(numbers, evidence, strict=True))
        return self._shortened(list(joined))

    def _shortened(self, sequences: list[np.ndarray]) -> list[np.ndarray]:
        limit = self.max_length
        if limit is None:
            return sequences
        head, tail = limit - limit // 2, limit // 2
        return [
            s if len(s) <= limit else np.concatenate([s[:head], s[len(s) - tail :]])
            for s in sequences
        ]

    def _learned(self) -> dict[str, Any]:
        learned = super()._learned() | {"encoder": self.encoder_.to_json()}
        if (evidence := self.evidence_) is not None:
            tables = {"buckets": evidence.buckets, "log_odds": evidence.log_odds}
            learned["evidence"] = tables
        return learned

    def _restore(self, model: ModelFile) -> None:
        super()._restore(model)
        self.encoder_ = encoder_of(model)
        self.evidence_ = Evidence(**model.evidence) if model.evidence else None

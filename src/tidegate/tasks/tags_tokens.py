"""What a tagger reads of sentences: words, letters, and evidence of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tidegate.baselines.tagged import Tagged
from tidegate.data.sequences.sequences import with_evidence, with_letters
from tidegate.data.text.evidence import MAX_LABELS, Evidence, learn_token_evidence
from tidegate.data.text.tokens import TokenEncoder, as_sentences
from tidegate.errors import spelled
from tidegate.tasks.tags_steps import Read, TagsSteps

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile
    from tidegate.runtime.network import Network
    from tidegate.runtime.stream import Stream


class TagsTokens(TagsSteps):
    """A task that gives each token one of ``classes_``; ``encoder_`` says how tokens are read."""

    INPUTS: ClassVar[str] = "tokens"
    WHOLES: ClassVar[str] = "sentences"
    evidence: bool  # an option of the task
    encoder_: TokenEncoder
    evidence_: Evidence | None

    def _known(self, inputs: Any) -> list[list[str]]:
        return as_sentences(inputs)

    def encode(self, known: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """The sentences as the network reads them: int32 [T], or records of words, letters and
        evidence.
        """
        return self.read_with(known, self.evidence_and_before(known))

    def evidence_and_before(
        self, sentences: Sequence[Sequence[str]], before: Sequence[int] | None = None
    ) -> list[np.ndarray] | None:
        """The evidence beside each token; ``before``: of each sentence the hash of the word that
        stands before.
        """
        return None if self.evidence_ is None else self.evidence_.of(sentences, before)

    def read_with(
        self, sentences: Sequence[Sequence[str]], evidence: Sequence[np.ndarray] | None
    ) -> list[np.ndarray]:
        """The sentences with this evidence, [T, E] of each, as the network reads them."""
        found = []
        for i, sentence in enumerate(sentences):
            tokens, letters = self.encoder_.encode(sentence)
            beside = None if evidence is None else evidence[i]
            if letters is not None:
                found.append(with_letters(tokens, letters, beside))
            else:
                found.append(tokens if beside is None else with_evidence(tokens, beside))
        return found

    def _learn_evidence(self, part: Tagged) -> Read:
        """Set ``evidence_``; the training part as the network reads it, and its labels."""
        self.evidence_ = None
        if not self.evidence or len(self.classes_) > MAX_LABELS:
            return self._read_labelled(part)
        answers = self._indices(part.labels)
        found = learn_token_evidence(part.inputs, answers, len(self.classes_))
        self.evidence_, of_sentences = found
        return self.read_with(part.inputs, of_sentences), answers

    @staticmethod
    def _tokens_of(read: np.ndarray) -> np.ndarray:
        return read if read.dtype.names is None else read["token"]

    def _read_one(self, x: Any) -> tuple[dict[str, np.ndarray], list[str]]:
        (sentence,) = as_sentences([x])
        (read,) = self.encode([sentence])
        return {"": read}, sentence

    def _stream(self, network: Network, batch_size: int | None) -> Stream:
        from tidegate.runtime.tag_streams import TaggerStream

        return TaggerStream(network, batch_size, self)

    def _ends_first(self) -> list[tuple[str, str]]:
        found = super()._ends_first()
        if self.runtime_.architecture.crf:
            reason = "chooses the labels of a whole sentence together"
            found.append((reason, spelled("crf", False)))
        return found

    # the file

    def _learned(self) -> dict[str, Any]:
        learned = {"labels": self.classes_.tolist(), "encoder": self.encoder_.to_json()}
        if (evidence := self.evidence_) is not None:
            tables = {"buckets": evidence.buckets, "log_odds": evidence.log_odds}
            learned["evidence"] = tables
        return learned

    def _restore(self, model: ModelFile) -> None:
        assert model.labels is not None  # held by the file's schema
        self.classes_ = np.array(model.labels)
        self.encoder_ = TokenEncoder.from_json(model.encoder)
        self.evidence_ = Evidence(**model.evidence) if model.evidence else None
        a = model.architecture
        fits = {
            "vocabulary_size": self.encoder_.words.size,
            "letters": self.encoder_.letter_count,
            "word_length": self.encoder_.word_length,
        }
        for name, size in fits.items():
            if getattr(a, name) != size:
                raise ValueError(f"expected {name} {getattr(a, name)} of the encoder, got {size}")

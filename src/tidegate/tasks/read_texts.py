"""What a network reads of a text with a label: its tokens, and beside each the counts' evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.data.sequences.sequences import with_evidence, with_sentences
from tidegate.data.text.conditions import Conditions
from tidegate.data.text.encoders import WordEncoder
from tidegate.data.text.evidence import MAX_LABELS, Evidence, learn_evidence
from tidegate.data.text.reading import TextEncoder
from tidegate.data.text.rows import numbers_beside, text_of
from tidegate.data.text.words import sentences
from tidegate.tasks.model_file import encoder_of
from tidegate.tasks.text_task import TextTask

if TYPE_CHECKING:
    from tidegate.model.checkpoint import ModelFile

_LONGEST = 64  # tokens of a sentence; one that is longer is read in parts
_NONE = np.zeros(0, np.int32)


class ReadsTexts(TextTask):
    """A task that reads texts as tokens of ``encoder_``, with ``evidence_`` if it was learned."""

    evidence: bool  # options of the task
    linear: bool
    max_length: int | None
    hierarchical: bool
    encoder_: TextEncoder
    conditions_: Conditions | None  # what stands beside a text

    def _learn_evidence(
        self, texts: list[Any], held: np.ndarray, words: list[list[str]] | None = None
    ) -> list[np.ndarray]:
        """Set ``evidence_``; the training texts as the network reads them.

        ``held``: which of some answers each text has, bool [N, C], by which evidence is counted.

        ``words``: as ``_words`` gives them, where they are known.
        """
        self.evidence_: Evidence | None = None
        if not self._counts(held):
            return self.encode(texts)
        parts, encoder = self._parts(texts), self.encoder_
        assert isinstance(encoder, WordEncoder)
        words = self._words(texts) if words is None else words
        self.evidence_, of_texts = learn_evidence(words, held)
        return self._with_what_stands_beside(
            [np.array(encoder.numbers(of), np.int32) for of in words], of_texts, texts, parts
        )

    def _counts(self, held: np.ndarray) -> bool:
        """Whether there is evidence of these answers, bool [N, C]."""
        counted = self.evidence and 1 <= held.shape[1] <= MAX_LABELS
        return counted and isinstance(self.encoder_, WordEncoder)

    def _words(self, texts: list[Any]) -> list[list[str]]:
        """The words of each text, or row, as evidence is counted of them."""
        encoder = self.encoder_
        assert isinstance(encoder, WordEncoder)
        return [[word for part in of for word in encoder.split(part)] for of in self._parts(texts)]

    def encode(self, texts: list[Any], words: list[list[str]] | None = None) -> list[np.ndarray]:
        """Texts, or rows, as the network reads them: int32 [T], or records of tokens and evidence.

        What stands in columns beside a text is evidence that is the same at each token.  ``words``:
        as ``_words`` gives them, where they are known.
        """
        parts, encoder = self._parts(texts), self.encoder_
        if self.evidence_ is None:
            tokens = [np.concatenate([_NONE, *encoder.encode_batch(of)]) for of in parts]
            return self._with_what_stands_beside(tokens, None, texts, parts)
        assert isinstance(encoder, WordEncoder)
        words = self._words(texts) if words is None else words
        numbers = [np.array(encoder.numbers(of), np.int32) for of in words]
        return self._with_what_stands_beside(numbers, self.evidence_.of(words), texts, parts)

    def _parts(self, texts: list[Any]) -> list[list[str]]:
        """The sentences of each text, or all of it as one part."""
        plain = (text_of(text) for text in texts)
        return [sentences(text) if self.hierarchical else [text] for text in plain]

    def _sentence_numbers(self, parts: list[str]) -> np.ndarray:
        """Of each token of a document its sentence's number, [T]; a very long one is several."""
        counts = [len(one) for one in self.encoder_.encode_batch(parts)]
        pieces = [min(_LONGEST, count - k) for count in counts for k in range(0, count, _LONGEST)]
        return np.repeat(np.arange(1, len(pieces) + 1), pieces)

    @property
    def _evidence_sizes(self) -> dict[str, int]:
        """Of the architecture: how many numbers stand beside a token, and of these the columns'."""
        columns = 0 if self.conditions_ is None else self.conditions_.size
        counted = 0 if self.evidence_ is None else self.evidence_.width
        return {"evidence_size": counted + columns, "columns_size": columns}

    def _with_what_stands_beside(
        self,
        tokens: list[np.ndarray],
        evidence: list[np.ndarray] | None,
        texts: list[Any],
        parts: list[list[str]],
    ) -> list[np.ndarray]:
        """Tokens of each text with what stands beside them, if anything does."""
        if self.conditions_ is not None:
            rows = numbers_beside(self.conditions_, texts)
            counted = evidence or [np.zeros((len(one), 0), np.float32) for one in tokens]
            # a text without a word is one unknown word, so that its columns are read
            tokens = [one if len(one) else np.zeros(1, np.int32) for one in tokens]
            evidence = [
                np.concatenate(
                    [own if len(own) else np.zeros((1, own.shape[1]), np.float32),
                     np.broadcast_to(row, (len(one), len(row)))], axis=1,
                )
                for one, own, row in zip(tokens, counted, rows, strict=True)
            ]  # fmt: skip
        if evidence is not None:
            tokens = [with_evidence(n, e) for n, e in zip(tokens, evidence, strict=True)]
        if self.hierarchical:
            numbers = [self._sentence_numbers(of) for of in parts]
            both = zip(tokens, numbers, strict=True)
            tokens = [with_sentences(n, s if len(s) else np.ones(len(n), int)) for n, s in both]
            return [with_sentences(s, s["sentence"]) for s in self._shortened(tokens)]
        return self._shortened(tokens)

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
        beside = self.conditions_
        columns = {} if beside is None else {"conditions": beside.to_json()}
        learned = super()._learned() | {"encoder": self.encoder_.to_json() | columns}
        if (evidence := self.evidence_) is not None:
            learned["evidence"] = evidence.tables
        return learned

    def _restore(self, model: ModelFile) -> None:
        super()._restore(model)
        held = dict(model.encoder or {})
        found = held.pop("conditions", None)
        self.conditions_ = None if found is None else Conditions.from_json(found)
        self.encoder_ = encoder_of(replace(model, encoder=held))
        columns = 0 if self.conditions_ is None else self.conditions_.size
        if columns != model.architecture.columns_size:
            raise ValueError(f"conditions: expected {model.architecture.columns_size} numbers")
        self.evidence_ = Evidence(**model.evidence) if model.evidence else None

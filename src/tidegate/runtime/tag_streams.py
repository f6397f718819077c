"""Tokens that arrive one by one, and the label of the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tidegate.data.text.evidence import Evidence, word_hash
from tidegate.data.text.tokens import as_sentences
from tidegate.runtime.network import Network
from tidegate.runtime.stepping import Arrays, Stepping
from tidegate.runtime.stream import Stream
from tidegate.runtime.text_streams import read_on


class Reads(Protocol):
    """What a tagger reads of sentences; `tasks/tags_tokens.py` says what each gives."""

    evidence_: Evidence | None

    def evidence_and_before(
        self, sentences: Sequence[Sequence[str]], before: Sequence[int] | None = None
    ) -> list[np.ndarray] | None: ...

    def read_with(
        self, sentences: Sequence[Sequence[str]], evidence: Sequence[np.ndarray] | None
    ) -> list[np.ndarray]: ...


class TaggerStream(Stream):
    """A sentence, or several, whose tokens are labelled as they come.

    A piece is a list of tokens and an answer the probability of each label, float64 [labels], of
    the last token so far, as ``predict_proba`` gives them for a sentence that ends there.
    """

    KIND = "tagger"

    def __init__(self, network: Network, batch_size: int | None, tagger: Reads) -> None:
        self._tagger = tagger
        super().__init__(network, batch_size)

    def _begin(self, rows: int) -> Arrays:
        self._net = Stepping(self._network, rows)
        if self._tagger.evidence_ is None:
            return self._net.arrays
        return self._net.arrays | {"before": np.zeros(rows, np.int64)}  # hash of the last word

    def _feed(self, pieces: Any) -> None:
        sentences = as_sentences(list(pieces))
        if self._tagger.evidence_ is None:
            read_on(self._net, self._tagger.read_with(sentences, None))
            return
        before = self._arrays["before"]
        evidence = self._tagger.evidence_and_before(sentences, before.tolist())
        read_on(self._net, self._tagger.read_with(sentences, evidence))
        before[:] = [
            word_hash(tokens[-1]) if tokens else old
            for tokens, old in zip(sentences, before.tolist(), strict=True)
        ]

    def _answers(self) -> np.ndarray:
        return self._net.probabilities()

    def _check(self, arrays: Arrays) -> None:
        super()._check(arrays)
        before = arrays.get("before")
        if before is not None and ((before < 0) | (before >= 2**32)).any():
            raise ValueError("before: expected hashes from 0 to 4294967295")

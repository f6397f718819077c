"""Tokens that arrive one by one, and the label of the last one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tidegate.data.text.tokens import as_sentences
from tidegate.runtime.network import Network
from tidegate.runtime.stepping import Arrays, Stepping
from tidegate.runtime.stream import Stream
from tidegate.runtime.text_streams import read_on

Encode = Callable[[Sequence[Sequence[str]]], list[np.ndarray]]


class TaggerStream(Stream):
    """A sentence, or several, whose tokens are labelled as they come.

    A piece is a list of tokens and an answer the probability of each label, float64 [labels], of
    the last token so far, as ``predict_proba`` gives them for a sentence that ends there.
    """

    KIND = "tagger"

    def __init__(self, network: Network, batch_size: int | None, encode: Encode) -> None:
        self._encode = encode
        super().__init__(network, batch_size)

    def _begin(self, rows: int) -> Arrays:
        self._net = Stepping(self._network, rows)
        return self._net.arrays

    def _feed(self, pieces: Any) -> None:
        read_on(self._net, self._encode(as_sentences(list(pieces))))

    def _answers(self) -> np.ndarray:
        return self._net.probabilities()

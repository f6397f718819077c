"""Texts with conditions that arrive piece by piece: what comes next."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegate.data.sequences.sequences import with_condition
from tidegate.data.text.encoders import TextEncoder, WordEncoder
from tidegate.errors import InputError, shown
from tidegate.runtime.network import Network
from tidegate.runtime.probabilities import log_softmax
from tidegate.runtime.stepping import Arrays, Stepping
from tidegate.runtime.stream import Stream
from tidegate.runtime.text_streams import NextToken, read_on


class ConditionedStream(Stream):
    """A text, or several, of one condition, of which the next token is asked as they grow.

    A piece is a str and an answer a `NextToken`.  Each piece is cut into tokens by itself, so a
    text is to be cut between words (at level ``char``: anywhere).  Its start is read already; its
    end is among the tokens that may come next.
    """

    KIND = "language-model"

    def __init__(
        self,
        network: Network,
        batch_size: int | None,
        encoder: TextEncoder,
        opening: int,
        condition: np.ndarray,
    ) -> None:
        self._encoder, self._opening, self._condition = encoder, opening, condition
        super().__init__(network, batch_size)

    def _begin(self, rows: int) -> Arrays:
        conditions = np.tile(self._condition, (rows, 1))
        self._net = Stepping(self._network, rows)
        begun = self._network.initial_state(rows, conditions)
        for k, (names, layer) in enumerate(zip(self._network.state_names, begun, strict=True)):
            for name, array in zip(names, layer, strict=True):
                self._net.arrays[f"recurrent.{k}.{name}"][:] = array
        if rows:
            self._net.step(with_condition(np.full(rows, self._opening), conditions))
        return self._net.arrays | {"condition": conditions}

    def _feed(self, pieces: Any) -> None:
        for piece in pieces:
            if not isinstance(piece, str):
                raise InputError(f"expected a str, got {shown(piece)}; make it one by str()")
        read = [tokens_of(self._encoder, piece) for piece in pieces]
        beside = self._arrays["condition"]
        read_on(self._net, [with_condition(t, c) for t, c in zip(read, beside, strict=True)])

    def _answers(self) -> list[NextToken]:
        return [NextToken(row, self._encoder) for row in log_softmax(self._net.outputs())]


def tokens_of(encoder: TextEncoder, text: str) -> np.ndarray:
    """The tokens of a text, int32 [T], without any frame."""
    if isinstance(encoder, WordEncoder):
        return np.array(encoder.numbers(encoder.split(text)), np.int32)
    return encoder.encode(text)

"""Texts that arrive piece by piece: what comes next, or what the text so far is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidegate.data.sequences.sequences import pad_sequences, with_evidence
from tidegate.data.text.encoders import TextEncoder, WordEncoder
from tidegate.data.text.evidence import Evidence, word_hash
from tidegate.errors import InputError, shown
from tidegate.runtime.mixture import Mixture, follow, nothing_read
from tidegate.runtime.network import Network
from tidegate.runtime.probabilities import log_softmax
from tidegate.runtime.stepping import Arrays, Stepping
from tidegate.runtime.stream import Stream


class TextStream(Stream):
    """A text, or several, of which the answer is asked as they grow.

    A piece is a str and an answer, as for the text so far, of a classifier the probability of each
    label, float64 [labels], as ``predict_proba`` gives them, and of a regressor the number.  Each
    piece is cut into words by itself, so a text is to be cut between words (at level ``char``:
    anywhere).
    """

    def __init__(
        self,
        network: Network,
        batch_size: int | None,
        task: str,
        encoder: TextEncoder,
        evidence: Evidence | None,
        max_length: int | None,
        told: Callable[[Stepping], np.ndarray],
    ) -> None:
        self.KIND, self._told = task, told
        self._encoder, self._evidence, self._max_length = encoder, evidence, max_length
        super().__init__(network, batch_size)

    def _begin(self, rows: int) -> Arrays:
        self._net = Stepping(self._network, rows)
        if self._evidence is None:
            return self._net.arrays
        return self._net.arrays | {"before": np.zeros(rows, np.int64)}  # hash of the last word

    def _feed(self, pieces: Any) -> None:
        pieces = _as_texts(pieces)
        if self._evidence is None:
            read = self._encoder.encode_batch(pieces)
            self._check_length(read)
            read_on(self._net, read)
            return
        assert isinstance(self._encoder, WordEncoder)
        split = [self._encoder.split(piece) for piece in pieces]
        self._check_length(split)
        before = self._arrays["before"]
        evidence = self._evidence.of(split, before.tolist())
        numbers = (self._encoder.numbers(words) for words in split)
        read_on(self._net, [with_evidence(n, e) for n, e in zip(numbers, evidence, strict=True)])
        before[:] = [
            word_hash(words[-1]) if words else old
            for words, old in zip(split, before.tolist(), strict=True)
        ]

    def _answers(self) -> np.ndarray:
        return self._told(self._net)

    def _check_length(self, read: Sequence[Any]) -> None:
        if self._max_length is None:
            return
        for steps, new in zip(self._arrays["steps"].tolist(), read, strict=True):
            if steps + len(new) > self._max_length:
                raise InputError(
                    f"expected at most {self._max_length} tokens, since the model leaves out the "
                    f"middle of a longer text, got {steps + len(new)}; reset the stream, or make "
                    "one after model.set_params(max_length=None)"
                )

    def _check(self, arrays: Arrays) -> None:
        super()._check(arrays)
        before = arrays.get("before")
        if before is not None and ((before < 0) | (before >= 2**32)).any():
            raise ValueError("before: expected hashes from 0 to 4294967295")


@dataclass(frozen=True, eq=False)
class NextToken:
    """What a language model expects next: ``log_probabilities``, float32 [V], natural."""

    log_probabilities: np.ndarray
    encoder: TextEncoder

    @property
    def probabilities(self) -> np.ndarray:
        """Of each token of the vocabulary, float64 [V]."""
        return np.exp(self.log_probabilities.astype(np.float64))

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The ``k`` likeliest tokens as text, and their probabilities, the likeliest first.

        An unknown character is U+FFFD, an unknown word <unk>, the end of a sentence a line break.
        All tokens where there are no more.  Raises InputError for another ``k`` than a whole number
        from 0.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 0:
            raise InputError(f"k: expected a whole number from 0, got {shown(k)}; give one")
        order = np.argsort(-self.log_probabilities, kind="stable")[:k].tolist()
        probabilities = np.exp(self.log_probabilities[order].astype(np.float64)).tolist()
        return [(self.encoder.decode([i]), p) for i, p in zip(order, probabilities, strict=True)]


class LanguageStream(Stream):
    """A text, or several, of which the next token is asked as they grow.

    A piece is a str, or tokens: whole numbers [T].  An answer is a `NextToken`.  Each piece of text
    is cut into tokens by itself, so a text is to be cut between words (at level ``char``:
    anywhere).  At level ``word`` a line break ends a sentence.  The model expects the first token
    as it does after a line's end.
    """

    KIND = "language-model"

    def __init__(
        self,
        network: Network,
        batch_size: int | None,
        encoder: TextEncoder,
        mixture: Mixture | None,
    ) -> None:
        self._encoder, self._mixture = encoder, mixture
        self._framed = encoder.start_id is not None
        # what is read before the first token, or before each sentence's
        self._opening = encoder.start_id if self._framed else int(encoder.encode("\n")[0])
        super().__init__(network, batch_size)

    def _begin(self, rows: int) -> Arrays:
        self._net = Stepping(self._network, rows)
        arrays = dict(self._net.arrays)
        if self._framed:
            arrays["sentence"] = np.zeros(rows, np.int64)  # 1: it is not ended
        if self._mixture is not None:
            arrays["recent"] = nothing_read(rows)
        return arrays

    def _feed(self, pieces: Any) -> None:
        read = [self._tokens(piece, row) for row, piece in enumerate(pieces)]
        read_on(self._net, read)
        if self._mixture is not None:
            for recent, tokens in zip(self._arrays["recent"], read, strict=True):
                follow(recent, tokens)
        if self._framed:
            opened = self._arrays["sentence"]
            for row, tokens in enumerate(read):
                if len(tokens):
                    opened[row] = tokens[-1] != self._encoder.end_id

    def _answers(self) -> list[NextToken]:
        net, recent = self._net, self._arrays.get("recent")
        begins = (self._arrays["sentence"] if self._framed else self._arrays["steps"]) == 0
        if begins.any():
            net = net.copy()
            opening = np.full((1, len(begins)), self._opening)
            net.read(opening, begins.astype(np.int64))
            if recent is not None:
                recent = recent.copy()
                for row in np.flatnonzero(begins):
                    follow(recent[row], opening[:, row])
        if self._mixture is None or recent is None:
            return [NextToken(row, self._encoder) for row in log_softmax(net.outputs())]
        logs = self._mixture.log_probabilities(net.outputs(), recent)
        return [NextToken(row, self._encoder) for row in logs]

    def _tokens(self, piece: Any, row: int) -> np.ndarray:
        encoder = self._encoder
        if not isinstance(piece, str):
            return self._checked_tokens(piece)
        if not self._framed:
            return encoder.encode(piece)
        assert isinstance(encoder, WordEncoder)
        opened, tokens = bool(self._arrays["sentence"][row]), []
        for k, line in enumerate(piece.split("\n")):
            if k and opened:
                tokens.append(encoder.end_id)
                opened = False
            if words := encoder.split(line):
                tokens += [*([] if opened else [encoder.start_id]), *encoder.numbers(words)]
                opened = True
        return np.array(tokens, np.int32)

    def _checked_tokens(self, piece: Any) -> np.ndarray:
        try:
            tokens = np.atleast_1d(np.asarray(piece))
        except ValueError:
            tokens = np.empty((0, 0))
        if tokens.ndim != 1 or (tokens.dtype.kind not in "iu" and tokens.size):
            raise InputError(
                f"expected a str, or whole numbers [T], got {shown(piece)}; give a str"
            )
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < self._encoder.size:
            wrong = tokens[(tokens < 0) | (tokens >= self._encoder.size)][0]
            problem = f"expected tokens from 0 to {self._encoder.size - 1}, got {wrong}"
            raise InputError(f"{problem}; encode the text by the model's encoder_")
        return tokens.astype(np.int32)

    def _check(self, arrays: Arrays) -> None:
        super()._check(arrays)
        opened = arrays.get("sentence")
        if opened is not None and ((opened < 0) | (opened > 1)).any():
            raise ValueError("sentence: expected 0 or 1")
        recent = arrays.get("recent")
        if recent is not None and ((recent < -1) | (recent >= self._encoder.size)).any():
            raise ValueError(f"recent: expected tokens from 0 to {self._encoder.size - 1}, or -1")


def _as_texts(pieces: Any) -> list[str]:
    for piece in pieces:
        if not isinstance(piece, str):
            raise InputError(f"expected a str, got {shown(piece)}; make it one by str()")
    return list(pieces)


def read_on(net: Stepping, sequences: list[np.ndarray]) -> None:
    """Read one sequence for each row, of any lengths."""
    if not sequences:
        return
    counts = {len(sequence) for sequence in sequences}
    if counts == {1}:
        net.step(np.concatenate(sequences))
    elif counts != {0}:
        padded, lengths = pad_sequences(sequences)
        net.read(padded, None if len(counts) == 1 else lengths)

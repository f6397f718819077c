"""How a trained encoder and decoder answer texts: beams, copies, and what was attended to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tidegate.data.files.items import as_texts
from tidegate.data.text.encoders import TextEncoder
from tidegate.data.text.pairs import Side
from tidegate.runtime.beam_search import Found, answers
from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime
from tidegate.training.option_values import check_value

MOST_BEAMS = 1000
MOST_PENALTY = 10.0


class Attended(NamedTuple):
    """What an answer looked at: ``weights`` float32 [T, S], each row's sum at most 1.

    ``written``: the T tokens of the answer as text; ``read``: the S tokens of the source.
    """

    answer: str
    written: list[str]
    read: list[str]
    weights: np.ndarray


class Answers:
    """What a fitted model of pairs answers: it has two encoders, a runtime and options."""

    source_encoder_: TextEncoder
    target_encoder_: TextEncoder
    runtime_: Any  # an EncoderDecoderRuntime
    beam: int
    length_penalty: float
    copy_unknown: bool

    def predict(
        self, sources: Any, *, beam: int | None = None, length_penalty: float | None = None
    ) -> list[str]:
        """Write the answer to each text, N of them.

        ``beam``, ``length_penalty``: None for the model's own.  Raises InputError.
        """
        choice = self._choice(beam, length_penalty)
        return self._written(self.runtime_, as_texts(sources), *choice)

    def attend(
        self, source: str, *, beam: int | None = None, length_penalty: float | None = None
    ) -> Attended:
        """The answer to one text, and what of it each of the answer's tokens looked at."""
        runtime, (read, write) = self.runtime_, self.sides
        (text,) = as_texts([source])
        (found,) = self._found(runtime, [text], *self._choice(beam, length_penalty))
        pieces, copied = read.pieces(text), self._copied(found, text)
        written = [
            write.decode([token], [copied[i]] if copied else [])
            for i, token in enumerate(found.tokens.tolist())
        ]
        answer = write.decode(found.tokens.tolist(), copied)
        return Attended(answer, written, pieces, found.attention)

    @property
    def sides(self) -> tuple[Side, Side]:
        """How sources are read, and targets."""
        return Side(self.source_encoder_), Side(self.target_encoder_)

    def _choice(self, beam: int | None, length_penalty: float | None) -> tuple[int, float]:
        """The beam and the penalty, those given instead of the model's own."""
        beam = self.beam if beam is None else beam
        penalty = self.length_penalty if length_penalty is None else length_penalty
        check_value("beam", beam, int, {"bounds": {"at least": 1, "at most": MOST_BEAMS}})
        check_value(
            "length_penalty", penalty, float, {"bounds": {"at least": 0, "at most": MOST_PENALTY}}
        )
        return beam, float(penalty)

    def _found(
        self, runtime: EncoderDecoderRuntime, texts: Sequence[str], beam: int, penalty: float
    ) -> list[Found]:
        read, write = self.sides
        never = write.never_written
        if not self.copy_unknown and self.target_encoder_.unknown_id is not None:
            never.append(self.target_encoder_.unknown_id)
        return answers(
            runtime,
            read.encode(texts),
            beam=beam,
            length_penalty=penalty if beam > 1 else 0.0,
            forbidden=never,
        )

    def _written(
        self,
        runtime: EncoderDecoderRuntime,
        texts: Sequence[str],
        beam: int | None = None,
        penalty: float | None = None,
    ) -> list[str]:
        found = self._found(runtime, texts, *self._choice(beam, penalty))
        write = self.sides[1]
        return [
            write.decode(one.tokens.tolist(), self._copied(one, text))
            for one, text in zip(found, texts, strict=True)
        ]

    def _copied(self, found: Found, source: str) -> list[str | None]:
        """For each token of an answer what is copied in its place, None where it is known."""
        unknown = self.target_encoder_.unknown_id
        if unknown is None or not (found.tokens == unknown).any():
            return []
        pieces = self.sides[0].pieces(source)
        if not pieces:
            return []
        places = found.attention.argmax(1).tolist()
        return [
            pieces[place] if token == unknown else None
            for token, place in zip(found.tokens.tolist(), places, strict=True)
        ]

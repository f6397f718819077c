"""Texts as the two sides of pairs are read: tokens, and an end behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from tidegate.data.text import words
from tidegate.data.text.encoders import BpeEncoder, TextEncoder, WordEncoder

UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"


class Pairs(NamedTuple):
    """N sources and targets as tokens, int32 [T] each, the end being the last one."""

    sources: Sequence[np.ndarray]
    targets: Sequence[np.ndarray]


def copied_from(read: Side, write: Side, source: str, target: str) -> np.ndarray:
    """For each token of a target where the same stands first in its source, int64 [T + 1].

    -1 where it does not, and for the end; at no level ``bpe``.
    """
    places: dict[str, int] = {}
    for place, piece in enumerate(read.pieces(source)):
        places.setdefault(piece, place)
    return np.array([*(places.get(piece, -1) for piece in write.pieces(target)), -1], np.int64)


class Side:
    """One side of pairs: what ``encoder`` knows, and one more token, ``end``.

    At level ``word`` a text is one sentence, whatever its line breaks.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder, self.end, self.size = encoder, encoder.size, encoder.size + 1

    @property
    def never_written(self) -> list[int]:
        """Tokens that no text has: the frame of a sentence, for which the end stands here."""
        frame = (self.encoder.start_id, self.encoder.end_id)
        return [token for token in frame if token is not None]

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token numbers of each text and the end, int32 [T + 1]."""
        encoder = self.encoder
        if isinstance(encoder, WordEncoder):
            read = [encoder.numbers(encoder.split(text)) for text in texts]
        else:
            read = encoder.encode_batch(texts)
        return [np.append(np.asarray(tokens, np.int32), np.int32(self.end)) for tokens in read]

    def pieces(self, text: str) -> list[str]:
        """What of a text, as it is written, each token stands for, the end left out."""
        encoder = self.encoder
        if isinstance(encoder, BpeEncoder):
            return [encoder.decode([int(token)]) for token in encoder.encode(text)]
        lower = text.lower() if encoder.lowercase else text
        if not isinstance(encoder, WordEncoder):
            return list(text) if len(text) == len(lower) else list(lower)
        as_read = encoder.split(text)
        kept = words.split(text, tokenised=encoder.tokenised, compounds=encoder.sentences)
        return kept if len(kept) == len(as_read) else as_read

    def decode(self, tokens: Iterable[int], copied: Sequence[str | None] = ()) -> str:
        """Readable text of tokens without the end; ``copied``: what stands for some."""
        encoder = self.encoder
        if isinstance(encoder, BpeEncoder):
            return encoder.decode(tokens)
        known = self.vocabulary
        parts = [known[token] for token in tokens]
        for i, text in enumerate(copied):
            parts[i] = parts[i] if text is None else text
        if isinstance(encoder, WordEncoder):
            return "".join(words.join(parts))
        return "".join(parts)

    @property
    def vocabulary(self) -> list[str]:
        """Every token as text, the end left out."""
        encoder = self.encoder
        if isinstance(encoder, WordEncoder):
            return [UNKNOWN, *encoder.words[1:]]
        return [encoder.decode([token]) for token in range(encoder.size)]

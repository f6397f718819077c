"""Documents as sentences: where the tokens of each stand in a batch, and where each goes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Grouped(NamedTuple):
    """Sentences of a batch of documents, N of them, and behind them one without a token.

    ``tokens`` int64 [T', N + 1]: the places t * B + b of each sentence's tokens, 0 beyond its end.
    ``lengths`` int64 [N + 1]: how many tokens each has.  ``places`` int64 [S, B]: the sentences of
    each document in their order, N beyond the last.  ``counts`` int64 [B]: how many each has.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    places: np.ndarray
    counts: np.ndarray


def grouped(sentences: np.ndarray) -> Grouped:
    """The sentences of documents in a batch.

    ``sentences`` int [T, B]: of each token the number of its sentence in its document, from 1 and
    the same or one more from token to token; 0 beyond the document's end.
    """
    steps, rows = sentences.shape
    counts = sentences.max(0).astype(np.int64)
    before = np.cumsum(counts) - counts
    inside = (sentences > 0).T  # document by document, so that sentences rise
    total = int(counts.sum())
    number = (before + sentences - 1).T[inside]
    lengths = np.bincount(number, minlength=total + 1)
    position = np.arange(len(number)) - (np.cumsum(lengths) - lengths)[number]
    tokens = np.zeros((max(1, int(lengths.max())), total + 1), np.int64)
    tokens[position, number] = np.arange(steps * rows).reshape(steps, rows).T[inside]
    order = np.arange(max(1, int(counts.max())))[:, None]
    return Grouped(tokens, lengths, np.where(order < counts, before + order, total), counts)

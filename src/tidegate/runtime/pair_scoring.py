"""How well an encoder and decoder predict true targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidegate.data.sequences.sequences import pad_sequences
from tidegate.runtime.encoder_decoder import EncoderDecoderRuntime
from tidegate.runtime.scoring import IGNORED

_TOKENS = 40_000  # of a batch, padding included
_ROWS = 512  # of a batch


def nats_of_pairs(
    runtime: EncoderDecoderRuntime, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """-log p of each target given its source, float64 [N], and its tokens, ends counted, [N].

    sources, targets: N token numbers each, int [T], with their ends.
    """
    nats, counts = np.zeros(len(sources)), np.array([len(t) for t in targets], int)
    end = runtime.architecture.output_size - 1
    order = np.argsort([len(s) + len(t) for s, t in zip(sources, targets, strict=True)])
    while len(order):
        longest = len(sources[order[-1]]) + len(targets[order[-1]])
        cut = max(0, len(order) - max(1, min(_ROWS, _TOKENS // longest)))
        order, rows = order[:cut], order[cut:]
        x, lengths = pad_sequences([sources[i] for i in rows])
        y, steps = pad_sequences([targets[i] for i in rows])
        read = np.concatenate([np.full((1, len(rows)), end, y.dtype), y[:-1]])
        wanted = np.where(np.arange(len(y))[:, None] < steps, y, IGNORED).astype(np.int64)
        features = runtime.features(x, lengths, read)
        nats[rows] = np.nansum(runtime.target.nats(features, wanted), axis=0, dtype=np.float64)
    return nats, counts

"""What a text classifier reads beside each word: the log-odds of the word, of its pair with the
word before, and of its letters, found by hashes; and, if there is a line, what all words and pairs
up to there add up to, each counted once.
"""

import base64
import zlib
from collections import defaultdict

import numpy as np

ODD = 0x9E3779B97F4A7C15


def evidence_of(words, tables):
    """Float32 [words, E] of the ``evidence`` in a file's metadata."""
    buckets = np.frombuffer(base64.b64decode(tables["buckets"]), "<i4").tolist()
    odds = np.frombuffer(base64.b64decode(tables["log_odds"]), "<f4").reshape(len(buckets), -1)
    nothing = np.zeros_like(odds[0])
    found = defaultdict(lambda: nothing, zip(buckets, odds, strict=True))
    line, met = None, set()
    if tables["line"]:
        line = np.frombuffer(base64.b64decode(tables["line"]), "<f4").reshape(odds.shape)
        line = dict(zip(buckets, line.astype(float), strict=True))
    kinds, total_of_line = 3 if line is None else 4, np.zeros(len(nothing))
    rows, before = [np.zeros((0, kinds * len(nothing)), np.float32)], 0
    for word in words:
        own = zlib.crc32(word.encode())
        mixed = (before * ODD + own) % 2**64
        pair = (mixed ^ mixed >> 29) * ODD % 2**64 >> 40
        spaced = f" {word} "
        runs = [spaced[k : k + n] for n in (4, 5) for k in range(len(spaced) - n + 1)]
        letters = [found[zlib.crc32(run.encode(), 1) % 2**24] for run in runs]
        total = sum(letters, nothing) / np.sqrt(np.float32(max(len(runs), 1)))
        word_bucket = own * ODD % 2**64 >> 40
        looked_up = [found[word_bucket], found[pair], total]
        if line is not None:
            new = {word_bucket, pair} - met
            total_of_line = total_of_line + sum(line.get(bucket, 0.0) for bucket in new)
            met |= new
            looked_up.append(total_of_line.astype(np.float32))
        rows.append(np.concatenate(looked_up)[None])
        before = own
    return np.concatenate(rows)

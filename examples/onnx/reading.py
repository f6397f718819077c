"""How a text becomes numbers, by the ``text`` of a file's metadata."""

import re

from bpe import merged


def read(text, reading):
    """The numbers of a text's tokens, which of them are read in which order, and its words."""
    number, words, tokens = {token: k for k, token in enumerate(reading["tokens"])}, [], []
    text = text.lower() if reading["lowercase"] else text
    for line in text.split("\n") if reading["sentences"] else [text]:
        words = re.findall(reading["pattern"], line)
        known = merged(words, reading["merges"]) if reading["merges"] else words
        numbers = [number.get(word, 0) for word in known]
        tokens += [1, *numbers, 2] if reading["sentences"] and words else numbers
    kept = list(range(len(tokens)))[:: -1 if reading["reverse"] else 1]
    if reading["sentences"]:
        kept.pop()  # the last sentence goes on
    limit = reading["max_length"] or len(kept)
    del kept[limit - limit // 2 : max(limit, len(kept)) - limit // 2]  # the middle is left out
    return tokens, kept, words

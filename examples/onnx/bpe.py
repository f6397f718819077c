"""Byte-level byte-pair encoding, as GPT-2 has it, without a library."""

PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
SYMBOL = {byte: chr(byte) for byte in PRINTABLE} | {b: chr(256 + k) for k, b in enumerate(OTHERS)}


def merged(pieces, merges):
    """The tokens of the pieces of a text; ``merges`` are those of a file's metadata."""
    rank = {tuple(merge.split(" ")): k for k, merge in enumerate(merges)}
    found = []
    for piece in pieces:
        parts = [SYMBOL[byte] for byte in piece.encode()]
        while len(parts) > 1:
            ranks = [rank.get(pair, len(rank)) for pair in zip(parts, parts[1:], strict=False)]
            first = min(range(len(ranks)), key=ranks.__getitem__)
            if ranks[first] == len(rank):
                break
            parts[first : first + 2] = [parts[first] + parts[first + 1]]
        found += parts
    return found

// Byte-level byte-pair encoding, as GPT-2 has it, without a library.
const isPrintable = (b) => (b > 0x20 && b < 0x7f) || (b > 0xa0 && b < 0xad) || b > 0xad;
const bytes = Array.from({ length: 256 }, (_, byte) => byte);
const others = bytes.filter((byte) => !isPrintable(byte));
const symbols = bytes.map((b) => String.fromCharCode(isPrintable(b) ? b : 256 + others.indexOf(b)));

// The tokens of the pieces of a text; `merges` are those of a file's metadata.
export function merged(pieces, merges) {
  const rank = new Map(merges.map((merge, k) => [merge, k]));
  return pieces.flatMap((piece) => {
    const parts = Array.from(new TextEncoder().encode(piece), (byte) => symbols[byte]);
    while (parts.length > 1) {
      const ranks = parts.slice(1).map((part, k) => rank.get(`${parts[k]} ${part}`) ?? Infinity);
      const least = Math.min(...ranks);
      if (least === Infinity) break;
      const first = ranks.indexOf(least);
      parts.splice(first, 2, parts[first] + parts[first + 1]);
    }
    return parts;
  });
}

// What a text classifier reads beside each word: the log-odds of the word, of its pair with the word
// before, and of its letters, found by hashes; and, if there is a line, what all words and pairs up to
// there add up to, each counted once.
const ODD = 0x9e3779b97f4a7c15n;

function crc32(text, start = 0) {
  let value = ~start;
  for (const byte of new TextEncoder().encode(text)) {
    value ^= byte;
    for (let k = 0; k < 8; k++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
}

const uint64 = (value) => BigInt.asUintN(64, value);
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;

// A row for each word, of the `evidence` in a file's metadata.
export function evidenceOf(words, tables) {
  const buckets = new Int32Array(bytes(tables.buckets));
  const odds = new Float32Array(bytes(tables.log_odds));
  const labels = odds.length / buckets.length;
  const places = new Map(Array.from(buckets, (bucket, k) => [bucket, k]));
  const line = tables.line && new Float32Array(bytes(tables.line));
  const lookedUp = (bucket, table = odds) => {
    const k = places.get(Number(bucket));
    return Array.from({ length: labels }, (_, c) => (k === undefined ? 0 : table[k * labels + c]));
  };
  const met = new Set();
  let total = new Array(labels).fill(0);
  let before = 0n;
  const rows = words.map((word) => {
    const own = BigInt(crc32(word));
    const mixed = uint64(before * ODD + own);
    before = own;
    const spaced = [...` ${word} `];
    const runs = [4, 5].flatMap((n) =>
      spaced.slice(n - 1).map((_, k) => lookedUp(crc32(spaced.slice(k, k + n).join(""), 1) % 2 ** 24)),
    );
    const letters = lookedUp(-1).map((_, c) => runs.reduce((sum, run) => sum + run[c], 0));
    const root = Math.sqrt(Math.max(runs.length, 1));
    const held = [uint64(own * ODD) >> 40n, uint64((mixed ^ (mixed >> 29n)) * ODD) >> 40n];
    const row = [...held.flatMap((bucket) => lookedUp(bucket)), ...letters.map((sum) => sum / root)];
    if (!line) return row;
    for (const bucket of held) {
      if (met.has(bucket)) continue;
      met.add(bucket);
      total = lookedUp(bucket, line).map((weight, c) => total[c] + weight);
    }
    return [...row, ...total];
  });
  return Object.assign(rows, { width: (line ? 4 : 3) * labels });
}

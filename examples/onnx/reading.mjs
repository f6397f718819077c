// How a text becomes numbers, by the `text` of a file's metadata.
import { merged } from "./bpe.mjs";

// The numbers of a text's tokens, which of them are read in which order, and its words.
export function read(text, { pattern, lowercase, sentences, merges, reverse, ...reading }) {
  const number = new Map(reading.tokens.map((token, k) => [token, k]));
  const lines = (lowercase ? text.toLowerCase() : text).split(sentences ? "\n" : /(?!)/);
  const words = lines.map((line) => line.match(new RegExp(pattern, "gu")) ?? []);
  const tokens = words.flatMap((found) => {
    const numbers = (merges ? merged(found, merges) : found).map((word) => number.get(word) ?? 0);
    return sentences && found.length ? [1, ...numbers, 2] : numbers;
  });
  const kept = tokens.map((_, k) => k);
  if (reverse) kept.reverse();
  if (sentences) kept.pop(); // the last sentence goes on
  const limit = reading.max_length ?? kept.length; // beyond it, the middle is left out
  kept.splice(limit - Math.floor(limit / 2), Math.max(0, kept.length - limit));
  return { tokens, kept, words: words.flat() };
}

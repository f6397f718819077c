// Asks a text model that `tidegate export onnx` wrote: node texts.mjs MODEL.onnx TEXT
// A classifier tells the probability of each label, a language model the likeliest next tokens.
import { Tensor } from "onnxruntime-web";
import { merged } from "./bpe.mjs";
import { evidenceOf } from "./evidence.mjs";
import { open, probabilities } from "./model.mjs";

export async function ask(path, text) {
  const { session, told } = await open(path);
  const { pattern, lowercase, sentences, merges, reverse, evidence, ...reading } = told.text;
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
  const feed = { tokens: new Tensor("int32", kept.map((k) => tokens[k]), [1, kept.length]) };
  feed.sequence_lens = new Tensor("int32", [kept.length], [1]);
  if (evidence) {
    const rows = evidenceOf(words.flat(), evidence);
    feed.evidence = new Tensor("float32", kept.flatMap((k) => rows[k]), [1, kept.length, rows.width]);
  }
  const { output } = await session.run(feed);
  const found = probabilities([...output.data.slice(-output.dims.at(-1))], told.labels);
  if (told.labels) return found;
  return Object.fromEntries(Object.entries(found).sort((a, b) => b[1] - a[1]).slice(0, 5));
}

console.log(JSON.stringify(await ask(...process.argv.slice(2))));

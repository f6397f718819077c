// Asks a text model that `tidegate export onnx` wrote: node texts.mjs MODEL.onnx TEXT
// A classifier tells the probability of each label, a language model the likeliest next tokens.
import { numbersOfBytes } from "./bpe.mjs";
import { evidenceOf } from "./evidence.mjs";
import { open, softmax, tensor } from "./model.mjs";

function wordsOf(text, { patterns }) {
  if (!patterns) return [...text];
  for (const [pattern, by] of patterns.substitutions) text = text.replace(new RegExp(pattern, "gu"), by);
  return text.match(new RegExp(patterns.token, "gu")) ?? [];
}

function tokensOf(text, told) {
  const { encoder } = told;
  if (encoder.lowercase) text = text.toLowerCase();
  const words = wordsOf(text, told);
  if (encoder.level === "bpe") return [words, numbersOfBytes(words, encoder.merges)];
  const special = encoder.sentences ? ["<unk>", "<s>", "</s>"] : ["<unk>"];
  const known = new Map([...special, ...(encoder.words ?? encoder.characters)].map((word, k) => [word, k]));
  const numbers = (list) => list.map((word) => known.get(word) ?? 0);
  if (!encoder.sentences) return [words, numbers(words)];
  const lines = text.split("\n").map((line) => wordsOf(line, told)).filter((line) => line.length);
  return [words, lines.flatMap((line) => [1, ...numbers(line), 2])];
}

export async function ask(path, text) {
  const { session, told } = await open(path);
  const { max_length: limit, reverse } = told.options;
  const [words, tokens] = tokensOf(text, told);
  let kept = tokens.map((_, k) => k);
  if (limit && tokens.length > limit) {
    const tail = Math.floor(limit / 2); // the middle is left out
    kept = [...kept.slice(0, limit - tail), ...kept.slice(tokens.length - tail)];
  }
  if (reverse) kept.reverse();
  if (told.encoder.sentences) kept.pop(); // the last sentence goes on
  const feed = { tokens: tensor(Int32Array.from(kept, (k) => tokens[k]), [1, kept.length]) };
  feed.sequence_lens = tensor(Int32Array.of(kept.length), [1]);
  if (told.evidence) {
    const rows = evidenceOf(words, told.evidence);
    feed.evidence = tensor(Float32Array.from(kept.flatMap((k) => rows[k])), [1, kept.length, rows.width]);
  }
  const { output } = await session.run(feed);
  const probabilities = softmax([...output.data.slice(-output.dims.at(-1))]);
  if (told.labels) return Object.fromEntries(told.labels.map((label, k) => [label, probabilities[k]]));
  const likeliest = probabilities.map((_, k) => k).sort((a, b) => probabilities[b] - probabilities[a]);
  return Object.fromEntries(likeliest.slice(0, 5).map((k) => [k, probabilities[k]]));
}

console.log(JSON.stringify(await ask(...process.argv.slice(2))));

// Asks a tagger that `tidegate export onnx` wrote: node tags.mjs MODEL.onnx 'SPLIT AT BLANKS'
// Prints a label for each token; with a CRF the labels that are the likeliest together.
import { Tensor } from "onnxruntime-web";
import { evidenceOf } from "./evidence.mjs";
import { open } from "./model.mjs";

export async function ask(path, text) {
  const { session, told } = await open(path);
  const tokens = text.split(/\s+/u).filter((token) => token);
  const feed = read(tokens, told.text);
  feed.sequence_lens = new Tensor("int32", [tokens.length], [1]);
  const { output } = await session.run(feed);
  const width = output.dims.at(-1);
  const rows = tokens.map((_, t) => [...output.data.slice(t * width, (t + 1) * width)]);
  const best = told.transitions ? viterbi(rows, told.transitions) : rows.map(highest);
  return tokens.map((token, t) => [token, told.labels[best[t]]]);
}

function read(tokens, reading) {
  const number = new Map(reading.tokens.map((token, k) => [token, k]));
  const words = tokens.map((token) => (reading.lowercase ? token.toLowerCase() : token));
  const numbers = words.map((word) => number.get(word) ?? 0);
  const feed = { tokens: new Tensor("int32", numbers, [1, tokens.length]) };
  if (reading.evidence) {
    const rows = evidenceOf(tokens, reading.evidence);
    feed.evidence = new Tensor("float32", rows.flat(), [1, tokens.length, rows.width]);
  }
  if (!reading.letters) return feed;
  // number 0 is no letter, 1 an unknown one
  const letter = new Map(reading.letters.map((c, k) => [c, k]));
  const length = reading.word_length, tail = Math.floor(length / 2);
  const spelled = tokens.flatMap((token) => {
    let letters = [...token];
    if (letters.length > length) letters = [...letters.slice(0, length - tail), ...letters.slice(-tail)];
    const found = letters.map((c) => letter.get(c) ?? 1);
    return [...found, ...Array(length - found.length).fill(0)];
  });
  feed.letters = new Tensor("int32", spelled, [1, tokens.length, length]);
  return feed;
}

// transitions[i][j]: of label j after i; the last row is the start, the last column the end
function viterbi(rows, transitions) {
  const labels = rows[0].map((_, j) => j), start = transitions.at(-1);
  let best = labels.map((j) => start[j] + rows[0][j]);
  const origins = rows.slice(1).map((row) => {
    const reached = labels.map((j) => labels.map((i) => best[i] + transitions[i][j]));
    best = labels.map((j) => Math.max(...reached[j]) + row[j]);
    return reached.map(highest);
  });
  const path = [highest(best.map((value, i) => value + transitions[i].at(-1)))];
  for (const origin of origins.reverse()) path.unshift(origin[path[0]]);
  return path;
}

function highest(values) {
  return values.indexOf(Math.max(...values));
}

console.log(JSON.stringify(await ask(...process.argv.slice(2))));

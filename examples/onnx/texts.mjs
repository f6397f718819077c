// Asks a text model that `tidegate export onnx` wrote: node texts.mjs MODEL.onnx TEXT
// A classifier tells the probability of each label, a regressor a number, a language model the
// likeliest next tokens.
import { Tensor } from "onnxruntime-web";
import { evidenceOf } from "./evidence.mjs";
import { open, probabilities } from "./model.mjs";
import { read } from "./reading.mjs";

export async function ask(path, text) {
  const { session, told } = await open(path);
  const { tokens, kept, words } = read(text, told.text);
  const feed = { tokens: new Tensor("int32", kept.map((k) => tokens[k]), [1, kept.length]) };
  feed.sequence_lens = new Tensor("int32", [kept.length], [1]);
  if (told.text.evidence) {
    const rows = evidenceOf(words, told.text.evidence);
    feed.evidence = new Tensor("float32", kept.flatMap((k) => rows[k]), [1, kept.length, rows.width]);
  }
  const { output } = await session.run(feed);
  const last = [...output.data.slice(-output.dims.at(-1))];
  if (told.task === "text-regressor") return last[0];
  if (told.scaling) // a text has several labels, each by itself
    return Object.fromEntries(told.labels.map((label, k) => [label, 1 / (1 + Math.exp(-last[k]))]));
  const found = probabilities(last, told.labels);
  if (told.labels) return found;
  return Object.fromEntries(Object.entries(found).sort((a, b) => b[1] - a[1]).slice(0, 5));
}

console.log(JSON.stringify(await ask(...process.argv.slice(2))));

// Goes on with a piece, step by step: node music.mjs MODEL.step.onnx STEPS [LENGTH] [GIVEN]
// MODEL.step.onnx is a file of one step of a model of music: tidegate export onnx MODEL --step FILE.
// STEPS is JSON, a list of steps, each a list of the names of the outputs that are on; GIVEN is JSON, an
// object with the conditions of a model that has some.  An output is on where it is likelier on than off.
import { Tensor } from "onnxruntime-web";
import { open } from "./model.mjs";

export async function play(path, steps, length = 16, given = {}) {
  const { session, told } = await open(path);
  const feed = {};
  for (const { input, width } of told.states)
    feed[input] = new Tensor("float32", new Float32Array(width), [1, width]);
  const condition = conditionOf(told.scaling?.conditions ?? [], given);
  const on = steps.map((step) => told.labels.map((name) => step.includes(name)));
  for (let count = 0; count < steps.length + length; count++) {
    const read = [...readingAfter(on.slice(0, count), told), ...condition];
    feed.values = new Tensor("float32", Float32Array.from(read), [1, read.length]);
    const answers = await session.run(feed);
    for (const state of told.states) feed[state.input] = answers[state.output];
    if (count >= steps.length) on.push(Array.from(answers.output.data, (logit) => logit > 0));
  }
  return on.slice(steps.length).map((step) => told.labels.filter((_, k) => step[k]));
}

// What is read after steps, of each of which it is known which outputs were on.
function readingAfter(on, { labels, repeats }) {
  const off = labels.map(() => false);
  const read = on.at(-1) ?? off;
  if (repeats === null) return read.map(Number);
  const same = (a, b) => a.every((one, k) => one === b[k]);
  const end = on.length - 1;
  let [longest, follower] = [0, off];
  for (let last = Math.max(0, end - repeats.remembered); last < end; last++) {
    let length = 0; // of a repetition that ends here
    while (last >= length && same(on[last - length], on[end - length])) length++;
    if (last === end - repeats.remembered) length = Math.min(length, 1);
    if (length && length >= longest) [longest, follower] = [length, on[last + 1]];
  }
  const lengths = repeats.longest.map((most) => Math.min(longest, most) / most);
  return [...read.map(Number), ...follower.map(Number), ...lengths];
}

// The numbers that say what a piece is to be; what is not given is unknown, zeros.
function conditionOf(columns, given) {
  return columns.flatMap(({ name, categories, mean, scale }) =>
    categories
      ? categories.map((category) => Number(category === given[name]))
      : [name in given ? (given[name] - mean) / scale : 0],
  );
}

const [path, steps, length, given] = process.argv.slice(2);
const more = [length, given].map((one) => one && JSON.parse(one));
console.log(JSON.stringify(await play(path, JSON.parse(steps), ...more)));

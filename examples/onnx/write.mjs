// Goes on with a text, token by token: node write.mjs MODEL.step.onnx TEXT [LENGTH]
// MODEL.step.onnx is a language model's file of one step: tidegate export onnx MODEL --step FILE.  Each
// token is the likeliest one; they are told in the order in which they are written.
import { Tensor } from "onnxruntime-web";
import { open } from "./model.mjs";
import { read } from "./reading.mjs";

export async function write(path, text, length = 20) {
  const { session, told } = await open(path);
  const feed = {};
  for (const { input, width } of told.states)
    feed[input] = new Tensor("float32", new Float32Array(width), [1, width]);
  const [opening, closing] = told.text.reverse ? [2, 1] : [1, 2]; // of a sentence, as it is read
  const mayBe = (k) => told.text.tokens[k] !== null || k === closing;
  const { tokens, kept } = read(text, told.text);
  const written = [];
  for (let given = kept.map((k) => tokens[k]); ; ) {
    let output;
    for (const token of given) {
      feed.tokens = new Tensor("int32", [token], [1]);
      const answers = await session.run(feed);
      for (const state of told.states) feed[state.input] = answers[state.output];
      output = answers.output.data;
    }
    if (written.length === length) return written.map((k) => told.text.tokens[k] ?? "\n");
    written.push(output.reduce((best, p, k) => (mayBe(k) && !(p <= output[best]) ? k : best), -1));
    const ends = told.text.sentences && written.at(-1) === closing;
    given = ends ? [closing, opening] : written.slice(-1);
  }
}

const [path, text, length] = process.argv.slice(2);
console.log(JSON.stringify(await write(path, text, length && Number(length))));

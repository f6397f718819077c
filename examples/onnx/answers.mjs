// Answers a text with a text: node answers.mjs ENCODER.onnx DECODER.onnx TEXT
// The files are of a sequence-to-sequence model: tidegate export onnx MODEL -o ENCODER --step DECODER.
// Each token is the likeliest one; where that is the unknown one, the token of the text that is most
// attended to is copied.  The answer's tokens are told in their order.
import { Tensor } from "onnxruntime-web";
import { open } from "./model.mjs";
import { read } from "./reading.mjs";

export async function answer(encoder, decoder, text) {
  const [first, { session, told }] = [await open(encoder), await open(decoder)];
  const whole = { reverse: false, sentences: false }; // one text, whatever its lines
  const { tokens, words } = read(text, { ...told.source, ...whole });
  tokens.push(told.source.tokens.length); // the end of it
  const sequence_lens = new Tensor("int32", [tokens.length], [1]);
  const given = { tokens: new Tensor("int32", tokens, [1, tokens.length]), sequence_lens };
  const feed = { ...(await first.session.run(given)), sequence_lens };
  const known = told.target.tokens;
  const mayBe = (k) => k === 0 || known[k] !== null; // not the frame of a sentence
  const written = [];
  for (let token = known.length; written.length < told.longest; ) {
    feed.tokens = new Tensor("int32", [token], [1]);
    const { output, attention, ...states } = await session.run(feed);
    for (const state of told.states) feed[state.input] = states[state.output];
    const best = (values, allowed) =>
      values.reduce((at, p, k) => (allowed(k) && !(p <= values[at]) ? k : at), -1);
    token = best(output.data, mayBe);
    if (token === known.length) break;
    written.push(known[token] ?? words[best(attention.data, () => true)] ?? "");
  }
  return written;
}

console.log(JSON.stringify(await answer(...process.argv.slice(2))));

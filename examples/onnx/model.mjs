// Opens an ONNX file that `tidegate export onnx` wrote: the session, and what the file tells.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

export async function open(path) {
  const bytes = await readFile(path); // in a browser: new Uint8Array(await (await fetch(path)).arrayBuffer())
  // onnxruntime-web does not hand out metadata; they are the end of the file
  const content = new TextDecoder().decode(bytes);
  const told = JSON.parse(content.slice(content.indexOf("{", content.lastIndexOf("\n\btidegate"))));
  return { session: await ort.InferenceSession.create(bytes), told };
}

export function probabilities(outputs, labels) {
  const odds = outputs.map((value) => Math.exp(value - Math.max(...outputs)));
  const total = odds.reduce((a, b) => a + b, 0);
  return Object.fromEntries(odds.map((value, k) => [labels?.[k] ?? k, value / total]));
}

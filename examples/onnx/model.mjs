// Opens an ONNX file that `tidegate export onnx` wrote: the session, and what the file tells.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

export async function open(path) {
  const bytes = await readFile(path); // in a browser: new Uint8Array(await (await fetch(path)).arrayBuffer())
  const told = JSON.parse(metadata(bytes).tidegate);
  return { session: await ort.InferenceSession.create(bytes), told };
}

export function tensor(values, dims) {
  return new ort.Tensor(values instanceof Int32Array ? "int32" : "float32", values, dims);
}

export function softmax(outputs) {
  const odds = outputs.map((value) => Math.exp(value - Math.max(...outputs)));
  return odds.map((value) => value / odds.reduce((a, b) => a + b, 0));
}

// onnxruntime-web does not hand out metadata_props; they are field 14 of the file, a protobuf message.
function metadata(bytes, found = {}) {
  let at = 0;
  const number = () => {
    for (let value = 0, unit = 1; ; unit *= 128) {
      value += (bytes[at] & 127) * unit;
      if (bytes[at++] < 128) return value;
    }
  };
  const text = () => {
    const size = number();
    return new TextDecoder().decode(bytes.subarray(at, (at += size)));
  };
  while (at < bytes.length) {
    const tag = number();
    if (tag === 14 * 8 + 2) {
      number(), number(); // the pair's size, and the tag of its key
      const key = text();
      number();
      found[key] = text();
    } else {
      const value = number();
      if ((tag & 7) === 2) at += value;
    }
  }
  return found;
}

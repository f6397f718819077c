// Asks a model of numbers that `tidegate export onnx` wrote: node series.mjs MODEL.onnx JSON
// JSON holds one sequence, a list of rows with a number (or null) for each channel or column.  A
// classifier tells the probability of each label, a tagger those of each row, a regressor a number, a
// forecaster the rows that follow.
import { Tensor } from "onnxruntime-web";
import { open, probabilities } from "./model.mjs";

export async function ask(path, rows) {
  const { session, told } = await open(path);
  const numbers = Float64Array.from(rows.flat(), (x) => x ?? NaN);
  const feed = { rows: new Tensor("float64", numbers, [1, rows.length, rows[0].length]) };
  if (told.task !== "forecaster") feed.sequence_lens = new Tensor("int32", [rows.length], [1]);
  const { output } = await session.run(feed);
  const answer = [...output.data];
  if (told.task === "series-tagger") {
    const width = output.dims.at(-1);
    return rows.map((_, t) => probabilities(answer.slice(t * width, (t + 1) * width), told.labels));
  }
  if (told.labels) return probabilities(answer, told.labels);
  if (told.task !== "forecaster") return answer[0];
  const [, horizon, columns] = output.dims;
  return Array.from({ length: horizon }, (_, k) => answer.slice(k * columns, (k + 1) * columns));
}

console.log(JSON.stringify(await ask(process.argv[2], JSON.parse(process.argv[3]))));

// Asks a model of numbers that `tidegate export onnx` wrote: node series.mjs MODEL.onnx JSON
// JSON holds one sequence, a list of rows with a number (or null) for each channel or column.  A
// classifier tells the probability of each label, a regressor a number, a forecaster the rows that follow.
import { open, softmax, tensor } from "./model.mjs";

const scaled = (rows, { mean, scale }) => rows.map((row) => row.map((x, c) => (x - mean[c]) / scale[c]));
const average = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
const columnsOf = (rows) => rows[0].map((_, c) => rows.map((row) => row[c]));
const pieces = (list, size) =>
  Array.from({ length: list.length / size }, (_, k) => list.slice(k * size, (k + 1) * size));

// Of a whole sequence: its shape, and its mean and magnitude beside each step; where own_scale is
// false, its values alone.
function sequenceInputs(rows, { segment, scaler, own_scale = true }) {
  const filled = columnsOf(rows).map((column, c) => {
    let known = scaler.mean[c]; // a missing value is the last known one
    return column.map((x) => (known = x ?? known));
  });
  const columns = columnsOf(scaled(columnsOf(filled), scaler));
  const mean = columns.map(average);
  const deviation = columns.map((column, c) => Math.sqrt(average(column.map((x) => (x - mean[c]) ** 2))));
  const shape = columnsOf(
    own_scale
      ? columns.map((column, c) => column.map((x) => (deviation[c] > 1e-6 ? (x - mean[c]) / deviation[c] : 0)))
      : columns,
  );
  while (shape.length % segment) shape.push(shape.at(-1));
  const beside = own_scale ? [...mean, ...deviation.map((x) => Math.log10(x + 1e-6))] : [];
  return [pieces(shape, segment).map((rows) => [...rows.flat(), ...beside])];
}

// Of the last rows, columns first: a batch of all columns, or of each by itself.
function windowInputs(rows, told) {
  const past = rows.slice(-told.context);
  const count = told.names.length;
  const steps = (columns) => columnsOf(columns.map((column) => pieces(column, told.segment)));
  const own = columnsOf(scaled(past.map((row) => row.slice(0, count)), told.scaler));
  const anchors = own.map((column) => (told.anchored ? column.at(-1) : 0));
  const moved = own.map((column, c) => column.map((x) => x - anchors[c]));
  const known = told.covariate_names.length
    ? columnsOf(scaled(past.map((row) => row.slice(count)), told.covariate_scaler))
    : [];
  const batch = told.joint ? [moved] : moved.map((column) => [column]);
  return [batch.map((columns) => steps([...columns, ...known]).map((step) => step.flat())), anchors];
}

export async function ask(path, rows) {
  const { session, told } = await open(path);
  const { windowing, inputs, target } = told.scaling;
  const [values, anchors] = windowing ? windowInputs(rows, windowing) : [sequenceInputs(rows, inputs)];
  const [batch, time, width] = [values.length, values[0].length, values[0][0].length];
  const { output } = await session.run({
    values: tensor(Float32Array.from(values.flat(2)), [batch, time, width]),
    sequence_lens: tensor(new Int32Array(batch).fill(time), [batch]),
  });
  const numbers = [...output.data];
  if (windowing) {
    const { mean, scale } = windowing.scaler;
    const ahead = pieces(numbers, numbers.length / windowing.names.length);
    return columnsOf(ahead.map((column, c) => column.map((x) => (x + anchors[c]) * scale[c] + mean[c])));
  }
  if (!told.labels) return numbers[0] * target.scale[0] + target.mean[0];
  const probabilities = softmax(numbers);
  return Object.fromEntries(told.labels.map((label, k) => [label, probabilities[k]]));
}

console.log(JSON.stringify(await ask(process.argv[2], JSON.parse(process.argv[3]))));

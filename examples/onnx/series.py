"""Asks a model of numbers that `tidegate export onnx` wrote: python series.py MODEL.onnx JSON

JSON holds one sequence, a list of rows with a number for each channel or column.  A classifier
tells the probability of each label, a regressor a number, a forecaster the rows that follow.
"""

import json
import sys

import numpy as np
import onnxruntime


def scaled(rows, scaler):
    return (rows - np.array(scaler["mean"])) / np.array(scaler["scale"])


def columns_of(rows, segment):
    """[T, C] as recurrent steps of ``segment`` rows, column by column."""
    return rows.reshape(-1, segment, rows.shape[1]).swapaxes(1, 2).reshape(len(rows) // segment, -1)


def sequence_inputs(rows, told):
    """Of a whole sequence: its shape, and its mean and magnitude beside each step.

    Where ``own_scale`` is false, its values alone.
    """
    segment, values = told["segment"], scaled(rows, told["scaler"])
    for t in range(1, len(values)):  # a missing value is the last known one
        values[t] = np.where(np.isnan(values[t]), values[t - 1], values[t])
    values = np.nan_to_num(values)
    own_scale = told.get("own_scale", True)
    mean, deviation = values.mean(0), values.std(0)
    shape = (values - mean) / np.where(deviation > 1e-6, deviation, np.inf) if own_scale else values
    shape = np.concatenate([shape, np.repeat(shape[-1:], -len(shape) % segment, axis=0)])
    steps = shape.reshape(len(shape) // segment, -1)
    if not own_scale:
        return steps[None]
    beside = np.tile(np.concatenate([mean, np.log10(deviation + 1e-6)]), (len(steps), 1))
    return np.concatenate([steps, beside], 1)[None]


def window_inputs(rows, told):
    """Of the last rows, columns first: a batch of all columns, or of each by itself."""
    count = len(told["names"])
    past = scaled(rows[-told["context"] :, :count], told["scaler"])
    anchors = past[-1] if told["anchored"] else np.zeros(count)
    columns = (past - anchors)[None] if told["joint"] else (past - anchors).T[:, :, None]
    batch = [columns_of(one, told["segment"]) for one in columns]
    if told["covariate_names"]:
        known = scaled(rows[-told["context"] :, count:], told["covariate_scaler"])
        batch = [np.concatenate([one, columns_of(known, told["segment"])], 1) for one in batch]
    return np.array(batch), anchors


def ask(path, rows):
    session = onnxruntime.InferenceSession(path)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    if told["scaling"] is None:
        sys.exit(f"{path}: expected a model of numbers, got a {told['task']}; ask it by texts.py")
    rows, scaling = np.array(rows, float), told["scaling"]
    windowing, anchors = scaling.get("windowing"), 0.0
    if windowing:
        values, anchors = window_inputs(rows, windowing)
    else:
        values = sequence_inputs(rows, scaling["inputs"])
    lengths = np.full(len(values), values.shape[1], np.int32)
    feed = {"values": values.astype(np.float32), "sequence_lens": lengths}
    output = np.asarray(session.run(["output"], feed)[0], float)
    if windowing:
        ahead = output.reshape(len(windowing["names"]), -1).T + anchors
        return (ahead * windowing["scaler"]["scale"] + windowing["scaler"]["mean"]).tolist()
    if told["labels"]:
        odds = np.exp(output[0] - output[0].max())
        return dict(zip(map(str, told["labels"]), (odds / odds.sum()).tolist(), strict=True))
    return float(output[0, 0] * scaling["target"]["scale"][0] + scaling["target"]["mean"][0])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(json.dumps(ask(sys.argv[1], json.loads(sys.argv[2]))))

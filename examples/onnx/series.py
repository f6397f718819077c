"""Asks a model of numbers that `tidegate export onnx` wrote: python series.py MODEL.onnx JSON

JSON holds one sequence, a list of rows with a number for each channel or column, null where one is
missing.  A classifier tells the probability of each label, a tagger those of each row, a regressor
a number, a forecaster the rows that follow.
"""

import json
import sys

import numpy as np
import onnxruntime


def ask(path, rows):
    session = onnxruntime.InferenceSession(path)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    feed = {"rows": np.array([rows], float)}
    if told["task"] != "forecaster":
        feed["sequence_lens"] = np.array([len(rows)], np.int32)
    answer = np.asarray(session.run(["output"], feed)[0])[0]
    if not told["labels"]:
        return answer.tolist() if told["task"] == "forecaster" else float(answer[0])
    odds = np.exp(answer - answer.max(-1, keepdims=True))
    shares = (odds / odds.sum(-1, keepdims=True)).tolist()
    names = [str(label) for label in told["labels"]]
    if told["task"] == "series-tagger":
        return [dict(zip(names, of_row, strict=True)) for of_row in shares]
    return dict(zip(names, shares, strict=True))


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], json.loads(sys.argv[2]))))

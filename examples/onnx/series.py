"""Asks a model of numbers that `tidegate export onnx` wrote: python series.py MODEL.onnx JSON

JSON holds one sequence, a list of rows with a number for each channel or column, null where one is
missing.  A classifier tells the probability of each label, a regressor a number, a forecaster the
rows that follow.
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
    odds = np.exp(answer - answer.max())
    return dict(zip(map(str, told["labels"]), (odds / odds.sum()).tolist(), strict=True))


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], json.loads(sys.argv[2]))))

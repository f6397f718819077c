"""Asks a text model that `tidegate export onnx` wrote: python texts.py MODEL.onnx TEXT

A classifier tells the probability of each label, a regressor a number, a language model the
likeliest next tokens.
"""

import json
import sys

import numpy as np
import onnxruntime
from evidence import evidence_of
from reading import read


def ask(path, text):
    session = onnxruntime.InferenceSession(path)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    tokens, kept, words = read(text, told["text"])
    lengths = np.array([len(kept)], np.int32)
    feed = {"tokens": np.array([tokens], np.int32)[:, kept], "sequence_lens": lengths}
    if told["text"]["evidence"]:
        feed |= {"evidence": evidence_of(words, told["text"]["evidence"])[None, kept]}
    output = np.asarray(session.run(["output"], feed)[0])
    last = output.reshape(-1, output.shape[-1])[-1]  # after all steps
    if told["task"] == "text-regressor":
        return float(last[0])
    odds = np.exp(last - last.max()) / np.exp(last - last.max()).sum()
    if told["scaling"]:  # a text has several labels, each by itself
        odds = 1 / (1 + np.exp(-last))
    if told["labels"]:
        return dict(zip(map(str, told["labels"]), odds.tolist(), strict=True))
    return {int(k): float(odds[k]) for k in np.argsort(-odds)[:5]}


if __name__ == "__main__":
    print(json.dumps(ask(*sys.argv[1:])))

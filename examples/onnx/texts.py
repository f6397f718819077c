"""Asks a text model that `tidegate export onnx` wrote: python texts.py MODEL.onnx TEXT

A classifier tells the probability of each label, a language model the likeliest next tokens.
"""

import json
import re
import sys

import numpy as np
import onnxruntime
from bpe import merged
from evidence import evidence_of


def ask(path, text):
    session = onnxruntime.InferenceSession(path)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    reading = told["text"]
    number, words, tokens = {token: k for k, token in enumerate(reading["tokens"])}, [], []
    text = text.lower() if reading["lowercase"] else text
    for line in text.split("\n") if reading["sentences"] else [text]:
        words = re.findall(reading["pattern"], line)
        known = merged(words, reading["merges"]) if reading["merges"] else words
        numbers = [number.get(word, 0) for word in known]
        tokens += [1, *numbers, 2] if reading["sentences"] and words else numbers
    kept = list(range(len(tokens)))[:: -1 if reading["reverse"] else 1]
    if reading["sentences"]:
        kept.pop()  # the last sentence goes on
    limit = reading["max_length"] or len(kept)
    del kept[limit - limit // 2 : max(limit, len(kept)) - limit // 2]  # the middle is left out
    lengths = np.array([len(kept)], np.int32)
    feed = {"tokens": np.array([tokens], np.int32)[:, kept], "sequence_lens": lengths}
    if reading["evidence"]:
        feed |= {"evidence": evidence_of(words, reading["evidence"])[None, kept]}
    output = np.asarray(session.run(["output"], feed)[0])
    last = output.reshape(-1, output.shape[-1])[-1]  # after all steps
    odds = np.exp(last - last.max()) / np.exp(last - last.max()).sum()
    if told["labels"]:
        return dict(zip(map(str, told["labels"]), odds.tolist(), strict=True))
    return {int(k): float(odds[k]) for k in np.argsort(-odds)[:5]}


if __name__ == "__main__":
    print(json.dumps(ask(*sys.argv[1:])))

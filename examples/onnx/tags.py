"""Asks a tagger that `tidegate export onnx` wrote: python tags.py MODEL.onnx 'SPLIT AT BLANKS'

Prints a label for each token; with a CRF the labels that are the likeliest together.
"""

import json
import sys

import numpy as np
import onnxruntime
from evidence import evidence_of


def ask(path, text):
    session = onnxruntime.InferenceSession(path)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    tokens = text.split()
    feed = read(tokens, told["text"]) | {"sequence_lens": np.array([len(tokens)], np.int32)}
    output = np.asarray(session.run(["output"], feed)[0])[0]
    best = viterbi(output, told["transitions"]) if told["transitions"] else output.argmax(1)
    return [[token, told["labels"][k]] for token, k in zip(tokens, best, strict=True)]


def read(tokens, reading):
    number = {token: k for k, token in enumerate(reading["tokens"])}
    words = [token.lower() if reading["lowercase"] else token for token in tokens]
    numbers = [[number.get(word, 0) for word in words]]
    feed: dict[str, np.ndarray] = {"tokens": np.array(numbers, np.int32)}
    if reading["letters"]:  # number 0 is no letter, 1 an unknown one
        letter, length = {c: k for k, c in enumerate(reading["letters"])}, reading["word_length"]
        letters = np.zeros((1, len(tokens), length), np.int32)
        for row, token in zip(letters[0], tokens, strict=True):
            if len(token) > length:  # the middle is left out
                token = token[: length - length // 2] + token[-(length // 2) :]
            row[: len(token)] = [letter.get(c, 1) for c in token]
        feed["letters"] = letters
    if reading["evidence"]:
        feed["evidence"] = evidence_of(tokens, reading["evidence"])[None]
    return feed


def viterbi(output, transitions):
    """transitions[i][j]: of label j after i; the last row is the start, the last column the end."""
    moves = np.array(transitions)
    best, origins = moves[-1, :-1] + output[0], []
    for step in output[1:]:
        reached = best[:, None] + moves[:-1, :-1]
        origins.append(reached.argmax(0))
        best = reached.max(0) + step
    path = [int((best + moves[:-1, -1]).argmax())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return path[::-1]


if __name__ == "__main__":
    print(json.dumps(ask(*sys.argv[1:]), ensure_ascii=False))

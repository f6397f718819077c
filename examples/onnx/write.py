"""Goes on with a text, token by token: python write.py MODEL.step.onnx TEXT [LENGTH]

MODEL.step.onnx is a language model's file of one step: tidegate export onnx MODEL --step FILE.
Each token is the likeliest one; they are told in the order in which they are written.
"""

import json
import sys

import numpy as np
import onnxruntime
from reading import read


def write(path, text, length=20):
    session = onnxruntime.InferenceSession(path)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    names = [output.name for output in session.get_outputs()]
    state = {s["input"]: np.zeros((1, s["width"]), np.float32) for s in told["states"]}
    reading, written = told["text"], []
    opening, closing = (2, 1) if reading["reverse"] else (1, 2)  # of a sentence, as it is read
    never = [k for k, token in enumerate(reading["tokens"]) if token is None and k != closing]
    tokens, kept, _ = read(text, reading)
    given = [tokens[k] for k in kept]
    while True:
        for token in given:
            made = session.run(None, state | {"tokens": np.array([token], np.int32)})
            answers = dict(zip(names, made, strict=True))
            state = {s["input"]: answers[s["output"]] for s in told["states"]}
        if len(written) == length:
            return [reading["tokens"][token] or "\n" for token in written]
        output = np.asarray(answers["output"])[0]
        output[never] = -np.inf
        written.append(int(output.argmax()))
        ends = reading["sentences"] and written[-1] == closing
        given = [closing, opening] if ends else written[-1:]


if __name__ == "__main__":
    print(json.dumps(write(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:4]))))

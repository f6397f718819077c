"""Answers a text with a text: python answers.py ENCODER.onnx DECODER.onnx TEXT

The files are of a sequence-to-sequence model: tidegate export onnx MODEL -o ENCODER --step DECODER.
Each token is the likeliest one; where that is the unknown one, the token of the text that is most
attended to is copied.  The answer's tokens are told in their order.
"""

import json
import sys

import numpy as np
import onnxruntime
from reading import read


def answer(encoder, decoder, text):
    first, then = onnxruntime.InferenceSession(encoder), onnxruntime.InferenceSession(decoder)
    told = json.loads(then.get_modelmeta().custom_metadata_map["tidegate"])
    whole = {
        "max_length": None,
        "reverse": False,
        "sentences": False,
    }  # one text, whatever its lines
    numbers, _, words = read(text, told["source"] | whole)
    tokens = np.array([[*numbers, len(told["source"]["tokens"])]], np.int32)  # with its end
    lengths = np.array([tokens.size], np.int32)
    feed = run(first, {"tokens": tokens, "sequence_lens": lengths}) | {"sequence_lens": lengths}
    known, written = told["target"]["tokens"], []
    never = [k for k, token in enumerate(known) if token is None][1:]  # the frame of a sentence
    token = end = len(known)
    while len(written) < told["longest"]:
        answers = run(then, feed | {"tokens": np.array([token], np.int32)})
        feed |= {state["input"]: answers[state["output"]] for state in told["states"]}
        logits, attended = answers["output"][0], int(answers["attention"][0].argmax())
        logits[never] = -np.inf
        token = int(logits.argmax())
        if token == end:
            break
        copied = words[attended] if attended < len(words) else ""
        written.append(copied if known[token] is None else known[token])
    return written


def run(session, feed):
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, feed)), strict=True))


if __name__ == "__main__":
    print(json.dumps(answer(*sys.argv[1:]), ensure_ascii=False))

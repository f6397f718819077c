"""Goes on with a piece, step by step: python music.py MODEL.step.onnx STEPS [LENGTH] [GIVEN]

MODEL.step.onnx is a file of one step of a model of music: tidegate export onnx MODEL --step FILE.
STEPS is JSON, a list of steps, each a list of the names of the outputs that are on; GIVEN is JSON,
an object with the conditions of a model that has some.  An output is on where it is likelier on
than off.
"""

import json
import sys

import numpy as np
import onnxruntime


def play(path, steps, length=16, given=None):
    session = onnxruntime.InferenceSession(path)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    names = [output.name for output in session.get_outputs()]
    state = {s["input"]: np.zeros((1, s["width"]), np.float32) for s in told["states"]}
    condition = condition_of((told["scaling"] or {}).get("conditions", []), given or {})
    on, answers = [{told["labels"].index(name) for name in step} for step in steps], {}
    for count in range(len(steps) + length):
        read = [*reading_after(on[:count], len(told["labels"]), told["repeats"]), *condition]
        made = session.run(None, state | {"values": np.array([read], np.float32)})
        answers = dict(zip(names, made, strict=True))
        state = {s["input"]: answers[s["output"]] for s in told["states"]}
        if count >= len(steps):
            on.append(set(np.flatnonzero(np.asarray(answers["output"])[0] > 0).tolist()))
    return [[told["labels"][k] for k in sorted(step)] for step in on[len(steps) :]]


def reading_after(on, outputs, repeats):
    """What is read after steps, each a set of numbers of outputs that were on."""
    read = [float(on != [] and k in on[-1]) for k in range(outputs)]
    if repeats is None:
        return read
    longest, follower, end = 0, set(), len(on) - 1
    for last in range(max(0, end - repeats["remembered"]), end):  # of an earlier repetition
        length = 0
        while last >= length and on[last - length] == on[end - length]:
            length += 1
        length = min(length, 1) if last == end - repeats["remembered"] else length
        if length and length >= longest:
            longest, follower = length, on[last + 1]
    read += [float(k in follower) for k in range(outputs)]
    return read + [min(longest, most) / most for most in repeats["longest"]]


def condition_of(columns, given):
    """The numbers that say what a piece is to be; what is not given is unknown, zeros."""
    numbers = []
    for column in columns:
        value = given.get(column["name"])
        if "categories" in column:
            numbers += [float(category == value) for category in column["categories"]]
        else:
            numbers.append(0.0 if value is None else (value - column["mean"]) / column["scale"])
    return numbers


if __name__ == "__main__":
    path, steps, *more = sys.argv[1:]
    print(json.dumps(play(path, json.loads(steps), *map(json.loads, more))))

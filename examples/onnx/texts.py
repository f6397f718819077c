"""Asks a text model that `tidegate export onnx` wrote: python texts.py MODEL.onnx TEXT

A classifier tells the probability of each label, a language model the likeliest next tokens.
"""

import json
import re
import sys

import numpy as np
import onnxruntime
from bpe import numbers_of_bytes
from evidence import evidence_of


def words_of(text, told):
    for pattern, by in (told["patterns"] or {}).get("substitutions", []):
        text = re.sub(pattern, by, text)
    return re.findall(told["patterns"]["token"], text) if told["patterns"] else list(text)


def tokens_of(text, told):
    """The words of a text and their numbers."""
    encoder, framed = told["encoder"], told["encoder"].get("sentences", False)
    text = text.lower() if encoder["lowercase"] else text
    words = words_of(text, told)
    if encoder["level"] == "bpe":
        return words, numbers_of_bytes(words, encoder["merges"])
    special = ["<unk>", "<s>", "</s>"] if framed else ["<unk>"]
    known = {word: k for k, word in enumerate([*special, *encoder.get("words", ""),
                                               *encoder.get("characters", "")])}  # fmt: skip
    if not framed:
        return words, [known.get(word, 0) for word in words]
    lines = [words_of(line, told) for line in text.split("\n")]
    return words, [k for line in lines if line for k in (1, *(known.get(w, 0) for w in line), 2)]


def ask(path, text):
    session = onnxruntime.InferenceSession(path)
    told = json.loads(session.get_modelmeta().custom_metadata_map["tidegate"])
    if told["encoder"] is None:
        sys.exit(f"{path}: expected a model of texts, got a {told['task']}; ask it by series.py")
    words, tokens = tokens_of(text, told)
    kept, limit = np.arange(len(tokens)), told["options"].get("max_length")
    if limit and len(tokens) > limit:  # the middle is left out
        kept = np.r_[: limit - limit // 2, len(tokens) - limit // 2 : len(tokens)]
    if told["options"].get("reverse"):
        kept = kept[::-1]
    if told["encoder"].get("sentences"):
        kept = kept[:-1]  # the last sentence goes on
    feed: dict[str, np.ndarray] = {"tokens": np.array([tokens], np.int32)[:, kept]}
    feed["sequence_lens"] = np.array([len(kept)], np.int32)
    if told["evidence"]:
        feed["evidence"] = evidence_of(words, told["evidence"])[None, kept]
    size = session.get_outputs()[0].shape[-1]
    output = np.asarray(session.run(["output"], feed)[0]).reshape(-1, size)[-1]  # after all steps
    probabilities = np.exp(output - output.max()) / np.exp(output - output.max()).sum()
    if told["labels"]:
        return dict(zip(map(str, told["labels"]), probabilities.tolist(), strict=True))
    return {int(k): float(probabilities[k]) for k in np.argsort(-probabilities)[:5]}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(json.dumps(ask(*sys.argv[1:])))

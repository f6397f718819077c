"""An encoder and a decoder as two ONNX files that answer together as the model does."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

from test_encoder_decoder import SOURCE, TWO, network  # noqa: E402

import tidegate as tg  # noqa: E402
from tidegate.errors import InputError  # noqa: E402
from tidegate.model.encoder_decoder import EncoderDecoder  # noqa: E402
from tidegate.nn.arrays import network_on_arrays  # noqa: E402
from tidegate.onnx.checking import session_of  # noqa: E402
from tidegate.onnx.encoder_decoder import check_both, two_files  # noqa: E402

CASES = [
    ("gru", "dot", True, (5,)),
    ("lstm", "general", True, (6, 5)),
    ("lstm", "additive", False, (4,)),
    ("mgu", "dot", True, (5, 4)),
    ("lstm_projected", "additive", True, (6,)),
]


def of(cell: str, score: str, bidirectional: bool, hidden_sizes: tuple[int, ...]) -> EncoderDecoder:
    layers = {"cell": cell, "hidden_sizes": hidden_sizes, "batch_norm": len(hidden_sizes) > 1}
    target = replace(TWO.target, **layers)
    own = {"output_size": target.feature_size, "bidirectional": bidirectional}
    return EncoderDecoder(
        source=replace(SOURCE, **layers, **own), target=target, score=score, longest=5
    )


@pytest.mark.parametrize("case", CASES)
def test_both_files_together_give_the_runtimes_logits(case):
    runtime = network_on_arrays(network(of(*case)))
    encoder, decoder = two_files(runtime, 17, "1", {}, "tidegate")
    check_both(encoder, decoder, runtime)  # on other pairs


def test_other_weights_are_told_apart():
    runtime, other = (network_on_arrays(network(seed=seed)) for seed in (0, 1))
    files = two_files(runtime, 18, "1", {}, "tidegate")
    with pytest.raises(InputError, match="expected ONNX Runtime to answer as tidegate does"):
        check_both(*files, other)


def test_the_files_of_a_model_answer_greedily_as_it_does(tmp_path):
    sources = ["".join(t) for t in itertools.product("ab", repeat=3)] * 6
    options = {"embedding_size": 4, "hidden_sizes": (8,), "max_steps": 30, "verbose": 0}
    model = tg.SequenceToSequence(**options, learning_rate=1e-2, baseline=False)
    model.fit(sources, [source.upper() for source in sources])
    with pytest.raises(InputError, match="option step: expected a second file"):
        model.export_onnx(tmp_path / "encoder.onnx")
    places = tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"
    model.export_onnx(places[0], step=places[1])
    told = json.loads({p.key: p.value for p in onnx.load(places[1]).metadata_props}["tidegate"])
    tokens, known = told["source"]["tokens"], told["target"]["tokens"]
    encoder, decoder = (session_of(place.read_bytes()) for place in places)
    for source in sources[:8]:
        read = np.array([[*map(tokens.index, source), len(tokens)]], np.int32)
        given = {"tokens": read, "sequence_lens": np.array([read.shape[1]], np.int32)}
        memory, *states = encoder.run(["memory", *(s["input"] for s in told["states"])], given)
        token, written = len(known), ""
        while len(written) < told["longest"]:
            feed = {
                "tokens": np.array([token], np.int32),
                "memory": memory,
                "sequence_lens": given["sequence_lens"],
                **{s["input"]: state for s, state in zip(told["states"], states, strict=True)},
            }
            outputs = ["output", "attention", *(s["output"] for s in told["states"])]
            logits, attention, *states = decoder.run(outputs, feed)
            assert attention.sum() == pytest.approx(1, abs=1e-5)
            token = int(logits[0].argmax())
            if token == len(known):
                break
            written += known[token] or "\N{REPLACEMENT CHARACTER}"
        assert [written] == model.predict([source])

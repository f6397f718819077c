"""Weights in 16 and 8 bits: what a file holds, and what the engine makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from any_cell import CELL_KINDS, random_case
from command_line import TINY as TINY_TASKS
from command_line import Tidegate
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tidegate as tg
from tidegate import _engine
from tidegate.cells import CELLS
from tidegate.engine import EngineLayer
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model
from tidegate.model.narrow import WEIGHTS, narrowed, widened

NARROW = WEIGHTS[1:]
TINY = TINY_TASKS["classifier"]
# of the largest factor: half the distance of two neighbours in 8 and in 7 bits
STEP = {"bfloat16": 2.0**-8, "int8": 1 / 254}


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, (3, 5), elements=st.floats(-(2.0**99), 2.0**99, width=32)),
    st.sampled_from(NARROW),
)
def test_weights_are_rounded_to_nearest_and_a_second_rounding_changes_nothing(tensor, weights):
    once = widened(*narrowed({"w": tensor}, weights))["w"]
    again = widened(*narrowed({"w": once}, weights))["w"]
    np.testing.assert_array_equal(once, again)
    largest = np.abs(tensor).max(axis=1, keepdims=True)
    of = np.abs(tensor) if weights == "bfloat16" else largest
    # 1e-4: the scale of a row is rounded up to 17 bits
    assert (np.abs(once - tensor) <= STEP[weights] * (1 + 1e-4) * of + 1e-37).all()


def test_only_matrices_become_narrow():
    tensors = {"w": np.ones((2, 3), np.float32), "b": np.full(3, 0.3, np.float32)}
    kept, scales = narrowed(tensors, "int8")
    assert kept["w"].dtype == np.int8
    assert kept["b"] is tensors["b"]
    assert list(scales) == ["w"]


def layers_of(cell, factors, inputs=37, hidden=45, rows=5, steps=9):
    """A layer with rounded factors and one without, of weights that rounding does not change."""
    x, state, weights = random_case(CELLS[cell], steps, rows, inputs, hidden)
    weights = {name: w.astype(np.float32) for name, w in weights.items()}
    weights = widened(*narrowed(weights, factors))
    x, state = x.astype(np.float32), tuple(s.astype(np.float32) for s in state)
    return EngineLayer(cell, weights, factors), EngineLayer(cell, weights), x, state


# Of values around 1, over nine steps that feed on each other: a product of a rounded state errs by
# at most half a step for each factor, and these add up as noise does.
TOLERANCE = {"bfloat16": 0.02, "int8": 0.06}


@pytest.mark.parametrize("factors", NARROW)
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_rounded_factors_stay_near_float32_over_ragged_batches_and_steps(cell, factors):
    rounded, exact, x, state = layers_of(cell, factors)
    lengths = np.array([9, 0, 1, 7, 3])
    for reverse in (False, True):
        y, final = rounded.forward(x, state, lengths, reverse, threads=2)
        wanted, after = exact.forward(x, state, lengths, reverse)
        np.testing.assert_allclose(y, wanted, atol=TOLERANCE[factors])
        for ours, theirs in zip(final, after, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2 * TOLERANCE[factors])
        for b, length in enumerate(lengths):
            assert (y[length:, b] == 0).all()
    streamed = tuple(s.copy() for s in state)
    for step in x:
        rounded.step(step, streamed)
    wanted = rounded.forward(x, state)[1]
    for ours, theirs in zip(streamed, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    if _engine.inference_isa(factors):
        assert not np.array_equal(y, exact.forward(x, state, lengths, True)[0])  # they did round


@pytest.mark.skipif(not _engine.inference_isa("int8"), reason="no instruction for 8-bit products")
@pytest.mark.parametrize("inputs", [1, 3, 4, 15, 16, 17, 63, 64, 65, 200])
@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9, 33])
def test_8_bit_products_are_exact(inputs, rows):
    # whole numbers whose largest is 127 in each row are their own rounded factors
    rng = np.random.default_rng(inputs * rows)
    hidden = 21
    weights = rng.integers(-127, 128, (hidden, inputs)).astype(np.float32)
    x = rng.integers(-127, 128, (1, rows, inputs)).astype(np.float32)
    weights[:, 0] = x[..., -1] = 127
    layer = EngineLayer(
        "rnn_relu",
        {
            "weight_ih": weights,
            "weight_hh": np.zeros((hidden, hidden), np.float32),
            "bias_ih": np.arange(hidden, dtype=np.float32),
            "bias_hh": np.ones(hidden, np.float32),
        },
        "int8",
    )
    wanted = np.maximum(
        x[0].astype(np.int64) @ weights.T.astype(np.int64) + np.arange(hidden) + 1, 0
    )
    np.testing.assert_array_equal(layer.forward(x)[0][0], wanted)


@pytest.mark.parametrize("factors", NARROW)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nan_is_not_hidden_and_what_is_not_finite_stays_in_its_row(factors, bad):
    rounded, _, x, _ = layers_of("gru", factors)
    wanted = rounded.forward(x)[0]
    x[4, 1, 3] = bad
    y = rounded.forward(x)[0]
    if np.isnan(bad):  # an infinite input saturates gates, as it does in float32
        assert np.isnan(y[4:, 1]).any()
    others = [0, 2, 3, 4]
    np.testing.assert_allclose(y[:, others], wanted[:, others], atol=1e-6)


def test_unknown_factors_are_named():
    weights = {n: w.astype(np.float32) for n, w in random_case(CELLS["gru"])[2].items()}
    with pytest.raises(
        ValueError, match=r"factors: expected float32, bfloat16 or int8, got 'int4'"
    ):
        EngineLayer("gru", weights, "int4")


TEXTS = [f"{word} {k}" for k in range(12) for word in ("good film", "bad film")]
LABELS = ["pos", "neg"] * 12


@pytest.fixture(scope="module")
def classifier():
    return tg.TextClassifier(
        hidden_sizes=(24, 16), bidirectional=True, batch_norm=True, max_steps=40, seed=1, verbose=0
    ).fit(TEXTS, LABELS)


@pytest.mark.parametrize("weights", NARROW)
def test_a_file_with_narrow_weights_is_smaller_says_so_and_answers_alike(
    classifier, tmp_path, weights
):
    wide, narrow, again = (tmp_path / f"{name}.safetensors" for name in ("wide", "narrow", "again"))
    classifier.save(wide)
    classifier.save(narrow, weights=weights)
    assert narrow.stat().st_size < wide.stat().st_size
    loaded = tg.load(narrow)
    assert load_model(narrow).weights == loaded.runtime_.weights == weights
    difference = np.abs(loaded.predict_proba(TEXTS) - classifier.predict_proba(TEXTS))
    assert difference.max() < 0.05
    loaded.save(again)  # as it was loaded
    assert again.read_bytes() == narrow.read_bytes()
    loaded.save(again, weights="float32")
    assert tg.load(again).runtime_.weights == "float32"


def test_a_file_that_mixes_narrow_and_other_weights_is_refused(classifier, tmp_path, monkeypatch):
    from tidegate.model import checkpoint

    def mixed(tensors, weights):
        kept, scales = narrowed(tensors, weights)
        kept["dense.weight"] = kept["dense.weight"].astype(np.float32)
        return kept, scales

    monkeypatch.setattr(checkpoint, "narrowed", mixed)
    with pytest.raises((ValueError, ModelFileError), match=r"'network.dense.weight': expected I8"):
        classifier.save(tmp_path / "mixed.safetensors", weights="int8")


def test_weights_of_another_kind_are_refused_by_name(classifier, tmp_path):
    with pytest.raises(InputError, match=r"weights: expected float32, bfloat16, int8, got 'int4'"):
        classifier.save(tmp_path / "m.safetensors", weights="int4")


def test_the_command_says_what_rounding_has_changed(tidegate: Tidegate):
    assert (
        tidegate(f"train classifier reviews.csv --text review --label sentiment {TINY}").code == 0
    )
    model = "reviews-text-classifier.safetensors"
    ran = tidegate(f"convert {model} small.safetensors --weights int8 --on test.csv")
    assert ran.code == 0, ran.err
    assert "small.safetensors: a text-classifier, weights in int8" in ran.out
    assert "accuracy" in ran.out
    ran = tidegate(f"convert {model} half.safetensors --weights bfloat16 --json")
    assert ran.json["weights"] == "bfloat16"
    assert ran.json["bytes"] < ran.json["bytes_before"]
    assert 0 < ran.json["largest_change"] < 0.05 * max(1, ran.json["largest_output"])
    ran = tidegate(f"convert {model} same.safetensors --to tidegate")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("m.onnx --weights int8 --to onnx", "option --weights: expected a tidegate model"),
        ("m.safetensors --weights int4", "option --weights: expected float32, bfloat16, int8, got"),
        ("m.onnx --on test.csv", "option --on: expected it beside --weights; add that"),
        ("m.safetensors --to tidegate --on test.csv", "option --on: expected it beside --weights"),
        ("m.safetensors --to tidegate --cell gru", "option --cell: expected none for a tidegate"),
    ],
)
def test_options_of_narrow_weights_that_do_not_fit_are_refused(
    tidegate: Tidegate, classifier, tmp_path, line, problem
):
    classifier.save(tmp_path / "model.safetensors")
    ran = tidegate(f"convert model.safetensors {line}")
    assert ran.code == 2
    assert ran.err.startswith(f"error: {problem}"), ran.err

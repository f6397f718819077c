"""Graphs that compute evidence of whole sequences find what tidegate finds, to the last place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamed_models import network, sequence_evidence, sequence_model

import tidegate as tg
from tidegate.data.sequences.evidence import SequenceEvidence
from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.sequences.reading import SequenceReading
from tidegate.data.series.scaling import Scaler
from tidegate.errors import InputError
from tidegate.runtime.network import Network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tidegate.onnx.checking import check_rows, session_of  # noqa: E402
from tidegate.onnx.network import whole_model  # noqa: E402
from tidegate.onnx.rows import SequenceRows  # noqa: E402

OPSETS = (17, 22)
OUTPUTS = 3
# Evidence is of order 1.  A place of 300 that is counted here and not there moves it by some 1e-4,
# a value that is read elsewhere by 1e-2; float32 rounds the answer by less than 1e-6.
SAME = {"rtol": 0, "atol": 2e-6}
# Median lengths: each stretched to 32 steps, or read whole, or at 128 points of many.
MEDIANS = {"one": 1, "short": 9, "one less": 31, "middling": 40, "long": 150}


def rows_of(median: int, channels: int, *, own_scale: bool = True, segment: int = 4) -> Any:
    scaler = Scaler(3.0 + np.arange(channels), 0.5 + np.arange(channels))
    inputs = SequenceInputs(scaler=scaler, segment=segment, own_scale=own_scale)
    evidence = sequence_evidence(median, channels, OUTPUTS)
    return SequenceRows(SequenceReading(inputs, evidence), None)


def evidence_alone(size: int) -> Network:
    """A network that says what the evidence says."""
    whole = network(input_size=size, output_size=OUTPUTS, linear_steps=1, bidirectional=True)
    tensors = {name: np.zeros_like(t) for name, t in whole.tensors.items()}
    tensors["linear.weight"][:, -OUTPUTS:] = np.eye(OUTPUTS)
    return Network(whole.architecture, tensors)


def session(of: Network, reading: SequenceRows, opset: int = 17) -> Any:
    return session_of(whole_model(of, opset, "0", reading).SerializeToString())


def ragged(kind: str, channels: int, lengths: list[int], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((len(lengths), max(lengths), channels))
    if kind == "walks":
        rows = 50 * rows.cumsum(1) + 1000
    elif kind == "whole numbers":  # so that many values are alike
        rows = rows.round()
    elif kind == "flat stretches":
        rows = np.repeat(rows[:, ::7], 7, axis=1)[:, : max(lengths)]
        rows[0] = 3.5
    elif kind == "holes":
        rows[rng.random(rows.shape) < 0.3] = np.nan
        rows[1, :, 0] = np.nan
    return {"rows": rows, "sequence_lens": np.array(lengths, np.int32)}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("median", MEDIANS)
def test_a_graph_finds_the_evidence_that_tidegate_finds(
    median: str, channels: int, opset: int
) -> None:
    """Of no step, of one, of fewer than a kernel has weights, of many more than the median."""
    reading = rows_of(MEDIANS[median], channels)
    alone = evidence_alone(reading.reading.input_size)
    runs = session(alone, reading, opset)
    lengths = [17, 0, 1, 2, 8, 9, MEDIANS[median], 2 * MEDIANS[median] + 3]
    for kind in ("noise", "walks", "whole numbers", "flat stretches", "holes"):
        feed = ragged(kind, channels, lengths)
        (output,) = runs.run(None, feed)
        expected = reading.expected(alone, feed)
        assert not expected[1].any()  # of no step there is none
        assert np.abs(expected[[0, *range(2, len(lengths))]]).max(1).min() > 1e-3
        np.testing.assert_allclose(output, expected, **SAME)


def test_rows_do_not_depend_on_their_neighbours_or_on_what_is_beyond_them() -> None:
    reading = rows_of(40, 2)
    runs = session(evidence_alone(reading.reading.input_size), reading)
    lengths = [90, 3, 1, 41, 0]
    feed = ragged("walks", 2, lengths)
    (together,) = runs.run(None, feed)
    for row, n in enumerate(lengths):
        one = {"rows": feed["rows"][row : row + 1, : max(1, n)], "sequence_lens": np.array([n])}
        one["sequence_lens"] = one["sequence_lens"].astype(np.int32)
        np.testing.assert_allclose(runs.run(None, one)[0][0], together[row], **SAME)
    for beyond in (np.nan, 1e30):
        other = feed["rows"].copy()
        for row, n in enumerate(lengths):
            other[row, n:] = beyond
        np.testing.assert_array_equal(runs.run(None, feed | {"rows": other})[0], together)


@pytest.mark.parametrize("own_scale", [True, False])
@pytest.mark.parametrize("segment", [1, 5])
def test_evidence_is_added_to_what_the_network_says(own_scale: bool, segment: int) -> None:
    reading = rows_of(20, 2, own_scale=own_scale, segment=segment)
    size = reading.reading.input_size
    both = network(input_size=size, linear_steps=1, bidirectional=True, readout="mean+max")
    data = whole_model(both, 17, "0", reading).SerializeToString()
    check_rows(data, both, reading)
    none = SequenceRows(SequenceReading(reading.reading.inputs, None), None)
    tensors = {
        n: t[..., :-OUTPUTS] if n.startswith("recurrent.0.weight_ih") else t
        for n, t in both.tensors.items()
    }
    a = replace(both.architecture, input_size=size - OUTPUTS, linear_steps=0)
    del tensors["linear.weight"]
    feed = ragged("noise", 2, [13, 4])
    apart = Network(a, tensors)
    with_it, without = reading.expected(both, feed), none.expected(apart, feed)
    assert np.abs(with_it - without).max() > 0.1
    np.testing.assert_allclose(session(apart, none).run(None, feed)[0], without, atol=1e-5)


def changed(evidence: SequenceEvidence, what: str) -> SequenceEvidence:
    of = evidence.convolutions
    if what == "length":
        return replace(evidence, length=evidence.length + 6, weights=evidence.weights)
    if what == "a weight of the values":
        weights = evidence.weights.copy()
        weights[-3] += 1
        return replace(evidence, weights=weights)
    if what == "the last dilation":
        dilations = of.dilations.copy()
        dilations[-1] += 1
        return replace(evidence, convolutions=replace(of, dilations=dilations))
    if what == "sums":
        return replace(evidence, convolutions=replace(of, sums=of.sums[:, ::-1].copy()))
    biases = of.biases.copy()
    biases[0] += 0.2
    return replace(evidence, convolutions=replace(of, biases=biases))


@pytest.mark.parametrize(
    "what", ["length", "a weight of the values", "the last dilation", "sums", "biases"]
)
def test_a_graph_of_other_evidence_is_refused(what: str) -> None:
    right = rows_of(200, 1)  # whose values are read at 128 points, whatever the length
    wrong = replace(
        right, reading=replace(right.reading, evidence=changed(right.reading.evidence, what))
    )
    alone = evidence_alone(right.reading.input_size)
    data = whole_model(alone, 17, "0", wrong).SerializeToString()
    with pytest.raises(InputError, match="got a difference of .* on random rows"):
        check_rows(data, alone, right)


def test_operators_are_standard_ones_and_sizes_are_free() -> None:
    reading = rows_of(9, 2)
    model = whole_model(evidence_alone(reading.reading.input_size), 17, "0", reading)
    assert {node.domain for node in model.graph.node} == {""}
    assert [one.domain for one in model.opset_import] == [""]
    (rows, lengths) = model.graph.input
    assert [d.dim_param for d in rows.type.tensor_type.shape.dim[:2]] == ["batch", "time"]
    assert [d.dim_param for d in lengths.type.tensor_type.shape.dim] == ["batch"]


def test_dilations_beyond_any_sequence_cost_nothing() -> None:
    """A file may hold them; no array is as wide as they reach."""
    reading = rows_of(40, 1)
    evidence = reading.reading.evidence
    dilations = evidence.convolutions.dilations.copy()
    dilations[-1] = 2**31 - 1
    far = replace(evidence, convolutions=replace(evidence.convolutions, dilations=dilations))
    reading = replace(reading, reading=replace(reading.reading, evidence=far))
    alone = evidence_alone(reading.reading.input_size)
    feed = ragged("noise", 1, [50, 3])
    (output,) = session(alone, reading).run(None, feed)
    np.testing.assert_allclose(output, reading.expected(alone, feed), **SAME)


def test_a_model_that_needs_a_sequence_s_end_has_no_single_step_and_the_remedies_help(
    tmp_path: Path,
) -> None:
    whole, step = tmp_path / "m.onnx", tmp_path / "s.onnx"
    defaults = {"own_scale": True, "evidence": 20, "bidirectional": True}
    model = sequence_model(tg.SequenceClassifier, **defaults)
    with pytest.raises(InputError, match="step: expected a model that reads a sequence as") as e:
        model.export_onnx(whole, step=step)
    said = str(e.value)
    assert "reads evidence of the whole sequence" in said
    assert "leave it out, and give the whole graph all rows so far" in said
    assert said.endswith("train with bidirectional=False and own_scale=False and evidence=False")
    assert not list(tmp_path.iterdir())
    model.export_onnx(whole)
    sequence_model(tg.SequenceClassifier).export_onnx(whole, step=step)
    assert step.exists()

"""Graphs that read rows as they were measured scale, fill and cut them as tidegate does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tidegate.data.sequences.inputs import SequenceInputs
from tidegate.data.sequences.reading import SequenceReading
from tidegate.data.series.scaling import Scaler
from tidegate.data.series.windowing import Windowing
from tidegate.errors import InputError
from tidegate.model.architecture import Architecture
from tidegate.runtime.network import Network

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tidegate.onnx.checking import check_rows, session_of  # noqa: E402
from tidegate.onnx.network import whole_model  # noqa: E402
from tidegate.onnx.rows import Reading, SequenceRows, WindowRows  # noqa: E402

OPSETS = (17, 22)


def network_of(inputs: int, outputs: int, cell: str = "gru") -> Network:
    a = Architecture(
        cell=cell, vocabulary_size=None, input_size=inputs, embedding_size=None, hidden_sizes=(4,),
        bidirectional=False, readout="last", output_size=outputs, batch_norm=False,
        embedding_dropout=0.0, dropout=0.0, recurrent_dropout=0.0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    tensors = {n: 0.5 * rng.standard_normal(s) for n, s in a.tensor_shapes().items()}
    return Network(a, {n: t.astype(np.float32) for n, t in tensors.items()})


def scaler(channels: int, mean: float = 3.0) -> Scaler:
    return Scaler(mean + np.arange(channels), 0.5 + np.arange(channels))


def rows_of(segment: int, target: Scaler | None = None) -> SequenceRows:
    inputs = SequenceInputs(scaler=scaler(2), segment=segment)
    return SequenceRows(SequenceReading(inputs, None), target)


def session(network: Network, reading: Reading, opset: int) -> tuple[bytes, Any]:
    data = whole_model(network, opset, "0", reading).SerializeToString()
    return data, session_of(data)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("own_scale", [True, False])
@pytest.mark.parametrize("segment", [1, 3, 50])
def test_sequences_are_filled_scaled_and_cut_as_by_tidegate(
    segment: int, own_scale: bool, opset: int
) -> None:
    """Ragged, with holes at any place, flat channels, and a channel of which nothing is known."""
    for mean, target in itertools.product((3.0, 1e9), (None, Scaler(np.ones(1), np.array([7.0])))):
        inputs = SequenceInputs(scaler=scaler(2, mean), segment=segment, own_scale=own_scale)
        network = network_of(inputs.input_size, 1 if target else 3)
        reading = SequenceRows(SequenceReading(inputs, None), target)
        data, runs = session(network, reading, opset)
        check_rows(data, network, reading)
        rows = np.random.default_rng(1).standard_normal((5, 8, 2)) + mean
        rows[0, 2:5, 0] = rows[1, :3, 1] = rows[2, :, 0] = np.nan
        rows[3] = mean
        feed = {"rows": rows, "sequence_lens": np.array([8, 5, 7, 8, 1], np.int32)}
        (output,) = runs.run(None, feed)
        np.testing.assert_allclose(output, reading.expected(network, feed), rtol=0, atol=1e-5 * 7)


def test_a_sequence_of_no_steps_gets_the_answer_of_the_initial_state() -> None:
    reading = rows_of(3)
    network = network_of(reading.reading.input_size, 3)
    _, runs = session(network, reading, 17)
    feed = {"rows": np.ones((2, 4, 2)), "sequence_lens": np.array([0, 4], np.int32)}
    (output,) = runs.run(None, feed)
    np.testing.assert_allclose(output[0], network.tensors["dense.bias"], atol=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("covariates", [0, 1, 2])
@pytest.mark.parametrize("joint", [True, False])
def test_windows_are_anchored_scaled_and_cut_as_by_tidegate(
    joint: bool, covariates: int, opset: int
) -> None:
    """Also of large numbers that differ by little, of which float32 would keep nothing."""
    for anchored, segment, mean in itertools.product((True, False), (1, 4), (3.0, 1e9)):
        w = Windowing(
            names=("a", "b", "c"), covariate_names=("k", "l")[:covariates], step=1,
            context=12, horizon=5, season=1, segment=segment, joint=joint, anchored=anchored,
            scaler=scaler(3, mean),
            covariate_scaler=scaler(covariates, 7.0) if covariates else None,
        )  # fmt: skip
        network, reading = network_of(w.input_size, w.output_size), WindowRows(w)
        data, _ = session(network, reading, opset)
        check_rows(data, network, reading)


@pytest.mark.parametrize("of", ["sequences", "windows"])
def test_an_answer_of_another_scale_is_refused(of: str) -> None:
    if of == "sequences":
        right = rows_of(2, scaler(1))
        size = right.reading.input_size
        wrong: Reading = replace(right, target=scaler(1, 3.1))
    else:
        w = Windowing(
            names=("a",), covariate_names=(), step=1,
            context=4, horizon=1, season=1, segment=1, joint=True, anchored=True,
            scaler=scaler(1), covariate_scaler=None,
        )  # fmt: skip
        size, right = w.input_size, WindowRows(w)
        wrong = WindowRows(replace(w, scaler=Scaler(np.array([3.0]), np.array([0.6]))))
    network = network_of(size, 1)
    data, _ = session(network, wrong, 17)
    with pytest.raises(InputError, match="got a difference of .* on random rows"):
        check_rows(data, network, right)


def test_an_answer_of_another_shape_is_refused_in_words() -> None:
    reading = rows_of(2)
    size = reading.reading.input_size
    data, _ = session(network_of(size, 3), reading, 17)
    with pytest.raises(InputError, match=r"expected .* \[5, 5\], got \[5, 3\] on random rows"):
        check_rows(data, network_of(size, 5), reading)

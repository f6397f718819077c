"""A stream's step in one call of the engine, beside the same layer by layer on numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from any_cell import CELL_KINDS
from streamed_models import network

from tidegate.cells import CELLS
from tidegate.data.series.scaling import Scaler
from tidegate.engine import EngineLayer, compiled
from tidegate.runtime.stepping import Stepping

READOUTS = ["last", "mean", "max", "max+last+mean", "every"]
CHANNELS = 3
SCALER = Scaler(np.array([1.0, -2.0, 0.5]), np.array([2.0, 0.1, 1.0]))


def both(rows: int, scaler: Scaler | None = None, **of_network: Any) -> tuple[Stepping, Stepping]:
    """One that the engine steps, and one that goes layer by layer."""
    net = network(input_size=CHANNELS, **of_network)
    ours, plain = (Stepping(net, rows, scaler) for _ in range(2))
    assert ours._reading is not None
    plain._reading = None
    return ours, plain


def assert_same(ours: Stepping, plain: Stepping) -> None:
    """Products are the same; sums of a norm may be fused, which is a rounding less."""
    assert ours.arrays.keys() == plain.arrays.keys()
    for name, array in ours.arrays.items():
        if name != "last":
            np.testing.assert_allclose(array, plain.arrays[name], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.features(), plain.features(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.probabilities(), plain.probabilities(), rtol=1e-6, atol=1e-6)
    if ours._packed and ours._reading is not None:
        out = np.empty((len(ours.arrays["steps"]), 3), np.float32)
        ours._reading.outputs(out)
        np.testing.assert_allclose(out, plain.outputs(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3, 17])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_step_is_that_of_the_layers_one_by_one(cell: str, readout: str, rows: int) -> None:
    rng = np.random.default_rng(rows)
    for norm in (False, True):
        ours, plain = both(rows, cell=cell, readout=readout, batch_norm=norm)
        if rows:
            assert_same(ours, plain)
        for _ in range(3):
            x = rng.standard_normal((rows, CHANNELS)).astype(np.float32)
            ours.step(x)
            plain.step(x)
        if rows:
            assert_same(ours, plain)


@pytest.mark.parametrize("rows", [1, 5])
def test_values_in_their_own_units_are_scaled_in_the_step(rows: int) -> None:
    rng = np.random.default_rng(0)
    ours, plain = both(rows, SCALER, readout="mean+max")
    for _ in range(3):
        x = rng.standard_normal((rows, CHANNELS)) * 3
        assert ours.step_scaled(x if rows > 1 else x[0])
        scaled = (x - SCALER.mean) / SCALER.scale
        plain.step(scaled.astype(np.float32))
        np.testing.assert_allclose(ours.arrays["last"], scaled, rtol=1e-15)
    assert_same(ours, plain)
    assert not plain.step_scaled(x)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_none_is_not_read(wrong: float) -> None:
    ours, _ = both(2, SCALER, readout="max")
    ours.step_scaled(np.ones((2, CHANNELS)))
    before = {name: array.copy() for name, array in ours.arrays.items()}
    x = np.ones((2, CHANNELS))
    x[1, 2] = wrong
    assert not ours.step_scaled(x)
    for name, array in ours.arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_many_rows_are_stepped_by_several_threads_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.runtime.stepping.threads_worth", lambda _: 2)
    ours, plain = both(40, readout="mean+max+last")
    x = np.random.default_rng(0).standard_normal((4, 40, CHANNELS)).astype(np.float32)
    for step in x:
        ours.read(step[None])
        plain.step(step)
    np.testing.assert_allclose(ours.features(), plain.features(), rtol=1e-5, atol=1e-5)
    assert ours.arrays["steps"].tolist() == [4] * 40


def arguments(rows: int = 2) -> dict[str, Any]:
    """Of a `compiled.Reading` of one GRU of 2 inputs and 4 units."""
    rng = np.random.default_rng(0)
    shapes = CELLS["gru"].shapes({"I": 2, "H": 4, "P": 0}).values()
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    return {
        "layers": [compiled.Layer("gru", weights)],
        "states": [np.zeros((rows, 4), np.float32)],
        "norms": [],
        "dense": compiled.Dense(np.ones((3, 8), np.float32), np.zeros(3, np.float32)),
        "readout": ["mean", "max"],
        "steps": np.zeros(rows, np.int64),
        "sum": np.zeros((rows, 4)),
        "highest": np.zeros((rows, 4), np.float32),
        "mean": np.zeros(2),
        "scale": np.ones(2),
        "last": np.zeros((rows, 2)),
    }


def wrong_arguments(given: dict[str, Any]) -> dict[str, list[Any]]:
    """Made when asked for: objects of the module that live until the end are told as leaks."""
    return {
        "layers": [[], [None], [given["layers"][0]] * 2],
        "states": [[], [np.zeros((2, 4))], [np.zeros((2, 5), np.float32)], [None]],
        "norms": [[np.zeros(4, np.float32)]],
        "dense": [compiled.Dense(np.ones((3, 4), np.float32), None), 3],
        "readout": [[], ["least"], ["mean"]],
        "steps": [np.zeros(2), np.zeros((2, 1), np.int64)],
        "sum": [None, np.zeros((2, 4), np.float32), np.zeros((2, 5))],
        "highest": [None, np.zeros((2, 4)), np.zeros((3, 4), np.float32)],
        "mean": [np.zeros(3)],
        "scale": [None, np.zeros(1)],
        "last": [None, np.zeros((1, 2))],
    }


@pytest.mark.parametrize("name", list(wrong_arguments(arguments())))
def test_wrong_arguments_of_a_reading_are_refused(name: str) -> None:
    compiled.Reading(**arguments())
    for wrong in wrong_arguments(arguments())[name]:
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            compiled.Reading(**arguments() | {name: wrong})


def test_wrong_inputs_and_outputs_of_a_reading_are_refused() -> None:
    reading = compiled.Reading(**arguments())
    for x in (np.zeros((2, 3), np.float32), np.zeros(2, np.float32), np.zeros((2, 2))):
        with pytest.raises((ValueError, TypeError)):
            reading.step(x)
    for out in (np.zeros((2, 2), np.float32), np.zeros((3, 3), np.float32), np.zeros((2, 3))):
        with pytest.raises((ValueError, TypeError)):
            reading.outputs(out)
    with pytest.raises((ValueError, TypeError)):
        reading.probabilities(np.zeros((2, 3), np.float32))
    bare = compiled.Reading(
        **arguments() | {"dense": None, "mean": None, "scale": None, "last": None}
    )
    with pytest.raises(ValueError, match="dense: expected one, got none"):
        bare.outputs(np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="mean: expected an array, got none"):
        bare.step_scaled(np.zeros((2, 2)), 1.0)


def test_a_reading_keeps_what_it_works_on() -> None:
    given = arguments()
    reading, steps = compiled.Reading(**given), given["steps"]
    del given
    reading.step(np.ones((2, 2), np.float32))
    out = np.empty((2, 3))
    reading.probabilities(out)
    assert steps.tolist() == [1, 1]
    np.testing.assert_allclose(out.sum(1), 1)


@pytest.mark.parametrize("factors", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("cell", compiled.cells())
def test_a_step_from_products_made_before_has_the_bits_of_a_step(cell: str, factors: str) -> None:
    weights = network(input_size=CHANNELS, cell=cell).layer_weights(0)[0]
    layer = EngineLayer(cell, weights, factors)
    whole, parted = layer.initial_state(1), layer.initial_state(1)
    for x in np.random.default_rng(1).standard_normal((4, 1, CHANNELS)).astype(np.float32):
        y = layer.step(x, whole).copy()
        np.testing.assert_array_equal(layer.step_from(layer.input_products(x), parted), y)
    for mine, other in zip(whole, parted, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("cell", compiled.cells())
def test_tokens_whose_products_are_held_are_stepped_as_their_vectors_are(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: dict[str, Any] = {"vocabulary_size": 11, "embedding_size": 5, "readout": "every"}
    held, plain = (network(cell=cell, **tokens) for _ in range(2))
    monkeypatch.setattr(plain, "_products_of_tokens", None, raising=False)
    assert held._products_of_tokens is not None
    states = held.initial_state(1), plain.initial_state(1)
    for token in np.random.default_rng(2).integers(0, 11, (6, 1)):
        mine, other = held.step(token, states[0]), plain.step(token, states[1])
        np.testing.assert_array_equal(mine, other)


def test_products_of_very_many_tokens_are_not_held() -> None:
    many = network(vocabulary_size=2**22 // 8, embedding_size=1, readout="every")
    assert many._products_of_tokens is None

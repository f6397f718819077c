"""The functions of the engine keep the error bounds that csrc/simd/math.h states."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tidegate import _engine

REFERENCES = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))),
    "log": np.log,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
}


@pytest.fixture(params=_engine.available_isas(), autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = _engine.isa()
    _engine.select_isa(request.param)
    yield request.param
    _engine.select_isa(before)


def dense_samples() -> NDArray[np.float32]:
    """Every 4099th float32 that is no NaN, both signs, and a fine grid where functions bend."""
    patterns = np.arange(0, 0x7F80_0001, 4099, dtype=np.uint32)
    positive = patterns.view(np.float32)
    grid = np.linspace(-110, 110, 400_003, dtype=np.float32)
    return np.concatenate([positive, -positive, grid, grid / 64], dtype=np.float32)


def error_in_ulp(got: NDArray[np.float32], exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance in units in the last place of the exact value; an exact overflow must be inf."""
    largest = float(np.finfo(np.float32).max)
    overflow = exact > largest * (1 + 2.0**-25)
    assert np.all(np.isinf(got[overflow]))
    exact, got = exact[~overflow], got[~overflow]
    ulp = np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 24, -149))
    return np.abs(got.astype(np.float64) - exact) / ulp


@pytest.mark.parametrize("name", REFERENCES)
def test_error_stays_within_the_stated_bound(name: str) -> None:
    x = dense_samples()
    if name == "sigmoid":
        x = x[x >= -87]
    if name in ("log", "rsqrt"):
        x = x[(x > 0) & (x < np.inf)]
    with np.errstate(over="ignore", under="ignore"):
        exact = REFERENCES[name](x.astype(np.float64))
    error = error_in_ulp(getattr(_engine, name)(x), exact)
    assert error.max() <= _engine.error_bounds()[name]


def test_sigmoid_far_below_zero_is_nothing() -> None:
    x = np.array([-87.1, -100, -1e30, -np.inf], np.float32)
    assert np.all(np.abs(_engine.sigmoid(x)) <= 1.7e-38)


@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_zero", "at_infinity"),
    [
        ("exp", 0.0, 1.0, np.inf),
        ("tanh", -1.0, 0.0, 1.0),
        ("sigmoid", 1.7e-38, 0.5, 1.0),
        ("log", np.nan, -np.inf, np.inf),
        ("rsqrt", np.nan, np.inf, 0.0),
        ("erf", -1.0, 0.0, 1.0),
    ],
)
def test_limits_and_nan(
    name: str, at_minus_infinity: float, at_zero: float, at_infinity: float
) -> None:
    x = np.array([-np.inf, 0, np.inf, np.nan, -np.nan], np.float32)
    y = getattr(_engine, name)(x)
    np.testing.assert_allclose(y[:3], [at_minus_infinity, at_zero, at_infinity], atol=1.7e-38)
    assert np.all(np.isnan(y[3:]))


def test_tanh_is_odd_and_never_beyond_one() -> None:
    x = dense_samples()
    y = _engine.tanh(x)
    np.testing.assert_array_equal(_engine.tanh(-x), -y)
    assert np.abs(y).max() == 1
    assert np.signbit(_engine.tanh(np.array([-0.0], np.float32)))[0]


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("count", range(40))
def test_any_length_gives_the_same_values(name: str, count: int) -> None:
    function = getattr(_engine, name)
    x = np.linspace(-3, 3, 64, dtype=np.float32)  # NaN below 0 of some
    np.testing.assert_array_equal(function(x[:count]), function(x)[:count])


def test_shape_is_kept() -> None:
    assert _engine.tanh(np.zeros((2, 0, 3), np.float32)).shape == (2, 0, 3)
    assert _engine.tanh(np.zeros((), np.float32)).shape == ()
    assert _engine.tanh(np.zeros((5, 7, 3), np.float32)).shape == (5, 7, 3)


def test_float64_and_strided_arrays_are_refused() -> None:
    with pytest.raises(TypeError):
        _engine.exp(np.zeros(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError):
        _engine.exp(np.zeros(8, np.float32)[::2])


def test_environment_variable_chooses_the_instruction_set(isa: str) -> None:
    code = "from tidegate import _engine; print(_engine.isa())"
    environment = {**os.environ, "TIDEGATE_ISA": isa}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == isa


def test_unknown_instruction_set_is_an_import_error() -> None:
    environment = {**os.environ, "TIDEGATE_ISA": "avx1024"}
    run = subprocess.run(
        [sys.executable, "-c", "from tidegate import _engine"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "ImportError" in run.stderr
    assert "expected one of baseline" in run.stderr
    assert "avx1024" in run.stderr

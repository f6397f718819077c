"""The layer on numpy of cells without a kernel: what the engine's layer is, for any cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from any_cell import random_case, sizes_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.cells import CELLS, Cell
from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.compiling import kernels
from tidegate.engine import EngineLayer
from tidegate.equations.expr import gates, states
from tidegate.runtime import layers


@cell(
    "clipped",
    gates={"i": Gate("input gate"), "c": Gate("candidate")},
    states={"h": State("hidden state"), "m": State("mean of what was read")},
    vectors={"weight_p": ("i",)},
    source="this test",
    use="for tests",
)
def clipped(ops, w, u, p, h, m):
    """What a file of another library may ask for: clipped sums, a peephole, a hard sigmoid."""
    i = ops.maximum(0, ops.minimum(1, 0.2 * (w.i + u.i(h) + p.i * m) + 0.5))
    c = ops.maximum(-1.5, ops.minimum(1.5, w.c + u.c(i * h)))
    return states(h=(1 - i) * h + i * c, m=0.9 * m + 0.1 * ops.mean(c) + 0 * c), gates(i=i)


def case(declared: Cell, seed: int = 0) -> Any:
    x, state, weights = random_case(declared, 5, 4, 3, 6, seed=seed)
    single = {name: w.astype(np.float32) for name, w in weights.items()}
    sizes = sizes_of(declared, 3, 6)
    layer = layers.NumpyLayer(declared, single, sizes)
    return x.astype(np.float32), [s.astype(np.float32) for s in state], single, layer


@pytest.mark.parametrize("name", CELLS)
@settings(max_examples=5)
@given(
    lengths=st.none() | st.lists(st.integers(0, 5), min_size=4, max_size=4),
    reverse=st.booleans(),
    starts=st.booleans(),
)
def test_it_is_the_engines_layer(name: str, lengths: Any, reverse: bool, starts: bool) -> None:
    x, state, weights, layer = case(CELLS[name])
    engine = EngineLayer(name, weights)
    given_lengths = None if lengths is None else np.array(lengths)
    kept = [s.copy() for s in state]
    start = state if starts else None
    y, final = layer.forward(x, start, given_lengths, reverse)
    expected, ended = engine.forward(x, start, given_lengths, reverse)
    assert y.dtype == np.float32
    for mine, other in zip((y, *final), (expected, *ended), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=2e-6)
    for given_state, before in zip(state, kept, strict=True):
        np.testing.assert_array_equal(given_state, before)


@pytest.mark.parametrize("declared", [clipped, CELLS["lstm_projected"]], ids=lambda c: c.name)
def test_steps_rows_and_padding_change_nothing(declared: Cell) -> None:
    x, state, _, layer = case(declared)
    y, final = layer.forward(x, state)
    stream = tuple(s.copy() for s in state)
    for t, x_t in enumerate(x):
        np.testing.assert_allclose(layer.step(x_t, stream), y[t], rtol=0, atol=1e-6)
    for mine, other in zip(stream, final, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-6)

    lengths = np.array([5, 0, 2, 3])
    padded = x.copy()
    for b, n in enumerate(lengths):
        padded[n:, b] = np.nan  # nobody reads it
    with np.errstate(all="raise"):
        ragged, ended = layer.forward(padded, state, lengths, reverse=True)
    for b, n in enumerate(lengths):
        row = slice(b, b + 1)
        alone, end = layer.forward(x[:n, row], [s[row] for s in state], reverse=True)
        np.testing.assert_allclose(ragged[:n, row], alone, rtol=0, atol=1e-6)
        assert not ragged[n:, b].any()
        for all_rows, one in zip(ended, end, strict=True):
            np.testing.assert_allclose(all_rows[row], one, rtol=0, atol=1e-6)
    for empty in (x[:0], x[:, :0]):
        rows = [s[: empty.shape[1]] for s in state]
        none, unchanged = layer.forward(empty, rows)
        assert none.shape == (*empty.shape[:2], len(state[0][0]))
        np.testing.assert_array_equal(unchanged[0], rows[0])


def test_a_cell_without_kernel_runs_on_numpy_with_a_warning(monkeypatch: Any) -> None:
    x, state, weights, layer = case(CELLS["gru"])
    monkeypatch.setattr(kernels.compiled, "has_cell", lambda _: False)
    with pytest.warns(RuntimeWarning, match="no kernel for gru, so numpy runs it step by"):
        made = layers.layer_of("gru", weights, {"I": 3, "H": 6, "P": 0})
    np.testing.assert_array_equal(made.forward(x, state)[0], layer.forward(x, state)[0])

"""The engine on numpy arrays: whole sequences, streams, forks."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterator

import numpy as np
import pytest

from tidegate import _engine, bptt
from tidegate.cells import CELLS
from tidegate.engine import EngineLayer

SHAPES = [(1, 1, 1, 1), (5, 3, 4, 7), (4, 17, 33, 20), (3, 120, 5, 48)]


@pytest.fixture(params=_engine.available_isas())
def _isa(request: pytest.FixtureRequest) -> Iterator[None]:
    before = _engine.isa()
    _engine.select_isa(request.param)
    yield
    _engine.select_isa(before)


def draw(cell: str, T: int, B: int, inputs: int, H: int) -> tuple[list, np.ndarray, list]:  # noqa: N803
    """Weights, x and state, random and asymmetric."""
    random = np.random.default_rng(T * 1000 + B * 100 + inputs * 10 + H)
    rows = len(CELLS[cell].gates) * H
    shapes = [(rows, inputs), (rows, H), (rows,), (rows,)]
    weights = [(random.normal(size=s) * 0.5 / s[-1] ** 0.5).astype(np.float32) for s in shapes]
    x = random.normal(size=(T, B, inputs)).astype(np.float32)
    state = [random.normal(size=(B, H)).astype(np.float32) for _ in CELLS[cell].state]
    return weights, x, state


@pytest.mark.usefixtures("_isa")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", _engine.cells())
def test_sequence_equals_the_text_book(cell: str, shape) -> None:
    weights, x, state = draw(cell, *shape)
    exact = bptt.forward(
        CELLS[cell],
        x.astype(np.float64),
        tuple(s.astype(np.float64) for s in state),
        bptt.Weights(*(w.astype(np.float64) for w in weights)),
    )
    y, final = EngineLayer(cell, *weights).forward(x, tuple(state), threads=2)
    np.testing.assert_allclose(y, exact.y, rtol=0, atol=3e-6)  # float32, 48 units, 5 steps
    for mine, other in zip(final, exact.state, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=3e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", _engine.cells())
def test_ragged_rows_are_what_each_is_alone(cell: str, reverse: bool) -> None:
    weights, x, state = draw(cell, 6, 5, 3, 20)
    lengths = np.array([3, 6, 0, 1, 6])
    layer = EngineLayer(cell, *weights)
    y, final = layer.forward(x, tuple(state), lengths, reverse, threads=2)
    for b, length in enumerate(lengths):
        alone, last = layer.forward(
            x[:length, b : b + 1], tuple(s[b : b + 1] for s in state), reverse=reverse
        )
        np.testing.assert_allclose(y[:length, b : b + 1], alone, rtol=0, atol=1e-6)
        assert not y[length:, b].any()
        for whole, own in zip(final, last, strict=True):
            np.testing.assert_allclose(whole[b : b + 1], own, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("cell", _engine.cells())
def test_stream_equals_the_whole_sequence(cell: str, batch: int) -> None:
    weights, x, _ = draw(cell, 9, batch, 3, 20)
    layer = EngineLayer(cell, *weights)
    y, _ = layer.forward(x)
    state = layer.initial_state(batch)
    for x_t, y_t in zip(x, y, strict=True):
        np.testing.assert_allclose(layer.step(x_t, state), y_t, rtol=0, atol=1e-6)


def test_given_state_is_not_changed_by_a_sequence() -> None:
    weights, x, state = draw("lstm", 3, 2, 3, 5)
    before = [s.copy() for s in state]
    EngineLayer("lstm", *weights).forward(x, tuple(state))
    for now, then in zip(state, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_wrong_shapes_are_refused() -> None:
    weights, x, state = draw("gru", 3, 2, 3, 5)
    layer = EngineLayer("gru", *weights)
    with pytest.raises(ValueError, match=r"x: expected \[T, B, 3\], got \[3, 2, 2\]"):
        layer.forward(x[..., :2])
    with pytest.raises(ValueError, match="state0: expected 10 values, got 5"):
        layer.forward(x, (state[0][:1],))
    with pytest.raises(ValueError, match="x: expected 6 values, got 4"):
        layer.step(np.zeros((2, 2), np.float32), layer.initial_state(2))
    with pytest.raises(ValueError, match="weight_hh: expected 75 values"):
        EngineLayer("gru", weights[0], weights[1][:5])
    with pytest.raises(ValueError, match="cell: expected one the engine has, got 'perceptron'"):
        EngineLayer("perceptron", *weights)


def _send_sum(connection) -> None:
    weights, x, _ = draw("gru", 5, 8, 3, 20)
    y, _ = EngineLayer("gru", *weights).forward(x, threads=2)
    connection.send(float(y.sum()))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_threads_work_in_a_forked_child() -> None:
    weights, x, _ = draw("gru", 5, 8, 3, 20)
    y, _ = EngineLayer("gru", *weights).forward(x, threads=2)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_send_sum, args=(theirs,))
    child.start()
    assert ours.poll(30)
    assert ours.recv() == float(y.sum())
    child.join()


def test_memory_stays_flat_over_calls_of_any_length() -> None:
    weights, x, _ = draw("gru", 40, 3, 3, 20)
    layer = EngineLayer("gru", *weights)
    random = np.random.default_rng(0)

    def run(calls: int) -> int:
        for _ in range(calls):
            layer.forward(x[: random.integers(1, 40)], lengths=None)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB

    before = run(500)
    assert run(3000) - before < 2000

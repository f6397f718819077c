"""The engine on numpy arrays: whole sequences, streams; and in forks and beside Python threads."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS, sizes_of

import tidegate as tg
from tidegate import _engine
from tidegate.cells import CELLS
from tidegate.engine import EngineLayer
from tidegate.equations import bptt

SHAPES = [(1, 1, 1, 1), (5, 3, 4, 7), (4, 17, 33, 20), (3, 120, 5, 48)]


@pytest.fixture(params=_engine.available_isas())
def _isa(request: pytest.FixtureRequest) -> Iterator[None]:
    before = _engine.isa()
    _engine.select_isa(request.param)
    yield
    _engine.select_isa(before)


def draw(cell: str, T: int, B: int, inputs: int, H: int) -> tuple[dict, np.ndarray, list]:  # noqa: N803
    """Weights, x and state, random and asymmetric."""
    random = np.random.default_rng(T * 1000 + B * 100 + inputs * 10 + H)
    sizes = sizes_of(CELLS[cell], inputs, H)
    weights = {
        name: (random.normal(size=s) * 0.5 / s[-1] ** 0.5).astype(np.float32)
        for name, s in CELLS[cell].shapes(sizes).items()
    }
    x = random.normal(size=(T, B, inputs)).astype(np.float32)
    widths = CELLS[cell].state_sizes(sizes)
    state = [random.normal(size=(B, w)).astype(np.float32) for w in widths]
    return weights, x, state


@pytest.mark.usefixtures("_isa")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELL_KINDS)
@pytest.mark.parametrize("by_units", [False, True])
def test_sequence_equals_the_text_book(
    cell: str, shape, by_units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.engine.layer.shares_units", lambda *_: by_units)
    weights, x, state = draw(cell, *shape)
    exact = bptt.forward(
        CELLS[cell],
        x.astype(np.float64),
        tuple(s.astype(np.float64) for s in state),
        {name: weight.astype(np.float64) for name, weight in weights.items()},
    )
    y, final = EngineLayer(cell, weights).forward(x, tuple(state), threads=2)
    np.testing.assert_allclose(y, exact.y, rtol=0, atol=3e-6)  # float32, 48 units, 5 steps
    for mine, other in zip(final, exact.state, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=3e-6)


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_threads_that_share_units_change_no_bit(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, x, _ = draw(
        cell, 700, 1, 5, 52
    )  # input products are made for some 200 steps at a time
    layer = EngineLayer(cell, weights)
    y, final = layer.forward(x, threads=1)
    monkeypatch.setattr("tidegate.engine.layer.shares_units", lambda *_: True)
    for threads in (2, 3, 7):  # the last has no unit left for some
        shared, last = layer.forward(x, threads=threads)
        np.testing.assert_array_equal(shared, y)
        for mine, other in zip(last, final, strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_ragged_rows_are_what_each_is_alone(cell: str, reverse: bool) -> None:
    weights, x, state = draw(cell, 6, 5, 3, 20)
    lengths = np.array([3, 6, 0, 1, 6])
    layer = EngineLayer(cell, weights)
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
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_stream_equals_the_whole_sequence(cell: str, batch: int) -> None:
    weights, x, _ = draw(cell, 9, batch, 3, 20)
    layer = EngineLayer(cell, weights)
    y, _ = layer.forward(x)
    state = layer.initial_state(batch)
    for x_t, y_t in zip(x, y, strict=True):
        np.testing.assert_allclose(layer.step(x_t, state), y_t, rtol=0, atol=1e-6)


def test_given_state_is_not_changed_by_a_sequence() -> None:
    weights, x, state = draw("lstm", 3, 2, 3, 5)
    before = [s.copy() for s in state]
    EngineLayer("lstm", weights).forward(x, tuple(state))
    for now, then in zip(state, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_wrong_shapes_are_refused() -> None:
    weights, x, state = draw("gru", 3, 2, 3, 5)
    layer = EngineLayer("gru", weights)
    with pytest.raises(ValueError, match=r"x: expected \[T, B, 3\], got \[3, 2, 2\]"):
        layer.forward(x[..., :2])
    with pytest.raises(ValueError, match=r"state\[0\]: expected \[B, H\] = \[2, 5\], got \[1, 5\]"):
        layer.forward(x, (state[0][:1],))
    with pytest.raises(ValueError, match=r"x: expected \[B, 3\], got \[2, 2\]"):
        layer.step(np.zeros((2, 2), np.float32), layer.initial_state(2))
    with pytest.raises(ValueError, match=r"weight_hh: expected \[3 \* H = 15, H = 5\], .*, got"):
        EngineLayer("gru", weights | {"weight_hh": weights["weight_hh"][:5]})
    with pytest.raises(ValueError, match="cell: expected one the engine has, .*; got 'perceptron'"):
        EngineLayer("perceptron", weights)


def _send_sum(connection) -> None:
    weights, x, _ = draw("gru", 5, 8, 3, 20)
    y, _ = EngineLayer("gru", weights).forward(x, threads=2)
    connection.send(float(y.sum()))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_threads_work_in_a_forked_child() -> None:
    weights, x, _ = draw("gru", 5, 8, 3, 20)
    y, _ = EngineLayer("gru", weights).forward(x, threads=2)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_send_sum, args=(theirs,))
    child.start()
    assert ours.poll(30)
    assert ours.recv() == float(y.sum())
    child.join()


class _Hidden(torch.utils.data.Dataset):
    """Items are what a layer makes of the item's number, in whatever process reads them."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.layer = tg.GRU(3, 20)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        with torch.no_grad():
            return self.layer(torch.full((5, 8, 3), float(index)))[0]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("training_before", [False, True])
def test_a_layer_runs_in_forked_data_loader_workers(
    training_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tidegate.engine.threads._SMALLEST_SHARE", 1
    )  # the parent uses its threads before the fork
    items = _Hidden()
    if training_before:
        items.layer(torch.ones(5, 8, 3))[0].sum().backward()
    expected = torch.stack([items[i] for i in range(len(items))])
    loader = torch.utils.data.DataLoader(
        items, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    # a worker has one thread, the parent may have more
    torch.testing.assert_close(torch.stack(list(loader)), expected, rtol=1e-5, atol=1e-6)


def test_other_python_threads_run_during_a_call() -> None:
    weights, x, _ = draw("gru", 1, 8, 3, 96)
    layer = EngineLayer("gru", weights)
    x = np.repeat(x, 8000, axis=0)  # a call of some tenths of a second
    ticks, done = list[float](), threading.Event()

    def tick() -> None:
        while not done.wait(0.001):
            ticks.append(time.perf_counter())

    clock = threading.Thread(target=tick)
    clock.start()
    began = time.perf_counter()
    layer.forward(x, threads=1)
    took = time.perf_counter() - began
    done.set()
    clock.join()
    # not at its ends, where this thread still, or again, runs Python
    assert any(0.2 < (t - began) / took < 0.8 for t in ticks)

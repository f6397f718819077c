"""Wrong arguments of the numpy engine: an error that names them, never a crash, nothing changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from any_cell import CELL_KINDS, sizes_of

from tidegate import _engine
from tidegate.cells import CELLS
from tidegate.engine import EngineLayer

T, B, I, H = 3, 2, 4, 5  # noqa: E741


def draw(cell: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = CELLS[cell].shapes(sizes_of(CELLS[cell], I, H))
    weights = {name: generator.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    return weights, generator.normal(size=(T, B, I)).astype(np.float32)


NOT_FLOAT32 = {
    "list": np.ndarray.tolist,
    "float64": lambda a: a.astype(np.float64),
    "float16": lambda a: a.astype(np.float16),
    "complex": lambda a: a.astype(np.complex64),
    "int": lambda a: a.astype(np.int32),
    "bool": lambda a: a.astype(bool),
    "text": lambda a: a.astype(str),
    "object": lambda a: a.astype(object),
    "mask": lambda a: np.ma.masked_array(a, a > 0),
    "none": lambda _: None,
}
SAME_VALUES = {
    "fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: np.flip(np.flip(a, -1).copy(), -1),
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "view": lambda a: a.view(np.recarray),
}


@pytest.mark.parametrize("kind", NOT_FLOAT32)
@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias_ih", "x", "step", "state"])
def test_an_array_that_is_not_float32_is_refused_by_name(name: str, kind: str) -> None:
    weights, x = draw("gru")
    change = NOT_FLOAT32[kind]
    layer = EngineLayer("gru", weights)
    calls: dict[str, Callable[[], Any]] = {
        "x": lambda: layer.forward(change(x)),
        "step": lambda: layer.step(change(x[0]), layer.initial_state(B)),
        "state": lambda: layer.forward(x, (change(np.ones((B, H), np.float32)),)),
    }
    of_weight = lambda: EngineLayer("gru", weights | {name: change(weights[name])})  # noqa: E731
    shown = {"step": "x", "state": r"state\[0\]"}.get(name, name)
    error = ValueError if name in weights and kind == "none" else TypeError
    with pytest.raises(error, match=f"^{shown}: expected "):
        calls.get(name, of_weight)()


def test_products_of_another_shape_are_refused_by_name() -> None:
    weights, x = draw("gru")
    layer = EngineLayer("gru", weights)
    products = layer.input_products(x[0])
    with pytest.raises(ValueError, match=r"^x: expected \[B, "):
        layer.input_products(x[0, :, :1])
    for wrong in (products[:, 1:].copy(), products[0], products[None]):
        with pytest.raises(ValueError, match=r"^products: expected \[B, "):
            layer.step_from(wrong, layer.initial_state(B))
    with pytest.raises(ValueError, match=r"^state"):
        layer.step_from(products, layer.initial_state(B + 1))
    with pytest.raises(ValueError, match=r"^state: expected 1 arrays, got 0"):
        layer.step_from(products, ())
    with pytest.raises(TypeError):
        layer.step_from(products.astype(np.float64), layer.initial_state(B))
    assert layer.step_from(products[:0], layer.initial_state(0)).shape[0] == 0


@pytest.mark.parametrize("kind", SAME_VALUES)
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_any_layout_of_float32_gives_the_same_bits(cell: str, kind: str) -> None:
    weights, x = draw(cell)
    change = SAME_VALUES[kind]
    layer = EngineLayer(cell, weights)
    state = tuple(np.ones((B, width), np.float32) for width in layer.state_sizes)
    y, final = layer.forward(x, state)
    other = EngineLayer(cell, {name: change(weight) for name, weight in weights.items()})
    same, last = other.forward(change(x), tuple(map(change, state)))
    np.testing.assert_array_equal(same, y)
    for mine, other_s in zip(last, final, strict=True):
        np.testing.assert_array_equal(mine, other_s)
    mine, theirs = layer.initial_state(B), layer.initial_state(B)
    np.testing.assert_array_equal(other.step(change(x[0]), theirs), layer.step(x[0], mine))


def test_sizes_of_zero_are_refused() -> None:
    for rows, inputs, hidden in ((15, 0, 5), (0, 4, 0), (3, 4, 0), (0, 0, 0)):
        weights = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden)}
        with pytest.raises(ValueError, match=r"weight_\w\w: expected .* each at least 1, got"):
            EngineLayer("gru", {name: np.zeros(s, np.float32) for name, s in weights.items()})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weight_ih", lambda w: w[:-1], r"\[3 \* H, I\], each at least 1, got \[14, 4\]"),
        ("weight_ih", lambda w: w[0], r"\[3 \* H, I\], each at least 1, got \[4\]"),
        ("weight_hh", lambda w: w[:-1], r"\[3 \* H = 15, H = 5\], each at least 1, got \[14, 5\]"),
        ("weight_hh", lambda w: w[..., None], r"\[3 \* H = 15, H = 5\], .*, got \[15, 5, 1\]"),
        ("bias_hh", lambda w: w[:-1], r"\[3 \* H = 15\], each at least 1, got \[14\]"),
        ("bias_hh", lambda _: None, "an array, got None beside bias_ih; give both or none"),
        ("weight_hh", lambda _: None, "an array, as gru has, got None; give it"),
    ],
)
def test_weights_of_other_shapes_are_refused(name: str, change: Any, message: str) -> None:
    weights, _ = draw("gru")
    with pytest.raises(ValueError, match=f"^{name}: expected {message}"):
        EngineLayer("gru", weights | {name: change(weights[name])})


def test_what_is_no_cell_or_no_weights_is_refused() -> None:
    weights, _ = draw("gru")
    with pytest.raises(TypeError, match="cell: expected a name, got int"):
        EngineLayer(3, weights)  # pyright: ignore
    with pytest.raises(TypeError, match="weights: expected arrays by name, got list; give a dict"):
        EngineLayer("gru", list(weights.values()))  # pyright: ignore
    with pytest.raises(ValueError, match="weights: expected weight_ih, .*, got 'w'; leave it out"):
        EngineLayer("gru", weights | {"w": weights["weight_ih"]})


def test_projections_and_vectors_must_fit_too() -> None:
    weights, _ = draw("lstm_projected")
    with pytest.raises(ValueError, match=r"weight_hr: expected \[P = 2, H = 5\], .* got \[3, 5\]"):
        EngineLayer("lstm_projected", weights | {"weight_hr": np.zeros((3, H), np.float32)})
    weights, _ = draw("lstm_peephole")
    with pytest.raises(ValueError, match=r"weight_ch: expected \[3 \* H = 15\], .* got \[20\]"):
        EngineLayer("lstm_peephole", weights | {"weight_ch": np.zeros(20, np.float32)})


def test_empty_batches_and_sequences_give_empty_results() -> None:
    for cell in _engine.cells():
        weights, x = draw(cell)
        layer = EngineLayer(cell, weights)
        state = tuple(
            np.full((B, width), k + 1, np.float32) for k, width in enumerate(layer.state_sizes)
        )
        width = layer.state_sizes[0]
        y, final = layer.forward(x[:0], state)
        assert y.shape == (0, B, width)
        for mine, given in zip(final, state, strict=True):
            np.testing.assert_array_equal(mine, given)
        y, final = layer.forward(x[:, :0], lengths=[])
        assert y.shape == (T, 0, width)
        assert final[0].shape == (0, width)
        assert layer.step(x[0, :0], layer.initial_state(0)).shape == (0, width)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([-1, 2], ValueError, "expected 0 to T = 3, got -1 to 2"),
        ([1, 4], ValueError, "expected 0 to T = 3, got 1 to 4"),
        (np.array([0, 2**64 - 1], np.uint64), ValueError, "expected 0 to T = 3"),
        ([1], ValueError, r"expected \[B\] = \[2\], got \[1\]"),
        ([[1], [2]], ValueError, r"expected \[B\] = \[2\], got \[2, 1\]"),
        ([[1], [2, 3]], ValueError, r"expected .*, got rows unlike each other"),
        (np.array(2), ValueError, r"expected \[B\] = \[2\], got \[\]"),
        ([1.0, 2.0], TypeError, "expected integers, got float64"),
        ([True, False], TypeError, "expected integers, got bool"),
        (["1", "2"], TypeError, "expected integers"),
        ([1, 2**80], TypeError, "expected integers, got object"),
        (3, TypeError, "expected an array of integers, got int"),
        (np.ma.masked_array([1, 2], [True, False]), TypeError, "expected an array without mask"),
    ],
)
def test_wrong_lengths_are_refused(lengths: Any, error: type[Exception], message: str) -> None:
    weights, x = draw("gru")
    with pytest.raises(error, match="^lengths: " + message):
        EngineLayer("gru", weights).forward(x, lengths=lengths)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64, ">i8"])
def test_integers_of_any_size_are_lengths(dtype: Any) -> None:
    weights, x = draw("gru")
    layer = EngineLayer("gru", weights)
    expected = layer.forward(x, lengths=[1, 3])
    given = layer.forward(x, lengths=np.array([1, 3], dtype))
    np.testing.assert_array_equal(given[0], expected[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads: expected 1 to 1024, got 0"),
        ({"threads": 10**30}, ValueError, "threads: expected 1 to 1024"),
        ({"threads": 1.0}, TypeError, "threads: expected an int, got float"),
        ({"threads": True}, TypeError, "threads: expected an int, got bool"),
        ({"reverse": 1}, TypeError, "reverse: expected True or False, got int"),
        ({"state": np.ones((1, B, H), np.float32)}, TypeError, "state: expected a tuple"),
        ({"state": ()}, ValueError, r"state: expected a tuple of 1 array\(s\) \[B, H\], got 0"),
        ({"state": (np.ones((H, B), np.float32),)}, ValueError, r"state\[0\]: expected \[B, H\]"),
    ],
)
def test_wrong_options_are_refused(options: Any, error: type[Exception], message: str) -> None:
    weights, x = draw("gru")
    with pytest.raises(error, match="^" + message):
        EngineLayer("gru", weights).forward(x, **options)


def test_a_step_takes_states_that_it_can_replace() -> None:
    weights, x = draw("lstm")
    layer = EngineLayer("lstm", weights)
    h, c = layer.initial_state(B)
    frozen = np.zeros((B, H), np.float32)
    frozen.flags.writeable = False
    wrong = {
        "read-only": (h, frozen),
        "not dense": (np.zeros((H, B), np.float32).T, c),
        "memory of its own": (h, h),
        "state: expected 2 arrays, got 1": (h,),
        "state: expected 2 arrays, got 3": (h, c, c),
        r"state\[1\]: expected \[2, 5\], got \[1, 5\]": (h, c[:1]),
    }
    for message, state in wrong.items():
        with pytest.raises(ValueError, match=message):
            layer.step(x[0], state)
    with pytest.raises(ValueError, match=r"x: expected \[B, 4\], got \[2, 3\]"):
        layer.step(x[0, :, :3], (h, c))
    with pytest.raises(ValueError, match=r"x: expected \[B, 4\], got \[3, 2, 4\]"):
        layer.step(x, (h, c))
    assert not h.any()
    assert not c.any()


def test_a_step_may_read_what_its_state_stands_in() -> None:
    """X is read before the state that shares its memory is replaced."""
    weights, _ = draw("gru")
    layer = EngineLayer("gru", weights | {"weight_ih": weights["weight_hh"]})
    start = np.ones((B, H), np.float32)
    apart, shared = start.copy(), start.copy()
    np.testing.assert_array_equal(layer.step(shared, (shared,)), layer.step(start, (apart,)))


def test_two_threads_in_one_step_are_told_apart() -> None:
    size = 700  # a step of some hundred microseconds, without the interpreter's lock
    weight = np.zeros((3 * size, size), np.float32)
    layer, x = (
        EngineLayer("gru", {"weight_ih": weight, "weight_hh": weight}),
        np.ones((1, size), np.float32),
    )
    refused, done = list[str](), threading.Event()

    def steps() -> None:
        state = layer.initial_state(1)
        while not done.is_set():
            try:
                layer.step(x, state)
            except RuntimeError as error:
                refused.append(str(error))
                done.set()

    threads = [threading.Thread(target=steps) for _ in range(2)]
    for thread in threads:
        thread.start()
    done.wait(30)
    done.set()
    for thread in threads:
        thread.join()
    assert refused[0].startswith("another thread is in a step of this layer")

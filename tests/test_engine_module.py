"""Wrong arguments of the compiled module's own functions: an error, never a crash."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_cell import CELL_KINDS, sizes_of

from tidegate import _engine
from tidegate.cells import CELLS
from tidegate.engine import EngineLayer
from tidegate.equations.phases import cut

T, B, I, H = 3, 2, 4, 5  # noqa: E741


def draw(cell: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = CELLS[cell].shapes(sizes_of(CELLS[cell], I, H))
    weights = {name: generator.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    return weights, generator.normal(size=(T, B, I)).astype(np.float32)


def test_instruction_sets_are_those_that_the_system_names() -> None:
    path = Path("/proc/cpuinfo")
    text = path.read_text("utf-8") if path.exists() else ""
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    if found is None:
        pytest.skip("this system names no flags of x86-64")
    flags = set(found[1].split())
    avx2 = {"avx2", "fma"} <= flags
    avx512 = avx2 and {"avx512f", "avx512vl", "avx512dq", "avx512bw"} <= flags
    expected = ["baseline", *["avx2"] * avx2, *["avx512"] * avx512]
    assert _engine.available_isas() == expected
    assert _engine.is_intel() == ("GenuineIntel" in text)
    if _engine.isa() == "avx512":
        assert (_engine.inference_isa("int8") != "") == ("avx512_vnni" in flags)
        assert _engine.rounding_isa() == "" or "avx512_bf16" in flags  # older compilers have none


def test_arguments_of_the_module_that_no_array_can_fit_are_refused() -> None:
    with pytest.raises(MemoryError):
        _engine.empty((1 << 40, 1 << 40))
    for size in (1 << 62, 1 << 41):
        with pytest.raises(ValueError, match=r"T \* B of at most"):
            _engine.schedule(size, size, None, False, 1)
    one = np.ones((1, 1), np.float32)
    for call in (
        lambda: _engine.schedule(1, 1, None, False, 0),
        lambda: _engine.schedule(1, 1, None, False, 1 << 20, True),
        lambda: _engine.Flushed(-1),
        lambda: _engine.multiply(one, one, one, None, False, False, 0),
    ):
        with pytest.raises(ValueError, match="threads: expected 1 to 1024"):
            call()
    weight = np.zeros((3, 1), np.float32)
    with pytest.raises(ValueError, match="threads: expected 1 to 1024"):
        _engine.Layer("gru", [weight, weight, None, None], 0)
    guard = _engine.Flushed(1)
    with guard, pytest.raises(RuntimeError, match="entered a second time"):
        guard.__enter__()


def test_the_engine_never_converts_an_array_it_should_fill() -> None:
    weights, x = draw("gru")
    layer = _engine.Layer("gru", [*weights.values()])
    schedule = _engine.schedule(T, B, None, False, 1)
    state, y = np.zeros((B, H), np.float32), np.zeros((T, B, H), np.float32)
    with pytest.raises(TypeError):
        layer.forward(schedule, x, None, [state], [state.astype(np.float64)], y)
    with pytest.raises(TypeError):
        layer.forward(schedule, x, None, [state], [state], y.astype(np.float64))


def _anything(generator: random.Random) -> Any:
    """A small value of any of the kinds that the module's functions take, or of none of them."""
    shape = tuple(generator.choice((0, 1, 2, 3, 15, 20)) for _ in range(generator.randrange(4)))
    numbers = np.random.default_rng(generator.randrange(1000))
    floats = numbers.normal(size=shape).astype(np.float32)
    kinds: list[Callable[[], Any]] = [
        lambda: floats,
        lambda: floats,
        lambda: [floats],
        lambda: [floats, None],
        lambda: np.broadcast_to(np.float32(1), shape),
        lambda: floats[..., ::-1] if floats.ndim else floats,
        lambda: floats.T,
        lambda: floats.astype(np.complex64),
        lambda: numbers.integers(-1, 4, shape[:1]),
        lambda: generator.choice((*_engine.cells(), "", "gru\0", "\ud800")),
        lambda: generator.choice((0, 1, 2, 3, -1, 1 << 41, 1 << 62, 1 << 70)),
        lambda: generator.choice((True, False, None, 1.5, float("nan"))),
        lambda: shape,
        lambda: _engine.schedule(3, 2, generator.choice((None, np.array([1, 3]))), False, 2),
        lambda: _engine.Layer("gru", [*draw("gru")[0].values()]),
    ]
    return generator.choice(kinds)()


def test_no_call_of_the_module_crashes() -> None:
    """Wrong calls raise; what a right one returns does not matter here."""
    generator = random.Random(0)
    counts = {
        "exp": 1, "multiply": 7, "softmax_cross_entropy": 5, "schedule": 6, "Flushed": 1,
        "adopt_openmp": 1, "empty": 1, "gather": 3, "scatter": 3, "forward": 10, "backward": 17,
        "Layer": 3, "layer.forward": 6, "layer.step": 3, "EngineLayer": 2,
    }  # fmt: skip
    wrong = (TypeError, ValueError, MemoryError, RuntimeError, OverflowError)
    layer = _engine.Layer("gru", [*draw("gru")[0].values()])
    for name, count in counts.items():
        owner: Any = layer if "." in name else _engine
        function = EngineLayer if name == "EngineLayer" else getattr(owner, name.split(".")[-1])
        refused = 0
        for _ in range(150):
            try:
                function(*(_anything(generator) for _ in range(count)))
            except wrong:
                refused += 1
        assert refused > 50, name


def _passes(cell: str, per_gate: bool) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """The arguments of right calls of the module, by what they call."""
    generator = np.random.default_rng(1)
    plan, declared = cut(CELLS[cell]), CELLS[cell].parameters
    weights, x = draw(cell)
    widths = CELLS[cell].state_sizes(sizes_of(CELLS[cell], I, H))
    n = T * B

    def array(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    seen, blocks = weights["weight_hh"].shape[1], len(declared["weight_hh"].blocks)
    mask = array(blocks, B, seen) if per_gate else array(B, seen)
    given = [None if declared[k].role.startswith("input") else w for k, w in weights.items()]
    state, final = ([array(B, w) for w in widths] for _ in range(2))
    gates, extra = array(n, len(plan.gates) * H), array(n, plan.extra * H) if plan.extra else None
    states = [array(T, B, widths[0]), *(array(n, w) for w in widths[1:])]
    projected = sum(len(w) for k, w in weights.items() if declared[k].role == "projection")
    separate = plan.backward.separate * H + projected
    operands = [
        array(n, (len(o.blocks) if per_gate and o.is_masked else 1)
              * (H if o.state is None else widths[o.state]))
        for o in plan.operands
    ]  # fmt: skip
    schedule = _engine.schedule(T, B, None, False, 2)
    without = [None if declared[k].is_bias else w for k, w in zip(weights, given, strict=True)]
    gradients = [
        array(*w.shape) if declared[k].is_bias or declared[k].role == "vector" else None
        for k, w in weights.items()
    ]
    layer = _engine.Layer(cell, [*weights.values()])
    return {
        "forward": (
            _engine.forward,
            [cell, schedule, given, mask, state, gates, extra, states, final, False],
        ),
        "backward": (
            _engine.backward,
            [
                cell, schedule, without, mask, state, gates, extra, states, array(T, B, widths[0]),
                final, array(*gates.shape), array(n, separate) if separate else None,
                [array(B, w) for w in widths], gradients, operands, True, False,
            ],
        ),
        "Layer": (_engine.Layer, [cell, [*weights.values()], 2]),
        "layer.forward": (layer.forward, [schedule, x, mask, state, final, states[0]]),
        "layer.step": (layer.step, [x[0], *final]),
    }  # fmt: skip


@pytest.mark.parametrize("per_gate", [False, True])
@pytest.mark.parametrize("cell", [c for c in CELL_KINDS if "weight_hh" in CELLS[c].parameters])
def test_one_wrong_argument_among_right_ones_is_refused_or_does_no_harm(
    cell: str, per_gate: bool
) -> None:
    generator = random.Random(0)
    wrong = (TypeError, ValueError, MemoryError, RuntimeError, OverflowError)
    for function, arguments in _passes(cell, per_gate).values():
        function(*arguments)
        for place, right in enumerate(arguments):
            for _ in range(8):
                changed = _anything(generator)
                if isinstance(right, list) and generator.random() < 0.8:
                    changed = list(right)
                    changed[generator.randrange(len(right))] = _anything(generator)
                try:
                    function(*arguments[:place], changed, *arguments[place + 1 :])
                except wrong:
                    continue


@pytest.mark.parametrize("place", ["x", "weight_ih", "weight_hh", "bias_ih", "h0", "exp"])
def test_the_engine_refuses_an_array_whose_memory_was_freed(place: str) -> None:
    torch = pytest.importorskip("torch")
    weights, x = draw("gru")
    arrays = weights | {"x": x, "h0": np.zeros((B, H), np.float32)}
    freed = torch.from_numpy(arrays.get(place, x)).clone()
    freed.untyped_storage().resize_(0)
    given = arrays | {place: freed}

    def call() -> Any:
        if place == "exp":
            return _engine.exp(freed)
        layer = _engine.Layer("gru", [given[name] for name in weights], 1)
        y, end = np.empty((T, B, H), np.float32), np.empty((B, H), np.float32)
        schedule = _engine.schedule(T, B, None, False, 1, False)
        layer.forward(schedule, given["x"], None, [given["h0"]], [end], y)
        return y

    shown = {"h0": "state0", "exp": "x"}.get(place, place)
    with pytest.raises(ValueError, match=f"^{shown}: expected an array with memory"):
        call()

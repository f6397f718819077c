"""Noise that equations ask for: given in training, zero in inference, the same on every path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import flat, random_case
from torch import Tensor

import tidegate as tg
from tidegate.cells import CELLS, Cell
from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.engine import EngineLayer
from tidegate.equations import bptt
from tidegate.equations.expr import gates, states
from tidegate.export.cpp import write_cell
from tidegate.export.latex import forward_equations
from tidegate.nn import functional, reference
from tidegate.nn.engine_layout import layout_of
from tidegate.runtime.layers import NumpyLayer

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}  # relative to the largest value


def declare(equations: Any, name: str = "noisy", **options: Any) -> Cell:
    usual = {
        "gates": {"f": Gate("forget gate"), "n": Gate("candidate")},
        "states": {"h": State("output")},
    }
    return cell(name, **usual | options, source="this test", use="for tests")(equations)


def two_noises(ops, w, u, h):
    """One noise stands within a function, one scales what gradients pass through."""
    f = ops.sigmoid(w.f + u.f(h) + 0.5 * ops.noise())
    n = ops.tanh(w.n + u.n(f * h))
    return states(h=f * h + (1 - f) * (n + 0.3 * n * ops.noise())), gates(f=f)


def without(ops, w, u, h):
    f = ops.sigmoid(w.f + u.f(h))
    n = ops.tanh(w.n + u.n(f * h))
    return states(h=f * h + (1 - f) * n), gates(f=f)


NOISY, PLAIN = declare(two_noises), declare(without, "plain")


def noise_of(declared: Cell, steps: int = 5, rows: int = 3, hidden: int = 6) -> np.ndarray:
    shape = (steps, rows, declared.noises * hidden)
    return np.random.default_rng(7).standard_normal(shape)


def test_gradients_of_the_numpy_pass_equal_finite_differences() -> None:
    x, state, weights = random_case(NOISY)
    noise, rng = noise_of(NOISY), np.random.default_rng(2)
    run = bptt.forward(NOISY, x, state, weights, noise)
    grad_y = rng.standard_normal(run.y.shape)
    nothing = tuple(np.zeros_like(s) for s in run.state)
    d_x, d_state, d_weights = bptt.backward(NOISY, run, weights, grad_y, nothing)
    assert list(d_weights) == list(NOISY.parameters)  # noise has no weights
    for array, gradient in [(x, d_x), (state[0], d_state[0]), *zip_of(weights, d_weights)]:
        for index in rng.choice(array.size, size=8):
            kept, sides = array.flat[index], []
            for side in (1e-6, -1e-6):
                array.flat[index] = kept + side
                sides.append((bptt.forward(NOISY, x, state, weights, noise).y * grad_y).sum())
            array.flat[index] = kept
            assert gradient.flat[index] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-7)


def zip_of(a: dict, b: dict) -> list[tuple[Any, Any]]:
    return [(a[name], b[name]) for name in a]


def results(
    run: Any, declared: Cell, dtype: torch.dtype, noise: np.ndarray | None, **options: Any
) -> list[Tensor]:
    """Outputs and all gradients of a loss that weighs them all."""
    x, state, weights = random_case(declared)
    if options.pop("plain", False):
        weights = {n: w for n, w in weights.items() if not declared.parameters[n].is_bias}
    tensors = [torch.tensor(a, dtype=dtype, requires_grad=True) for a in (x, *state)]
    named = {n: torch.tensor(w, dtype=dtype, requires_grad=True) for n, w in weights.items()}
    given = None if noise is None else torch.tensor(noise, dtype=dtype)
    every = [named.get(name) for name in declared.parameters]
    y, final = run(declared, tensors[0], tuple(tensors[1:]), every, noise=given, **options)
    loss = (y * torch.linspace(-1, 2, y.numel()).to(dtype).view_as(y)).sum() + final[0].sum()
    return [y, *final, *torch.autograd.grad(loss, [*tensors, *named.values()])]


def assert_same(ours: list[Tensor], exact: list[Tensor], tolerance: float) -> None:
    for mine, other in zip(ours, exact, strict=True):
        scale = max(1.0, float(other.detach().abs().max()))
        torch.testing.assert_close(mine.double(), other, rtol=0, atol=tolerance * scale)


def test_the_reference_is_the_numpy_pass_and_zeros_are_no_noise() -> None:
    x, state, weights = random_case(NOISY)
    noise = noise_of(NOISY)
    exact = bptt.forward(NOISY, x, state, weights, noise)
    ours = results(reference.unroll, NOISY, torch.float64, noise)
    np.testing.assert_allclose(ours[0].detach(), exact.y, rtol=0, atol=1e-13)
    none = results(reference.unroll, PLAIN, torch.float64, None)
    for zeros in (None, 0 * noise):
        assert_same(results(functional.recurrence, NOISY, torch.float64, zeros), none, 1e-13)
        silent = bptt.forward(NOISY, x, state, weights, zeros).y
        np.testing.assert_allclose(silent, none[0].detach(), rtol=0, atol=1e-13)


def test_a_layer_draws_noise_in_training_alone_and_streams_without() -> None:
    torch.manual_seed(0)
    layer = tg.Recurrent(NOISY, 4, 6, num_layers=2)
    x = torch.randn(5, 3, 4)
    first = layer(x)[0]
    assert not torch.equal(layer(x)[0], first)
    torch.manual_seed(1)
    again = layer(x)[0]
    torch.manual_seed(1)
    assert torch.equal(layer(x)[0], again)
    layer.eval()
    plain = tg.Recurrent(PLAIN, 4, 6, num_layers=2)
    plain.load_state_dict(layer.state_dict())
    y, final = plain(x)
    torch.testing.assert_close(layer(x)[0], y)
    state, parts = None, []
    for x_t in x:
        y_t, state = layer.train().step(x_t, state)
        parts.append(y_t)
    torch.testing.assert_close(torch.stack(parts), y)
    torch.testing.assert_close(state, final)
    weights = {n.removesuffix("_l0"): w.detach().numpy() for n, w in layer.named_parameters()}
    weights = {n: weights[n] for n in NOISY.parameters}
    one = tg.Recurrent(PLAIN, 4, 6)
    one.load_state_dict({f"{n}_l0": torch.tensor(w) for n, w in weights.items()})
    numpy = NumpyLayer(NOISY, weights, {"I": 4, "H": 6, "P": 0})
    np.testing.assert_allclose(numpy.forward(x.numpy())[0], one(x)[0].detach(), rtol=0, atol=1e-6)


def test_what_a_layer_draws_is_standard_normal_for_each_unit_step_and_row() -> None:
    def only(ops, w, u, h):
        return states(h=ops.noise() + 0 * (w.f + u.f(h))), gates()

    torch.manual_seed(0)
    y = tg.Recurrent(declare(only, gates={"f": Gate("of a test")}), 2, 50)(torch.zeros(40, 50, 2))[
        0
    ]
    y = y.detach()
    assert abs(float(y.mean())) < 0.02  # 100,000 numbers: six deviations
    assert abs(float(y.std()) - 1) < 0.02
    for a, b in ((y[1:], y[:-1]), (y[:, 1:], y[:, :-1]), (y[..., 1:], y[..., :-1])):
        assert abs(float((a * b).mean())) < 0.02


@pytest.mark.parametrize("shape", [(5, 3, 6), (4, 3, 12), (5, 3)])
def test_noise_of_another_shape_and_of_cells_that_ask_for_none_is_refused(shape: Any) -> None:
    x, state, weights = random_case(NOISY)
    tensors = [torch.tensor(a) for a in (x, *state, *weights.values())]
    call = tensors[0], tuple(tensors[1:2]), tensors[2:]
    with pytest.raises(ValueError, match=r"noise: expected \[5, 3, 12\], got \["):
        functional.recurrence(NOISY, *call, noise=torch.zeros(shape))
    with pytest.raises(ValueError, match="noise: expected None for plain, which asks for none"):
        functional.recurrence(PLAIN, *call, noise=torch.zeros(shape))


def test_noise_that_is_learned_has_its_gradient() -> None:
    x, state, weights = random_case(NOISY)
    tensors = [torch.tensor(a) for a in (x, *state, *weights.values())]
    noise = torch.tensor(noise_of(NOISY), requires_grad=True)

    def run(noise: Tensor) -> Tensor:
        return functional.recurrence(
            NOISY, tensors[0], tuple(tensors[1:2]), tensors[2:], noise=noise
        )[0]

    assert torch.autograd.gradcheck(run, noise)


def test_pages_write_each_noise_as_a_symbol() -> None:
    text = "\n".join(right for _, right in forward_equations(NOISY))
    assert r"\varepsilon_{0,t}" in text
    assert r"\varepsilon_{1,t}" in text


# in the engine: no shipped cell has noise, but noise is an input product to it.  So a cell whose
# second input is noise has the plan of one whose second input is a gate's, and runs on its kernel.


def noisy_mgu(ops, w, u, h):
    f = ops.sigmoid(w.f + u.f(h))
    n = ops.tanh(ops.noise() + u.n(f * h))
    return states(h=(1 - f) * h + f * n), gates(f=f, n=n)


IN_ENGINE = declare(noisy_mgu, "mgu")


@pytest.fixture
def in_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    code = [write_cell(c, "Same") for c in (CELLS["mgu"], IN_ENGINE)]
    assert code[0] == code[1]
    monkeypatch.setitem(CELLS, "mgu", IN_ENGINE)
    layout_of.cache_clear()
    yield IN_ENGINE
    layout_of.cache_clear()


OPTIONS: dict[str, dict[str, Any]] = {
    "full": {},
    "reverse": {"reverse": True},
    "ragged": {"lengths": torch.tensor([5, 0, 3])},
    "ragged and reverse": {"lengths": torch.tensor([2, 5, 1]), "reverse": True},
    "without biases": {"plain": True},
    "masked": {"recurrent_mask": True, "input_mask": True},
}


def masked(options: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    found, rng = dict(options), torch.Generator().manual_seed(3)
    for name, shape in (("recurrent_mask", (2, 3, 6)), ("input_mask", (1, 3, 4))):
        if name in options:
            found[name] = torch.rand(shape, generator=rng, dtype=torch.float64).to(dtype)
    return found


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("is_silent", [False, True], ids=["noise", "zeros"])
def test_the_engine_equals_the_reference(in_engine: Cell, kind: str, is_silent: bool) -> None:
    noise = None if is_silent else noise_of(in_engine)
    exact = results(
        reference.unroll, in_engine, torch.float64, noise, **masked(OPTIONS[kind], torch.float64)
    )
    options = masked(OPTIONS[kind], torch.float32)
    ours = results(functional.recurrence, in_engine, torch.float32, noise, strict=True, **options)
    assert_same(ours, exact, TOLERANCE[torch.float32])
    compiled = torch.compile(functional.recurrence, backend="aot_eager", fullgraph=True)
    torch._dynamo.reset()
    if kind != "without biases":
        recorded = results(compiled, in_engine, torch.float32, noise, **options)
        assert_same(recorded, exact, TOLERANCE[torch.float32])
    with torch.no_grad():
        x, state, weights = random_case(in_engine)
        tensors = [torch.tensor(a, dtype=torch.float32) for a in (x, *state)]
        given = {n: torch.tensor(w, dtype=torch.float32) for n, w in weights.items()}
        if options.pop("plain", False):
            given = {n: w for n, w in given.items() if not in_engine.parameters[n].is_bias}
        y, final = functional.recurrence(
            in_engine, tensors[0], tuple(tensors[1:]), [given.get(n) for n in in_engine.parameters],
            noise=None if noise is None else torch.tensor(noise, dtype=torch.float32), **options,
        )  # fmt: skip
    assert_same([y, *final], exact[: 1 + len(final)], TOLERANCE[torch.float32])


def test_a_changed_output_and_second_derivatives_see_the_same_noise(in_engine: Cell) -> None:
    def penalty(run: Any, dtype: torch.dtype) -> list[Tensor]:
        x, state, weights = random_case(in_engine)
        tensors = [torch.tensor(a, dtype=dtype, requires_grad=True) for a in (x, *state)]
        every = [torch.tensor(w, dtype=dtype, requires_grad=True) for w in weights.values()]
        noise = torch.tensor(noise_of(in_engine), dtype=dtype)
        y, _ = run(in_engine, tensors[0], tuple(tensors[1:]), every, noise=noise)
        y.mul_(2)
        once = torch.autograd.grad(y.square().sum(), tensors[0], retain_graph=True)
        (slope,) = torch.autograd.grad(y.square().sum(), tensors[0], create_graph=True)
        return [*once, slope, *torch.autograd.grad(slope.square().sum(), [*tensors, *every[:2]])]

    exact = penalty(reference.unroll, torch.float64)
    assert_same(penalty(functional.recurrence, torch.float32), exact, 5e-5)


def test_a_layer_of_the_engine_infers_and_streams_without_noise(in_engine: Cell) -> None:
    layer = tg.Recurrent(in_engine, 4, 6)
    assert layer.explain().startswith("engine")
    x = torch.randn(5, 3, 4)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    with torch.no_grad():
        assert not torch.equal(layer(x)[0], layer(x)[0])
        y, final = layer.eval()(x)
        weights = {n.removesuffix("_l0"): w.numpy() for n, w in layer.named_parameters()}
    engine = EngineLayer("mgu", weights)
    ours, ended = engine.forward(x.numpy())
    np.testing.assert_allclose(ours, y, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ended[0], flat(final)[0][0], rtol=0, atol=1e-6)
    state = engine.initial_state(3)
    for x_t in x.numpy():
        out = engine.step(x_t, state)
    np.testing.assert_allclose(out, y[-1], rtol=0, atol=1e-6)

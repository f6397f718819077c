"""The precision of training's large products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS, layer_of
from tiny_objective import TinyObjective
from torch import nn

import tidegate as tg
from tidegate import _engine
from tidegate.cells import CELLS
from tidegate.engine import compiled
from tidegate.equations import expr
from tidegate.equations.phases import cut
from tidegate.errors import InputError
from tidegate.nn.products import rounding_pays
from tidegate.training import precision as precision_module
from tidegate.training.loop import fit
from tidegate.training.objective import StepResult
from tidegate.training.options import TrainingOptions
from tidegate.training.randomness import products_of

# 2**-8 of each of two factors, from a sum that has its own roundings; without bfloat16 far below
ROUNDED = 2 * 2.0**-8


class Watched(TinyObjective):
    """Notes torch's mode in each step and each evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: dict[str, set[str]] = {"step": set(), "evaluation": set()}

    def loss(self, network: nn.Module, batch: Any, carry: Any) -> StepResult:
        self.modes["step"].add(torch.get_float32_matmul_precision())
        return super().loss(network, batch, carry)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        self.modes["evaluation"].add(torch.get_float32_matmul_precision())
        return super().evaluate(network)


@pytest.mark.parametrize(
    ("precision", "pays", "mode"),
    [("float32", True, "highest"), ("bfloat16", True, "medium"), ("bfloat16", False, "highest")],
)
def test_steps_are_rounded_where_asked_for_and_faster_and_evaluations_are_exact(
    precision: str, pays: bool, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: pays)
    before = torch.get_float32_matmul_precision()
    watched = Watched()
    fit(watched, TrainingOptions(max_steps=3, precision=precision))
    assert watched.modes == {"step": {mode}, "evaluation": {"highest"}}
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("pays", [True, False])
def test_a_precision_that_is_not_used_is_announced(
    pays: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(precision_module, "rounding_pays", lambda: pays)
    options = TrainingOptions(max_steps=1, precision="bfloat16", device="cpu")
    fit(TinyObjective(), options)
    said = "bfloat16 is no faster on this processor, so float32 is used" in capsys.readouterr().out
    assert said is not pays


@pytest.mark.parametrize(
    ("isa", "intel", "pays"),
    [
        ("amx", True, True),
        ("avx512bf16", False, True),
        ("avx512bf16", True, False),
        ("", False, False),
    ],
)
def test_rounding_pays_with_amx_and_on_other_makers_processors_with_avx512(
    isa: str, intel: bool, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "rounding_isa", lambda: isa)
    monkeypatch.setattr(compiled, "is_intel", lambda: intel)
    assert rounding_pays() is pays


def test_products_of_bfloat16_factors_are_within_their_rounding() -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.random((256, 256), np.float32)) for _ in range(2))
    exact = a.double() @ b.double()
    with products_of("bfloat16"):
        rounded = a @ b
    with products_of("float32"):
        full = a @ b
    assert ((rounded - exact).abs() <= ROUNDED * exact).all()
    assert ((full - exact).abs() <= 1e-5 * exact).all()


def test_an_unknown_precision_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"precision.*float32, bfloat16, auto.*'half'"):
        TrainingOptions(precision="half").check()


ROUNDS = pytest.mark.skipif(
    not _engine.rounding_isa(), reason="no bfloat16 here, or TIDEGATE_ISA is set"
)
SIZES = [(1, 1), (3, 17), (17, 33), (40, 64), (5, 100)]  # B, H


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def representable(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    """Random numbers that bfloat16 holds."""
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator)).bfloat16().float()


def gradients(
    layer: tg.Recurrent, x: torch.Tensor, h0: Any, weights: torch.Tensor, **options: Any
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs, and the gradients of all inputs and weights."""
    leaves = [x, *(h0 if isinstance(h0, tuple) else (h0,)), *layer.parameters()]
    y, _ = layer(x, h0, **options)
    return y, list(torch.autograd.grad((y * weights).sum(), leaves))


def rounded_layer(cell: str, hidden_size: int, **options: Any) -> tg.Recurrent:
    torch.manual_seed(hidden_size)
    # a projection makes a state smaller, which one unit is not
    layer = layer_of(cell, 7, hidden_size + CELLS[cell].is_projected, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter.bfloat16())
    return layer


def start_of(layer: tg.Recurrent, rows: int) -> Any:
    states = [
        representable(1, rows, size, seed=k, scale=0.5).requires_grad_()
        for k, size in enumerate(layer.state_sizes)
    ]
    return states[0] if len(states) == 1 else tuple(states)


MULTIPLY = [c for c in CELL_KINDS if "weight_hh" in CELLS[c].parameters]  # the state by weights


@ROUNDS
@pytest.mark.parametrize("cell", CELL_KINDS)
@pytest.mark.parametrize(("rows", "hidden_size"), SIZES)
def test_a_step_whose_factors_bfloat16_holds_is_exact(
    cell: str, rows: int, hidden_size: int
) -> None:
    """Weights and first state are; what a cell's second product takes is not."""
    layer = rounded_layer(cell, hidden_size)
    x, h0 = representable(1, rows, 7).requires_grad_(), start_of(layer, rows)
    exact, _ = layer.double()(x.double(), _doubled(h0))
    layer.float()
    with products_of("bfloat16"):
        y, _ = layer(x, h0)
    makes_operands = any(operand.state is None for operand in cut(CELLS[cell]).operands)
    tolerance = 2.0**-7 if makes_operands else 5e-6
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=tolerance)


@ROUNDS
@pytest.mark.parametrize(("rows", "hidden_size"), SIZES)
def test_a_step_back_whose_factors_bfloat16_holds_is_exact(rows: int, hidden_size: int) -> None:
    """Of relu the gradients are those of y, or zero."""
    layer = rounded_layer("rnn_relu", hidden_size)
    x, h0 = representable(1, rows, 7).requires_grad_(), start_of(layer, rows)
    weights = representable(1, rows, hidden_size, seed=9)
    _, exact = gradients(layer, x, h0, weights)
    with products_of("bfloat16"):
        _, rounded = gradients(layer, x, h0, weights)
    for a, b in zip(rounded, exact, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@ROUNDS
@pytest.mark.parametrize("cell", MULTIPLY)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.usefixtures("threads")
def test_sequences_and_gradients_are_within_the_rounding(
    cell: str, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ragged, with recurrent dropout, both directions: eight bits of a factor, ten steps."""
    monkeypatch.setattr("tidegate.engine.threads._SMALLEST_SHARE", 1)
    layer = rounded_layer(cell, 70, bidirectional=reverse, recurrent_dropout=0.3)
    directions = 2 if reverse else 1
    x = representable(10, 33, 7).requires_grad_()
    lengths = torch.arange(33) % 11
    weights = representable(10, 33, layer.state_sizes[0] * directions, seed=3)
    h0 = start_of(layer, 33)
    if reverse:
        h0 = tuple(_twice(h) for h in h0) if isinstance(h0, tuple) else _twice(h0)
    results = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)  # the same mask
        with products_of(precision):
            results.append(gradients(layer, x, h0, weights, lengths=lengths))
    (exact, exact_gradients), (rounded, rounded_gradients) = results
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.03)  # 0.0203 of lstm_norm
    nodes = CELLS[cell].trace.nodes
    rectifies = any(isinstance(e, expr.Unary) and e.op == "relu" for e in nodes)
    for a, b in zip(rounded_gradients, exact_gradients, strict=True):
        # relu's derivative turns where a sum is near zero
        assert (a - b).norm() <= (0.1 if rectifies else 0.02) * b.norm()


@ROUNDS
def test_evaluations_and_other_instruction_sets_do_not_round() -> None:
    layer, x = rounded_layer("gru", 64), torch.randn(5, 3, 7)
    with torch.no_grad():
        exact, _ = layer(x)
        with products_of("bfloat16"):
            assert torch.equal(layer(x)[0], exact)
    with products_of("bfloat16"):
        assert "products in bfloat16 when gradients are wanted" in layer.explain()
    assert "bfloat16" not in layer.explain()
    before = _engine.isa()
    _engine.select_isa("avx2")
    assert not _engine.rounding_isa()
    _engine.select_isa(before)
    assert _engine.rounding_isa()


def _doubled(h0: Any) -> Any:
    return tuple(h.double() for h in h0) if isinstance(h0, tuple) else h0.double()


def _twice(h: torch.Tensor) -> torch.Tensor:
    return torch.cat([h, h]).detach().requires_grad_()

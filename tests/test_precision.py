"""The precision of training's large products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_objective import TinyObjective
from torch import nn

from tidegate.errors import InputError
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


@pytest.mark.parametrize(("precision", "mode"), [("float32", "highest"), ("bfloat16", "medium")])
def test_steps_have_the_precision_asked_for_and_evaluations_are_exact(
    precision: str, mode: str
) -> None:
    before = torch.get_float32_matmul_precision()
    watched = Watched()
    fit(watched, TrainingOptions(max_steps=3, precision=precision))
    assert watched.modes == {"step": {mode}, "evaluation": {"highest"}}
    assert torch.get_float32_matmul_precision() == before


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
    with pytest.raises(InputError, match=r"precision.*float32, bfloat16.*'half'"):
        TrainingOptions(precision="half").check()

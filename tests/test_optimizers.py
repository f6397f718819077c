from __future__ import annotations

from typing import Any

import pytest
import torch
from any_cell import CELL_KINDS, layer_of
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tidegate.errors import InputError
from tidegate.training.optimizers import (
    WeightAverage,
    build_optimizer,
    gradient_norm,
    optimizer_tensors,
    restore_optimizer,
)
from tidegate.training.options import LEARNING_RATES, TrainingOptions
from tidegate.training.schedules import SCHEDULES, learning_rate_factor

NAMES = list(LEARNING_RATES)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 1))


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> float:
    loss = torch.zeros(())
    for step in range(first, first + steps):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        loss = (net(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)  # as the loop does by default
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name", NAMES)
def test_default_learning_rate_trains(name: str) -> None:
    net, options = network(), TrainingOptions(optimizer=name)
    optimizer = build_optimizer(name, net.named_parameters(), options)
    before = train(net, optimizer, 1)
    assert train(net, optimizer, 300, 1) < before / 4


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_weight_decay_is_for_the_matrices_that_a_cell_declares(cell: str) -> None:
    layer = layer_of(cell, 3, 6, bidirectional=True)
    options = TrainingOptions(optimizer="adamw", weight_decay=0.1)
    optimizer = build_optimizer("adamw", layer.named_parameters(), options)
    decays = {
        name: group["weight_decay"] > 0
        for group in optimizer.param_groups
        for name in group["param_names"]
    }
    matrices = {"input", "recurrent", "projection"}
    roles = {name: layer.cell.parameters[name.partition("_l0")[0]].role for name in decays}
    assert decays == {name: role in matrices for name, role in roles.items()}


@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_spares_biases_and_norms(name: str) -> None:
    net = network()
    options = TrainingOptions(optimizer=name, weight_decay=0.1, learning_rate=0.5)
    optimizer = build_optimizer(name, net.named_parameters(), options)
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for n, p in net.named_parameters():
        changed = not torch.equal(p, before[n])
        assert changed == (p.ndim == 2), n


@pytest.mark.parametrize("momentum", [None, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_restored_optimizer_goes_on_bit_for_bit(name: str, momentum: float | None) -> None:
    if momentum is not None and name not in ("sgd", "nesterov", "rmsprop"):
        momentum = None
    options = TrainingOptions(optimizer=name, momentum=momentum, weight_decay=0.01)
    one = network()
    first = build_optimizer(name, one.named_parameters(), options)
    train(one, first, 3)
    kept = {n: t.clone() for n, t in optimizer_tensors(first).items()}
    other = network()
    other.load_state_dict(one.state_dict())
    second = build_optimizer(name, other.named_parameters(), options)
    restore_optimizer(second, kept)
    train(one, first, 4, 3)
    train(other, second, 4, 3)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    after, after_too = optimizer_tensors(first), optimizer_tensors(second)
    assert after.keys() == after_too.keys()
    assert all(torch.equal(after[n], after_too[n]) for n in after)


class _Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(20, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.embedding(tokens).square().mean()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_shared_moment_is_adams_with_the_mean_of_all_squared_gradients(name: str) -> None:
    net, (beta1, beta2), rate, decay = _Table(), (0.9, 0.999), 0.1, 0.05
    options = TrainingOptions(
        optimizer=name, embedding_moment="shared", learning_rate=rate, weight_decay=decay
    )
    optimizer = build_optimizer(name, net.named_parameters(), options)
    weight = net.embedding.weight.detach().double()
    first, second = torch.zeros_like(weight), torch.zeros((), dtype=torch.float64)
    for step in range(1, 8):
        optimizer.zero_grad()
        net(torch.arange(step, step + 9)).backward()
        gradient = net.embedding.weight.grad
        assert gradient is not None
        gradient = gradient.double()
        optimizer.step()
        if name == "adam":
            gradient = gradient + decay * weight
        else:
            weight = weight * (1 - rate * decay)
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient.square().mean()
        scale = (second / (1 - beta2**step)).sqrt() + 1e-8
        weight = weight - rate * first / (1 - beta1**step) / scale
        torch.testing.assert_close(net.embedding.weight.double(), weight, rtol=1e-5, atol=1e-6)


def test_shared_moment_restored_goes_on_bit_for_bit() -> None:
    options = TrainingOptions(embedding_moment="shared")
    nets = _Table(), _Table()
    first, second = (build_optimizer("adamw", n.named_parameters(), options) for n in nets)

    def train_on(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            net(torch.arange(step, step + 9)).backward()
            optimizer.step()

    train_on(nets[0], first, range(3))
    nets[1].load_state_dict(nets[0].state_dict())
    restore_optimizer(second, {n: t.clone() for n, t in optimizer_tensors(first).items()})
    for net, optimizer in zip(nets, (first, second), strict=True):
        train_on(net, optimizer, range(3, 7))
    assert torch.equal(nets[0].embedding.weight, nets[1].embedding.weight)


def test_unknown_optimizer_lists_the_names() -> None:
    with pytest.raises(InputError, match="adamw, adam, sgd, .*rmsprop, got 'adamax'"):
        build_optimizer("adamax", network().named_parameters(), TrainingOptions())


def test_momentum_shortens_the_default_step_of_sgd() -> None:
    plain = TrainingOptions(optimizer="sgd").resolved_learning_rate()
    heavy = TrainingOptions(optimizer="sgd", momentum=0.9).resolved_learning_rate()
    assert heavy == pytest.approx(plain / 10)


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_schedule_rises_in_warmup_and_then_never_rises(
    name: str, warmup: float, a: float, b: float
) -> None:
    a, b = sorted((a, b))
    first, second = (learning_rate_factor(name, p, warmup) for p in (a, b))
    assert 0 <= first <= 1
    assert 0 <= second <= 1
    if b <= warmup:
        assert first <= second
    if a >= warmup:
        assert first >= second


@pytest.mark.parametrize(
    ("name", "middle", "end"),
    [("cosine", 0.5, 0), ("linear", 0.5, 0), ("exponential", 0.1, 0.01), ("constant", 1, 1)],
)
def test_schedule_has_its_stated_values(name: str, middle: float, end: float) -> None:
    factors = [learning_rate_factor(name, p, 0.2) for p in (0, 0.1, 0.2, 0.6, 1.0)]
    assert factors == pytest.approx([0, 0.5, 1, middle, end])


def test_average_follows_its_formula_and_gives_the_weights_back() -> None:
    net = nn.Linear(1, 1, bias=False)
    values = [1.0, 5.0, -2.0, 4.0]
    with torch.no_grad():
        net.weight.fill_(values[0])
        average = WeightAverage(net, 0.3)
        expected = values[0]
        for step, value in enumerate(values[1:], 1):
            net.weight.fill_(value)
            average.update(step)
            decay = min(0.3, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * value
        with average.applied():
            assert net.weight.item() == pytest.approx(expected, rel=1e-6)  # float32
        assert net.weight.item() == values[-1]


def test_slow_average_takes_in_every_step_at_first_and_every_fifth_with_the_decay_of_five() -> None:
    net = nn.Linear(1, 1, bias=False)
    taken = []
    with torch.no_grad():
        average = WeightAverage(net, 0.99)
        exact = net.weight.item()  # had every step's weights been taken in
        for step in range(1, 2001):
            net.weight.fill_(1 + 1 / step)
            before = average.named()["weight"].item()
            average.update(step)
            if average.named()["weight"].item() != before:
                taken.append(step)
            decay = min(0.99, (1 + step) / (10 + step))
            exact = decay * exact + (1 - decay) * (1 + 1 / step)
            # five steps late at most, of weights that move by a thousandth in as many
            assert average.named()["weight"].item() == pytest.approx(exact, abs=2e-3)
    assert taken[:100] == list(range(1, 101))
    assert all(step % 5 == 0 for step in taken if step > 1000)


def test_gradient_norm_is_that_of_all_gradients_as_one_vector() -> None:
    gradients = [torch.randn(3, 4), torch.randn(5), torch.randn(2, 2).T]
    whole = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.testing.assert_close(gradient_norm(gradients), whole.norm())


@pytest.mark.parametrize(
    ("given_options", "problem"),
    [
        ({"optimizer": "adamax"}, "option optimizer: expected one of adamw, adam"),
        ({"schedule": "step"}, "option schedule: expected one of cosine"),
        ({"learning_rate": 0.0}, "option learning_rate: expected a number above 0, got 0.0"),
        ({"learning_rate": "fast"}, "option learning_rate: expected a number above 0, got 'fast'"),
        ({"learning_rate": float("nan")}, "option learning_rate: expected a number above 0"),
        ({"epochs": 2.5}, "option epochs: expected a whole number at least 1, got 2.5"),
        ({"epochs": True}, "option epochs: expected a whole number"),
        ({"warmup": 1.5}, "option warmup: expected a number at least 0 and at most 1, got 1.5"),
        ({"average": 1.0}, "option average: expected a number at least 0 and below 1, got 1.0"),
        ({"momentum": 0.9}, "option momentum: expected none for adamw"),
        ({"resume": "no"}, "option resume: expected True or False, got 'no'"),
        ({"verbose": 3}, "option verbose: expected a whole number at least 0 and at most 2"),
        ({"resume": True}, "option resume: expected a run_folder"),
        ({"device": 3}, "option device: expected text, got 3"),
        ({"batch_size": 0}, "option batch_size: expected a whole number at least 1, got 0"),
    ],
)
def test_bad_option_is_named(given_options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        TrainingOptions(**given_options).check()

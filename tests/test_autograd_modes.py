"""What torch.nn's layers allow beyond a plain backward pass, ours allow, and are as right.

Forward-mode derivatives, torch.func, Jacobians, second derivatives, checkpoints, and changes in
place between the forward and the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS, layer_of
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vmap
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

import tidegate as tg

LENGTHS = torch.tensor([4, 0, 2])
# torch compiles some of its own forward-mode formulas so
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def make(cell: str, dtype: torch.dtype = torch.float32, **options: Any) -> tg.Recurrent:
    torch.manual_seed(3)
    return layer_of(cell, 2, 3, **options, dtype=dtype)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def in_float32_and_float64(cell: str, result: Callable[[tg.Recurrent, torch.dtype], Any]) -> None:
    """The engine's result, or that of the path it gives way to, against float64's."""
    ours = result(make(cell), torch.float32)
    exact = result(make(cell).double(), torch.float64)
    for a, b in zip(
        torch.utils._pytree.tree_leaves(ours), torch.utils._pytree.tree_leaves(exact), strict=True
    ):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)


def forward_mode(layer: tg.Recurrent, dtype: torch.dtype) -> Tensor:
    x = draw(4, 3, 2).to(dtype)
    with forward_ad.dual_level():
        y, _ = layer(forward_ad.make_dual(x, torch.ones_like(x)), lengths=LENGTHS)
        tangent = forward_ad.unpack_dual(y).tangent
    assert tangent is not None
    return tangent


def forward_mode_of_weights(layer: tg.Recurrent, dtype: torch.dtype) -> Tensor:
    x = draw(4, 3, 2).to(dtype)
    with forward_ad.dual_level():
        duals = {
            name: forward_ad.make_dual(p.detach(), torch.ones_like(p))
            for name, p in layer.named_parameters()
        }
        tangent = forward_ad.unpack_dual(functional_call(layer, duals, (x,))[0]).tangent
    assert tangent is not None
    return tangent


def of_input(transform: Callable[..., Any]) -> Callable[[tg.Recurrent, torch.dtype], Any]:
    return lambda layer, dtype: transform(
        lambda x: layer(x, lengths=LENGTHS)[0].square(), draw(4, 3, 2).to(dtype)
    )


def weights_of(layer: tg.Recurrent) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in layer.named_parameters()}


def per_sample(layer: tg.Recurrent, dtype: torch.dtype) -> Any:
    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(layer, weights, (x,))[0].square().sum()

    return vmap(grad(loss), (None, 0))(weights_of(layer), draw(5, 4, 3, 2).to(dtype))


def ensemble(layer: tg.Recurrent, dtype: torch.dtype) -> Any:
    weights = {name: torch.stack([w, w + 0.1]) for name, w in weights_of(layer).items()}
    x = draw(2, 4, 3, 2).to(dtype)
    call = lambda w, x: functional_call(layer, w, (x,))  # noqa: E731
    return vmap(call)(weights, x), vmap(call, (0, None))(weights, x[0])


MODES: dict[str, Callable[[tg.Recurrent, torch.dtype], Any]] = {
    "forward mode": forward_mode,
    "forward mode of weights": forward_mode_of_weights,
    "jvp": of_input(lambda f, x: jvp(f, (x,), (torch.ones_like(x),))),
    "jacfwd": of_input(lambda f, x: jacfwd(f)(x)),
    "jacrev": of_input(lambda f, x: jacrev(f)(x)),
    "hessian": of_input(lambda f, x: torch.func.hessian(lambda x: f(x).sum())(x)),
    "vmap": of_input(lambda f, x: vmap(f)(torch.stack([x, 2 * x]))),
    "per-sample gradients": per_sample,
    "ensemble": ensemble,
    "jacobian": of_input(jacobian),
    "vectorised jacobian": of_input(lambda f, x: jacobian(f, x, vectorize=True)),
    "forward jacobian": of_input(
        lambda f, x: jacobian(f, x, vectorize=True, strategy="forward-mode")
    ),
    "vectorised hessian": of_input(lambda f, x: hessian(lambda x: f(x).sum(), x, vectorize=True)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_derivatives_of_every_mode_equal_those_in_float64(cell: str, mode: str) -> None:
    in_float32_and_float64(cell, MODES[mode])


def test_explain_tells_which_path_a_transformation_takes() -> None:
    layer, said = make("gru"), []
    x = draw(2, 4, 3, 2)
    vmap(lambda x: said.append(layer.explain()) or layer(x)[0])(x)
    grad(lambda x: said.append(layer.explain()) or layer(x)[0].sum())(x[0])
    assert said[0].startswith("reference: the engine has no rule for torch.func's vmap")
    assert said[1].startswith("torch: ")
    assert "torch.func's grad" in said[1]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x[0], x[1])
        assert layer.explain(dual).startswith("reference: the engine has no rule for forward-mode")
        assert layer.explain(x[0]).startswith("engine: ")


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_layer_has_the_gradients_of_a_plain_one(reentrant: bool) -> None:
    layer, x = make("lstm", num_layers=2), draw(4, 3, 2).requires_grad_()
    leaves = [x, *layer.parameters()]
    expected = torch.autograd.grad(layer(x)[0].square().sum(), leaves)
    y = checkpoint(lambda x: layer(x)[0], x, use_reentrant=reentrant)
    y.square().sum().backward()
    torch.testing.assert_close([leaf.grad for leaf in leaves], list(expected))


CHANGES: dict[str, Callable[[Tensor], Any]] = {
    "add": lambda y: y.add_(1),
    "zero a step": lambda y: y[0].zero_(),
    "some units": lambda y: y[..., 1:].mul_(2),
    "masked": lambda y: y.masked_fill_(y > 0, 0.5),
    "relu": lambda y: y.relu_(),
    "dropout": lambda y: F.dropout(y, 0.5, inplace=True),
    "detached": lambda y: y.detach().zero_(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_an_output_changed_in_place_leaves_the_gradients_right(cell: str, change: str) -> None:
    layer, x = make(cell, bidirectional=True), draw(4, 3, 2).requires_grad_()
    one = make(cell)
    for each in (one, layer):
        leaves, results = [x, *each.parameters()], []
        for in_place in (True, False):
            y, state = each(x, lengths=LENGTHS)
            h = state[0] if isinstance(state, tuple) else state
            torch.manual_seed(1)
            if in_place:
                CHANGES[change](y)
                h.mul_(3)
            elif change == "detached":  # as torch.nn: the values change, the graph does not
                y, h = y + (0 - y.detach()), h * 3
            else:
                copy = y.clone()
                CHANGES[change](copy)
                y, h = copy, h * 3
            weights = torch.linspace(-1, 2, y.numel()).view_as(y)
            results.append(torch.autograd.grad((y * weights).sum() + h.sum(), leaves))
        torch.testing.assert_close(results[0], results[1])


def test_hooks_that_move_what_is_saved_see_the_output_unchanged() -> None:
    layer, x = make("gru"), draw(4, 3, 2).requires_grad_()
    (expected,) = torch.autograd.grad((layer(x)[0] + 1).sum(), x)
    with torch.autograd.graph.save_on_cpu():
        y, _ = layer(x)
    y += 1
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], expected)


@pytest.mark.parametrize("changed", ["x", "h0", "weight_hh_l0"])
def test_what_gradients_depend_on_may_not_be_changed_in_place(changed: str) -> None:
    for layer in (make("gru"), nn.GRU(2, 3)):
        tensors = {"x": draw(4, 3, 2), "h0": draw(1, 3, 3), "weight_hh_l0": layer.weight_hh_l0}
        y, _ = layer(tensors["x"], tensors["h0"])
        with torch.no_grad():
            tensors[changed].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_what_gradients_do_not_depend_on_may_be_changed_in_place() -> None:
    layer, leaf = make("gru"), draw(4, 3, 2).requires_grad_()
    layer.weight_ih_l0.requires_grad_(False)
    (expected,) = torch.autograd.grad(layer(leaf)[0].square().sum(), leaf)
    x = leaf * 1
    loss = layer(x)[0].square().sum()
    x.zero_()
    with torch.no_grad():
        layer.bias_hh_l0.add_(1)
    torch.testing.assert_close(torch.autograd.grad(loss, leaf, retain_graph=True)[0], expected)
    with pytest.raises(RuntimeError, match="change a clone of it"):
        torch.autograd.grad(loss, leaf, create_graph=True)


@pytest.mark.parametrize("cell", [nn.GRU, tg.GRU, nn.RNN, tg.RNN, tg.LSTM])
def test_states_and_weights_that_no_gradient_needs_may_be_changed_in_place(cell: Any) -> None:
    layer, leaf = cell(2, 3), draw(4, 3, 2).requires_grad_()
    h = draw(1, 3, 3)
    state = (h, h.clone()) if cell is tg.LSTM else h
    layer.requires_grad_(False)
    (expected,) = torch.autograd.grad(layer(leaf, state)[0].square().sum(), leaf)
    loss = layer(leaf, state)[0].square().sum()
    h.add_(1)
    torch.testing.assert_close(torch.autograd.grad(loss, leaf)[0], expected)

    layer.requires_grad_(True)
    weights, x = list(layer.parameters()), leaf.detach()
    wanted = torch.autograd.grad(layer(x, state)[0].square().sum(), weights)
    loss = layer(x, state)[0].square().sum()
    with torch.no_grad():
        layer.weight_ih_l0.add_(1)
    torch.testing.assert_close(torch.autograd.grad(loss, weights), wanted)


@pytest.mark.parametrize("kind", ["numpy", "int32", "tensor", "list"])
def test_lengths_changed_by_the_caller_after_the_call_change_nothing(kind: str) -> None:
    kinds: dict[str, Callable[[list[int]], Any]] = {
        "numpy": np.array,
        "int32": lambda n: np.array(n, np.int32),
        "tensor": torch.tensor,
        "list": list,
    }
    layer, x = make("gru"), draw(4, 3, 2).requires_grad_()
    (expected,) = torch.autograd.grad(layer(x, lengths=[4, 0, 2])[0].sum(), x)
    lengths = kinds[kind]([4, 0, 2])
    y, _ = layer(x, lengths=lengths)
    lengths[0], lengths[1] = 1, 4
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], expected, rtol=0, atol=0)


def test_second_derivatives_pass_the_numerical_check() -> None:
    layer = tg.GRU(2, 3, dtype=torch.float64)
    x = draw(3, 2, 2).double().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: layer(x, lengths=[3, 1])[0], x)

"""Under torch's compilers, dispatch modes and torch.func a layer may do what torch.nn's may."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from any_cell import CELL_KINDS, layer_of
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

import tidegate as tg

X = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([6, 0, 3])


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def gradients(layer: nn.Module, y: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 2, y.numel()).view_as(y)
    return list(torch.autograd.grad((y * weights).sum(), list(layer.parameters())))


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_an_output_made_under_a_dispatch_mode_may_be_changed_in_place(cell: str) -> None:
    layer = layer_of(cell, 5, 7, num_layers=2)
    expected = gradients(layer, layer(X)[0] * 2)
    with Watching():
        y, _ = layer(X)
        y.mul_(2)
    torch.testing.assert_close(gradients(layer, y), expected)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_an_output_of_a_compiled_layer_may_be_changed_in_place(
    cell: str, inside: bool, backend: str
) -> None:
    layer = layer_of(cell, 5, 7, bidirectional=True)
    expected = gradients(layer, layer(X)[0] * 2)

    def run(x: Tensor) -> Tensor:
        y, _ = layer(x)
        return y.mul_(2) if inside else y

    y = torch.compile(run, backend=backend, fullgraph=True)(X)
    if not inside:
        y.mul_(2)
    torch.testing.assert_close(gradients(layer, y), expected)


@pytest.mark.parametrize("policy", [CheckpointPolicy.PREFER_RECOMPUTE, CheckpointPolicy.MUST_SAVE])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_selective_checkpoint_has_the_gradients_of_a_plain_call(
    cell: str, policy: CheckpointPolicy
) -> None:
    layer = layer_of(cell, 5, 7)
    expected = gradients(layer, layer(X)[0])
    contexts = partial(create_selective_checkpoint_contexts, lambda *_, **__: policy)
    y: Any = checkpoint(lambda x: layer(x)[0], X, use_reentrant=False, context_fn=contexts)
    torch.testing.assert_close(gradients(layer, y), expected)


@pytest.mark.filterwarnings("ignore")  # of torch's own, within compiled autograd
# one of each kind of saved values: what is seen is a matter of the operator, and takes seconds each
@pytest.mark.parametrize("cell", ["gru", "lstm", "lstm_projected", "slstm", "indrnn"])
def test_compiled_autograd_sees_that_an_output_was_changed(cell: str) -> None:
    layer = layer_of(cell, 5, 7)
    expected = gradients(layer, layer(X)[0].relu())
    y = layer(X)[0].relu_()
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager")):
        found = gradients(layer, y)
    torch.testing.assert_close(found, expected)


def test_what_only_the_reference_runs_compiles_in_one_graph() -> None:
    def compiled(call: Any) -> Any:
        return torch.compile(call, backend="eager", fullgraph=True)

    for layer in (tg.LSTM(5, 7, proj_size=3), tg.GRU(5, 7, reset="before").double()):
        x = X.to(layer.weight_ih_l0.dtype)
        ours, expected = compiled(layer)(x, lengths=LENGTHS), layer(x, lengths=LENGTHS)
        torch.testing.assert_close(ours, expected)
    layer = tg.GRU(5, 7)
    weights = {name: w.detach() for name, w in layer.named_parameters()}
    of_each = vmap(grad(lambda w, x: functional_call(layer, w, (x,))[0].sum()), (None, 1))
    torch.testing.assert_close(compiled(of_each)(weights, X), of_each(weights, X))


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_single_step_compiles_in_one_graph(cell: str) -> None:
    layer = layer_of(cell, 5, 7, num_layers=2)
    step = torch.compile(layer.step, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        _, state = layer.step(X[0])
    torch.testing.assert_close(step(X[1], state), layer.step(X[1], state))


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_per_sample_gradients_take_each_samples_length(cell: str) -> None:
    layer = layer_of(cell, 5, 7)
    weights = {name: w.detach() for name, w in layer.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor, length: Tensor) -> Tensor:
        y, _ = functional_call(layer, weights, (x.unsqueeze(1), None, length.unsqueeze(0)))
        return y.square().sum()

    of_each = vmap(grad(loss), (None, 1, 0))
    found = of_each(weights, X, LENGTHS)
    for b, length in enumerate(LENGTHS):
        alone = grad(loss)(weights, X[:, b], length)
        for name, gradient in alone.items():
            torch.testing.assert_close(found[name][b], gradient)
    with pytest.raises(ValueError, match="lengths: expected 0 to T = 6, got 0 to 9"):
        of_each(weights, X, torch.tensor([9, 0, 3]))

"""Layers under torch.compile, torch.export, make_fx and torch.jit.trace: the engine runs in them.

What is recorded must be the operator: of kernels called past torch nothing but uninitialised memory
would be recorded.
"""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from any_cell import CELL_KINDS, layer_of
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func
from torch.fx.experimental.proxy_tensor import make_fx

import tidegate as tg
from tidegate.cells import get_cell

LENGTHS = {"full": None, "tensor": torch.tensor([3, 0, 6, 1]), "list": [3, 0, 6, 1]}
# jit.trace and jit.save are deprecated, not gone
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()


class Recorder:
    """A backend that keeps the names of the operators it was given, forward and backward."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, graph: Any, inputs: Any) -> Any:
        return aot_autograd(fw_compiler=self.keep, bw_compiler=self.keep)(graph, inputs)

    def keep(self, graph: Any, _: Any) -> Any:
        self.names += [str(node.target) for node in graph.graph.nodes]
        return make_boxed_func(graph.forward)

    def count(self, name: str) -> int:
        return self.names.count(f"tidegate.{name}.default")


class WithLengths(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        return self.layer(x, None, lengths)


def flat(result: Any) -> list[Tensor]:
    y, state = result
    return [y, *(state if isinstance(state, tuple) else (state,))]


def outputs_and_gradients(call: Any, layer: nn.Module, x: Tensor, **options: Any) -> list[Tensor]:
    x = x.clone().requires_grad_()
    torch.manual_seed(7)  # of dropout
    outputs = flat(call(x, **options))
    weighed = (o * torch.linspace(-1, 2, o.numel()).view_as(o) for o in outputs)
    loss = torch.stack([w.sum() for w in weighed]).sum()
    return outputs + list(torch.autograd.grad(loss, [x, *layer.parameters()]))


def assert_equal(ours: list[Tensor], expected: list[Tensor]) -> None:
    # the products' order may differ, and norms of seven units divide by what may be small
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_compiled_layer_runs_the_engine_in_one_graph_and_equals_eager(
    cell: str, dynamic: bool, lengths: str
) -> None:
    layer, seen = layer_of(cell, 5, 7), Recorder()
    compiled = torch.compile(layer, fullgraph=True, backend=seen, dynamic=dynamic)
    for steps in (6, 9) if dynamic else (6,):
        x, options = torch.randn(steps, 4, 5), {"lengths": LENGTHS[lengths]}
        expected = outputs_and_gradients(layer, layer, x, **options)
        assert_equal(outputs_and_gradients(compiled, layer, x, **options), expected)
    assert (seen.count("recurrence"), seen.count("recurrence_backward")) == (1, 1)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_compiled_stack_in_both_directions_with_dropout_equals_eager(cell: str) -> None:
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    layer, seen = layer_of(cell, 5, 7, **options, dropout=0.3, recurrent_dropout=0.3), Recorder()
    compiled = torch.compile(layer, fullgraph=True, backend=seen)
    x = torch.randn(4, 6, 5)
    with torch.no_grad():
        assert not torch.equal(compiled(x)[0], compiled(x)[0])  # masks are drawn anew
    assert seen.count("recurrence") == 4
    layer.eval()
    expected = outputs_and_gradients(layer, layer, x, lengths=[3, 0, 6, 1])
    assert_equal(outputs_and_gradients(compiled, layer, x, lengths=[3, 0, 6, 1]), expected)
    assert seen.count("recurrence") == 8
    assert seen.count("recurrence_backward") == 4


def test_the_default_compiler_trains_a_layer_in_the_engine() -> None:
    layer = tg.LSTM(5, 7)
    network = nn.Sequential(nn.Linear(5, 5), layer)
    compiled = torch.compile(network, fullgraph=True)
    x = torch.randn(6, 4, 5)
    expected = outputs_and_gradients(network, network, x)
    assert_equal(outputs_and_gradients(compiled, network, x), expected)
    with torch.no_grad():
        assert_equal(flat(compiled(x)), flat(network(x)))


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
def test_a_layer_without_kernels_compiles_in_one_graph_before_it_was_ever_called(
    autocast: bool,
) -> None:
    unseen = dataclasses.replace(get_cell("mgu"))  # equal, with nothing worked out yet
    layer = layer_of(unseen, 5, 7)
    compiled, x = torch.compile(layer, fullgraph=True, backend="eager"), torch.randn(3, 4, 5)
    with torch.autocast("cpu", enabled=autocast):
        assert_equal(flat(compiled(x)), flat(layer(x)))


@pytest.mark.parametrize("shape", [(0, 4, 5), (6, 0, 5)], ids=str)
def test_a_compiled_layer_takes_no_steps_and_no_rows(shape: tuple[int, ...]) -> None:
    layer, x = tg.GRU(5, 7), torch.randn(shape)
    state = torch.randn(1, shape[1], 7)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    y, final = compiled(x, state)
    assert y.shape == (*shape[:2], 7)
    assert torch.equal(final, state)
    (y.sum() + 2 * final.sum()).backward()
    assert layer.weight_ih_l0.grad is not None
    assert not layer.weight_ih_l0.grad.any()


def test_lengths_beyond_the_sequence_are_refused_by_the_compiled_layer() -> None:
    compiled = torch.compile(tg.GRU(5, 7), fullgraph=True, backend="eager")
    with pytest.raises(ValueError, match="lengths: expected 0 to 6, got 9"):
        compiled(torch.randn(6, 2, 5), lengths=torch.tensor([9, 1]))


def test_explain_tells_of_the_operator_inside_a_compiled_function() -> None:
    layer, said = tg.GRU(5, 7), []

    def call(x: Tensor) -> Tensor:
        said.append(layer.explain())
        return layer(x)[0]

    torch.compile(call, fullgraph=True, backend="eager")(torch.randn(6, 4, 5))
    assert said == ["engine: the engine's gru kernels, as the operator tidegate::recurrence"]


@pytest.mark.parametrize("gradients", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_traced_layer_is_right_on_other_inputs_lengths_and_after_saving(
    cell: str, gradients: bool
) -> None:
    layer = layer_of(cell, 5, 7, num_layers=2)
    with torch.set_grad_enabled(gradients):
        traced = torch.jit.trace(WithLengths(layer), (torch.randn(6, 4, 5), LENGTHS["tensor"]))
        file = io.BytesIO()
        torch.jit.save(traced, file)
        file.seek(0)
        loaded: Any = torch.jit.load(file)
        x, lengths = torch.randn(8, 3, 5), torch.tensor([2, 8, 8])
        assert_equal(flat(loaded(x, lengths)), flat(layer(x, lengths=lengths)))
    x.requires_grad_()
    ours, expected = (y.square().sum() for y in (loaded(x, lengths)[0], layer(x, None, lengths)[0]))
    assert_equal(list(torch.autograd.grad(ours, x)), list(torch.autograd.grad(expected, x)))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
@pytest.mark.parametrize("gradients", [True, False], ids=["grad", "no_grad"])
def test_make_fx_records_the_operator(mode: str, gradients: bool) -> None:
    layer = tg.LSTM(5, 7, bidirectional=True)
    weights = {name: p.detach() for name, p in layer.named_parameters()}

    def call(weights: dict[str, Tensor], x: Tensor) -> Any:
        return torch.func.functional_call(layer, weights, (x,))

    with torch.set_grad_enabled(gradients):
        graph = make_fx(call, tracing_mode=mode)(weights, torch.randn(6, 4, 5))
        others = {name: w + 0.1 for name, w in weights.items()}
        x = torch.randn(6, 4, 5)
        assert_equal(flat(graph(others, x)), flat(call(others, x)))
    assert graph.code.count("tidegate.recurrence.default") == 2


def test_make_fx_records_a_training_step() -> None:
    layer = tg.GRU(5, 7)
    weights = {name: p.detach() for name, p in layer.named_parameters()}

    def gradients(weights: dict[str, Tensor], x: Tensor) -> list[Tensor]:
        wanted = {name: w.requires_grad_() for name, w in weights.items()}
        y, _ = torch.func.functional_call(layer, wanted, (x,))
        return list(torch.autograd.grad(y.square().sum(), list(wanted.values())))

    graph = make_fx(gradients)(weights, torch.randn(6, 4, 5))
    x = torch.randn(6, 4, 5)
    assert_equal(graph({n: w.detach() for n, w in weights.items()}, x), gradients(weights, x))
    assert "tidegate.recurrence_backward" in graph.code


EXPORT = """
import torch, tidegate as tg
T, B = (torch.export.Dim(name, max=1000) for name in "TB")
layer = tg.LSTM(5, 7, num_layers=2)
x, others = torch.randn(6, 4, 5), torch.randn(9, 3, 5)
torch.export.save(torch.export.export(layer, (x,), dynamic_shapes=({{0: T, 1: B}},)), "{0}.pt2")
torch.jit.save(torch.jit.trace(layer, x), "{0}.jit")
torch.save((others, layer(others)[0].detach()), "{0}.pt")
"""
LOAD = """
{order}
x, expected = torch.load("{0}.pt")
for call in (torch.export.load("{0}.pt2").module(), torch.jit.load("{0}.jit")):
    torch.testing.assert_close(call(x)[0], expected)
"""


def test_exported_and_traced_layers_load_after_importing_tidegate_in_either_order(
    tmp_path: Path,
) -> None:
    path = tmp_path / "layer"
    programs = [EXPORT.format(path)]
    for order in ("import tidegate, torch", "import torch, tidegate"):
        programs.append(LOAD.format(path, order=order))
    for program in programs:
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)


def test_an_exported_layer_takes_other_lengths() -> None:
    layer, x = tg.GRU(5, 7), torch.randn(6, 4, 5)
    program = torch.export.export(WithLengths(layer), (x, LENGTHS["tensor"]))
    lengths = torch.tensor([6, 6, 0, 2])
    assert_equal(flat(program.module()(x, lengths)), flat(layer(x, lengths=lengths)))

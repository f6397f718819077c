"""Tensors that are no plain memory, and autocast: another path or an error, as from torch.nn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.testing._internal.two_tensor import TwoTensor

import tidegate as tg


class Labelled(Tensor):
    """A subclass as people write them."""


def without_memory(t: Tensor) -> Tensor:
    t = t.clone()
    t.untyped_storage().resize_(0)
    return t


def view_without_memory(t: Tensor) -> Tensor:
    """Its address is how far it is into a storage that holds nothing."""
    storage = torch.randn(t.numel() + 15)
    view = storage[15:].view(t.shape)
    storage.untyped_storage().resize_(0)
    return view


VALID: dict[str, Callable[[Tensor], Tensor]] = {
    "subclass": lambda t: t.as_subclass(Labelled),
    "wrapper": lambda t: TwoTensor(t, t.clone()),
    "negated view": lambda t: torch._neg_view(-t),
    "part of a conjugate": lambda t: torch.complex(t, -t).conj().imag,
}
INVALID: dict[str, Callable[[Tensor], Tensor]] = {
    "fake": lambda t: FakeTensorMode().from_tensor(t),
    "sparse": lambda t: t.to_sparse(),
    "meta": lambda t: t.to("meta"),
    "freed": without_memory,
    "view of freed": view_without_memory,
}


def call(layer: nn.Module, place: str, convert: Callable[[Tensor], Tensor], ragged: bool) -> Any:
    torch.manual_seed(0)
    x, h = torch.randn(6, 2, 5), torch.randn(1, 2, 7)
    if place == "x":
        x = convert(x)
    elif place == "h0":
        h = convert(h)
    else:
        weight = convert(getattr(layer, place).detach())
        setattr(layer, place, nn.Parameter(weight, requires_grad=False))
    return layer(x, h, lengths=[6, 3]) if ragged else layer(x, h)


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("place", ["x", "h0", "weight_hh_l0", "bias_ih_l0"])
@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize("reset", ["after", "before"])
def test_tensors_that_only_torch_can_read_give_the_same(
    kind: str, place: str, ragged: bool, reset: str
) -> None:
    layer = tg.GRU(5, 7, reset=reset).requires_grad_(False)
    expected, _ = call(layer, place, lambda t: t, ragged)
    y, _ = call(layer, place, VALID[kind], ragged)
    inside = y.a if isinstance(y, TwoTensor) else y.as_subclass(Tensor)
    torch.testing.assert_close(inside, expected)


@pytest.mark.parametrize("place", ["x", "h0", "weight_hh_l0", "bias_ih_l0"])
@pytest.mark.parametrize("kind", INVALID)
def test_tensors_without_memory_are_an_error(kind: str, place: str) -> None:
    with pytest.raises((RuntimeError, TypeError, ValueError, AssertionError)):
        call(tg.GRU(5, 7).requires_grad_(False), place, INVALID[kind], ragged=False)


def test_explain_names_the_tensor_that_the_engine_cannot_read() -> None:
    layer, x = tg.GRU(5, 7), torch.randn(6, 2, 5)
    assert "one is a Labelled" in layer.explain(x.as_subclass(Labelled))
    assert "no memory of its own" in layer.explain(without_memory(x))


@pytest.mark.parametrize("convert", [without_memory, view_without_memory])
@pytest.mark.parametrize("layer", [tg.GRU(5, 7), tg.LSTM(5, 7)], ids=["gru", "lstm"])
def test_freed_memory_is_refused_in_words(
    layer: nn.Module, convert: Callable[[Tensor], Tensor]
) -> None:
    with pytest.raises(RuntimeError, match="no memory of its own: it was freed"):
        layer(convert(torch.randn(6, 2, 5)))


def test_a_fake_layer_gives_shapes() -> None:
    with FakeTensorMode():
        y, h = tg.GRU(5, 7, num_layers=2)(torch.randn(6, 2, 5))
        assert (y.shape, h.shape) == ((6, 2, 7), (2, 2, 7))


LOWER = (torch.bfloat16, torch.float16)
# oneDNN, which torch's LSTM asks, has none for processors without AVX-512
ROUNDS_LSTM = torch.ops.mkldnn._is_mkldnn_bf16_supported()
NO_PEER = "torch.nn has no LSTM in bfloat16 on this processor"
PAIRS: dict[str, tuple[Any, Any]] = {
    "rnn": (nn.RNN, tg.RNN),
    "gru": (nn.GRU, tg.GRU),
    "lstm": (nn.LSTM, tg.LSTM),
}


@pytest.mark.parametrize("of_x", [True, False], ids=["x float32", "x lower"])
@pytest.mark.parametrize("of_state", ["none", "float32", "lower"])
@pytest.mark.parametrize("lower", LOWER, ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_under_autocast_types_and_values_are_those_of_torch_nn(
    name: str, lower: torch.dtype, of_state: str, of_x: bool
) -> None:
    if name == "lstm" and lower == torch.bfloat16 and not ROUNDS_LSTM:
        pytest.skip(NO_PEER)
    theirs, ours = (cls(5, 7, num_layers=2) for cls in PAIRS[name])
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(6, 2, 5, dtype=torch.float32 if of_x else lower, requires_grad=True)
    state: Any = None
    if of_state != "none":
        h = torch.randn(2, 2, 7, dtype=lower if of_state == "lower" else torch.float32)
        state = (h, h.clone()) if name == "lstm" else h
    results = []
    for layer in (theirs, ours):
        if name == "lstm" and lower == torch.float16 and layer is theirs:
            continue  # torch has no kernel for most of these
        with torch.autocast("cpu", dtype=lower):
            y, _ = layer(x, state)
        leaves = [x, *layer.parameters()]
        results.append([y, *torch.autograd.grad(y.float().square().mean(), leaves)])
    for a, b in zip(results[0], results[-1], strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a.float(), b.float(), rtol=0.1, atol=0.03)


CALLS: dict[str, Callable[[nn.Module], Any]] = {
    "packed": lambda layer: layer(pack_padded_sequence(torch.ones(6, 2, 5), [6, 3])),
    "packed lower": lambda layer: layer(
        pack_padded_sequence(torch.ones(6, 2, 5, dtype=torch.bfloat16), [6, 3])
    ),
    "whole": lambda layer: layer(torch.ones(6, 2, 5)),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("options", [{}, {"proj_size": 3, "num_layers": 2}], ids=str)
def test_under_autocast_an_lstm_rounds_its_cell_state_only_where_torch_nn_does(
    options: dict[str, Any], call: str
) -> None:
    if not (options or ROUNDS_LSTM):
        pytest.skip(NO_PEER)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (a, (h, c)), (b, (k, d)) = (CALLS[call](m.LSTM(5, 7, **options)) for m in (nn, tg))
    if isinstance(a, PackedSequence):
        a, b = a.data, b.data
    assert (b.dtype, k.dtype, d.dtype) == (a.dtype, h.dtype, c.dtype)


@pytest.mark.parametrize("lower", [True, False], ids=["x lower", "x float32"])
@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
def test_under_autocast_a_cell_returns_the_types_of_torch_nn(name: str, lower: bool) -> None:
    x = torch.ones(2, 5, dtype=torch.bfloat16 if lower else torch.float32)
    types = []
    for library in (nn, tg):
        cell, state = getattr(library, name)(5, 7), None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for _ in range(2):
                state = cell(x, state)
        types.append([s.dtype for s in (state if isinstance(state, tuple) else (state,))])
    assert types[0] == types[1]


def test_autocast_is_told_and_can_be_switched_off_inside() -> None:
    layer, x = tg.GRU(5, 7), torch.randn(6, 2, 5)
    expected = layer(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert "under autocast it computes in float32" in layer.explain()
        assert layer.step(x[0])[0].dtype == torch.float32
        with torch.autocast("cpu", enabled=False):
            assert torch.equal(layer(x)[0], expected)
    double = tg.GRU(5, 7).double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert double(x.double())[0].dtype == torch.float64


def test_autocast_inside_a_compiled_function_equals_eager() -> None:
    layer, linear = tg.LSTM(5, 7), nn.Linear(5, 5)

    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return layer(linear(x))[0]

    x = torch.randn(6, 2, 5)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), run(x), rtol=0, atol=0)

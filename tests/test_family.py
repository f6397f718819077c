"""Cells of the family against the same equations written by hand, and against special cases."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from any_cell import flat, layer_of, state_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import tidegate as tg
from tidegate.cells import CELLS

T, B, I, H = 6, 3, 4, 5  # noqa: E741
EXACT = {"rtol": 1e-12, "atol": 1e-12}
sigmoid = torch.sigmoid


def parts(blocks: tuple[str, ...], stacked: Any, dim: int = 0) -> Any:
    """Of a parameter each gate's rows, or of what they make of an input each gate's units."""
    return SimpleNamespace(**dict(zip(blocks, stacked.chunk(len(blocks), dim), strict=True)))


def norm(a: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return F.layer_norm(a, (H,), 1 + gain, shift)


def indrnn(w: Any, u: Any, v: Any, h: Tensor) -> Any:  # noqa: ARG001
    return (F.relu(w.h + v["weight_diagonal"].h * h),)


def mingru(w: Any, u: Any, v: Any, h: Tensor) -> Any:  # noqa: ARG001
    return (torch.lerp(h, w.n, sigmoid(w.z)),)


def minlstm(w: Any, u: Any, v: Any, h: Tensor) -> Any:  # noqa: ARG001
    f, i = sigmoid(w.f), sigmoid(w.i)
    return (f / (f + i) * h + i / (f + i) * w.n,)


def gru_diagonal(w: Any, u: Any, v: Any, h: Tensor) -> Any:  # noqa: ARG001
    """The paper's z writes: under weights of the other sign it is ours."""
    own = v["weight_diagonal"]
    z, r = sigmoid(-(w.z + own.z * h)), sigmoid(w.r + own.r * h)
    return (z * torch.tanh(own.n * h * r + w.n) + (1 - z) * h,)


def lstm_diagonal(w: Any, u: Any, v: Any, h: Tensor, c: Tensor) -> Any:  # noqa: ARG001
    own, peep = v["weight_diagonal"], v["weight_ch"]
    f = sigmoid(w.f + own.f * h + peep.f * c)
    c = torch.lerp(torch.tanh(w.g + own.g * h), c, f)
    return sigmoid(w.o + own.o * h + peep.o * c) * torch.tanh(c), c


def gru_decay(w: Any, u: Any, v: Any, h: Tensor) -> Any:  # noqa: ARG001
    """GRU-D's decay, of all that is read; then torch's GRU."""
    h = torch.exp(-torch.clamp(w.d, min=0)) * h
    r, z = sigmoid(w.r + u(h).r), sigmoid(w.z + u(h).z)
    return (torch.lerp(torch.tanh(w.n + r * u(h).n), h, z),)


def cfc(w: Any, u: Any, v: Any, h: Tensor) -> Any:  # noqa: ARG001
    """The authors' ff1, ff2, time_a and time_b; w.t stands for the time between steps."""
    of = u(h)
    t = sigmoid((w.a + of.a) * w.t + (w.s + of.s))
    return (torch.tanh(w.g + of.g) * (1.0 - t) + t * torch.tanh(w.n + of.n),)


def lstm_norm(w: Any, u: Any, v: Any, h: Tensor, c: Tensor) -> Any:
    """TensorFlow's LayerNormBasicLSTMCell."""
    gain, shift = v["weight_norm"], v["bias_norm"]
    i, f, g, o = (
        norm(getattr(w, k) + getattr(u(h), k), getattr(gain, k), getattr(shift, k)) for k in "ifgo"
    )
    c = norm(sigmoid(f) * c + sigmoid(i) * torch.tanh(g), gain.c, shift.c)
    return sigmoid(o) * torch.tanh(c), c


def gru_norm(w: Any, u: Any, v: Any, h: Tensor) -> Any:
    gain, shift, of = v["weight_norm"], v["bias_norm"], u(h)
    r, z = (
        sigmoid(norm(getattr(w, k) + getattr(of, k), getattr(gain, k), getattr(shift, k)))
        for k in "rz"
    )
    n = torch.tanh(norm(w.n, gain.n, shift.n) + r * norm(of.n, gain.u, shift.u))
    return (torch.lerp(n, h, z),)


def slstm(w: Any, u: Any, v: Any, h: Tensor, c: Tensor, n: Tensor, m: Tensor) -> Any:  # noqa: ARG001
    return exponential(w, u(h), F.logsigmoid(w.f + u(h).f), c, n, m)


def slstm_exp(w: Any, u: Any, v: Any, h: Tensor, c: Tensor, n: Tensor, m: Tensor) -> Any:  # noqa: ARG001
    return exponential(w, u(h), w.f + u(h).f, c, n, m)


def exponential(w: Any, of: Any, log_f: Tensor, c: Tensor, n: Tensor, m: Tensor) -> Any:
    log_i = w.i + of.i
    new = torch.where(n == 0, log_i, torch.maximum(log_f + m, log_i))
    i, f = torch.exp(log_i - new), torch.where(n == 0, 0, torch.exp(log_f + m - new))
    c, n = f * c + i * torch.tanh(w.z + of.z), f * n + i
    return sigmoid(w.o + of.o) * c / n, c, n, new


BY_HAND: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    f.__name__: f
    for f in (
        indrnn, mingru, minlstm, gru_diagonal, lstm_diagonal, gru_decay, cfc, lstm_norm, gru_norm,
        slstm, slstm_exp,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_outputs_and_gradients_are_those_of_the_equations_by_hand(name: str) -> None:
    torch.manual_seed(0)
    cell, layer = CELLS[name], layer_of(name, I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    named: dict[str, Any] = dict(zip(cell.parameters, layer.layer_weights(0), strict=True))
    reads = cell.parameters["weight_ih"].blocks
    recurs = cell.parameters["weight_hh"].blocks if "weight_hh" in named else ()
    v = {n: parts(p.blocks, named[n]) for n, p in cell.parameters.items() if p.role == "vector"}

    def u(h: Tensor) -> Any:
        return parts(recurs, F.linear(h, named["weight_hh"], named["bias_hh"]), -1)

    state = tuple(x.new_zeros(B, H) for _ in cell.states)
    outputs = []
    for products in F.linear(x, named["weight_ih"], named["bias_ih"]):
        state = BY_HAND[name](parts(reads, products, -1), u, v, *state)
        outputs.append(state[0])
    y, final = layer(x)
    wanted = torch.stack(outputs)
    torch.testing.assert_close(y, wanted, **EXACT)
    for mine, other in zip(flat(final), state, strict=True):
        torch.testing.assert_close(mine[0], other, **EXACT)
    weighed = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)
    of = [x, *layer.parameters()]
    found = [torch.autograd.grad((each * weighed).sum(), of) for each in (y, wanted)]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


HELD = {"lstm_nig": ("i", 1e3), "lstm_nfg": ("f", 1e3), "lstm_nog": ("o", 1e3)}


@pytest.mark.parametrize("name", HELD)
def test_a_variant_without_a_gate_is_the_cell_whose_gate_is_held_open(name: str) -> None:
    torch.manual_seed(1)
    gate, bias = HELD[name]
    full, without = layer_of("lstm_peephole", I, H), layer_of(name, I, H)
    with torch.no_grad():
        for key, parameter in without.cell.parameters.items():
            theirs = full.cell.parameters[key].blocks
            stacked = getattr(full, f"{key}_l0").view(len(theirs), H, -1)
            kept = [theirs.index(block) for block in parameter.blocks]
            getattr(without, f"{key}_l0").copy_(stacked[kept].flatten(0, 1).squeeze(-1))
            if gate in theirs:
                stacked[theirs.index(gate)] = bias if key == "bias_ih" else 0
    x, state = torch.randn(T, B, I), state_of(full, B)
    torch.testing.assert_close(without(x, state)[0], full(x, state)[0], rtol=1e-5, atol=1e-6)


def test_coupled_gates_without_peepholes_are_lstm_coupled() -> None:
    torch.manual_seed(2)
    plain, peeping = layer_of("lstm_coupled", I, H), layer_of("lstm_cifg", I, H)
    peeping.load_state_dict(plain.state_dict() | {"weight_ch_l0": torch.zeros(2 * H)})
    x, state = torch.randn(T, B, I), state_of(plain, B)
    torch.testing.assert_close(peeping(x, state)[0], plain(x, state)[0], rtol=1e-5, atol=1e-6)


def test_gates_that_see_no_gates_before_them_are_those_of_lstm_peephole() -> None:
    torch.manual_seed(3)
    plain, full = layer_of("lstm_peephole", I, H), layer_of("lstm_fgr", I, H)
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            into = getattr(full, name)
            into.zero_()
            into[: len(weight)] = weight
    x, (h, c) = torch.randn(T, B, I), state_of(plain, B)
    gates = tuple(torch.rand(3, 1, B, H))
    expected, _ = plain(x, (h, c))
    torch.testing.assert_close(full(x, (h, c, *gates))[0], expected, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        full.weight_hh_l0[4 * H :] = 0.5
    assert not torch.allclose(full(x, (h, c, *gates))[0], expected, atol=1e-3)


@pytest.mark.parametrize("name", ["slstm", "slstm_exp"])
def test_gates_of_any_size_leave_an_slstm_finite(name: str) -> None:
    """The published code keeps this by its first step, which looks at the whole batch."""
    torch.manual_seed(4)
    layer = tg.Recurrent(name, I, 6, num_heads=3)
    x = (1e4 * torch.randn(40, B, I)).requires_grad_()
    y, state = layer(x)
    gradients = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    assert all(torch.isfinite(a).all() for a in (y, *state, *gradients))
    assert (state[2] >= 1).all()  # the normaliser
    alone, _ = layer(x[:, :1])
    late, _ = layer(x, tuple(torch.cat([s[:, :1] * 0, s[:, 1:]], 1) for s in state))
    torch.testing.assert_close(late[:, :1], alone)  # beside rows that have begun


def test_an_slstm_is_that_of_flashrnn() -> None:
    pytest.importorskip("flashrnn")
    from flashrnn.flashrnn.vanilla import (  # pyright: ignore[reportMissingImports]
        flashrnn_forward,
        flashrnn_pointwise_function_registry,
    )

    torch.manual_seed(5)
    heads, units = 2, 3
    layer: Any = tg.Recurrent("slstm", I, heads * units, num_heads=heads)
    x = torch.randn(T, B, I, requires_grad=True)
    products = F.linear(x, layer.weight_ih_l0, layer.bias_ih_l0)
    # [H, P, GR, D] of our [GR, H, D, P]
    matrix = layer.weight_hh_l0.view(4, heads, units, units).permute(1, 3, 0, 2)
    theirs, last = flashrnn_forward(
        products.view(T, B, 4, heads, units),
        torch.zeros(1, B, 4, heads, units),
        matrix,
        layer.bias_hh_l0.view(4, heads, units),
        flashrnn_pointwise_function_registry["slstm"],
    )[:2]
    y, state = layer(x)
    wanted = theirs[:, :, 0].flatten(2)
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5)
    of = [x, *layer.parameters()]
    found = [torch.autograd.grad(each.square().sum(), of) for each in (y, wanted)]
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script")  # of mlstm_kernels, which tirex-2 imports
def test_an_slstm_of_each_head_is_the_layer_of_tirex_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module of examples/tirex_on_engine.py, beside the layer that it is made of."""
    pytest.importorskip("tirex2")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples"))
    component = importlib.import_module("tirex2.model.component")
    example = importlib.import_module("tirex_on_engine")
    torch.manual_seed(6)
    heads, units = 2, 8
    sizes = component.xLSTMMixedConfig(units, heads, 3, vocab_size=0, num_slstm_heads=heads)
    block = component.BiXLSTM(sizes, block_idx=1, num_blocks=3, device="cpu")
    theirs = block.fwd_cell
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    layer = example.SLSTM(theirs)
    x = torch.randn(B, T, units, requires_grad=True)
    y, wanted = layer(x), theirs(x)
    torch.testing.assert_close(y, wanted, rtol=1e-5, atol=1e-5)

    weighed = torch.linspace(-1, 2, y.numel()).view_as(y)
    trained = {n: p for n, p in layer.named_parameters() if p.requires_grad}
    of_x, *found = torch.autograd.grad((y * weighed).sum(), [x, *trained.values()])
    own = [x, *theirs.parameters()]
    of_their_x, *gradients = torch.autograd.grad((wanted * weighed).sum(), own)
    torch.testing.assert_close(of_x, of_their_x, rtol=1e-5, atol=1e-5)
    known = torch.tensor([True, False, True])
    forecast = block(x, ~known)
    example.on_engine(nn.Sequential(block))
    torch.testing.assert_close(block(x, ~known), forecast, rtol=1e-5, atol=1e-5)
    with torch.no_grad():  # gradients stand in ours as the weights do
        for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
            parameter.copy_(gradient)
    expected = example.SLSTM(theirs).state_dict()
    for name, gradient in zip(trained, found, strict=True):
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-5)

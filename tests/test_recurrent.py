# ruff: noqa: ARG001, ARG005 - equations take what they may need
"""tidegate.Recurrent: the layer of any cell, by its name or as it is declared."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS, flat, layer_of, random_case, state_of
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.cells.definition import Cell, cell
from tidegate.cells.parts import Gate, State
from tidegate.equations import bptt
from tidegate.equations.expr import gates, states
from tidegate.errors import InputError
from tidegate.nn.init import initialise_chrono, initialise_recurrent


def own(equations: Any, name: str = "own", **declared: Any) -> Cell:
    """A cell as a user declares it, with gates f and n and the state h unless others are given."""
    usual = {
        "gates": {"f": Gate("forget gate", "keeps"), "n": Gate("candidate")},
        "states": {"h": State("hidden state")},
    }
    return cell(name, **usual | declared, source="this test", use="for tests")(equations)


def light(ops, w, u, h):
    f = ops.sigmoid(w.f + u.f(h))
    return states(h=f * h + (1 - f) * ops.tanh(w.n)), gates(f=f)


def every_operation(ops, w, u, p, h, m):
    f = ops.sigmoid(w.f + u.f(h)) / (1 + ops.exp(-p.n * m))
    n = ops.maximum(w.n, ops.minimum(0.5, u.n(h))) + ops.maximum(-0.2, p.f)
    scale = ops.rsqrt(ops.mean(n * n) + 0.1) - ops.log(2 + ops.relu(m))
    new = f * h + (1 - f) * ops.tanh(n * scale)
    return states(h=new, m=0.9 * m + ops.mean(new)), gates(f=f, n=n)


OPERATIONS = own(
    every_operation,
    states={"h": State("hidden state"), "m": State("mean")},
    vectors={"weight_p": ("f", "n")},
)


def test_a_cell_of_ones_own_computes_and_learns_as_the_text_book() -> None:
    x, state, weights = random_case(OPERATIONS, hidden=6)
    layer = tg.Recurrent(OPERATIONS, 4, 6, dtype=torch.float64)
    layer.load_state_dict({f"{name}_l0": torch.tensor(w) for name, w in weights.items()})
    inputs = [torch.tensor(a, requires_grad=True) for a in (x, *state)]
    y, final = layer(inputs[0], tuple(s.unsqueeze(0) for s in inputs[1:]))
    exact = bptt.forward(OPERATIONS, x, state, weights)
    np.testing.assert_allclose(y.detach(), exact.y, rtol=0, atol=1e-13)
    found = torch.autograd.grad(y.square().sum(), [*inputs, *layer.parameters()])
    nothing = tuple(np.zeros_like(s) for s in exact.state)
    d_x, d_state, d_weights = bptt.backward(OPERATIONS, exact, weights, 2 * exact.y, nothing)
    for mine, other in zip(found, [d_x, *d_state, *d_weights.values()], strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-12)
    assert [s.shape for s in final] == [(1, 3, 6)] * 2
    assert torch.autograd.gradcheck(lambda x: layer(x, lengths=[5, 2, 0])[0], inputs[0])


def test_a_cell_that_only_shares_a_name_runs_its_own_equations() -> None:
    layer = tg.Recurrent(own(light, name="gru"), 3, 5)
    assert layer.explain().startswith("reference: the engine has no kernel for gru")
    x = torch.randn(4, 2, 3)
    exact = copy.deepcopy(layer).double()
    torch.testing.assert_close(layer(x)[0].double(), exact(x.double())[0], rtol=0, atol=1e-6)
    assert layer.weight_hh_l0.shape == (5, 5)  # of the two gates only f has a recurrent product


def test_a_cell_whose_state_no_weights_read_has_none_to_drop() -> None:
    def quick(ops, w, u, h):
        f = ops.sigmoid(w.f)
        return states(h=f * h + (1 - f) * ops.tanh(w.n)), gates(f=f)

    declared = own(quick)
    layer = tg.Recurrent(declared, 3, 5, num_layers=2, bidirectional=True)
    assert [name for name, _ in layer.named_parameters()][:2] == ["weight_ih_l0", "bias_ih_l0"]
    layer(torch.randn(4, 2, 3))[0].sum().backward()
    with pytest.raises(ValueError, match="recurrent_dropout: expected 0 for own, whose state no"):
        tg.Recurrent(declared, 3, 5, recurrent_dropout=0.1)


def test_a_gate_that_reads_no_input_starts_by_its_recurrent_bias() -> None:
    def fading(ops, w, u, h):
        f = ops.sigmoid(u.f(h))
        return states(h=f * h + (1 - f) * ops.tanh(w.n)), gates(f=f)

    layer = tg.Recurrent(own(fading), 3, 5)
    assert layer.bias_ih_l0.shape == layer.bias_hh_l0.shape == (5,)  # of n, and of f
    initialise_recurrent(layer)
    initialise_chrono(layer, 50)
    assert not layer.bias_ih_l0.any()
    assert (layer.bias_hh_l0.exp() >= 1).all()
    assert layer.bias_hh_l0.any()


def test_a_cell_that_no_module_names_is_copied_and_not_pickled() -> None:
    layer = tg.Recurrent(own(lambda ops, w, u, h: (states(h=w.f + u.n(h)), gates())), 3, 5)
    assert copy.deepcopy(layer).cell is layer.cell
    with pytest.raises(TypeError, match="cell own: .*; declare it at the top of a mod"):
        pickle.dumps(layer)


# its arguments


def test_an_unknown_cell_is_refused_with_some_that_there_are() -> None:
    for name in ("gruu", "GRU", ""):
        with pytest.raises(
            InputError, match=f"such as gru, .*, got {name!r}; tidegate cells lists"
        ):
            tg.Recurrent(name, 3, 5)
    with pytest.raises(TypeError, match="cell: expected a name or a tidegate.cells.Cell, got type"):
        tg.Recurrent(tg.GRU, 3, 5)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("cell", "size", "message"),
    [
        ("gru", 2, "expected 0 for gru, which has no projection, got 2.*take lstm_projected"),
        ("lstm_projected", 0, "expected at least 1, got 0"),
        ("lstm_projected", 5, "expected less than hidden_size = 5, got 5"),
        ("lstm_projected", -1, "expected at least 1, got -1"),
    ],
)
def test_a_projection_is_for_cells_that_have_one(cell: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"proj_size: {message}"):
        tg.Recurrent(cell, 3, 5, proj_size=size)


@pytest.mark.parametrize(
    ("layer", "shown", "mode"),
    [
        (tg.Recurrent("rnn", 3, 5), "Recurrent(rnn_tanh, 3, 5)", "RNN_TANH"),
        (tg.Recurrent("mgu", 3, 5, 2), "Recurrent(mgu, 3, 5, num_layers=2)", "MGU"),
        (
            tg.Recurrent("lstm_projected", 3, 5, proj_size=2, recurrent_dropout=0.5),
            "Recurrent(lstm_projected, 3, 5, proj_size=2, recurrent_dropout=0.5)", "LSTM",
        ),
        (tg.LSTM(3, 5, proj_size=2), "LSTM(3, 5, proj_size=2)", "LSTM"),
    ],
)  # fmt: skip
def test_a_layer_shows_its_cell_and_has_torchs_name_of_it(
    layer: tg.Recurrent, shown: str, mode: str
) -> None:
    assert (repr(layer), layer.mode) == (shown, mode)


def test_dropout_in_a_single_layer_warns_at_the_callers_line() -> None:
    with pytest.warns(UserWarning, match="dropout option adds") as caught:
        tg.Recurrent("mgu", 3, 5, dropout=0.5)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["gru", "lstm", "rnn_relu", "gru_reset_before"])
def test_a_layer_by_name_is_that_of_its_class(name: str) -> None:
    layer = tg.Recurrent(name, 3, 5, bidirectional=True)
    twin = getattr(tg, CELLS[name].layer)(3, 5, bidirectional=True, **CELLS[name].options)
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(4, 2, 3)
    torch.testing.assert_close(layer(x)[0], twin(x)[0], rtol=0, atol=0)
    assert isinstance(twin, tg.Recurrent)


# what torch does around a layer


@pytest.mark.parametrize("name", CELL_KINDS)
def test_a_packed_sequence_is_a_batch_with_lengths(name: str) -> None:
    layer = layer_of(name, 3, 6, num_layers=2, bidirectional=True)
    x, lengths = torch.randn(5, 3, 3), [2, 5, 3]
    y, final = layer(x, state := state_of(layer, 3), lengths)
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    packed_y, packed_final = layer(packed, state)
    torch.testing.assert_close(pad_packed_sequence(packed_y)[0], y)
    torch.testing.assert_close(flat(packed_final), flat(final))


@pytest.mark.parametrize("name", CELL_KINDS)
def test_all_weights_are_those_of_the_declaration_in_its_order(name: str) -> None:
    layer = layer_of(name, 3, 6, num_layers=2, bidirectional=True, bias=False)
    kept = [n for n, p in CELLS[name].parameters.items() if not p.is_bias]
    suffixes = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    assert list(layer.state_dict()) == [n + suffix for suffix in suffixes for n in kept]
    for weights, suffix in zip(layer.all_weights, suffixes, strict=True):
        assert [w is getattr(layer, n + suffix) for w, n in zip(weights, kept, strict=True)]
    layer.flatten_parameters()


@pytest.mark.parametrize("name", CELL_KINDS)
def test_a_layer_is_saved_by_torch_and_copied(name: str) -> None:
    layer, file = layer_of(name, 3, 6), io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    x = torch.randn(4, 2, 3)
    for again in (torch.load(file, weights_only=False), copy.deepcopy(layer)):
        assert again.cell is layer.cell
        torch.testing.assert_close(again(x)[0], layer(x)[0], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's, where a graph breaks
@pytest.mark.parametrize("name", CELL_KINDS)
@pytest.mark.parametrize("length", [None, [2, 1]], ids=["full", "ragged"])
def test_a_compiled_layer_equals_the_eager_one(name: str, length: Any) -> None:
    torch._dynamo.reset()
    layer = layer_of(name, 3, 6, bias=length is None)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=length is None)
    x = torch.randn(2, 2, 3)
    results = []
    for call in (layer, compiled):
        y, final = call(x, lengths=length)
        loss = y.square().sum() + flat(final)[-1].sum()
        results.append([y, *flat(final), *torch.autograd.grad(loss, list(layer.parameters()))])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("name", CELL_KINDS)
def test_export_and_trace_give_the_same_answers(name: str) -> None:
    layer, x = layer_of(name, 3, 6).eval(), torch.randn(4, 2, 3)
    expected = layer(x)[0]
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x)[0], expected)


@pytest.mark.parametrize("name", CELL_KINDS)
def test_autocast_computes_in_float32_and_returns_the_types_of_plain_operations(name: str) -> None:
    layer, x = layer_of(name, 3, 6), torch.randn(4, 2, 3)
    exact, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, final = layer(x)
        assert "computes in float32" in layer.explain()
        stepped = _plain(layer, x)
    assert [o.dtype for o in (y, *flat(final))] == [
        *(stepped[0].dtype, *(s.dtype for s in stepped))
    ] or CELLS[name].torch  # torch.nn's own types: test_drop_in.py
    torch.testing.assert_close(y.float(), exact, rtol=0, atol=2e-2)


def _plain(layer: tg.Recurrent, x: torch.Tensor) -> Any:
    from tidegate.nn.reference import Step

    step = Step(layer.cell, layer.layer_weights(0))
    state = tuple(torch.zeros(x.shape[1], size) for size in layer.state_sizes)
    for products in step.of_inputs(x):
        state = step(products, state)
    return state


@pytest.mark.parametrize("name", [name for name in CELL_KINDS if CELLS[name].seen_width])
def test_recurrent_dropout_keeps_one_mask_for_a_whole_sequence(name: str) -> None:
    torch.manual_seed(0)
    layer = layer_of(name, 3, 6, recurrent_dropout=0.5)
    x = torch.randn(1, 4, 3).expand(30, 4, 3)
    first, second = layer(x)[0], layer(x)[0]
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    again = layer(x)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(layer(x)[0], again, rtol=0, atol=0)
    # under one mask a constant input leads to a state that stays, as far as the cell lets it
    layer.eval()
    torch.testing.assert_close(layer(x)[0], layer(x)[0], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_layers_of_new_cells_are_replaced_by_none_of_torchs() -> None:
    with pytest.raises(RuntimeError, match="cannot compile tidegate.Recurrent; use"):
        torch.jit.script(tg.Recurrent("mgu", 3, 5))
    with pytest.raises(RuntimeError, match="load its state_dict into a torch.nn.LSTM"):
        torch.jit.script(tg.Recurrent("lstm_projected", 3, 5, proj_size=2))


def test_a_layer_in_a_sequential_model_is_moved_and_trained() -> None:
    network = nn.ModuleList([tg.Recurrent("lstm_peephole", 3, 6), nn.Linear(6, 1)]).double()
    x, target = torch.randn(8, 16, 3).double(), torch.randn(16, 1).double()
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (network[1](network[0](x)[0][-1]) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]

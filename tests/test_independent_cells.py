"""Cells that torch.nn has not, against other people's code of the same equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import flat, layer_of, random_case
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import tidegate as tg
from tidegate.cells import CELLS

T, B, I, H = 7, 4, 5, 6  # noqa: E741
TOLERANCE = 1e-5  # float32 over 7 steps


def onnx_lstm(weights: dict[str, np.ndarray], x: np.ndarray, state: Any, **more: Any) -> list:
    """Y, Y_h, Y_c of ONNX's operator LSTM, whose gates stand as i, o, f, c."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    peepholes, attributes = more.pop("P", None), more
    arrays = {"W": weights["weight_ih"], "R": weights["weight_hh"]}
    arrays["B"] = np.concatenate([weights["bias_ih"], weights["bias_hh"]])
    arrays["initial_h"], arrays["initial_c"] = state
    names = ["X", "W", "R", "B", "", "initial_h", "initial_c"]
    if peepholes is not None:
        arrays["P"] = peepholes
        names.append("P")
    given = {"X": x} | {name: array[None] for name, array in arrays.items()}
    helper = onnx.helper
    node = helper.make_node("LSTM", names, ["Y", "Y_h", "Y_c"], hidden_size=H, **attributes)
    tensors = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, array.shape)
        for name, array in given.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in ("Y", "Y_h", "Y_c")
    ]
    graph = helper.make_graph([node], "lstm", tensors, outputs)
    opset = helper.make_opsetid("", 14)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    y, h, c = session.run(None, given)
    return [y[:, 0], h[0], c[0]]  # one direction


def drawn(cell: str, seed: int) -> tuple[np.ndarray, tuple[np.ndarray, ...], dict]:
    x, state, weights = random_case(CELLS[cell], T, B, I, H, seed=seed)
    single = {name: w.astype(np.float32) for name, w in weights.items()}
    return x.astype(np.float32), tuple(s.astype(np.float32) for s in state), single


def ours(cell: str, x: np.ndarray, state: Any, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    layer = layer_of(cell, I, H)
    layer.load_state_dict({f"{name}_l0": torch.tensor(w) for name, w in weights.items()})
    with torch.no_grad():
        y, final = layer(torch.tensor(x), tuple(torch.tensor(s)[None] for s in state))
    return [y.numpy(), *(s[0].numpy() for s in flat(final))]


def in_order(cell: str, name: str, array: np.ndarray, order: str) -> np.ndarray:
    """The gates' blocks of a parameter in another order; a gate may be there twice."""
    blocks = CELLS[cell].parameters[name].blocks
    parts = dict(zip(blocks, np.split(array, len(blocks)), strict=True))
    return np.concatenate([parts[gate] for gate in order])


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_peepholes_are_those_of_onnx(seed: int) -> None:
    x, state, weights = drawn("lstm_peephole", seed)
    theirs = {
        n: in_order("lstm_peephole", n, w, "iofg") for n, w in weights.items() if "_ch" not in n
    }
    peepholes = in_order("lstm_peephole", "weight_ch", weights["weight_ch"], "iof")
    expected = onnx_lstm(theirs, x, state, P=peepholes)
    for mine, other in zip(ours("lstm_peephole", x, state, weights), expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=TOLERANCE, atol=TOLERANCE)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_coupled_gates_are_those_of_onnx(seed: int) -> None:
    x, state, weights = drawn("lstm_coupled", seed)
    # with input_forget the forget gate's own weights, here the input gate's, are not read
    theirs = {n: in_order("lstm_coupled", n, w, "ioig") for n, w in weights.items()}
    expected = onnx_lstm(theirs, x, state, input_forget=1)
    for mine, other in zip(ours("lstm_coupled", x, state, weights), expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=TOLERANCE, atol=TOLERANCE)


Named = dict[str, Tensor]
# What theirs is called, its options, and its weights, made of ours.  Theirs of like names are other
# cells: the candidate of LightRU sees no state, that of gru_light does; the gate of MinimalRNN sees
# the state, that of minGRU does not; TGRU and TLSTM also read the input of the step before.
PEERS: dict[str, tuple[str, dict[str, Any], Callable[[Named], Named]]] = {
    "mgu": ("MGU", {}, dict),
    "gru_light": ("LiGRU", {}, dict),
    "indrnn": (
        "IndRNN",
        {"nonlinearity": "relu", "recurrent_bias": False},
        lambda ours: renamed(ours, "weight_diagonal", "vector_u"),
    ),
    "lstm_peephole": ("PeepholeLSTM", {}, lambda ours: renamed(ours, "weight_ch", "weight_ph")),
    # the first LSTM: no forget gate, and no peepholes, which are zeros in ours
    "lstm_nfg": (
        "OriginalLSTM",
        {},
        lambda ours: {n: w for n, w in ours.items() if n != "weight_ch"},
    ),
    # the strongly typed RNN: its gate keeps where that of minGRU writes
    "mingru": ("TRNN", {}, lambda ours: {n: negated_gate_last(w) for n, w in ours.items()}),
}


def renamed(ours: Named, name: str, theirs: str) -> Named:
    return {theirs if n == name else n: weight for n, weight in ours.items()}


def negated_gate_last(weight: Tensor) -> Tensor:
    z, n = weight.chunk(2)
    return torch.cat([n, -z])


def results(run: Any, x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> list[Tensor]:
    y, last = run(x, state if len(state) > 1 else state[0])
    final = flat(last)
    loss = (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum()
    loss = loss + sum(s.square().sum() for s in final)
    return [y, *final, *torch.autograd.grad(loss, [x, *state, *weights])]


@pytest.mark.parametrize("cell", PEERS)
def test_outputs_and_gradients_are_those_of_torchrecurrent(cell: str) -> None:
    torch.manual_seed(4)
    library = pytest.importorskip("torchrecurrent")
    name, options, made_of = PEERS[cell]
    layer, other = layer_of(cell, I, H), getattr(library, name)(I, H, **options)
    if cell == "lstm_nfg":
        layer.weight_ch_l0.requires_grad_(False).zero_()
    ours = {n.removesuffix("_l0"): w for n, w in layer.named_parameters()}
    theirs = {f"cells.0.{n}": w for n, w in made_of(ours).items()}
    assert theirs.keys() == dict(other.named_parameters()).keys()

    def peer(x: Tensor, state: Any) -> Any:
        return torch.func.functional_call(other, theirs, (x, state))

    x = torch.randn(T, B, I, requires_grad=True)
    state = tuple(torch.randn(1, B, H, requires_grad=True) for _ in layer.cell.states)
    weights = [w for w in layer.parameters() if w.requires_grad]
    found = [results(run, x, state, weights) for run in (layer, peer)]
    torch.testing.assert_close(*found, rtol=TOLERANCE, atol=TOLERANCE)


@given(
    sizes=st.tuples(st.integers(1, 6), st.integers(2, 9), st.integers(1, 8)),
    options=st.fixed_dictionaries(
        {"num_layers": st.integers(1, 3), "bias": st.booleans(), "bidirectional": st.booleans()}
    ),
)
@settings(max_examples=25)
def test_a_projected_lstm_is_torch_nns_and_loads_both_ways(sizes: Any, options: Any) -> None:
    inputs, hidden, projection = sizes[0], sizes[1], min(sizes[2], sizes[1] - 1)
    torch.manual_seed(5)
    theirs = nn.LSTM(inputs, hidden, proj_size=projection, **options)
    layers = [
        tg.LSTM(inputs, hidden, proj_size=projection, **options),
        tg.Recurrent("lstm_projected", inputs, hidden, proj_size=projection, **options),
    ]
    count = theirs.num_layers * (2 if theirs.bidirectional else 1)
    x = torch.randn(T, B, inputs, requires_grad=True)
    state = tuple(torch.randn(count, B, size, requires_grad=True) for size in (projection, hidden))

    def answers(layer: Any) -> list[Tensor]:
        y, final = layer(x, state)
        loss = y.square().sum() + sum(s.sin().sum() for s in final)
        return [y, *final, *torch.autograd.grad(loss, [x, *state, *layer.parameters()])]

    for layer in layers:
        layer.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(answers(layer), answers(theirs), rtol=1e-5, atol=1e-5)
        layer.reset_parameters()
        theirs.load_state_dict(layer.state_dict())
        torch.testing.assert_close(answers(layer), answers(theirs), rtol=1e-5, atol=1e-5)

"""Cells that torch.nn has not, against other people's code of the same equations."""

from __future__ import annotations

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


def results(run: Any, x: Tensor, state: Tensor, weights: list[Tensor]) -> list[Tensor]:
    y, final = run(x, state)
    loss = (y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum() + final.square().sum()
    return [y, final, *torch.autograd.grad(loss, [x, state, *weights])]


@pytest.mark.parametrize(("cell", "theirs"), [("mgu", "MGU"), ("gru_light", "LiGRU")])
def test_outputs_and_gradients_are_those_of_torchrecurrent(cell: str, theirs: str) -> None:
    torch.manual_seed(4)
    library = pytest.importorskip("torchrecurrent")
    layer, other = layer_of(cell, I, H), getattr(library, theirs)(I, H)
    with torch.no_grad():
        for (name, mine), (their_name, parameter) in zip(
            sorted(layer.named_parameters()), sorted(other.named_parameters()), strict=True
        ):
            assert name.removesuffix("_l0") == their_name.rsplit(".", 1)[1]
            parameter.copy_(mine)
    x, state = (torch.randn(shape, requires_grad=True) for shape in ((T, B, I), (1, B, H)))
    named = dict(sorted(layer.named_parameters())), dict(sorted(other.named_parameters()))
    found = [
        results(run, x, state, list(weights.values()))
        for run, weights in zip((layer, other), named, strict=True)
    ]
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

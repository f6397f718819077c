"""Activations in cells and in networks of other libraries: those of torch, and their gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import layer_of
from compiled_cells import cells_kept  # noqa: F401  a fixture
from torch.nn import functional as F  # noqa: N812

from tidegate import cell, gates, states
from tidegate.equations import bptt
from tidegate.equations.activations import ACTIVATIONS
from tidegate.errors import InputError
from tidegate.interchange import read, write
from tidegate.interchange.conventions.activations import Activation
from tidegate.interchange.layers import Activate
from tidegate.nn import reference

pytestmark = pytest.mark.usefixtures("cells_kept")

TORCH: dict[str, Any] = {
    "hard_sigmoid": F.hardsigmoid,
    "hard_tanh": F.hardtanh,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "thresholded_relu": lambda a: F.threshold(a, 1.0, 0.0),
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "softplus": F.softplus,
    "log_sigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "silu": F.silu,
    "hard_silu": F.hardswish,
    "mish": F.mish,
    "gelu": F.gelu,
    "gelu_tanh": lambda a: F.gelu(a, approximate="tanh"),
    "tanh_shrink": F.tanhshrink,
    "soft_shrink": F.softshrink,
    "hard_shrink": F.hardshrink,
    "squareplus": lambda a: (a + torch.sqrt(a * a + 4)) / 2,
}
NAMES = list(ACTIVATIONS)
WIDE = 16  # vectors of a cell at most


def test_every_activation_is_compared() -> None:
    assert TORCH.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_is_torch_s_and_so_is_its_gradient(name: str) -> None:
    a = torch.linspace(-9, 9, 1802, dtype=torch.float64, requires_grad=True)
    found, expected = getattr(reference.Operations, name)(a), TORCH[name](a)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    slopes = [torch.autograd.grad(each.sum(), a)[0] for each in (found, expected)]
    # torch's own of hard_sigmoid has the sixth of float32
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-8)
    on_numpy = getattr(bptt.Operations, name)(a.detach().numpy())
    np.testing.assert_allclose(on_numpy, expected.detach().numpy(), atol=1e-14)


SMOOTH = (
    "elu",
    "celu",
    "softplus",
    "log_sigmoid",
    "softsign",
    "silu",
    "mish",
    "gelu",
    "squareplus",
)


@pytest.mark.parametrize("name", SMOOTH)
def test_what_bends_smoothly_has_its_slope_where_pieces_meet(name: str) -> None:
    a = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    slopes = [
        torch.autograd.grad(f(a).sum(), a)[0]
        for f in (getattr(reference.Operations, name), TORCH[name])
    ]
    torch.testing.assert_close(*slopes)


def mixed(names: list[str]) -> Any:
    """A cell that adds up activations, each weighed by a vector of its own."""

    def mix(ops, w, u, share, h):  # noqa: ANN001, ANN202
        seen = getattr(u, names[0])(h)
        made = 0.2 * h
        for name in names:
            made = made + getattr(share, name) * getattr(ops, name)(getattr(w, name) + seen)
        return states(h=ops.tanh(made)), gates()

    return cell(gates=names, state="h", vectors={"share": names})(mix)


@pytest.mark.parametrize("names", [NAMES[:WIDE], NAMES[WIDE:]], ids=["first", "rest"])
def test_the_engine_computes_each_activation_and_its_gradients(names: list[str]) -> None:
    """The gradient of each share is that of its activation alone."""
    torch.manual_seed(0)
    layer: Any = layer_of(mixed(names), 4, 9, strict=True)
    exact: Any = layer_of(layer.cell, 4, 9, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_ih_l0.mul_(5)  # so that all pieces are met
        layer.share_l0.mul_(0.5)
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(7, 5, 4)
    found = []
    for each, given in ((layer, x), (exact, x.double())):
        given = given.requires_grad_()
        y, _ = each(given, lengths=torch.tensor([7, 2, 5, 7, 1]))
        gradients = torch.autograd.grad(y.square().sum(), [given, *each.parameters()])
        found.append([y, *gradients])
    for mine, other in zip(*found, strict=True):
        size = float(other.detach().abs().max())
        torch.testing.assert_close(mine.double(), other, rtol=0, atol=2e-5 * max(1, size))


def test_numbers_of_an_activation_may_be_learned() -> None:
    @cell(gates="n", state="h", vectors={"slope": "n"})
    def leaking(ops, w, u, slope, h):  # noqa: ANN001, ANN202
        return states(h=ops.leaky_relu(w.n + u.n(h), slope.n)), gates()

    layer: Any = layer_of(leaking, 3, 4, dtype=torch.float64)
    x = torch.randn(1, 2, 3, dtype=torch.float64)
    a = F.linear(x, layer.weight_ih_l0, layer.bias_ih_l0) + layer.bias_hh_l0
    torch.testing.assert_close(layer(x)[0], F.prelu(a.flatten(0, 1), layer.slope_l0)[None])


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("ops.gelu()", "expected 1 value, got 0; write ops.gelu"),
        ("ops.elu(w.n, 1, 2)", "expected 1 value and up to 1 numbers, got 3; write ops.elu"),
        ("ops.swish(w.n)", "expected one of sigmoid, .*silu"),
    ],
)
def test_an_activation_that_is_called_otherwise_is_refused(written: str, problem: str) -> None:
    def wrong(ops, w, u, h):  # noqa: ANN001, ANN202, ARG001
        return states(h=eval(written)), gates()  # noqa: S307

    with pytest.raises((TypeError, AttributeError), match=problem):
        cell(gates="n", state="h")(wrong)


# networks of other libraries

OF_KERAS = [
    "relu6", "selu", "celu", "silu", "swish", "hard_silu", "hard_swish", "mish", "gelu",
    "hard_tanh", "log_sigmoid", "tanh_shrink", "soft_shrink", "hard_shrink", "squareplus",
    "sparse_sigmoid", "exponential", "elu", "softplus",
]  # fmt: skip


# of Keras' variables on the torch backend, under NumPy 2; and of cells that numpy runs
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:the cell .* runs step by step:RuntimeWarning")
@pytest.mark.usefixtures("no_compiler")
def test_activations_of_keras_are_read_and_written_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    layers = [keras.layers.SimpleRNN(4, return_sequences=True)]
    layers += [keras.layers.Dense(4, activation=name) for name in OF_KERAS]
    layers += [
        keras.layers.LeakyReLU(negative_slope=0.25),
        keras.layers.ELU(0.5),
        keras.layers.GRU(3, activation="gelu", recurrent_activation="hard_sigmoid",
                         return_sequences=True),
        keras.layers.LSTM(3, activation="silu"),
    ]  # fmt: skip
    made = keras.Sequential([keras.Input((None, 4)), *layers])
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(size=v.shape) * 0.7 for v in made.weights])
    path, again = tmp_path / "m.keras", tmp_path / "again.keras"
    made.save(path)
    x = rng.normal(size=(3, 5, 4)).astype(np.float32)
    expected = made.predict(x, verbose=0)
    network = read(path)
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-4, atol=1e-5)
    write(network, again)
    np.testing.assert_allclose(
        keras.saving.load_model(again).predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6
    )
    with pytest.raises(InputError, match="expected activations that ONNX's operators have"):
        write(network, tmp_path / "m.onnx")


def test_nodes_of_onnx_are_read_and_what_has_no_operator_is_made_of_others(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnxruntime import InferenceSession

    helper, rng = onnx.helper, np.random.default_rng(0)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("Selu", {}), ("Celu", {"alpha": 0.5}), ("Elu", {}), ("LeakyRelu", {}), ("HardSwish", {}),
        ("Gelu", {}), ("Gelu", {"approximate": "tanh"}), ("Mish", {}),
        ("HardSigmoid", {"alpha": 0.3}), ("Softplus", {}), ("Exp", {}),
    ]  # fmt: skip
    held = {"W": rng.normal(size=(1, 4, 3)), "R": rng.normal(size=(1, 4, 4))}
    arrays = [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in held.items()]
    arrays.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    nodes = [
        helper.make_node("RNN", ["x", "W", "R"], ["Y"], hidden_size=4),
        helper.make_node("Squeeze", ["Y", "one"], ["v0"]),
    ]
    for k, (kind, numbers) in enumerate(kinds):
        nodes.append(helper.make_node(kind, [f"v{k}"], [f"v{k + 1}"], **numbers))
    values = [
        helper.make_tensor_value_info("x", 1, ["T", "B", 3]),
        helper.make_tensor_value_info(f"v{len(kinds)}", 1, None),
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    onnx.save(model, first)
    x = rng.normal(size=(5, 2, 3)).astype(np.float32)
    expected: Any = InferenceSession(first.read_bytes()).run(None, {"x": x})[0]
    network = read(first)
    assert sum(isinstance(layer, Activate) for layer in network.layers) == len(kinds)
    expected = expected.swapaxes(0, 1)
    rows = x.swapaxes(0, 1)
    np.testing.assert_allclose(network.predict(rows), expected, rtol=1e-4, atol=1e-5)
    write(network, second)  # of an opset without Gelu and Mish
    again: Any = InferenceSession(second.read_bytes()).run(None, {"x": rows})[0]
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-5)


def test_a_selu_of_numbers_of_its_own_is_not_taken_for_selu() -> None:
    from tidegate.interchange.conventions.activations import of_onnx_node

    assert of_onnx_node("Selu", {}) == Activation("Selu")
    assert of_onnx_node("Selu", {"alpha": 1.0}) is None
    assert of_onnx_node("Sin", {}) is None

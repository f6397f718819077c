"""The table of other libraries' conventions, held against the libraries themselves."""

import numpy as np
import pytest

from tidegate.cells import CELLS
from tidegate.equations import bptt
from tidegate.interchange.conventions.weights import (
    LIBRARIES,
    into,
    out_of,
)

KNOWN = [(library, cell) for library, cells in LIBRARIES.items() for cell in cells]
SIZES = {"I": 3, "H": 4, "P": 2}


def weights_of(cell: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Random, so that no two gates and no two directions of a matrix are alike."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in CELLS[cell].shapes(SIZES).items()
    }


@pytest.mark.parametrize(("library", "cell"), KNOWN)
def test_what_goes_into_a_library_comes_out_of_it(library, cell):
    own = weights_of(cell)
    back = out_of(library, cell, into(library, cell, own))
    if LIBRARIES[library][cell].bias == "sum":
        own["bias_ih"], own["bias_hh"] = own["bias_ih"] + own["bias_hh"], 0 * own["bias_hh"]
    assert back.keys() == own.keys()
    for name, array in own.items():
        assert np.array_equal(back[name], array), name


@pytest.mark.parametrize(("library", "cell"), KNOWN)
def test_a_library_without_biases_has_none_in_either_direction(library, cell):
    own = {n: a for n, a in weights_of(cell).items() if "bias" not in n}
    back = out_of(library, cell, into(library, cell, own))
    assert back.keys() == own.keys()


@pytest.mark.parametrize(("library", "cell"), KNOWN)
def test_blocks_taken_in_the_order_of_gates_are_those_of_our_weights(library, cell):
    own = weights_of(cell)
    how = LIBRARIES[library][cell]
    theirs = into(library, cell, own)[how.arrays["weight_ih"]]
    if how.stacked:
        theirs = theirs.reshape(-1, theirs.shape[-1])
    blocks = np.split(theirs.T if how.transposed else theirs, len(how.gates))
    taken = np.concatenate([blocks[k] for k in how.order_of(CELLS[cell])])
    assert np.array_equal(taken, own["weight_ih"])


def step(cell: str, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The cell's own equations over x [T, B, I], in float64."""
    double = {n: a.astype(np.float64) for n, a in weights.items()}
    states = CELLS[cell].state_sizes(SIZES)
    zeros = tuple(np.zeros((x.shape[1], width)) for width in states)
    return bptt.forward(CELLS[cell], x.astype(np.float64), zeros, double).y


X = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)


@pytest.mark.parametrize("cell", LIBRARIES["torch"])
def test_torch_nn_runs_what_the_table_gives_it(cell):
    torch = pytest.importorskip("torch")
    how = LIBRARIES["torch"][cell]
    size = {"proj_size": SIZES["P"]} if CELLS[cell].is_projected else {}
    layer = getattr(torch.nn, how.layer)(SIZES["I"], SIZES["H"], **size, **how.options)
    given = into("torch", cell, weights_of(cell))
    layer.load_state_dict({f"{n}_l0": torch.from_numpy(a) for n, a in given.items()})
    y = layer(torch.from_numpy(X))[0].detach().numpy()
    np.testing.assert_allclose(y, step(cell, weights_of(cell), X), atol=1e-6)


@pytest.mark.parametrize("cell", LIBRARIES["keras"])
def test_keras_runs_what_the_table_gives_it(cell, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    how = LIBRARIES["keras"][cell]
    layer = getattr(keras.layers, how.layer)(SIZES["H"], return_sequences=True, **how.options)
    layer.build((None, None, SIZES["I"]))
    layer.set_weights(list(into("keras", cell, weights_of(cell)).values()))
    y = np.asarray(layer(X.swapaxes(0, 1)).detach()).swapaxes(0, 1)
    np.testing.assert_allclose(y, step(cell, weights_of(cell), X), atol=1e-6)


@pytest.mark.parametrize("cell", LIBRARIES["onnx"])
def test_onnx_runtime_runs_what_the_table_gives_it(cell):
    helper = pytest.importorskip("onnx").helper
    runtime = pytest.importorskip("onnxruntime")
    how, given = LIBRARIES["onnx"][cell], into("onnx", cell, weights_of(cell))
    inputs = ["X", "W", "R", "B", "", "", "", "P"][: 8 if "P" in given else 4]
    node = helper.make_node(
        how.layer, inputs, ["Y"], hidden_size=SIZES["H"],
        **{k: list(v) if isinstance(v, tuple) else v for k, v in how.options.items()},
    )  # fmt: skip
    held = [helper.make_tensor(n, 1, (1, *a.shape), a.ravel().tolist()) for n, a in given.items()]
    tensors = [helper.make_tensor_value_info(n, 1, None) for n in "XY"]
    graph = helper.make_graph([node], "layer", tensors[:1], tensors[1:], held)
    opset = [helper.make_opsetid("", 14)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString())
    y = session.run(None, {"X": X})[0][:, 0]
    # Its sigmoid and tanh are rational approximations.
    np.testing.assert_allclose(y, step(cell, weights_of(cell), X), atol=2e-6)


def test_the_tutorial_runs_what_the_table_gives_it():
    """Its step as its text has it: z keeps, reset before the product; with a plain sigmoid."""
    given = into("theano", "gru_reset_before", weights_of("gru_reset_before"))
    u, w, b = given["U"].astype(np.float64), given["W"].astype(np.float64), given["b"]

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    h = np.zeros((2, SIZES["H"]))
    for x in X.astype(np.float64):
        z = sigmoid(x @ u[0].T + h @ w[0].T + b[0])
        r = sigmoid(x @ u[1].T + h @ w[1].T + b[1])
        c = np.tanh(x @ u[2].T + (h * r) @ w[2].T + b[2])
        h = (1 - z) * c + z * h
    y = step("gru_reset_before", weights_of("gru_reset_before"), X)
    np.testing.assert_allclose(y[-1], h, atol=1e-6)  # b is a sum in float32


def test_a_gate_that_writes_there_has_the_other_sign_here():
    how = LIBRARIES["theano"]["gru_reset_before"].writing("z")
    own = weights_of("gru_reset_before")
    there = into("theano", "gru_reset_before", own, how)
    plain = into("theano", "gru_reset_before", own)
    for name in ("U", "W", "b"):
        assert np.array_equal(there[name][0], -plain[name][0])
        assert np.array_equal(there[name][1:], plain[name][1:])
    back = out_of("theano", "gru_reset_before", there, how)
    assert np.array_equal(back["weight_ih"], own["weight_ih"])

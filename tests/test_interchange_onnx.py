"""ONNX models through the reader and the engine: the standard's own tests, and 200 of ours."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_cases import Case, case

from tidegate.errors import InputError
from tidegate.interchange import Network, read, write
from tidegate.interchange.conventions.activations import OLD_HARD_SIGMOID as HARD
from tidegate.interchange.conventions.activations import RELU, SIGMOID, TANH, Activation
from tidegate.interchange.conventions.forms import Form
from tidegate.interchange.layers import Direction, Recurrent

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def outputs(network: Network, x: np.ndarray, lengths: Any) -> dict[str, np.ndarray]:
    """Y [T, D, B, H], Y_h and Y_c of the only layer; x [T, B, I]; ``predict`` gives the same Y."""
    (layer,) = network.layers
    assert isinstance(layer, Recurrent)
    batch = x.swapaxes(0, 1)
    mask = None if lengths is None else np.arange(len(x)) < np.asarray(lengths)[:, None]
    y, finals = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of cells that numpy runs
        for d, direction in enumerate(layer.directions):
            own, final = layer.states(batch, mask, d)
            y.append((own[:, ::-1] if direction.reverse else own).swapaxes(0, 1))
            finals.append(final)
        whole = network.predict(batch, lengths)
    if layer.every:
        assert np.array_equal(whole, np.concatenate(y, -1).swapaxes(0, 1))
    states = dict(zip(("Y_h", "Y_c"), map(np.stack, zip(*finals, strict=True)), strict=False))
    return {"Y": np.stack(y, 1), **states}


ODD = {
    "LSTM": Form("LSTM", (HARD, RELU, Activation("ScaledTanh", 0.8, 1.2)), 2.5, peepholes=True),
    "coupled": Form("LSTM", (SIGMOID, RELU, TANH), coupled=True),
    "GRU": Form("GRU", (HARD, Activation("LeakyRelu", 0.1)), reset_after=False),
}


@pytest.mark.parametrize("form", ODD.values(), ids=ODD)
def test_the_engine_runs_a_cell_of_any_attributes(form: Form) -> None:
    """Outputs on numpy arrays and in torch, and gradients, beside the equations step by step."""
    rng = np.random.default_rng(0)
    shapes = form.cell.shapes({"I": 3, "H": 11, "P": 0})
    parameters = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    layer = Recurrent("odd", form.cell, (Direction(parameters, reverse=True),), form=form)
    x, lengths = rng.normal(size=(5, 6, 3)).astype(np.float32), [6, 1, 4, 0, 6]
    y = Network((layer,)).predict(x, lengths)
    module: Any = Network((layer,)).to_torch()
    given = torch.from_numpy(x).requires_grad_()
    answers = module(given, lengths=torch.tensor(lengths))
    gradients = torch.autograd.grad(answers.square().sum(), [given, *module.parameters()])
    np.testing.assert_allclose(answers.detach(), y, atol=2e-6)
    exact = copy.deepcopy(module).double()
    given = given.detach().double().requires_grad_()
    expected = exact(given, lengths=torch.tensor(lengths))
    np.testing.assert_allclose(y, expected.detach(), atol=2e-6)
    theirs = torch.autograd.grad(expected.square().sum(), [given, *exact.parameters()])
    for mine, other in zip(gradients, theirs, strict=True):
        size = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(mine.double(), other, rtol=0, atol=5e-6 * size)


# the standard's own


def node_tests() -> dict[str, Any]:
    """Those of three modules, which register themselves; the package's loader imports them all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case import node
        from onnx.backend.test.case.node import gru, lstm, rnn  # noqa: F401

    kinds = ("test_rnn_", "test_simple_rnn_", "test_gru_", "test_lstm_")
    return {t.name: t for t in node._NodeTestCases if t.name.startswith(kinds)}  # pyright: ignore


NODE_TESTS = node_tests()


def test_the_standard_has_tests_of_all_three_operators() -> None:
    assert len(NODE_TESTS) >= 15
    assert {"test_gru_defaults", "test_lstm_with_peepholes", "test_rnn_seq_length"} <= set(
        NODE_TESTS
    )


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("name", NODE_TESTS)
def test_the_standard_s_own_test_passes(name: str, tmp_path: Path) -> None:
    test = NODE_TESTS[name]
    (given, expected), *_ = test.data_sets
    model = onnx.ModelProto.FromString(test.model.SerializeToString())
    (node,) = model.graph.node
    values = dict(zip([i.name for i in model.graph.input], given, strict=True))
    for key, value in values.items():  # the weights belong into the file
        if key not in (node.input[0], *node.input[4:5]):
            model.graph.initializer.append(onnx.numpy_helper.from_array(value, key))
    path = tmp_path / "node.onnx"
    onnx.save(model, path)
    layout = next((a.i for a in node.attribute if a.name == "layout"), 0)
    x = values[node.input[0]].swapaxes(0, 1) if layout else values[node.input[0]]
    lengths = values.get(node.input[4]) if len(node.input) > 4 and node.input[4] else None
    came = outputs(read(path), x, lengths)
    came |= {"Y": came["Y"].transpose(2, 0, 1, 3)} if layout else {}
    came |= {k: came[k].swapaxes(0, 1) for k in ("Y_h", "Y_c") if layout and k in came}
    names = [k for k, out in zip(("Y", "Y_h", "Y_c"), node.output, strict=False) if out]
    assert len(names) == len(expected) > 0
    for key, value in zip(names, expected, strict=True):
        np.testing.assert_allclose(came[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


# ours, over all attributes


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("seed", range(200))
def test_random_nodes_are_run_as_the_standard_says(seed: int, tmp_path: Path) -> None:
    """Against the standard in float64; a sum of some hundred products in float32."""
    one, path = case(seed), tmp_path / "case.onnx"
    onnx.save(one.model(seed // 9 % 2), path)
    expected = one.reference()
    came = outputs(read(path), one.x, one.lengths)
    assert came.keys() == expected.keys()
    for key, value in expected.items():
        size = max(1.0, float(np.abs(value).max(initial=0)))
        np.testing.assert_allclose(came[key] / size, value / size, atol=2e-5, err_msg=key)


def differs_there(one: Case) -> set[str]:
    """Where ONNX Runtime does other than the standard says."""
    found = set()
    if one.operator == "LSTM" and "clip" in one.attributes:
        found.add("it does not clip the cell state before the last activation")
    if one.lengths is not None and (one.lengths == 0).any():
        found.add("a row of length 0 ends in zeros, not in its initial state")
    return found


def of_the_runtime(one: Case) -> dict[str, np.ndarray]:
    session = runtime.InferenceSession(one.model(0).SerializeToString())
    given = {"X": one.x} | ({} if one.lengths is None else {"sequence_lens": one.lengths})
    names = list(one.reference())
    return dict(zip(names, session.run(names, given), strict=True))


CASES = {seed: case(seed) for seed in range(200)}
# it takes no batch without steps
COMPARABLE = [seed for seed, one in CASES.items() if len(one.x) and not differs_there(one)]


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("seed", COMPARABLE)
def test_onnx_runtime_agrees_where_it_keeps_to_the_standard(seed: int) -> None:
    expected = CASES[seed].reference()
    for key, value in of_the_runtime(CASES[seed]).items():
        size = max(1.0, float(np.abs(expected[key]).max(initial=0)))
        np.testing.assert_allclose(value / size, expected[key] / size, atol=2e-5, err_msg=key)


def test_onnx_runtime_still_differs_where_we_say_so() -> None:
    """Else these cases should be compared, too."""
    assert len(COMPARABLE) > 100
    said: dict[str, float] = {}
    for one in CASES.values():
        differences = differs_there(one)
        if len(differences) == 1 and len(one.x):
            expected, came = one.reference(), of_the_runtime(one)
            far = max(float(np.abs(came[k] - v).max(initial=0)) for k, v in expected.items())
            said[differences.copy().pop()] = max(far, said.get(next(iter(differences)), 0.0))
    assert len(said) == 2
    assert min(said.values()) > 1e-2


# graphs of layers


def exported_by_torch(tmp_path: Path) -> tuple[Path, Any]:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    class Tagger(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(11, 5)
            self.rnn = torch.nn.GRU(5, 4, num_layers=2, batch_first=True)
            self.dense = torch.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.dense(self.rnn(self.embedding(x))[0])

    module, path = Tagger().eval(), tmp_path / "tagger.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(2, 6, dtype=torch.int64),), path, dynamo=False, opset_version=17,
            dynamic_axes={"x": {0: "b", 1: "t"}}, input_names=["x"],
        )  # fmt: skip
    return path, module


def test_a_model_that_torch_exported_predicts_as_in_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path, module = exported_by_torch(tmp_path)
    tokens = np.random.default_rng(0).integers(0, 11, (3, 7))
    network = read(path)
    assert len(network.recurrent) == 2
    expected = module(torch.from_numpy(tokens)).detach().numpy()
    np.testing.assert_allclose(network.predict(tokens), expected, atol=1e-6)


def recurrent_model(extra: list[Any], output: str, inputs: str = "X") -> Any:
    helper = onnx.helper
    rng = np.random.default_rng(0)
    held = {"W": rng.normal(size=(1, 12, 3)), "R": rng.normal(size=(1, 12, 4))}
    arrays = [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in held.items()]
    node = helper.make_node("GRU", [inputs, "W", "R"], ["Y", "Y_h"], "gru", hidden_size=4)
    values = [helper.make_tensor_value_info(n, 1, None) for n in ("X", output)]
    graph = helper.make_graph([*extra, node], "g", values[:1], values[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_another_graph_gives_its_only_recurrent_node_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    onnx.save(recurrent_model([onnx.helper.make_node("Sin", ["X"], ["S"])], "Y", "S"), path)
    network = read(path)
    assert len(network.layers) == 1
    assert "the recurrent node alone was read" in network.notes[0]


def test_of_several_nodes_in_another_graph_one_is_asked_for(tmp_path: Path) -> None:
    model, path = recurrent_model([onnx.helper.make_node("Sin", ["X"], ["S"])], "Y", "S"), tmp_path
    path = tmp_path / "g.onnx"
    second = onnx.helper.make_node("GRU", ["X", "W", "R"], ["Z"], "other", hidden_size=4)
    model.graph.node.append(second)
    onnx.save(model, path)
    with pytest.raises(InputError, match="choose one of its recurrent nodes, 'gru', 'other'"):
        read(path)
    assert read(path, layer="other").layers[0].name == "other"


def test_a_reshape_that_mixes_axes_is_not_taken_for_one_that_does_not(tmp_path: Path) -> None:
    shape = onnx.numpy_helper.from_array(np.array([0, 0, -1], np.int64), "shape")
    model, path = recurrent_model([], "Z"), tmp_path / "g.onnx"
    # [T, 1, B, H] to [T, 1, B * H]
    model.graph.node.append(onnx.helper.make_node("Reshape", ["Y", "shape"], ["Z"]))
    model.graph.initializer.append(shape)
    onnx.save(model, path)
    assert "the recurrent node alone was read" in read(path).notes[0]


@pytest.mark.parametrize(
    ("opset", "attributes", "is_read"),
    [(17, {}, True), (11, {}, False), (11, {"axis": 2}, True), (17, {"axis": 1}, False)],
)
def test_a_softmax_over_other_axes_than_the_last_is_not_taken_for_one_over_it(
    tmp_path: Path, opset: int, attributes: dict[str, int], is_read: bool
) -> None:
    helper, path = onnx.helper, tmp_path / "g.onnx"
    model = recurrent_model([], "Z")
    model.opset_import[0].version = opset
    squeeze = helper.make_node("Squeeze", ["Y", "one"] if opset > 12 else ["Y"], ["S"])
    if opset > 12:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
    else:
        squeeze.attribute.append(helper.make_attribute("axes", [1]))
    softmax = helper.make_node("Softmax", ["S"], ["Z"], **attributes)
    model.graph.node.extend([squeeze, softmax])
    onnx.save(model, path)
    assert (len(read(path).layers) == 2) is is_read


@pytest.mark.parametrize(("to", "is_read"), [(1, True), (11, True), (7, False), (10, False)])
def test_a_cast_that_rounds_is_not_passed_over(tmp_path: Path, to: int, is_read: bool) -> None:
    model, path = recurrent_model([], "Z"), tmp_path / "g.onnx"
    model.graph.node.append(onnx.helper.make_node("Cast", ["Y"], ["Z"], to=to))
    onnx.save(model, path)
    assert ("alone was read" not in "".join(read(path).notes)) is is_read


def test_values_in_another_file_are_refused(tmp_path: Path) -> None:
    model, path = recurrent_model([], "Y"), tmp_path / "g.onnx"
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "../../etc/passwd")
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="expected its values in the file"):
        read(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    {
        "direction": ({"direction": "sideways"}, "direction: expected one of forward"),
        "hidden": ({"hidden_size": 5}, "hidden_size: expected 4 as R, got 5"),
        "activations": ({"activations": ["Tanh"]}, "expected 2 of them, got 1"),
        "unknown": ({"activations": ["Tanh", "Gelu"]}, "expected one of Tanh"),
        "clip": ({"clip": -1.0}, "clip: expected a number from 0"),
        "attribute": ({"forget": 1}, "an unknown attribute, 'forget'"),
    }.values(),
)  # fmt: skip
def test_an_attribute_that_the_standard_has_not_is_named(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    model, path = recurrent_model([], "Y"), tmp_path / "g.onnx"
    node = model.graph.node[0]
    del node.attribute[:]
    for key, value in ({"hidden_size": 4} | change).items():
        node.attribute.append(onnx.helper.make_attribute(key, value))
    onnx.save(model, path)
    with pytest.raises(InputError, match=problem):
        read(path)


def test_weights_that_one_file_cannot_hold_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _read_case(CASES[0], tmp_path)
    monkeypatch.setattr("tidegate.onnx.graph.LARGEST", 10)
    with pytest.raises(InputError, match="expected weights of less than 2 GiB"):
        write(network, tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


def test_a_case_is_written_with_all_its_attributes_and_read_again(tmp_path: Path) -> None:
    """But for what the reader takes of the batch: lengths, and the layout."""
    written = 0
    for seed, one in CASES.items():
        if seed % 4 or any(d.cell for d in _read_case(one, tmp_path).layers[0].directions):
            continue
        network = _read_case(one, tmp_path)
        write(network, tmp_path / "again.onnx", force=True)
        again = read(tmp_path / "again.onnx")
        (first,), (second,) = network.recurrent, again.recurrent
        assert first.known_form == second.known_form
        for a, b in zip(first.directions, second.directions, strict=True):
            assert a.reverse is b.reverse
            for name, array in a.parameters.items():
                assert np.array_equal(array, b.parameters[name]), name
            assert (a.initial is None) is (b.initial is None)
            for mine, its in zip(a.initial or (), b.initial or (), strict=True):
                assert np.array_equal(mine, its)
        written += 1
    assert written > 30


def _read_case(one: Case, folder: Path) -> Any:
    onnx.save(one.model(0), folder / "case.onnx")
    return read(folder / "case.onnx")

"""ONNX graphs of every architecture answer in ONNX Runtime as the network on numpy does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from any_cell import CELL_KINDS

from tidegate.cells import CELLS
from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.data.sequences.sequences import with_evidence
from tidegate.equations import bptt, expr
from tidegate.errors import InputError
from tidegate.interchange.conventions.weights import LIBRARIES
from tidegate.model.architecture import Architecture
from tidegate.runtime.network import Network
from tidegate.tasks.model_file import new_test_vector

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from tidegate.onnx.cells import BINARY, FUNCTIONS, Step  # noqa: E402
from tidegate.onnx.checking import check_step, check_whole, fed, session_of, tolerance  # noqa: E402
from tidegate.onnx.graph import Graph, tensor  # noqa: E402
from tidegate.onnx.layers import Arrays, scanned, true_steps, zeros  # noqa: E402
from tidegate.onnx.network import step_model, whole_model  # noqa: E402

OPSETS = (17, 22)
WORDS, CHANNELS, EVIDENCE = 11, 2, 6
BASE = Architecture(
    cell="gru",
    vocabulary_size=WORDS,
    input_size=None,
    embedding_size=5,
    hidden_sizes=(6, 4),
    bidirectional=True,
    readout="mean+max",
    output_size=3,
    batch_norm=True,
    embedding_dropout=0.5,
    dropout=0.5,
    recurrent_dropout=0.3,
)
KINDS: dict[str, dict[str, Any]] = {
    "tokens": {},
    "values": {"vocabulary_size": None, "embedding_size": None, "input_size": CHANNELS},
    "evidence": {"evidence_size": EVIDENCE},
}
RAGGED = [[7, 0, 3, 1, 5], [1], [0], [9, 9]]


def network_of(architecture: Architecture, seed: int = 0) -> Network:
    """Asymmetric random weights and running statistics."""
    rng = np.random.default_rng(seed)
    tensors = {
        name: (rng.random(s) + 0.2 if "running" in name else 0.5 * rng.standard_normal(s))
        for name, s in architecture.tensor_shapes().items()
    }
    return Network(architecture, {n: t.astype(np.float32) for n, t in tensors.items()})


def inputs_of(architecture: Architecture, steps: int, rows: int, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if architecture.vocabulary_size is None:
        return rng.standard_normal((steps, rows, CHANNELS)).astype(np.float32)
    tokens = rng.integers(0, WORDS, (steps, rows))
    if not architecture.evidence_size:
        return tokens
    evidence = rng.standard_normal((steps, rows, architecture.evidence_size)).astype(np.float32)
    return with_evidence(tokens, evidence)


def answer(session: Any, network: Network, inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    feed = fed(network, inputs) | {"sequence_lens": lengths.astype(np.int32)}
    (output,) = session.run(None, feed)
    return output.swapaxes(0, 1) if network.architecture.readout == "every" else output


def assert_same(ours: np.ndarray, expected: np.ndarray) -> None:
    """As close as the exporter itself demands."""
    atol = tolerance(10) * max(1, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=atol)


def assert_whole_answers(network: Network, opset: int) -> None:
    """Ragged batches, with empty rows, through the graph of whole sequences."""
    session = session_of(whole_model(network, opset, "0").SerializeToString())
    for rows in RAGGED:
        lengths = np.array(rows)
        inputs = inputs_of(network.architecture, max(1, *rows, 0), len(rows))
        assert_same(answer(session, network, inputs, lengths), network(inputs, lengths))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", CELL_KINDS)
def test_whole_graphs_answer_as_the_network(name: str, opset: int) -> None:
    """Ragged batches with empty rows, one row, one step; every kind of input and of readout."""
    for kind, readout, both, (sizes, norm) in itertools.product(
        KINDS, ("every", "last", "mean+max+last"), (False, True), (((5,), False), ((6, 4), True))
    ):
        changes = {"readout": readout, "bidirectional": both, "hidden_sizes": sizes}
        a = replace(BASE, cell=name, batch_norm=norm, **changes, **KINDS[kind])
        assert_whole_answers(network_of(a), opset)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", CELL_KINDS)
def test_steps_answer_as_the_network_of_all_steps_up_to_there(name: str, opset: int) -> None:
    for kind, readout in itertools.product(KINDS, ("every", "last", "mean+max+last", "max")):
        a = replace(BASE, cell=name, bidirectional=False, readout=readout, **KINDS[kind])
        network = network_of(a)
        model, pairs = step_model(network, opset, "0")
        session = session_of(model.SerializeToString())
        inputs = inputs_of(a, 5, 3)
        state = {p.input: np.zeros((3, p.width), np.float32) for p in pairs}
        for t in range(5):
            feed = {n: v[:, 0] for n, v in fed(network, inputs[t : t + 1]).items()}
            output, *after = session.run(None, feed | state)
            state = dict(zip(state, after, strict=True))
            expected = network(inputs[: t + 1])
            assert_same(output, expected[-1] if readout == "every" else expected)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("steps", [1, 4, 12])
def test_the_line_reads_the_last_steps_of_a_row_and_of_a_stream(steps: int, opset: int) -> None:
    a = replace(
        BASE, bidirectional=False, readout="last", linear_steps=steps, **KINDS["values"]
    )  # fmt: skip
    network = network_of(a)
    assert_whole_answers(network, opset)
    data, pairs = step_model(network, opset, "0")
    check_step(data.SerializeToString(), network, pairs)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("both", [False, True])
def test_the_line_of_words_reads_the_last_tokens_evidence(both: bool, opset: int) -> None:
    a = replace(BASE, bidirectional=both, evidence_size=8 + 3, columns_size=3, linear_steps=1)
    network = network_of(a)
    assert_whole_answers(network, opset)
    if not both:
        data, pairs = step_model(network, opset, "0")
        check_step(data.SerializeToString(), network, pairs)


@pytest.mark.parametrize("evidence", [0, EVIDENCE])
@pytest.mark.parametrize("name", CELL_KINDS)
def test_words_are_spelled_as_the_network_spells_them(name: str, evidence: int) -> None:
    """Ragged sentences of words of any length, of none too; whole and step by step."""
    for both in (True, False):
        a = replace(
            BASE, cell=name, bidirectional=both, readout="every", evidence_size=evidence,
            letters=6, letter_embedding_size=3, letter_hidden_size=4, word_length=5,
        )  # fmt: skip
        network = network_of(a)
        data = whole_model(network, 17, "0").SerializeToString()
        vector = new_test_vector(network)
        check_whole(data, network, vector)
        assert vector["letters"].min() == 0
    data, pairs = step_model(network, 17, "0")
    check_step(data.SerializeToString(), network, pairs)


@pytest.mark.parametrize("name", [name for name in CELLS if name not in CELL_KINDS])
def test_the_other_cells_answer_as_the_network_too(name: str) -> None:
    network = network_of(replace(BASE, cell=name, bidirectional=False, readout="every"))
    vector = new_test_vector(network)
    check_whole(whole_model(network, 17, "0").SerializeToString(), network, vector)
    data, pairs = step_model(network, 17, "0")
    check_step(data.SerializeToString(), network, pairs)


def test_tied_embeddings_stand_in_the_file_once() -> None:
    a = replace(
        BASE, bidirectional=False, readout="every", output_size=WORDS, embedding_size=4,
        tie_embeddings=True,
    )  # fmt: skip
    network = network_of(a)
    model = whole_model(network, 17, "0")
    shapes = [tuple(one.dims) for one in model.graph.initializer]
    assert shapes.count((WORDS, 4)) == 1
    session = session_of(model.SerializeToString())
    inputs, lengths = inputs_of(a, 6, 2), np.array([6, 4])
    assert_same(answer(session, network, inputs, lengths), network(inputs, lengths))


@pytest.mark.parametrize("name", CELL_KINDS)
def test_a_cell_is_onnx_s_own_operator_where_it_has_one_and_a_scan_where_not(name: str) -> None:
    network = network_of(replace(BASE, cell=name))
    nodes = [node.op_type for node in whole_model(network, 17, "0").graph.node]
    recurrent = [op for op in nodes if op in ("RNN", "GRU", "LSTM", "Scan")]
    own = LIBRARIES["onnx"].get(name)
    # one node for both directions, or one for each
    assert recurrent == (["Scan"] * 4 if own is None else [own.layer] * 2)


def test_batch_and_time_of_inputs_and_outputs_have_no_fixed_size() -> None:
    model = whole_model(network_of(replace(BASE, readout="every")), 17, "0")
    assert model.ir_version == 8  # which every runtime of the last years reads
    shapes = {
        one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim]
        for one in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "tokens": ["batch", "time"],
        "sequence_lens": ["batch"],
        "output": ["batch", "time", 3],
    }


@cell(
    "everything",
    gates={"a": Gate("one"), "b": Gate("another")},
    states={"h": State("hidden state")},
    vectors={"bent": ("a", "b")},
    source="this file",
    use="never",
)
def everything(ops, w, u, p, h):  # noqa: ANN001, ANN201
    """Each operation that equations may have, so that none is left untranslated."""
    a = ops.sigmoid(w.a + u.a(h) * p.a)
    b = ops.maximum(w.b, ops.minimum(u.b(a * h), 0.5)) - p.b / 3
    spread = b - ops.mean(b)
    scale = ops.rsqrt(ops.mean(spread * spread) + 0.1)
    n = ops.tanh(ops.log(1 + ops.exp(ops.relu(spread) * scale)))
    n = n - ops.hard_shrink(ops.erf(spread), 0.2)
    return expr.states(h=a * h + (1 - a) * n), expr.gates(a=a)


def test_every_operation_of_equations_has_an_operator() -> None:
    assert set(FUNCTIONS) == set(expr.FUNCTIONS)
    assert set(expr.COMPARISONS) <= set(BINARY)
    used = {e.op for e in everything.trace.nodes if isinstance(e, expr.Unary | expr.Binary)}
    assert used == set(FUNCTIONS) | {"positive"} | set(BINARY)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("biased", [True, False])
def test_a_scan_computes_any_equations_from_their_declaration(biased: bool, reverse: bool) -> None:
    rng, sizes = np.random.default_rng(0), {"I": 3, "H": 5, "P": 0}
    shapes = everything.shapes(sizes, biased)
    weights = {n: 0.7 * rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    graph = Graph(17)
    step = Step(everything, Arrays(graph), weights, sizes)
    inside = true_steps(graph, "x", "lengths")
    y, final = scanned(graph, step, "x", inside, zeros(graph, "x", [5]), reverse=reverse)
    graph.named(y, "y")
    graph.named(final[0], "h")
    given = [tensor("x", np.float32, ["T", "B", 3]), tensor("lengths", np.int32, ["B"])]
    made = [tensor("y", np.float32, ["T", "B", 5]), tensor("h", np.float32, ["B", 5])]
    session = session_of(graph.model(given, made, "scan", "0").SerializeToString())
    x = rng.standard_normal((6, 4, 3)).astype(np.float32)
    lengths = np.array([6, 0, 1, 4], np.int32)
    y, h = session.run(None, {"x": x, "lengths": lengths})
    for row, length in enumerate(lengths):
        turn = slice(None, None, -1 if reverse else 1)
        start = (np.zeros((1, 5), np.float32),)
        run = bptt.forward(everything, x[:length, row : row + 1][turn], start, weights)
        np.testing.assert_allclose(y[:length, row], run.y[turn][:, 0], atol=1e-5)
        np.testing.assert_allclose(h[row], run.state[0][0], atol=1e-5)
        assert not y[length:, row].any()


@cell(
    "noisy", gates={"a": Gate("one")}, states={"h": State("hidden state")}, source="this file",
    use="never",
)  # fmt: skip
def noisy(ops, w, u, h):  # noqa: ANN001, ANN201
    a = ops.tanh(w.a + u.a(h) + ops.noise())
    return expr.states(h=a * (1 + ops.mean(ops.noise()))), expr.gates(a=a)


def test_noise_is_for_training_and_none_is_in_a_graph() -> None:
    rng, graph = np.random.default_rng(0), Graph(17)
    shapes = noisy.shapes({"I": 3, "H": 5, "P": 0})
    weights = {n: 0.7 * rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    step = Step(noisy, Arrays(graph), weights, {"I": 3, "H": 5, "P": 0})
    y, _ = scanned(graph, step, "x", None, zeros(graph, "x", [5]), reverse=False)
    graph.named(y, "y")
    given = [tensor("x", np.float32, ["T", "B", 3])]
    made = [tensor("y", np.float32, ["T", "B", 5])]
    session = session_of(graph.model(given, made, "scan", "0").SerializeToString())
    x = rng.standard_normal((6, 4, 3)).astype(np.float32)
    run = bptt.forward(noisy, x, (np.zeros((4, 5), np.float32),), weights)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], run.y, atol=1e-5)


def vector_of(network: Network) -> dict[str, np.ndarray]:
    inputs, lengths = inputs_of(network.architecture, 8, 2), np.array([8, 5])
    return {"input": inputs, "lengths": lengths, "output": network(inputs, lengths)}


@pytest.mark.parametrize("name", CELL_KINDS)
def test_a_graph_with_weights_of_a_gate_elsewhere_is_refused(name: str) -> None:
    network = network_of(replace(BASE, cell=name, bidirectional=False))
    tensors = dict(network.tensors)
    weights = tensors["recurrent.1.weight_ih_l0"]
    # gates by one place; of a single gate, its units
    gates = len(CELLS[name].parameters["weight_ih"].blocks)
    shift = len(weights) // gates if gates > 1 else 1
    tensors["recurrent.1.weight_ih_l0"] = np.roll(weights, shift, axis=0)
    wrong = Network(network.architecture, tensors)
    data = whole_model(wrong, 17, "0").SerializeToString()
    with pytest.raises(InputError, match="got a difference of .* on the test vector of 8 steps"):
        check_whole(data, network, vector_of(network))
    vector = vector_of(network)
    vector["output"] = wrong(vector["input"], vector["lengths"])
    with pytest.raises(InputError, match="on fresh input of"):
        check_whole(data, network, vector)
    model, pairs = step_model(wrong, 17, "0")
    with pytest.raises(InputError, match="fresh input, step by step"):
        check_step(model.SerializeToString(), network, pairs)


def test_answers_that_are_not_numbers_are_refused() -> None:
    network = network_of(replace(BASE, bidirectional=False))
    tensors = dict(network.tensors) | {"dense.bias": np.full(3, np.nan, np.float32)}
    data = whole_model(Network(network.architecture, tensors), 17, "0").SerializeToString()
    with pytest.raises(InputError, match="expected ONNX Runtime to answer as tidegate does"):
        check_whole(data, network, vector_of(network))


def test_the_tolerance_holds_over_a_thousand_steps() -> None:
    """Weights twice as large as initial ones: measured, ONNX Runtime stays at a tenth of 1e-5."""
    for name in ("gru", "lstm", "rnn_tanh", "mgu"):
        values = {"hidden_sizes": (32,), "batch_norm": False, **KINDS["values"]}
        a = replace(BASE, cell=name, bidirectional=False, readout="every", **values)
        rng = np.random.default_rng(0)
        network = Network(
            a,
            {
                n: (2 * rng.standard_normal(s) / s[-1] ** 0.5).astype(np.float32)
                for n, s in a.tensor_shapes().items()
            },
        )
        session = session_of(whole_model(network, 17, "0").SerializeToString())
        inputs, lengths = inputs_of(a, 1000, 2), np.array([1000, 700])
        expected = network(inputs, lengths)
        apart = np.abs(answer(session, network, inputs, lengths) - expected).max(axis=(1, 2))
        allowed = np.array([tolerance(t) for t in range(1, 1001)])
        assert (apart <= allowed * max(1, np.abs(expected).max())).all()


def test_a_model_that_onnx_runtime_does_not_open_is_an_error_that_says_what_helps() -> None:
    model = whole_model(network_of(BASE), 17, "0")
    model.opset_import[0].version = 999
    with pytest.raises(
        InputError, match=r"expected ONNX Runtime .* to open the model, got: .*opset"
    ):
        session_of(model.SerializeToString())

"""The network on numpy arrays gives what the torch network gives, for every architecture."""

from __future__ import annotations

import pickle
import sys
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS
from hypothesis import given, settings
from hypothesis import strategies as st

import tidegate as tg
from tidegate.data.sequences.sequences import pad_sequences, with_evidence
from tidegate.engine import available_threads, compiled, processors
from tidegate.model.architecture import Architecture
from tidegate.nn.arrays import network_on_arrays, torch_network
from tidegate.nn.network import SequenceNetwork
from tidegate.runtime import layers, probabilities
from tidegate.runtime.batches import outputs_of
from tidegate.runtime.network import Network
from tidegate.runtime.probabilities import log_softmax, nats_of
from tidegate.runtime.products import linear
from tidegate.runtime.scoring import score, stretches
from tidegate.training.judging import TorchReader, as_function

WORDS, CHANNELS, EVIDENCE = 11, 2, 6
TOKENS = Architecture(
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
TIED = replace(
    TOKENS,
    bidirectional=False,
    readout="every",
    output_size=WORDS,
    embedding_size=4,
    tie_embeddings=True,
)
KINDS: dict[str, dict[str, Any]] = {
    "tokens": {},
    "values": {"vocabulary_size": None, "embedding_size": None, "input_size": CHANNELS},
    "evidence": {"evidence_size": EVIDENCE},
}
READOUTS = ["last", "mean", "max", "every", "max+last+mean", "mean+max"]
RAGGED = [[7, 0, 1, 3], [0], [1], [5, 5], [0, 0], list(range(20))]


def tied(cell: str) -> Architecture:
    """Of any cell: the embedding is as wide as what its last layer puts out."""
    width = replace(TIED, cell=cell, tie_embeddings=False).layer_output_sizes()[-1]
    return replace(TIED, cell=cell, embedding_size=width)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trained(architecture: Architecture, seed: int = 0) -> SequenceNetwork:
    """Asymmetric random weights and running statistics, in evaluation mode."""
    network = SequenceNetwork(architecture)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            drawn = rng.random(tensor.shape) + 0.2 if "running" in name else None
            drawn = 0.5 * rng.standard_normal(tensor.shape) if drawn is None else drawn
            tensor.copy_(torch.from_numpy(drawn))
    return network.eval()


def sequences(kind: str, lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    if kind == "values":
        return [rng.standard_normal((n, CHANNELS)).astype(np.float32) for n in lengths]
    tokens = [rng.integers(0, WORDS, n).astype(np.int32) for n in lengths]
    if kind == "tokens":
        return tokens
    evidence = [rng.standard_normal((n, EVIDENCE)).astype(np.float32) for n in lengths]
    return [with_evidence(t, e) for t, e in zip(tokens, evidence, strict=True)]


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Within 2e-5 of the largest output: some two hundred times float32's rounding.  Norms of few
    units divide by what may be small."""
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * max(1, abs(theirs).max()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_outputs_are_those_of_the_torch_network(cell: str, readout: str, kind: str) -> None:
    """Both directions, stacks, batch norm; dropouts are inactive; ragged batches and whole ones."""
    for bidirectional, batch_norm, sizes in (
        (False, False, (5,)),
        (True, False, (5,)),
        (False, True, (6, 4)),
        (True, True, (6, 4, 3)),
    ):
        changes = {"bidirectional": bidirectional, "batch_norm": batch_norm, "hidden_sizes": sizes}
        network = trained(
            replace(TOKENS, cell=cell, readout=readout, **KINDS[kind], **changes), len(sizes)
        )
        ours, theirs = network_on_arrays(network), as_function(network)
        for number, lengths in enumerate(RAGGED):
            padded, steps = pad_sequences(sequences(kind, lengths, number))
            for told in (steps, None):
                assert_same(ours(padded, told), theirs(padded, told))


@pytest.mark.parametrize("steps", [1, 4, 30])
def test_the_line_reads_a_row_s_last_steps_and_zeros_before_its_first(steps: int) -> None:
    a = replace(TOKENS, readout="last", linear_steps=steps, **KINDS["values"])
    network = trained(a)
    without = trained(replace(a, linear_steps=0))
    without.load_state_dict(network.state_dict(), strict=False)
    ours, plain, theirs = (
        network_on_arrays(network),
        network_on_arrays(without),
        as_function(network),
    )
    for number, lengths in enumerate(RAGGED):
        rows = sequences("values", lengths, number)
        padded, told = pad_sequences(rows)
        assert_same(ours(padded, told), theirs(padded, told))
        assert_same(ours(padded, None), theirs(padded, None))
        read = [np.concatenate([np.zeros((steps, CHANNELS)), x])[len(x) :].ravel() for x in rows]
        line = np.stack(read).astype(np.float32) @ ours.tensors["linear.weight"].T
        assert_same(ours(padded, told), plain(padded, told) + line)


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_tied_embeddings_write_and_read_by_one_matrix(cell: str) -> None:
    network = trained(tied(cell))
    ours, theirs = network_on_arrays(network), as_function(network)
    assert ours.output_weight is ours.tensors["embedding.weight"]
    padded, steps = pad_sequences(sequences("tokens", RAGGED[0]))
    assert_same(ours(padded, steps), theirs(padded, steps))


@pytest.mark.parametrize("cell", CELL_KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_steps_from_a_carried_state_go_on_with_the_sequence(cell: str, kind: str) -> None:
    one_way = {"bidirectional": False, "readout": "every", **KINDS[kind]}
    network = Network(
        architecture := replace(TOKENS, cell=cell, **one_way),
        network_on_arrays(trained(architecture)).tensors,
    )
    padded, _ = pad_sequences(sequences(kind, [9, 9, 9]))
    whole = network(padded)
    features, state = network.features(padded[:4])
    assert_same(network.output(features), whole[:4])
    carried = [tuple(part.copy() for part in layer) for layer in state]
    for t in range(4, 9):
        assert_same(network.output(network.step(padded[t], state)), whole[t])
    features, _ = network.features(padded[4:], state=carried)
    assert_same(network.output(features), whole[4:])


def test_a_state_that_is_given_is_not_changed() -> None:
    network = network_on_arrays(trained(TIED))
    padded, _ = pad_sequences(sequences("tokens", [4, 4]))
    _, state = network.features(padded)
    before = [tuple(part.copy() for part in layer) for layer in state]
    network.features(padded, state=state)
    forgotten = network.forgotten(state, np.array([True, False]))
    for old, now, cut in zip(before, state, forgotten, strict=True):
        for was, part, rest in zip(old, now, cut, strict=True):
            np.testing.assert_array_equal(part, was)
            np.testing.assert_array_equal(rest, [np.zeros_like(was[0]), was[1]])


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6), extra=st.integers(0, 3))
def test_a_row_depends_neither_on_padding_nor_on_neighbours(lengths: list[int], extra: int) -> None:
    network = network_on_arrays(trained(TOKENS))
    rows = sequences("tokens", lengths)
    padded, steps = pad_sequences(rows)
    together = network(np.pad(padded, ((0, extra), (0, 0))), steps)
    for b, row in enumerate(rows):
        assert_same(network(*pad_sequences([row])), together[b : b + 1])


def test_batches_by_length_give_each_sequence_its_own_outputs() -> None:
    network = network_on_arrays(trained(TOKENS))
    rows = sequences("tokens", [3, 0, 8, 1, 3, 30_000, 25_000, 2])
    together = outputs_of(network, rows, 3)
    for row, outputs in zip(rows, together, strict=True):
        assert_same(network(*pad_sequences([row])), outputs[None])
    assert outputs_of(network, [], 3).shape == (0, 3)


def test_a_mean_over_a_long_sequence_loses_nothing_to_rounding() -> None:
    values = {"bidirectional": False, "hidden_sizes": (3,), "readout": "mean", **KINDS["values"]}
    network = network_on_arrays(trained(replace(TOKENS, **values)))
    x = np.random.default_rng(0).standard_normal((100_000, 1, CHANNELS)).astype(np.float32)
    every = Network(replace(network.architecture, readout="every"), network.tensors)
    mean, _ = network.features(x)
    exact = every.features(x)[0].astype(np.float64).mean(0)
    np.testing.assert_allclose(mean, exact, rtol=0, atol=1e-6)


def test_weights_go_to_torch_and_back_and_through_pickle_unchanged() -> None:
    network = network_on_arrays(trained(TOKENS))
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    again = network_on_arrays(torch_network(network.architecture, network.tensors))
    assert torch.equal(torch.random.get_rng_state(), before)
    unpickled = pickle.loads(pickle.dumps(network))
    padded, steps = pad_sequences(sequences("tokens", RAGGED[0]))
    for other in (again, unpickled):
        assert other.architecture == network.architecture
        np.testing.assert_array_equal(other(padded, steps), network(padded, steps))


def test_a_copy_does_not_change_with_the_network_it_was_made_of() -> None:
    network = trained(TOKENS)
    ours = network_on_arrays(network)
    padded, steps = pad_sequences(sequences("tokens", RAGGED[0]))
    before = ours(padded, steps)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(ours(padded, steps), before)


def test_a_network_that_was_changed_in_torch_predicts_once_it_is_set() -> None:
    options: dict[str, Any] = {"hidden_sizes": (4,), "embedding_size": 4, "verbose": 0}
    texts = ["a good one", "a bad one"] * 8
    model = tg.TextClassifier(**options, max_steps=2).fit(texts, ["x", "y"] * 8)
    before, network = model.predict_proba(texts), model.network_
    with torch.no_grad():
        network.dense.bias.copy_(torch.tensor([50.0, 0.0]))
    np.testing.assert_array_equal(model.predict_proba(texts), before)
    model.network_ = network
    np.testing.assert_allclose(model.predict_proba(texts)[:, 0], 1)
    np.testing.assert_array_equal(model.network_.dense.bias.detach(), [50.0, 0.0])


def test_weights_that_cannot_be_written_will_do() -> None:
    """As a file that was read gives them."""
    network = network_on_arrays(trained(TOKENS))
    for tensor in network.tensors.values():
        tensor.flags.writeable = False
    padded, steps = pad_sequences(sequences("tokens", RAGGED[0]))
    again = Network(network.architecture, network.tensors)
    np.testing.assert_array_equal(again(padded, steps), network(padded, steps))


def test_a_relu_network_that_grows_beyond_all_numbers_is_quiet() -> None:
    network = trained(replace(TOKENS, cell="rnn_relu", batch_norm=False, hidden_sizes=(6,)))
    with torch.no_grad():
        for layer in network.recurrent:
            layer.weight_hh_l0.mul_(100)  # pyright: ignore
    padded, steps = pad_sequences(sequences("tokens", [60, 3]))
    outputs = network_on_arrays(network)(padded, steps)
    log_softmax(outputs)
    assert not np.isfinite(outputs[0]).all()
    assert np.isfinite(outputs[1]).all()


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_a_cell_without_a_kernel_runs_on_numpy_and_says_so(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = trained(replace(TOKENS, cell=cell))
    monkeypatch.setattr(compiled, "has_cell", lambda _: False)
    with pytest.warns(RuntimeWarning, match=f"no kernel for {cell}.*slow"):
        slow = network_on_arrays(network)
    assert all(isinstance(one, layers.NumpyLayer) for layer in slow._layers for one in layer)
    for lengths in RAGGED:
        padded, steps = pad_sequences(sequences("tokens", lengths))
        assert_same(slow(padded, steps), as_function(network)(padded, steps))
    with pytest.warns(RuntimeWarning, match="no kernel"):
        slow = network_on_arrays(network := trained(tied(cell)))
    padded, _ = pad_sequences(sequences("tokens", [5, 5]))
    _, state = slow.features(padded[:3])
    stepped = [slow.output(slow.step(tokens, state)) for tokens in padded[3:]]
    assert_same(np.stack(stepped), as_function(network)(padded, None)[3:])


@pytest.mark.parametrize("rows", [0, 1, 2, 15, 16, 40])
@pytest.mark.parametrize(("width", "outputs"), [(1, 1), (7, 3), (64, 130)])
def test_products_of_few_rows_and_of_many(rows: int, width: int, outputs: int) -> None:
    rng = np.random.default_rng(rows)
    x, weight = (rng.standard_normal((n, width)).astype(np.float32) for n in (rows, outputs))
    bias = rng.standard_normal(outputs).astype(np.float32)
    for b in (bias, None):
        exact = x.astype(np.float64) @ weight.T + (0 if b is None else b)
        np.testing.assert_allclose(linear(x, weight, b), exact, rtol=0, atol=1e-5)
        turned = np.asfortranarray(x)  # rows that do not lie one after the other
        np.testing.assert_allclose(linear(turned, weight, b), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 3, 7, 50])
def test_nats_of_many_words_come_in_pieces_and_are_those_of_the_whole(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probabilities, "_CHUNK_LOGITS", 20)
    monkeypatch.setattr(probabilities, "_FEWEST_ROWS", 3)
    rng = np.random.default_rng(rows)
    features, weight = (rng.standard_normal((n, 4)).astype(np.float32) for n in (rows, 9))
    bias, targets = rng.standard_normal(9).astype(np.float32), rng.integers(0, 9, rows)
    logits = features.astype(np.float64) @ weight.T + bias
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    exact = -log_p[np.arange(rows), targets].sum()
    assert nats_of(features, weight, bias, targets).sum(dtype=np.float64) == pytest.approx(
        exact, rel=1e-5, abs=1e-6
    )
    np.testing.assert_allclose(log_softmax(logits.astype(np.float32)), log_p, rtol=0, atol=1e-5)


def test_logits_of_any_size_have_probabilities() -> None:
    outputs = np.array([[1e4, -1e4, 0], [-3e38, -3e38, -3e38], [3e38, -3e38, 0]], np.float32)
    ours = log_softmax(outputs)
    theirs = torch.log_softmax(torch.from_numpy(outputs), 1).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 900), streams=st.integers(1, 5), never=st.booleans())
def test_a_text_is_scored_as_the_torch_network_scores_it(
    length: int, streams: int, never: bool
) -> None:
    network = trained(TIED)
    tokens = np.random.default_rng(length).integers(0, WORDS, length).astype(np.int32)
    given = 2 if never else None
    ours, theirs = network_on_arrays(network), TorchReader(network)
    one, other = (score(n, tokens, given, streams=streams, warm_up=32) for n in (ours, theirs))
    assert one.tokens == other.tokens == (tokens[1:] != given).sum()
    assert one.nats == pytest.approx(other.nats, rel=1e-5)
    parts = [stretches(n, tokens, given) for n in (ours, theirs)]
    for mine, its in zip(*parts, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5)


def test_several_threads_step_and_run_one_network_at_a_time() -> None:
    network = network_on_arrays(trained(replace(TIED, hidden_sizes=(64, 64), embedding_size=64)))
    padded, _ = pad_sequences(sequences("tokens", [200]))
    found: dict[int, np.ndarray] = {}

    def write(number: int) -> None:
        _, state = network.features(padded[:1])
        steps = [network.output(network.step(tokens, state)) for tokens in padded[1:]]
        found[number] = np.stack(steps)

    write(-1)
    workers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(found) == [-1, 0, 1, 2, 3]
    for outputs in found.values():
        np.testing.assert_array_equal(outputs, found[-1])


def test_threads_are_torchs_number_or_what_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert available_threads() == torch.get_num_threads() == 1
    monkeypatch.setitem(sys.modules, "torch", None)
    for value, expected in (("3", 3), ("2,4", 2), ("", None), ("0", None), ("x", None)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert available_threads() == (expected or processors())

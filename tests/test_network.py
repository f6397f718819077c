"""The network of every task: padding, pooling, batch norm, and the architecture that lists it."""

import pytest
import torch
from any_cell import CELL_KINDS
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.cells import CELLS
from tidegate.model.architecture import Architecture
from tidegate.nn.dropout import dropout
from tidegate.nn.network import SequenceNetwork


def architecture(**changes):
    plain = {
        "cell": "gru",
        "vocabulary_size": 11,
        "input_size": None,
        "embedding_size": 5,
        "hidden_sizes": (6, 4),
        "bidirectional": True,
        "readout": "last+mean+max",
        "output_size": 3,
        "batch_norm": False,
        "embedding_dropout": 0.0,
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
    }
    return Architecture(**{**plain, **changes})


VALUES = {"vocabulary_size": None, "embedding_size": None, "input_size": 2}


TIED = {
    "bidirectional": False,
    "readout": "every",
    "output_size": 11,
    "embedding_size": 4,
    "tie_embeddings": True,
}


@pytest.mark.parametrize(
    "changes",
    [{}, VALUES, {"batch_norm": True}, {"readout": "every"}, TIED, VALUES | {"linear_steps": 3}],
    ids=str,
)
@pytest.mark.parametrize("cell", CELL_KINDS)
def test_architecture_lists_every_tensor_of_the_network(cell, changes):
    if changes is TIED and CELLS[cell].is_projected:
        changes = {**TIED, "projection_size": 2, "embedding_size": 2}
    a = architecture(cell=cell, **changes)
    network = SequenceNetwork(a)
    shapes = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    assert shapes == a.tensor_shapes()
    assert a.parameter_count() == sum(p.numel() for p in network.parameters())
    assert Architecture.from_json(a.to_json()) == a


@pytest.mark.parametrize("readout", ["last", "mean", "max", "last+mean+max", "every"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(0, 7), min_size=1, max_size=5), extra=st.integers(0, 3))
def test_a_row_does_not_depend_on_padding_or_neighbours(cell, readout, lengths, extra):
    torch.manual_seed(0)
    network = SequenceNetwork(architecture(cell=cell, readout=readout, batch_norm=True)).eval()
    tokens = torch.randint(11, (max(1, max(lengths)) + extra, len(lengths)))
    outputs, _ = network(tokens, torch.tensor(lengths))
    for b, n in enumerate(lengths):
        alone, _ = network(tokens[: max(n, 1), b : b + 1], torch.tensor([n]))
        if readout == "every":
            torch.testing.assert_close(outputs[:n, b], alone[:n, 0], rtol=1e-5, atol=1e-6)
        else:
            torch.testing.assert_close(outputs[b], alone[0], rtol=1e-5, atol=1e-6)


def test_padding_does_not_enter_batch_norms_statistics():
    torch.manual_seed(0)
    a = architecture(batch_norm=True)
    padded, packed = SequenceNetwork(a), SequenceNetwork(a)
    packed.load_state_dict(padded.state_dict())
    tokens = torch.randint(11, (4, 3))
    padded(torch.cat([tokens, torch.zeros(5, 3, dtype=torch.long)]), torch.tensor([4, 4, 4]))
    packed(tokens)
    torch.testing.assert_close(padded.norms[0].running_mean, packed.norms[0].running_mean)
    assert not torch.equal(packed.norms[0].running_mean, torch.zeros(12))


def test_carried_state_continues_a_sequence():
    network = SequenceNetwork(architecture(readout="every", bidirectional=False, cell="lstm"))
    tokens = torch.randint(11, (9, 2))
    whole, _ = network(tokens)
    first, state = network(tokens[:4])
    second, _ = network(tokens[4:], state=state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    zeros, _ = network(tokens, state=network.initial_state(2))
    torch.testing.assert_close(zeros, whole)


@pytest.mark.parametrize("forget_bias", [None, 0.0, 2.5])
def test_forget_gates_start_as_told_and_recurrent_blocks_orthogonal(forget_bias):
    options = {} if forget_bias is None else {"forget_bias": forget_bias}
    layer = SequenceNetwork(architecture(cell="lstm"), **options).recurrent[0]
    i, f, g, o = layer.bias_ih_l0.detach().split(6)
    assert f.eq(1 if forget_bias is None else forget_bias).all()
    assert torch.cat([i, g, o]).eq(0).all()
    for block in layer.weight_hh_l0.detach().split(6):
        torch.testing.assert_close(block @ block.T, torch.eye(6), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("scale", "expected"), [(None, 0.125), (0.5, 0.5)])
def test_vectors_start_with_length_1_or_as_told(scale, expected):
    sizes = {"vocabulary_size": 500, "embedding_size": 64, "output_size": 500}
    network = SequenceNetwork(architecture(**sizes), embedding_scale=scale)
    assert float(network.embedding.weight.detach().std()) == pytest.approx(expected, rel=0.02)


def test_tied_embeddings_are_one_matrix_that_learns_from_both_its_uses():
    torch.manual_seed(0)
    tied = SequenceNetwork(architecture(**TIED))
    free = SequenceNetwork(architecture(**{**TIED, "tie_embeddings": False}))
    weights = tied.state_dict()
    free.load_state_dict(weights | {"dense.weight": weights["embedding.weight"]})
    tokens, targets = torch.randint(11, (2, 9, 2))
    outputs = [network(tokens)[0] for network in (tied, free)]
    assert torch.equal(*outputs)
    for output in outputs:
        torch.nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten()).backward()
    torch.testing.assert_close(
        tied.embedding.weight.grad, free.embedding.weight.grad + free.dense.weight.grad
    )


WRONG = {
    "tied": (
        {**TIED, "embedding_size": 5},
        r"embedding_size: expected 4, the last of hidden_sizes",
    ),
    "tied outputs": ({"tie_embeddings": True}, "expected it for a network that predicts tokens"),
    "cell": ({"cell": "gruu"}, "cell: expected one of " + ", ".join(CELLS)),
    "both inputs": ({"input_size": 2}, "input_size: expected either it or vocabulary_size"),
    "projection": ({"projection_size": 2}, "projection_size: expected none for gru, .*, got 2"),
    "no projection": (
        {"cell": "lstm_projected", "projection_size": 0},
        "projection_size: expected a size of at least 1",
    ),
    "wide projection": (
        {"cell": "lstm_projected", "projection_size": 4, "hidden_sizes": (5, 4)},
        "hidden_sizes: expected sizes from 5",
    ),
    "no room for a projection": (
        {"cell": "lstm_projected", "hidden_sizes": (1,)},
        "hidden_sizes: expected sizes from 2",
    ),
    "readout": ({"readout": "last+first"}, "readout: expected 'every' or a sum of last, mean, max"),
    "dropout": ({"dropout": 1.0}, r"dropout: expected a probability in \[0, 1\)"),
    "no layers": ({"hidden_sizes": ()}, "hidden_sizes: expected 1 to 64 sizes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_architectures_are_refused(case):
    changes, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        architecture(**changes)


def test_architecture_from_json_refuses_what_is_not_in_its_schema():
    good = architecture().to_json()
    for bad in ({**good, "more": 1}, {k: v for k, v in good.items() if k != "cell"}, 3):
        with pytest.raises(ValueError, match="expected exactly the keys"):
            Architecture.from_json(bad)
    with pytest.raises(ValueError, match="hidden_sizes: expected a list of integers"):
        Architecture.from_json({**good, "hidden_sizes": [True]})
    with pytest.raises(ValueError, match="cell: expected"):
        Architecture.from_json({**good, "cell": 1})


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1.0])
def test_dropout_zeroes_its_share_and_scales_the_rest(p: float) -> None:
    torch.manual_seed(0)
    x = torch.full((400, 500), 2.0, requires_grad=True)
    y = dropout(x, p, training=True)
    y.sum().backward()
    kept = y != 0
    assert abs(kept.float().mean() - (1 - p)) < 0.005  # 4.5 standard deviations of 200,000 draws
    torch.testing.assert_close(y[kept], torch.full_like(y[kept], 2 / (1 - p) if p < 1 else 0.0))
    torch.testing.assert_close(x.grad, y.detach() / 2)
    assert dropout(x, p, training=False) is x

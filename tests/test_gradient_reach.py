"""How far back the gradient reaches, where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from any_cell import CELL_KINDS
from torch.nn import functional as F  # noqa: N812

from tidegate.model.architecture import Architecture
from tidegate.nn.network import SequenceNetwork
from tidegate.training.gradient_reach import gradient_reach


def make_network(
    cell, *, readout="last", bidirectional=False, hidden_sizes=(3,), outputs=2, **around
):
    torch.manual_seed(0)
    return SequenceNetwork(
        Architecture(
            cell=cell,
            vocabulary_size=None,
            input_size=2,
            embedding_size=None,
            hidden_sizes=hidden_sizes,
            bidirectional=bidirectional,
            readout=readout,
            output_size=outputs,
            batch_norm=False,
            embedding_dropout=0.0,
            dropout=0.5,
            recurrent_dropout=0.5,
            **around,
        )
    ).eval()


def linear_network(recurrent_weight, output_weight):
    """An RNN with relu whose states are always above 0, so that it is linear in them."""
    network = make_network("rnn_relu", hidden_sizes=(2,), outputs=1)
    with torch.no_grad():
        layer = network.recurrent[0]
        layer.weight_ih_l0.fill_(0.5)
        layer.weight_hh_l0.copy_(torch.tensor(recurrent_weight))
        layer.bias_ih_l0.fill_(1.0)
        layer.bias_hh_l0.zero_()
        network.dense.weight.copy_(torch.tensor(output_weight))
        network.dense.bias.zero_()
    return network


def batch(lengths, outputs=2, classes=False):
    generator = torch.Generator().manual_seed(1)
    steps, rows = max(lengths), len(lengths)
    inputs = torch.rand(steps, rows, 2, generator=generator)
    targets = torch.rand(rows, outputs, generator=generator)
    if classes:
        targets = targets.argmax(1)
    return inputs, torch.tensor(lengths), targets


def test_in_a_linear_network_with_one_eigenvalue_it_falls_as_its_power():
    network = linear_network([[0.8, 0.0], [0.0, 0.8]], [[1.0, 2.0]])
    reach = gradient_reach(network, *batch([60, 60, 60], outputs=1))
    np.testing.assert_allclose(reach, 0.8 ** np.arange(60), rtol=1e-6)  # 0.8 is a float32


def test_in_a_linear_network_with_two_eigenvalues_it_falls_as_their_powers():
    network = linear_network([[0.5, 0.0], [0.0, 0.9]], [[3.0, 1.0]])
    reach = gradient_reach(network, *batch([30, 30], outputs=1))
    d = np.arange(30)
    expected = np.hypot(3 * 0.5**d, 0.9**d) / np.hypot(3, 1)
    np.testing.assert_allclose(reach, expected, rtol=1e-5)  # powers of float32 weights


def test_distances_count_from_each_rows_own_end():
    network = linear_network([[0.8, 0.0], [0.0, 0.8]], [[1.0, 2.0]])
    reach = gradient_reach(network, *batch([7, 3, 12], outputs=1))
    np.testing.assert_allclose(reach, 0.8 ** np.arange(12), rtol=1e-6)


@pytest.mark.parametrize("cell", CELL_KINDS)
def test_it_is_the_gradient_of_what_the_network_itself_puts_out(cell):
    """Entering late with the state of step t, and asking autograd for the gradient there."""
    network = make_network(cell)
    inputs, lengths, targets = batch([6, 6, 6, 6], classes=True)
    reach = gradient_reach(network, inputs, lengths, targets)

    network, inputs = network.double(), inputs.double()
    norms = []
    for t in range(6):
        with torch.no_grad():
            _, state = network(inputs[: t + 1])
        h = state[0][0].clone().requires_grad_()
        state = [(h, *state[0][1:])]
        if t < 5:
            outputs, _ = network(inputs[t + 1 :], state=state)
        else:
            outputs = network.output(h[0])
        loss = F.cross_entropy(outputs, targets, reduction="sum")
        norms.append(torch.autograd.grad(loss, h)[0][0].norm(dim=1))
    relative = torch.stack(norms[::-1]) / norms[-1]  # [distance, B]
    np.testing.assert_allclose(reach, relative.log().mean(1).exp(), rtol=1e-9)


def test_what_goes_past_the_last_layer_is_in_what_the_network_puts_out():
    network = make_network("gru", hidden_sizes=(4, 3), residual=True, layer_norm=True)
    inputs, lengths, targets = batch([6, 6, 6, 6], classes=True)
    reach = gradient_reach(network, inputs, lengths, targets)

    network, inputs = network.double(), inputs.double()
    features, (_, (last,)) = network.features(inputs)
    past, norms = (features - last[0]).detach(), []
    for t in range(6):
        with torch.no_grad():
            _, (below, (h,)) = network(inputs[: t + 1])
        h.requires_grad_()
        if t < 5:
            outputs, _ = network(inputs[t + 1 :], state=[below, (h,)])
        else:
            outputs = network.output(h[0] + past)
        loss = F.cross_entropy(outputs, targets, reduction="sum")
        norms.append(torch.autograd.grad(loss, h)[0][0].norm(dim=1))
    relative = torch.stack(norms[::-1]) / norms[-1]  # [distance, B]
    np.testing.assert_allclose(reach, relative.log().mean(1).exp(), rtol=1e-9)


@pytest.mark.parametrize("cell", CELL_KINDS)
@pytest.mark.parametrize("readout", ["every", "last", "mean+max"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_readout_begins_at_one(cell, readout, bidirectional):
    network = make_network(
        cell, readout=readout, bidirectional=bidirectional, hidden_sizes=(4, 3), outputs=5
    )
    reach = gradient_reach(network, *batch([5, 9, 1], outputs=5, classes=True))
    assert reach.shape == (9,)
    assert reach[0] == pytest.approx(1)
    assert (reach >= 0).all()  # 0 where a unit of rnn_relu is dead
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_rows_without_a_loss_are_left_out():
    network = linear_network([[0.8, 0.0], [0.0, 0.8]], [[1.0, 2.0]])
    inputs, lengths, targets = batch([4, 4], outputs=1)
    with torch.no_grad():
        targets = targets.double()
        targets[0] = network.double()(inputs.double())[0][0]
    network = network.float()
    reach = gradient_reach(network, inputs, lengths, targets)
    np.testing.assert_allclose(reach, 0.8 ** np.arange(4), rtol=1e-6)

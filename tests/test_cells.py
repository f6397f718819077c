"""The cells' equations: against torch.nn, finite differences and their classical special cases."""

import numpy as np
import pytest
import torch
from any_cell import random_case
from numpy.testing import assert_allclose

from tidegate.cells import CELLS, get_cell
from tidegate.equations import bptt
from tidegate.errors import InputError

T, B, I, H = 5, 3, 4, 6  # noqa: E741
TORCH = {
    "rnn_tanh": lambda: torch.nn.RNN(I, H),
    "rnn_relu": lambda: torch.nn.RNN(I, H, nonlinearity="relu"),
    "lstm": lambda: torch.nn.LSTM(I, H),
    "lstm_projected": lambda: torch.nn.LSTM(I, H, proj_size=H // 2),
    "gru": lambda: torch.nn.GRU(I, H),
}


def test_torch_is_asked_for_every_cell_that_it_has():
    assert set(TORCH) == {name for name, cell in CELLS.items() if cell.torch}


@pytest.mark.parametrize("name", TORCH)
def test_equations_equal_torch_nn_in_float64(name):
    cell = CELLS[name]
    x, state, weights = random_case(cell)
    layer = TORCH[name]().double()
    layer.load_state_dict({f"{name}_l0": torch.tensor(w) for name, w in weights.items()})
    h0 = tuple(torch.tensor(s)[None] for s in state)
    y, h = layer(torch.tensor(x), h0 if len(h0) > 1 else h0[0])
    ours = bptt.forward(cell, x, state, weights)
    assert_allclose(ours.y, y.detach(), rtol=0, atol=1e-14)
    final = h if isinstance(h, tuple) else (h,)
    for mine, theirs in zip(ours.state, final, strict=True):
        assert_allclose(mine, theirs[0].detach(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CELLS)
def test_derived_backward_pass_equals_finite_differences(name):
    cell = CELLS[name]
    x, state, weights = random_case(cell, seed=1)
    rng = np.random.default_rng(2)
    grad_y = rng.standard_normal((T, *state[0].shape))
    grad_state = tuple(rng.standard_normal(s.shape) for s in state)

    def loss():
        run = bptt.forward(cell, x, state, weights)
        final = zip(run.state, grad_state, strict=True)
        return (run.y * grad_y).sum() + sum((s * g).sum() for s, g in final)

    run = bptt.forward(cell, x, state, weights)
    grad_x, grad_initial, grads = bptt.backward(cell, run, weights, grad_y, grad_state)
    pairs = [(x, grad_x), *zip(state, grad_initial, strict=True)]
    pairs += [(weights[name], grads[name]) for name in cell.parameters]
    epsilon = 1e-6
    for array, gradient in pairs:
        for index in rng.choice(array.size, size=min(array.size, 12), replace=False):
            kept = array.flat[index]
            array.flat[index] = kept + epsilon
            above = loss()
            array.flat[index] = kept - epsilon
            below = loss()
            array.flat[index] = kept
            # central differences in float64: error about eps^2 + 1e-16 / eps
            assert gradient.flat[index] == pytest.approx((above - below) / (2 * epsilon), abs=1e-8)


def test_lstm_with_gates_held_open_is_a_tanh_rnn_with_one_more_tanh():
    lstm, rnn = CELLS["lstm"], CELLS["rnn_tanh"]
    x, (h,), w = random_case(rnn)
    held = {"i": 1e3, "f": -1e3, "o": 1e3}  # sigmoid(1e3) is 1, sigmoid(-1e3) is 0
    blocks = {
        name: np.concatenate(
            [
                array if g == "g" else np.full_like(array, held[g] if name == "bias_ih" else 0.0)
                for g in lstm.gates
            ]
        )
        for name, array in w.items()
    }
    run = bptt.forward(lstm, x, (h, np.zeros_like(h)), blocks)
    expected = h
    for t in range(T):
        expected = np.tanh(bptt.forward(rnn, x[t : t + 1], (expected,), w).state[0])
        assert_allclose(run.y[t], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["gru", "gru_reset_before"])
def test_gru_with_reset_1_and_keep_0_is_the_plain_rnn(name):
    gru, rnn = CELLS[name], CELLS["rnn_tanh"]
    x, state, w = random_case(rnn)
    held = {"r": 1e3, "z": -1e3}
    blocks = {
        key: np.concatenate(
            [
                array if g == "n" else np.full_like(array, held[g] if key == "bias_ih" else 0.0)
                for g in gru.gates
            ]
        )
        for key, array in w.items()
    }
    ours = bptt.forward(gru, x, state, blocks)
    assert_allclose(ours.y, bptt.forward(rnn, x, state, w).y, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["gru", "gru_reset_before"])
def test_negating_the_update_gate_turns_keep_into_write(name):
    """h = z n + (1 - z) h, the papers' convention, is ours under negated weights of z."""
    cell = CELLS[name]
    x, (h,), w = random_case(cell)
    update = slice(H, 2 * H)

    def negated(array):
        copy = array.copy()
        copy[update] *= -1
        return copy

    ours = bptt.forward(cell, x, (h,), {k: negated(a) for k, a in w.items()})
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    for t in range(T):
        a = x[t] @ w["weight_ih"].T + w["bias_ih"]
        b = h @ w["weight_hh"].T + w["bias_hh"]
        r, z = sigmoid(a + b)[:, :H], sigmoid(a + b)[:, update]
        product = r * b[:, 2 * H :]
        if name == "gru_reset_before":
            product = (r * h) @ w["weight_hh"][2 * H :].T + w["bias_hh"][2 * H :]
        n = np.tanh(a[:, 2 * H :] + product)
        h = z * n + (1 - z) * h
        assert_allclose(ours.y[t], h, rtol=0, atol=1e-14)


def test_gru_has_three_quarters_of_the_lstms_weights():
    counts = {n: CELLS[n].parameter_count({"I": I, "H": H}) for n in ("gru", "lstm")}
    assert counts["gru"] * 4 == counts["lstm"] * 3
    assert counts["gru"] == sum(p.numel() for p in torch.nn.GRU(I, H).parameters())


def test_watched_gates_are_within_their_ranges():
    cell = CELLS["lstm"]
    gates = bptt.forward(cell, *random_case(cell)).gates(cell)
    assert list(gates) == ["i", "f", "g", "o"]
    assert all(g.shape == (T, B, H) for g in gates.values())
    assert all((gates[g] > 0).all() and (gates[g] < 1).all() for g in "ifo")


def test_unknown_cell_is_refused_with_some_that_there_are():
    with pytest.raises(InputError, match="such as gru, .*, got 'gruu'; tidegate cells lists all"):
        get_cell("gruu")

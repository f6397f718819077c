"""A stack of layers of different cells: what it computes is what its parts do, one by one."""

from __future__ import annotations

import copy

import pytest
import torch

import tidegate as tg

T, B, I = 7, 4, 5  # noqa: E741


def test_without_more_it_is_the_layer_of_as_many_layers():
    torch.manual_seed(0)
    stack, layer = tg.Stack(I, (6, 6), "lstm"), tg.LSTM(I, 6, num_layers=2)
    for k, own in enumerate(stack):
        for name, parameter in own.named_parameters():
            parameter.data = getattr(layer, name.replace("_l0", f"_l{k}")).data
    x = torch.randn(T, B, I)
    y, states = stack(x)
    expected, (h, c) = layer(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    for k, (own_h, own_c) in enumerate(states):
        torch.testing.assert_close(own_h[0], h[k], rtol=0, atol=0)
        torch.testing.assert_close(own_c[0], c[k], rtol=0, atol=0)


def stack_of(**options: object) -> tg.Stack:
    torch.manual_seed(0)
    usual = {"cell": ("lstm", "gru"), "residual": True, "norm": (False, True)}
    return tg.Stack(I, (6, 8), **(usual | options))


def test_each_layer_is_its_cell_after_its_norm_beside_its_shortcut():
    stack, x = stack_of(), torch.randn(T, B, I)
    assert [layer.cell.name for layer in stack] == ["lstm", "gru"]
    first = stack[0](x)[0] + x @ stack.shortcuts[0].weight.T
    normed = torch.nn.functional.layer_norm(first, (6,))
    second = stack[1](normed)[0] + first @ stack.shortcuts[1].weight.T
    torch.testing.assert_close(stack(x)[0], second)
    same = tg.Stack(I, (I,), residual=True)
    assert not [*same.shortcuts.parameters()]
    torch.testing.assert_close(same(x)[0], same[0](x)[0] + x)


def test_padding_is_zero_and_changes_nothing():
    stack, lengths = stack_of(bidirectional=(True, False)), [7, 0, 2, 5]
    x = torch.randn(T, B, I)
    y, states = stack(x, lengths=lengths)
    for row, length in enumerate(lengths):
        assert not y[length:, row].any()
        if length:
            alone, own = stack(x[:length, row : row + 1])
            torch.testing.assert_close(y[:length, row], alone[:, 0])
            torch.testing.assert_close(states[1][:, row], own[1][:, 0])


def test_steps_of_a_stream_and_batch_first_are_the_whole():
    stack, x = stack_of(dropout=0.5).eval(), torch.randn(T, B, I)
    whole, states = stack(x)
    state, outputs = None, []
    for step in x:
        y, state = stack.step(step, state)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs), whole)
    torch.testing.assert_close(state, states)
    half, between = stack(x[:3])
    torch.testing.assert_close(torch.cat([half, stack(x[3:], between)[0]]), whole)
    turned = copy.deepcopy(stack)
    turned.batch_first = True
    torch.testing.assert_close(turned(x.transpose(0, 1))[0].transpose(0, 1), whole)


def test_dropout_stands_before_each_layer_but_the_first_and_options_reach_their_layer():
    stack = stack_of(dropout=(0.5, 0.5), recurrent_dropout=(0.2, 0.0), zoneout=[{"c": 0.1}, 0.0])
    assert [layer.recurrent_dropout for layer in stack] == [0.2, 0.0]
    assert [layer.zoneout for layer in stack] == [{"c": 0.1}, 0.0]
    plain, x = stack_of(dropout=(0.5, 0.0), residual=False), torch.randn(T, B, I)
    torch.testing.assert_close(plain.train()(x)[0], plain.eval()(x)[0])
    assert stack_of().explain().splitlines()[1].startswith("1: engine: the engine's gru")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"hidden_sizes": ()}, "hidden_sizes: expected one size at least, got none; write"),
        ({"hidden_sizes": 3}, "hidden_sizes: expected one for each layer, got int; write"),
        ({"cell": ("gru",) * 3}, "cell: expected one, or 2, as many as hidden_sizes, got 3; give"),
        ({"residual": 1}, "residual: expected True or False, got int; give one"),
        ({"dropout": 2}, r"dropout: expected a probability in \[0, 1\], got 2; give one"),
        ({"zoneout": (0.1, 1.0)}, r"zoneout: expected a probability in \[0, 1\), got 1.0; give"),
    ],
)
def test_what_cannot_be_is_refused(options, told):
    with pytest.raises((TypeError, ValueError), match=told):
        tg.Stack(**({"input_size": I, "hidden_sizes": (6, 8)} | options))

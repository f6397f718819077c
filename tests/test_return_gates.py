"""``forward(return_gates=True)``: gates and states of every step as the reference has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import tidegate as tg
from tidegate.cells import CELLS
from tidegate.nn.engine_values import keeps_gates

TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}  # float32 sums of 7 terms, over 9 steps


def layer_of(cell: str, **options: Any) -> tg.Recurrent:
    """Two layers in both directions, of asymmetric weights."""
    torch.manual_seed(3)
    sizes = {"proj_size": 4} if CELLS[cell].is_projected else {}
    return tg.Recurrent(cell, 5, 7, 2, bidirectional=True, **sizes, **options)


def close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values.float(), **TOLERANCE, msg=name)


@pytest.mark.parametrize("lengths", [None, [9, 1, 0, 4, 9, 2]], ids=["whole", "ragged"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_engine_s_values_are_the_reference_s(cell: str, training: bool, lengths: Any) -> None:
    layer, exact = layer_of(cell, strict=keeps_gates(cell)), layer_of(cell).double()
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(9, 6, 5, requires_grad=training)
    with torch.set_grad_enabled(training):
        y, _, gates, states = layer(x, None, lengths, return_gates=True, return_states=True)
    _, _, *expected = exact(x.double(), None, lengths, return_gates=True, return_states=True)
    close(gates, expected[0])
    close(states, expected[1])
    names = [f"layer_{k}.{g}{end}" for k in (0, 1) for end in ("", "_reverse")
             for g in CELLS[cell].trace.gates]  # fmt: skip
    assert list(gates) == names
    assert all(values.shape == (9, 6, 7) for values in gates.values())
    top = [states[f"layer_1.{CELLS[cell].output}{end}"] for end in ("", "_reverse")]
    torch.testing.assert_close(torch.cat(top, -1), y.detach(), rtol=0, atol=0)
    plain, _ = layer(x, None, lengths)
    torch.testing.assert_close(y, plain, rtol=0, atol=1e-6)  # other kernels where none is trained


@pytest.mark.parametrize("cell", CELLS)
def test_the_engine_keeps_every_gate_of_every_cell_whose_gates_see_the_state(cell: str) -> None:
    # minGRU's and minLSTM's candidate is an input product, which is not kept beside itself
    assert keeps_gates(cell) == (cell not in ("mingru", "minlstm"))


def test_the_pass_back_neither_reads_nor_writes_what_was_given() -> None:
    layer = layer_of("lstm")
    x = torch.randn(9, 6, 5)

    def gradients(**asked: bool) -> tuple[list[torch.Tensor], Any]:
        layer.zero_grad()
        y, _, *told = layer(x, None, [9, 1, 0, 4, 9, 2], **asked)
        kept = [{n: v.clone() for n, v in one.items()} for one in told]
        for one in told:
            assert not any(v.requires_grad for v in one.values())
            if not asked["return_states"]:
                for v in one.values():
                    v.fill_(torch.nan)
        y.square().sum().backward()
        if asked.get("return_states"):
            for before, after in zip(kept, told, strict=True):
                for name, values in before.items():
                    assert torch.equal(values, after[name])
        return [p.grad.clone() for p in layer.parameters() if p.grad is not None], told

    expected, _ = gradients(return_states=True, return_gates=True)
    found, _ = gradients(return_gates=True, return_states=False)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_shapes_follow_the_input_s() -> None:
    x = torch.randn(9, 6, 5)
    layer, by_rows = layer_of("gru"), layer_of("gru", batch_first=True)
    _, _, gates = layer(x, return_gates=True)
    _, _, turned = by_rows(x.transpose(0, 1), return_gates=True)
    close({n: v.transpose(0, 1) for n, v in turned.items()}, gates)
    _, _, one = layer(x[:, 2], return_gates=True)
    close(one, {n: v[:, 2] for n, v in gates.items()})
    rows = [x[:3, 0], x[:9, 1], x[:1, 2]]
    packed = pack_sequence(rows, enforce_sorted=False)
    _, _, of_packed = layer(packed, return_gates=True)
    lengths = torch.tensor([3, 9, 1])
    _, _, ragged = layer(x[:, :3], None, lengths, return_gates=True)
    close({n: pad_packed_sequence(v)[0] for n, v in of_packed.items()}, ragged)


@pytest.mark.parametrize("shape", [(0, 3, 5), (4, 0, 5), (1, 1, 5)])
def test_of_no_step_or_no_row_there_are_no_values(shape: tuple[int, ...]) -> None:
    for layer in (tg.LSTM(5, 7), tg.GRU(5, 7, reset="before"), tg.RNN(5, 7)):
        _, _, gates, states = layer(torch.ones(shape), return_gates=True, return_states=True)
        assert all(v.shape == (*shape[:2], 7) for v in (*gates.values(), *states.values()))
        assert len(gates) == len(layer.cell.trace.gates)


def test_dropout_is_in_the_gates_and_autocast_keeps_them_in_float32() -> None:
    layer = tg.GRU(5, 7, recurrent_dropout=0.5, input_dropout=0.5)
    x = torch.randn(9, 6, 5)
    y, _, gates = layer(x, return_gates=True)
    r, z, n = (gates[f"layer_0.{gate}"] for gate in "rzn")
    before = torch.cat([torch.zeros(1, 6, 7), y[:-1]])
    torch.testing.assert_close(y, (1 - z) * n + z * before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, _, gates = layer.eval()(x, return_gates=True)
    assert all(v.dtype == torch.float32 for v in gates.values())
    _, _, plain = layer(x, return_gates=True)
    close(gates, plain)


def test_a_compiled_layer_gives_them_too_and_strict_says_where_it_is_slow() -> None:
    layer = tg.LSTM(5, 7).eval()
    x = torch.randn(4, 3, 5)
    compiled = torch.compile(layer, backend="eager")
    _, _, gates = compiled(x, return_gates=True)
    close(gates, layer(x, return_gates=True)[2])
    with pytest.raises(RuntimeError, match="strict: .* gates or states of every step are asked"):
        tg.LSTM(5, 7, strict=True).double()(x.double(), return_gates=True)


def test_they_are_what_inspect_shows() -> None:
    from streamed_models import sequence_model

    model = sequence_model(tg.SequenceClassifier)
    x = np.random.default_rng(1).standard_normal((10, 2))
    found = model.inspect(x)
    read, _ = model._read_one(x)
    y = torch.from_numpy(read[""])[:, None]
    for k, layer in enumerate(model.network_.recurrent):
        y, _, gates = layer(y, return_gates=True)
        for name, values in gates.items():
            expected = found.gates[name.replace("layer_0", f"layer_{k}")]
            np.testing.assert_allclose(values[:, 0], expected, rtol=1e-4, atol=1e-5)

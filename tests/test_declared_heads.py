"""Heads as a cell declares them and a layer has them: shapes, initial weights, files, refusals."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from cell_with_heads import GATES, headed, layer_of, plain

import tidegate as tg
from tidegate.cells.definition import cell
from tidegate.cells.parts import Gate, State
from tidegate.equations.expr import gates, states
from tidegate.export.latex import parameters_table
from tidegate.nn.init import initialise_recurrent


def test_initial_weights_are_orthogonal_in_each_head() -> None:
    layer = layer_of()
    initialise_recurrent(layer)
    weight = dict(layer.named_parameters())["weight_hh_l0"].detach()
    for block in weight.view(len(GATES) * 2, 3, 3):
        torch.testing.assert_close(block @ block.T, torch.eye(3, dtype=torch.float64))
    assert len(weight.view(-1, 9).unique(dim=0)) == len(GATES) * 2


def test_a_layer_says_its_heads_and_is_copied_saved_and_loaded_with_them() -> None:
    layer = layer_of(num_layers=2)
    assert repr(layer) == "Recurrent(headed, 3, 6, num_layers=2, num_heads=2)"
    assert layer.weight_hh_l1.shape == (4 * 6, 3)
    assert "num_heads : int, default 1" in (tg.Recurrent.__doc__ or "")
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    twins: list[tg.Recurrent] = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]  # noqa: S301
    for again in twins:
        assert again.num_heads == 2
        assert torch.equal(again(x)[0], layer(x)[0])
    other = tg.Recurrent(headed, 3, 6, num_layers=2, num_heads=2, dtype=torch.float64)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x)[0], layer(x)[0])
    with pytest.raises(RuntimeError, match="size mismatch for weight_hh_l0"):
        tg.Recurrent(headed, 3, 6, num_layers=2, num_heads=3).load_state_dict(layer.state_dict())


# what is refused


def test_sizes_have_a_number_of_heads_that_divides_the_units() -> None:
    assert headed.parameters["weight_hh"].columns == "H/K"
    assert headed.seen_width == "H"
    sizes = {"I": 3, "H": 6}
    assert headed.shapes(sizes) == plain.shapes(sizes) == plain.shapes(sizes | {"K": 1})
    assert headed.shapes(sizes | {"K": 3})["weight_hh"] == (24, 2)
    count = headed.parameter_count(sizes) - headed.parameter_count(sizes | {"K": 3})
    assert count == 24 * 4
    for heads, advice in [(4, "K = 3 or H = 8"), (7, "K = 6 or H = 7"), (0, "K = 1")]:
        with pytest.raises(ValueError, match=f"K: expected a divisor of H = 6, .*; take {advice}$"):
            headed.shapes(sizes | {"K": heads})
    with pytest.raises(ValueError, match="K: expected 1 for plain, which has no heads, got 2; lea"):
        plain.shapes(sizes | {"K": 2})


@pytest.mark.parametrize(
    ("declared", "heads", "kind", "message"),
    [
        (headed, 4, ValueError, "a divisor of hidden_size = 6, got 4; take num_heads = 3 or hidden_"
         "size = 8$"),
        (headed, 0, ValueError, "at least 1, got 0"),
        (headed, 2.0, TypeError, "an int, got float"),
        (headed, True, TypeError, "an int, got bool"),
        ("gru", 2, ValueError, "1 for gru, which has no heads, got 2; leave it out, or declare"),
    ],
)  # fmt: skip
def test_a_layer_takes_heads_that_its_cell_can_have(
    declared: Any, heads: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=f"num_heads: expected {message}"):
        tg.Recurrent(declared, 3, 6, num_heads=heads)
    for units, count in [(6, 3), (8, 4)]:
        assert tg.Recurrent(headed, 3, units, num_heads=count).num_heads == count


def _idle(ops, w, u, h):  # noqa: ARG001
    return states(h=ops.tanh(w.a) + h), gates()


def _narrow(ops, w, u, one, h):
    return states(h=one(ops.tanh(w.a + u.a(h)))), gates()


def _simple(ops, w, u, h):
    return states(h=ops.tanh(w.a + u.a(h))), gates()


@pytest.mark.parametrize(
    ("equations", "options", "at", "message"),
    [
        (_idle, {}, 0, "heads: expected u.g of a gate, whose product they cut, got none; leave h"),
        (
            _narrow,
            {"states": {"h": State("output", "P")}, "projections": ("one",)},
            1,
            r"u.a\(v\): expected v of H units, which heads cut, got the P values of a projec",
        ),
        (_simple, {"torch": "rnn_tanh"}, 0, "heads: expected no function of torch for the same eq"),
    ],
)
def test_what_has_no_heads_is_refused_with_its_line(
    equations: Any, options: dict[str, Any], at: int, message: str
) -> None:
    given = {"states": {"h": State("output")}, "source": "a test", "use": "In tests."} | options
    declared = cell("odd", gates={"a": Gate("a")}, heads=True, **given)(equations)
    line = equations.__code__.co_firstlineno + at
    with pytest.raises(ValueError, match=f"^{__file__}:{line}: odd: {message}"):
        _ = declared.parameters
    good = cell("good", gates={"a": Gate("a")}, **given)(equations)
    assert good.parameters


def test_the_page_of_cells_tells_heads() -> None:
    assert "| weight_hh | recurrent | [4 H, H/K] | r, z, n, o |" in parameters_table(headed)
    assert "block-diagonal over K heads" in parameters_table(headed)
    assert "heads" not in parameters_table(plain)

"""Candidate dropout, zoneout and weight drop: what each does to a step, in the engine, too."""

from __future__ import annotations

import copy
import itertools
import operator
from typing import Any

import numpy as np
import pytest
import torch
from any_cell import flat, layer_of, state_of
from compiled_cells import cells_kept  # noqa: F401  a fixture

import tidegate as tg
from tidegate.cells import CELLS, may_stay
from tidegate.cells.regularised import candidates_of, with_candidate_dropout
from tidegate.errors import InputError
from tidegate.nn.functional import recurrence

pytestmark = pytest.mark.usefixtures("cells_kept")

ROWS, INPUTS, UNITS = 4, 5, 64
# but for a memory that is normalised, which depends on all that is written
WITH_CANDIDATE = [name for name, c in CELLS.items() if candidates_of(c) and name != "lstm_norm"]


def of_one_step(name: str) -> tuple[tg.Recurrent, torch.Tensor]:
    """The layer and what it reads, the same ones at each call."""
    torch.manual_seed(0)
    layer = layer_of(name, INPUTS, UNITS, dtype=torch.float64)
    return layer, torch.randn(1, ROWS, INPUTS, dtype=torch.float64)


def one_step(name: str, **options: Any) -> tuple[list[torch.Tensor], ...]:
    """Each state before a step, after it, and after the same step under these options.

    The last time not in training.
    """
    plain, x = of_one_step(name)
    other = layer_of(name, INPUTS, UNITS, dtype=torch.float64, **options)
    other.load_state_dict(plain.state_dict())
    hx = state_of(plain, ROWS)
    with torch.no_grad():
        after = [flat(layer(x, hx)[1]) for layer in (plain, other, copy.deepcopy(other).eval())]
    return flat(hx), *after


def shares(first: torch.Tensor, second: torch.Tensor, got: torch.Tensor) -> float:
    """How much of ``got`` is the first; the rest must be the second."""
    is_first = torch.isclose(got, first, rtol=0, atol=1e-12)
    assert (is_first | torch.isclose(got, second, rtol=0, atol=1e-12)).all()
    return float(is_first.double().mean())


@pytest.mark.parametrize("name", CELLS)
def test_under_zoneout_a_unit_stays_or_is_the_new_one_and_else_what_is_expected(name):
    before, new, trained, expected = one_step(name, zoneout=0.3)
    for k, state in enumerate(CELLS[name].states):
        share = 0.3 if state in may_stay(CELLS[name]) else 0.0
        if share:
            assert abs(shares(before[k], new[k], trained[k]) - share) < 0.1  # of 256 units
        torch.testing.assert_close(expected[k], share * before[k] + (1 - share) * new[k])


def test_zoneout_of_one_state_leaves_the_other():
    before, new, trained, _ = one_step("lstm", zoneout={"c": 0.5})
    assert 0.3 < shares(before[1], new[1], trained[1]) < 0.7
    torch.testing.assert_close(trained[0], new[0])  # h is that of the step's own memory


def test_what_zoneout_may_keep_has_a_meaning_by_itself():
    """What is projected has no units, and the sLSTM's memory is exp(m) c beside exp(m) n."""
    unlike = {name: may_stay(cell) for name, cell in CELLS.items()}
    unlike = {n: kept for n, kept in unlike.items() if kept != tuple(CELLS[n].states)}
    assert unlike == {"lstm_projected": ("c",), "slstm": ("h",), "slstm_exp": ("h",)}
    for state in ("c", "n", "m"):
        with pytest.raises(ValueError, match=f"expected h of slstm, got '{state}', .* the scale m"):
            layer_of("slstm", INPUTS, UNITS, zoneout={state: 0.1})


@pytest.mark.parametrize("zoneout", [0.0, 0.5, {"h": 0.5}])
def test_under_zoneout_an_slstm_remembers_the_same_whatever_the_scale(zoneout):
    """Input gates of another order of magnitude change m, and neither c / n nor the output."""
    torch.manual_seed(0)
    layer = layer_of("slstm", INPUTS, UNITS, dtype=torch.float64, zoneout=zoneout)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.bias_ih_l0[:UNITS] += 30.0
    x, found = torch.randn(9, ROWS, INPUTS, dtype=torch.float64), []
    for one in (layer, other):
        torch.manual_seed(1)
        found.append(one(x))
        found.append(one.eval()(x))
    for (y, (h, c, n, m)), (same, (_, other_c, other_n, other_m)) in zip(
        found[:2], found[2:], strict=True
    ):
        torch.testing.assert_close(y, same)
        torch.testing.assert_close(y[-1], h[0])
        torch.testing.assert_close(c / n, other_c / other_n)
        assert float((other_m - m).detach().min()) > 29


@pytest.mark.parametrize("name", WITH_CANDIDATE)
def test_candidate_dropout_drops_what_is_written_and_never_what_is_kept(name):
    cell = CELLS[name]
    before, new, trained, expected = one_step(name, candidate_dropout=0.5)
    layer, x = of_one_step(name)
    dropping, state = with_candidate_dropout(cell), tuple(s[0] for s in before)
    k = list(cell.states).index("c" if "c" in cell.states else "h")

    def with_only(candidate: int | None) -> torch.Tensor:
        """The new state where all other candidates are dropped."""
        noise = torch.full((len(candidates_of(cell)), UNITS), -1.0, dtype=torch.float64)
        if candidate is not None:
            noise[candidate] = 0.0
        noise = noise.flatten().expand(1, ROWS, -1)
        return recurrence(dropping, x, state, layer.layer_weights(0), noise=noise)[1][k]

    kept = with_only(None)
    written = [with_only(i) - kept for i in range(len(candidates_of(cell)))]
    assert float((sum(written) != 0).double().mean()) > 0.5
    masks = list(itertools.product((0, 2), repeat=len(written)))
    could = torch.stack([kept + sum(map(operator.mul, mask, written)) for mask in masks])
    found = torch.isclose(trained[k][0], could, rtol=0, atol=1e-12)
    assert found.any(0).all()
    for i, part in enumerate(written):
        share = found[[mask[i] == 2 for mask in masks]].any(0).double().mean()
        share -= (part == 0).double().mean() / 2  # of a rectified one nobody can tell
        assert abs(share - 0.5) < 0.12  # of 256 units
    for got, plain in zip(expected, new, strict=True):
        torch.testing.assert_close(got, plain)


def test_candidates_of_an_lstm_are_dropped_unit_by_unit():
    torch.manual_seed(0)
    layer = tg.LSTM(INPUTS, UNITS, candidate_dropout=0.25, dtype=torch.float64)
    torch.nn.init.zeros_(layer.weight_hh_l0)
    x = torch.randn(3, ROWS, INPUTS, dtype=torch.float64)
    c, own = torch.zeros(ROWS, UNITS, dtype=torch.float64), torch.zeros(1, ROWS, UNITS).double()
    state = (own, own)
    for step in x:
        _, state = layer(step[None], state)
        i, f, g, _ = (step @ layer.weight_ih_l0.T + layer.bias_ih_l0 + layer.bias_hh_l0).chunk(4, 1)
        kept, written = f.sigmoid() * c, i.sigmoid() * g.tanh()
        assert 0.1 < shares(kept, kept + written / 0.75, state[1][0]) < 0.4
        c = state[1][0]


def test_a_hidden_weight_is_hidden_from_all_rows_and_steps():
    torch.manual_seed(0)
    layer = tg.GRU(INPUTS, UNITS, weight_dropout=0.4)
    x = torch.randn(6, ROWS, INPUTS)
    torch.manual_seed(1)
    y = layer(x)[0]
    y.sum().backward()
    hidden = layer.weight_hh_l0.grad == 0
    assert abs(float(hidden.float().mean()) - 0.4) < 0.02
    plain = tg.GRU(INPUTS, UNITS)
    plain.load_state_dict(layer.state_dict())
    with torch.no_grad():
        plain.weight_hh_l0.mul_(~hidden / 0.6)
    torch.testing.assert_close(plain(x)[0], y)
    layer.eval()
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x)[0], plain(x)[0])
    assert layer.explain().startswith("engine: ")


@pytest.mark.parametrize("lengths", [None, [7, 0, 1, 4]], ids=["full", "ragged"])
def test_the_engine_draws_and_learns_as_the_reference(lengths):
    torch.manual_seed(0)
    options = {"zoneout": 0.2, "candidate_dropout": 0.3, "recurrent_dropout": 0.1}
    layer = tg.GRU(INPUTS, 19, num_layers=2, bidirectional=True, strict=True, **options)
    exact = copy.deepcopy(layer).double()
    exact.strict, found, x = False, [], torch.randn(7, ROWS, INPUTS)
    masks = [torch.bernoulli(torch.full((ROWS, 19), 0.9)) for _ in range(4)]
    for run in (layer, exact):
        given = iter(masks)
        run._mask = lambda p, *_, run=run, given=given: (  # pyright: ignore
            None if p == 0 else next(given).to(run.weight_ih_l0.dtype)
        )
        own = x.clone().to(run.weight_ih_l0.dtype).requires_grad_()
        torch.manual_seed(1)
        y, h = run(own, None, lengths)
        (y.square().sum() + h.sum()).backward()
        found.append([y.detach(), h.detach(), own.grad, *(p.grad for p in run.parameters())])
    for got, expected in zip(*found, strict=True):
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(got.double(), expected, rtol=0, atol=2e-5 * scale)


def test_a_layer_shows_and_keeps_them():
    layer = tg.LSTM(3, 5, zoneout={"c": 0.5}, weight_dropout=0.25, candidate_dropout=0.1)
    text = "LSTM(3, 5, candidate_dropout=0.1, zoneout={'c': 0.5}, weight_dropout=0.25)"
    assert repr(layer) == repr(copy.deepcopy(layer)) == text


def test_a_task_learns_with_them_and_its_file_answers_alike(tmp_path):
    texts, moods = ["a lovely film", "a dreadful film"] * 12, ["good", "bad"] * 12
    options: dict[str, Any] = {"zoneout": 0.2, "candidate_dropout": 0.3, "weight_dropout": 0.1}
    model = tg.TextClassifier(
        hidden_sizes=(6,), embedding_size=4, epochs=None, max_steps=3, verbose=0, **options
    ).fit(texts, moods)
    model.save(tmp_path / "m.safetensors")
    again = tg.load(tmp_path / "m.safetensors")
    assert {name: getattr(again, name) for name in options} == options
    architecture = again.runtime_.architecture
    assert {name: getattr(architecture, name) for name in options} == options
    plain = copy.copy(again.runtime_.architecture).cell
    assert plain == "gru"
    np.testing.assert_array_equal(again.predict_proba(texts[:3]), model.predict_proba(texts[:3]))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("lstm", {"zoneout": 1.0}, r"zoneout: expected a probability in \[0, 1\), got 1.0; give"),
        ("lstm", {"zoneout": {"k": 0.1}}, "zoneout: expected states of H units, h or c, got 'k'"),
        ("lstm", {"zoneout": {"c": -1}}, r"zoneout\['c'\]: expected a probability in"),
        (
            "gru",
            {"weight_dropout": 1},
            r"weight_dropout: expected a probability in \[0, 1\), got 1",
        ),
        ("rnn", {"candidate_dropout": 0.1}, "candidate_dropout: expected 0 for rnn_tanh.*; take"),
    ],
)
def test_what_cannot_be_is_refused(name, options, told):
    with pytest.raises(ValueError, match=told):
        layer_of(name if name in CELLS else "rnn_tanh", 3, 4, **options)


def test_an_option_that_cannot_be_is_named():
    with pytest.raises(
        InputError, match="option zoneout: expected a number at least 0 and below 1"
    ):
        tg.TextClassifier(zoneout=1.5).check()

"""Every cell in every task: trained, kept in a file, used from it, compared."""

from __future__ import annotations

from dataclasses import fields
from math import prod

import numpy as np
import pytest
from any_cell import CELL_SHAPES, layer_of
from command_line import LEARN, TINY, Tidegate

import tidegate as tg
from tidegate.cells import NAMES, PROJECTED, TO_TRY, get_cell
from tidegate.errors import InputError

USE = {
    "classifier": "predict m.safetensors test.csv",
    "regressor": "predict m.safetensors graded.csv",
    "language-model": "generate m.safetensors --length 9 --seed 1",
    "forecaster": "forecast m.safetensors load.csv",
    "series-classifier": "predict m.safetensors new.csv",
    "series-regressor": "predict m.safetensors new.csv",
    "series-tagger": "predict m.safetensors new.csv",
    "tagger": "predict m.safetensors names.conll",
    "music": "generate m.safetensors --length 9 --greedy --json",
    "seq2seq": "predict m.safetensors pairs.tsv",
    "series-to-series": "predict m.safetensors halves.csv",
}


# one cell of each shape in all tasks, the others in one each
PAIRS = [
    (cell, task)
    for k, cell in enumerate(NAMES)
    for n, task in enumerate(TINY)
    if get_cell(cell).name in CELL_SHAPES or k % len(TINY) == n
]


@pytest.mark.parametrize(("cell", "task"), PAIRS)
def test_a_task_learns_keeps_and_uses_every_cell(tidegate: Tidegate, task: str, cell: str) -> None:
    options = f"{TINY[task]} --cell {cell} --output m.safetensors"
    learned = tidegate(f"train {task} {LEARN[task]} {options}")
    assert learned.code == 0, learned.err
    about = tidegate("info m.safetensors --json").json
    described = about["architecture"]
    assert described.get("source", described)["cell"] == get_cell(cell).name
    used = tidegate(USE[task])
    assert used.code == 0, used.err
    assert used.out


def test_help_says_when_to_take_the_cells_of_torch_and_names_all(tidegate: Tidegate) -> None:
    told = " ".join(tidegate("train classifier --help").out.split())
    for name in TO_TRY:
        if get_cell(name).torch:
            assert f"{name}: {get_cell(name).use}" in told
    others = [name for name in TO_TRY if not get_cell(name).torch]
    assert f"Others: {', '.join(others)}; tidegate cells says" in told
    variants = [name for name in NAMES if get_cell(name).variant_of]
    assert f"to compare them with: {', '.join(variants)}." in told


def test_a_search_tries_no_variant_that_is_there_to_be_compared_with() -> None:
    assert set(NAMES) - set(TO_TRY) == {n for n in NAMES if get_cell(n).variant_of}
    (cell,) = [f for f in fields(tg.TextClassifier) if f.name == "cell"]
    assert list(cell.metadata["search"].choices) == TO_TRY


def test_cells_are_listed_with_what_they_cost_and_when_to_take_them(tidegate: Tidegate) -> None:
    told = tidegate("cells --input-size 3 --hidden-size 6 --num-heads 2 --json").json["cells"]
    assert list(told) == NAMES
    for name, about in told.items():
        cell = get_cell(name)
        heads = {"num_heads": 2} if cell.heads else {}
        layer = layer_of(cell, 3, 6, **heads)
        count = sum(p.numel() for p in layer.parameters())
        letters = {"I": 3, "H": 6, "P": 3, "K": 2}
        terms = about["formula"].replace("H/K", "3").split(" + ")
        of_formula = (prod(letters.get(w) or int(w) for w in term.split()) for term in terms)
        assert about["parameters"] == count == sum(of_formula)
        assert (about["use"], about["source"]) == (cell.use, cell.source)
    assert told["lstm"]["cost"] == 1
    assert told["gru"]["cost"] == 0.75
    shown = tidegate("cells slstm lstm_nig").out
    assert "weights 4 H I + 4 H H/K + 8 H = 132 096" in shown
    assert "0.75 of the LSTM's" in shown


def test_cells_that_cannot_be_listed_are_named(tidegate: Tidegate) -> None:
    assert "expected a cell, such as gru" in tidegate("cells gruu").err
    refused = tidegate("cells slstm --hidden-size 6 --num-heads 4")
    assert refused.code == 2
    assert "--num-heads: expected a divisor of 6, got 4; take --num-heads = 3" in refused.err


def test_new_cells_are_compared_at_equal_parameters(tidegate: Tidegate) -> None:
    cells = "rnn,lstm_projected,mgu"
    outcome = tidegate(
        "compare book.txt --task language-model --embedding-size 4 --bptt 8 --hidden-sizes 6 "
        f"--max-steps 1 --seeds 1 --cells {cells} --equal-parameters --json"
    )
    assert outcome.code == 0, outcome.err
    assert [run["cell"] for run in outcome.json["runs"]] == ["rnn_tanh", "lstm_projected", "mgu"]


def test_a_projection_is_for_the_cells_of_a_comparison_that_have_one(tidegate: Tidegate) -> None:
    line = (
        "compare book.txt --task language-model --embedding-size 4 --bptt 8 --hidden-sizes 6 "
        "--max-steps 1 --seeds 1 --json --projection-size 4 --cells "
    )
    mixed = tidegate(line + "gru,lstm_projected")
    assert mixed.code == 0, mixed.err
    refused = tidegate(line + "gru,lstm")
    assert refused.code == 2
    assert "option --projection-size: expected none for gru, which has no projection" in refused.err


X, Y = np.random.default_rng(0).normal(size=(8, 6, 1)), np.arange(8.0)
QUIET = {"max_steps": 1, "verbose": 0}


def test_the_projection_is_half_the_units_unless_it_is_given(tmp_path) -> None:
    for given, sizes in ((None, (4, 2)), (3, (3, 3))):
        options = {"cell": "lstm_projected", "projection_size": given, "hidden_sizes": (8, 5)}
        model = tg.SequenceRegressor(**options, batch_norm=True, **QUIET).fit(X, Y)
        model.save(tmp_path / "m.safetensors", force=True)
        again = tg.SequenceRegressor.load(tmp_path / "m.safetensors")
        assert [layer.proj_size for layer in again.network_.recurrent] == list(sizes)
        assert again.projection_size == given
        np.testing.assert_array_equal(again.predict(X), model.predict(X))


WRONG = {
    "another cell": ({"projection_size": 3}, f"expected none for gru.*one: {PROJECTED}"),
    "too wide": (
        {"cell": "lstm_projected", "projection_size": 4, "hidden_sizes": (6, 4)},
        "option hidden_sizes: expected 5 units or more in each layer.*got 4",
    ),
    "nothing": (
        {"cell": "lstm_projected", "projection_size": 0},
        "option projection_size: expected a whole number at least 1, got 0",
    ),
    "one unit": (
        {"cell": "lstm_projected", "hidden_sizes": (1,)},
        "option hidden_sizes: expected 2 units or more",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_projection_that_cannot_be_is_refused(case: str) -> None:
    options, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        tg.SequenceRegressor(**options, **QUIET).fit(X, Y)

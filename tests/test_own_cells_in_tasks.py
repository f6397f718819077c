"""A reader's own cell in tasks: named in a module or a file, kept in a model file as data."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import LEARN, TINY, Tidegate
from compiled_cells import cells_kept  # noqa: F401  a fixture

import tidegate as tg
from tidegate.cells import get_own
from tidegate.cells.stored import MAX_OPERATIONS, restored, stored
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError

pytestmark = pytest.mark.usefixtures("cells_kept")

CELLS = '''
from tidegate import Gate, State, cell, gates, states


@cell(
    gates={"i": "writes", "f": Gate("forget gate", "keeps"), "g": ""},
    states={"h": State("hidden state"), "c": State("memory")},
    vectors={"peep": "i f"},
    heads=True,
)
def remembering(ops, w, u, peep, h, c):
    """Two states, one of which is noisy in training, vectors, heads and a mean."""
    i = ops.sigmoid(w.i + u.i(h) + peep.i * c)
    f = ops.sigmoid(w.f + u.f(h) + peep.f * c)
    g = ops.tanh(w.g + u.g(h) - 0.25 * ops.mean(c))
    c = f * c + ops.minimum(i, 0.9) * g + 0.01 * ops.noise()
    return states(h=ops.tanh(c), c=c), gates(i=i, f=f)


@cell(gates="n", state="h")
def plain(ops, w, u, h):
    n = ops.tanh(w.n + u.n(h))
    return states(h=0.5 * h + 0.5 * n), gates(n=n)


number = 3
'''


@pytest.fixture
def cells(tmp_path: Path) -> Any:
    """The module of the cells above, which is in a file."""
    path = tmp_path / "mine.py"
    path.write_text(CELLS)
    names: dict[str, Any] = {"__name__": "mine"}
    exec(compile(CELLS, str(path), "exec"), names)  # noqa: S102
    return names


@pytest.mark.usefixtures("cells")
def test_a_file_names_a_cell_and_the_model_needs_neither_it_nor_torch(
    tidegate: Tidegate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TINY["series-regressor"].replace("4", "4,6", 1)
    options += " --cell mine.py:remembering,gru --num-heads 2 -o m.safetensors"
    learned = tidegate(f"train series-regressor {LEARN['series-regressor']} {options}")
    assert learned.code == 0, learned.err
    about = tidegate("info m.safetensors --json").json["architecture"]
    assert about["cell"][0].startswith("remembering@")
    assert about["cell"][1] == "gru"
    expected = tidegate("predict m.safetensors new.csv --json").json
    (tmp_path / "mine.py").unlink()
    monkeypatch.setattr("tidegate.cells._OWN", {})
    assert tidegate("predict m.safetensors new.csv --json").json == expected
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import json, numpy as np, tidegate as tg\n"
        "x = np.sin(np.arange(40.0)).reshape(2, 10, 2)\n"
        "print(json.dumps(tg.load('m.safetensors').predict(x).tolist()))"
    )
    bare = subprocess.run(  # where there is no compiler either
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=True, env={"PATH": ""},
    )  # fmt: skip
    x = np.sin(np.arange(40.0)).reshape(2, 10, 2)
    ours = tg.load(tmp_path / "m.safetensors").predict(x)
    np.testing.assert_allclose(json.loads(bare.stdout), ours, rtol=1e-4)


def test_a_module_names_a_cell_as_the_estimator_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: Any
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    model = tg.SequenceRegressor(cell="mine:plain", hidden_sizes=(4,))
    assert model.cell == cells["plain"].key
    assert tg.SequenceRegressor(cell=[cells["plain"], "gru"]).cell == (cells["plain"].key, "gru")


def test_own_cells_are_compared(tidegate: Tidegate, cells: Any) -> None:
    outcome = tidegate(
        "compare reviews.csv --text review --label sentiment --task classifier --embedding-size 4 "
        "--hidden-sizes 6 --max-steps 1 --seeds 1 --cells gru,mine.py:remembering --json"
    )
    assert outcome.code == 0, outcome.err
    assert [run["cell"] for run in outcome.json["runs"]] == ["gru", cells["remembering"].key]


WRONG = {
    "none.py:plain": "expected a file, got 'none.py'; correct its path",
    "no_such.module:plain": "got 'no_such.module'; name its file, as in path/to/file.py:plain",
    "mine.py:other": "expected one that mine.py declares, remembering, plain, got 'other'; declare",
    "mine.py:number": "got 'number'; declare it with @tidegate.cell",
    "wrong.py:plain": "got 'wrong.py', which fails: ZeroDivisionError: division by zero; correct",
    "needs.py:plain": "got 'needs.py', which fails: ModuleNotFoundError: No module named 'no_such'",
}


@pytest.mark.parametrize("place", WRONG)
@pytest.mark.usefixtures("cells")
def test_a_place_without_a_cell_is_told_in_one_line(
    tidegate: Tidegate, tmp_path: Path, place: str
) -> None:
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    (tmp_path / "needs.py").write_text("import no_such\n")
    line = f"train series-regressor {LEARN['series-regressor']} {TINY['series-regressor']}"
    refused = tidegate(f"{line} --cell {place}")
    assert refused.code == 2
    assert refused.err.startswith("error: option --cell: ")
    assert WRONG[place] in refused.err
    assert len(refused.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["remembering", "plain"])
def test_a_cell_is_restored_as_it_was(cells: Any, name: str) -> None:
    own = cells[name]
    again = restored(json.loads(json.dumps(stored(own))))
    assert again is not own
    assert again.key == own.key
    assert again.trace.text() == own.trace.text()
    assert (again.gates, again.states, again.vectors) == (own.gates, own.states, own.vectors)
    torch.manual_seed(0)
    ours = tg.Recurrent(own, 3, 6, dtype=torch.float64)
    theirs = tg.Recurrent(again, 3, 6, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    x, found = torch.randn(5, 2, 3, dtype=torch.float64), []
    for layer in (ours, theirs):
        torch.manual_seed(1)  # of the noise
        y, _ = layer(x)
        found += [y, torch.autograd.grad(y.square().sum(), layer.weight_hh_l0)[0]]
    torch.testing.assert_close(found[:2], found[2:], rtol=1e-12, atol=1e-12)


def changed(values: Any, rng: np.random.Generator) -> Any:
    """With one of its parts another one, or away."""
    values = copy.deepcopy(values)
    here: Any = values
    while True:
        keys = list(here) if isinstance(here, dict) else range(len(here))
        key = keys[int(rng.integers(len(keys)))]
        inner = here[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.8:
            here = inner
            continue
        others = ["H", "P", "h", "c", "exp", "add", "int", "a b", -1, 0, 1, 7, 10**30, 1e400, 0.5]
        others += [None, True, [], {}, ["mean", 0], ["product", "weight_hh", "i", 3], "keeps"]
        if rng.random() < 0.2 and isinstance(here, list):
            here.append(here[0])
        elif rng.random() < 0.1:
            del here[key]
        else:
            here[key] = others[int(rng.integers(len(others)))]
        return values


def test_what_is_no_cell_is_refused_and_what_is_one_has_the_key_of_what_it_computes(
    cells: Any,
) -> None:
    rng, kept = np.random.default_rng(0), 0
    for name in ("remembering", "plain"):
        own = cells[name]
        for _ in range(200):
            values = changed(stored(own), rng)
            try:
                made = restored(values)
            except ValueError:
                continue
            kept += 1
            same = made.trace.text() == own.trace.text()
            assert made.key != own.key or same
    assert 0 < kept < 200


def test_operations_that_would_take_for_ever_are_refused(cells: Any) -> None:
    values = stored(cells["plain"])
    assert values is not None
    doubled = [["input", "n"], *(["add", k, k] for k in range(40)), ["tanh", 40]]
    with pytest.raises(ValueError, match="expected fewer within one another"):
        restored(values | {"operations": doubled, "new": [41], "watched": []})
    long = [["input", "n"], *(["tanh", k] for k in range(MAX_OPERATIONS))]
    with pytest.raises(ValueError, match=f"expected 1 to {MAX_OPERATIONS}"):
        restored(values | {"operations": long, "new": [3], "watched": []})


def test_a_file_of_another_cell_than_it_names_is_refused(
    tmp_path: Path, cells: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = np.random.default_rng(0).normal(size=(8, 6, 1)), np.arange(8.0)
    model = tg.SequenceRegressor(
        cell=cells["remembering"], hidden_sizes=(4,), max_steps=1, verbose=0, baseline=False
    ).fit(x, y)
    other = [stored(cells["plain"])]
    monkeypatch.setattr("tidegate.model.checkpoint.own_cells", lambda _: other)
    with pytest.raises(ValueError, match="cells: expected those that the architecture names"):
        model.save(tmp_path / "m.safetensors")
    assert get_own(cells["remembering"].key) is cells["remembering"]
    with pytest.raises((InputError, ModelFileError)):
        tg.load(tmp_path / "m.safetensors")

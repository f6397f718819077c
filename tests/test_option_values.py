"""Options as Python's users hold them: NumPy's numbers, True and False, lists; and bad values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Tidegate
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import tidegate as tg
from tidegate.errors import InputError
from tidegate.tasks import load

TEXTS = [f"a {word} {thing}" for word in ("good", "bad", "odd") for thing in "abcdefgh"]
LABELS = ["x"] * 12 + ["y"] * 12
PLAIN: dict[str, Any] = {"embedding_size": 4, "hidden_sizes": (4,), "max_steps": 2, "verbose": 0}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


NUMPYS: dict[str, Any] = {
    "embedding_size": np.int32(4),
    "hidden_sizes": (np.int64(4),),
    "max_steps": np.int64(2),
    "batch_size": np.uint8(32),
    "seed": np.int64(0),
    "dropout": np.float32(0.5),
    "learning_rate": np.float64(0.002),
    "batch_norm": np.bool_(False),
    "cell": np.str_("gru"),
}


@pytest.mark.parametrize("name", NUMPYS)
def test_a_number_of_numpys_is_that_number(name: str, tmp_path: Path) -> None:
    """Searches draw options from arrays."""
    value = NUMPYS[name]
    plain = (4,) if name == "hidden_sizes" else value.item()
    expected = tg.TextClassifier(**PLAIN | {name: plain}).fit(TEXTS, LABELS)
    given = PLAIN | {name: value, "run_folder": tmp_path / "run"}
    model = clone(tg.TextClassifier(**given)).fit(TEXTS, LABELS)
    model.save(tmp_path / "m.safetensors")
    again: Any = load(tmp_path / "m.safetensors")
    for one in (model, again):
        np.testing.assert_array_equal(one.predict_proba(TEXTS), expected.predict_proba(TEXTS))
    assert getattr(again, name) == plain
    assert type(getattr(again, name)) is type(plain)


@pytest.mark.parametrize("make", [tg.SequenceClassifier, tg.Forecaster])
def test_sizes_of_numpys_reach_the_file_of_every_task(make: Any, tmp_path: Path) -> None:
    options = {"hidden_sizes": (np.int64(4),), "max_steps": np.int64(2), "verbose": 0}
    rows = np.random.default_rng(0).normal(size=(24, 9))
    if make is tg.Forecaster:
        fitted = make(**options, horizon=np.int64(2), context=np.int64(4)).fit(rows.ravel())
    else:
        fitted = make(**options).fit(rows, LABELS)
    fitted.save(tmp_path / "m.safetensors")
    again: Any = load(tmp_path / "m.safetensors")
    assert again.hidden_sizes == (4,)


def test_a_search_over_an_array_of_sizes() -> None:
    search = GridSearchCV(tg.TextClassifier(**PLAIN), {"embedding_size": np.array([2, 4])}, cv=2)
    assert search.fit(TEXTS, LABELS).best_params_["embedding_size"] in (2, 4)


@pytest.mark.parametrize(("given", "lines"), [(False, False), (True, True)])
def test_verbose_is_also_true_or_false(
    given: bool, lines: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tg.TextClassifier(**PLAIN | {"verbose": given}).fit(TEXTS, LABELS)
    whole = tg.TextClassifier(**PLAIN | {"verbose": int(given)}).fit(TEXTS, LABELS)
    told = capsys.readouterr()
    assert not (told.out + told.err) or lines
    np.testing.assert_array_equal(model.predict_proba(TEXTS), whole.predict_proba(TEXTS))
    model.save(tmp_path / "m.safetensors")
    again: Any = load(tmp_path / "m.safetensors")
    assert again.verbose == given


@pytest.mark.parametrize("sizes", [8, np.array([8, 4]), None])
def test_sizes_that_are_no_tuple_are_shown_one(sizes: Any) -> None:
    with pytest.raises(InputError, match=r"hidden_sizes: expected a tuple .* \(64, 32\), got"):
        tg.TextClassifier(**PLAIN | {"hidden_sizes": sizes}).fit(TEXTS, LABELS)


def test_a_whole_number_is_not_true() -> None:
    with pytest.raises(InputError, match="max_steps: expected a whole number at least 1, got True"):
        tg.TextClassifier(**PLAIN | {"max_steps": True}).fit(TEXTS, LABELS)


@pytest.mark.parametrize("command", [
    "train language-model book.txt -o models/",
    "train language-model book.txt -o ''",
    "forecast m.safetensors load.csv -o out/",
    "forecast m.safetensors load.csv --plot pictures/",
    "evaluate m.safetensors load.csv --plot pictures/",
])  # fmt: skip
def test_the_name_of_a_folder_is_no_output(tidegate: Tidegate, command: str) -> None:
    outcome = tidegate(command)
    assert outcome.code == 2
    assert "expected the name of a file, got " in outcome.err
    assert not Path("models").exists()


def test_a_folder_is_no_table(tidegate: Tidegate) -> None:
    Path("tables").mkdir()
    outcome = tidegate("train classifier tables --text a --label b")
    assert outcome.code == 2
    assert "tables: expected a table, got a folder; name a file in it" in outcome.err

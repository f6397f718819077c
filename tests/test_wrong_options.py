"""Options that cannot be: one line that names the option as its user spells it, and what came."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from command_line import Tidegate

import tidegate as tg
from tidegate.cells import NAMES
from tidegate.errors import InputError
from tidegate.tasks import TASKS, task_class

# No option takes one of these.
NEVER: list[Any] = [
    float("nan"), float("inf"), -float("inf"), np.float32("nan"), b"x", object(), {1}, 1j, len,
    [[1]], (float("nan"),), (True,), (None,), (2.5,), np.array([1, 2]), int, 1e300, -1e300, 2**4000,
]  # fmt: skip
BEYOND = {"above": 0, "at least": -1, "below": 0, "at most": 1}  # what is added to a bound
OPTIONS = [(task, f) for task in TASKS for f in fields(task_class(task))]  # pyright: ignore


def wrong_values(task: str, f: Field[Any]) -> Iterator[Any]:
    """Values of the wrong type, and those next to the bounds."""
    hint = get_type_hints(task_class(task))[f.name]
    union = isinstance(hint, UnionType) or get_origin(hint) not in (None, tuple)
    kinds = get_args(hint) if union else (hint,)
    is_number = int in kinds or float in kinds
    is_text = str in kinds or Path in kinds
    yield from NEVER
    if type(None) not in kinds:
        yield None
    if bool not in kinds:
        yield from (True, np.bool_(True))
    if not is_text or f.metadata["choices"] or f.name == "cell":
        yield from ("x", "3", "")
    if not is_number:
        yield from (3, 2.5, np.int64(3))
    elif float not in kinds:
        yield from (2.5, 2**70, -(2**70), np.float64(0.5), "3")
    for name, bound in f.metadata["bounds"].items():
        beyond = bound + BEYOND[name]
        yield (beyond,) if get_origin(hint) is tuple else beyond


@pytest.mark.parametrize(("task", "f"), OPTIONS, ids=lambda x: getattr(x, "name", x))
def test_a_wrong_value_is_named_in_one_line(task: str, f: Field[Any]) -> None:
    accepted, unclear = [], []
    for value in wrong_values(task, f):
        try:
            task_class(task)(**{f.name: value}).check()
            accepted.append(value)
        except InputError as e:
            text = rf"option {f.name}: (label .*)?expected [^\n]+, got [^\n]+"
            if not re.fullmatch(text, str(e)) or len(str(e)) > 300:
                unclear.append((value, str(e)))
    assert (accepted, unclear) == ([], [])


# One task for each option and its bounds, since tasks share most of them.
FLAGS = {(f.name, str(f.metadata["bounds"]), f.metadata["choices"]): (t, f) for t, f in OPTIONS}


@pytest.mark.parametrize("task", TASKS)
def test_the_command_line_names_the_flag(tidegate: Tidegate, task: str) -> None:
    """Before any file is read."""
    unclear = []
    command = f"train {TASKS[task].command} missing.csv {_NAMES[task]}"
    for f in (f for t, f in FLAGS.values() if t == task):
        wrong = [bound + BEYOND[name] for name, bound in f.metadata["bounds"].items()]
        if wrong:
            wrong += ["x", "nan", "1e300", "1,x"]
            wrong += [] if isinstance(f.default, tuple) else ["''"]  # such as no samples
        if f.metadata["choices"] or f.name == "cell":
            wrong += ["x", "''", "none"]
        flag = f"--{f.name.replace('_', '-')}"
        for value in wrong:
            outcome = tidegate(f"{command} {flag}={value}")
            line = rf"error: option {flag}: expected [^\n]+, got [^\n]+\n"
            if outcome.code != 2 or not re.fullmatch(line, outcome.err):
                unclear.append((flag, value, outcome))
    assert unclear == []


_NAMES = {
    "text-classifier": "--text a --label b",
    "text-regressor": "--text a --target b",
    "language-model": "",
    "forecaster": "--time a --target b",
    "series-classifier": "--label b",
    "series-regressor": "--target b",
    "series-tagger": "--label b",
    "tagger": "",
    "music": "--item b",
    "sequence-to-sequence": "--source a --target b",
    "series-to-series": "--id a --values b --target c",
}


@pytest.mark.parametrize("task", TASKS)
def test_help_spells_other_options_as_flags(tidegate: Tidegate, task: str) -> None:
    shown = tidegate(f"train {TASKS[task].command} --help-all").out
    assert set(re.findall(r"[a-z]+(?:_[a-z]+)+", shown)) <= {*NAMES}
    assert "`" not in shown


TEXT = "hello there all of you " * 20
NUMBERS = np.sin(np.arange(60.0))
ROWS, LABELS = np.random.default_rng(0).normal(size=(20, 9)), ["a", "b"] * 10
TINY: dict[str, Any] = {"hidden_sizes": (4,), "max_steps": 1, "verbose": 0}


def language_model(**options: Any) -> tg.LanguageModel:
    return tg.LanguageModel(**TINY | {"embedding_size": 4} | options).fit(TEXT)


def series(**options: Any) -> tg.SequenceClassifier:
    return tg.SequenceClassifier(**TINY | options).fit(ROWS, LABELS)


def forecaster(**options: Any) -> tg.Forecaster:
    return tg.Forecaster(**TINY | {"horizon": 2} | options).fit(NUMBERS)


# Found by what is learned from, and not before.
LATER = {
    "memory": (lambda: series(hidden_sizes=(2**20,)), r"memory, got 6.6e\+12 .*hidden_sizes"),
    "large size": (lambda: series(hidden_sizes=(2**21,)), "hidden_sizes: expected sizes from 1 to"),
    "every": (lambda: series(readout="every"), "readout: expected one or several of last"),
    "device": (lambda: series(device="gpu"), "option device: expected auto or one of cpu"),
    "no models": (lambda: language_model(init_from=()), "option init_from: expected one trained"),
    "tied": (lambda: language_model(tie_embeddings=True, embedding_size=8),
             r"option embedding_size: expected 4, the last of hidden_sizes, with tie_embeddings"),
    "small vocabulary": (lambda: language_model(vocabulary_size=1),
                         "option vocabulary_size: expected 2 to 1114112 at level char, got 1"),
    "fraction": (lambda: forecaster(train_until=1.5), "option train_until: expected a row number"),
    "row": (lambda: forecaster(validate_until=61), "option validate_until: expected a row from 0"),
    "few rows": (lambda: forecaster(train_until=3, context=8), "option train_until: expected 10"),
}  # fmt: skip


@pytest.mark.parametrize("case", LATER)
def test_what_the_data_decides_is_named_too(case: str) -> None:
    call, message = LATER[case]
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("until", [48, np.int64(48), 0.8, np.float32(0.8), "48", "0.8"])
def test_a_moment_is_a_row_a_fraction_or_a_text(until: Any) -> None:
    assert forecaster(train_until=until).provenance_["training_rows"] == 48


GENERATE: dict[str, list[Any]] = {
    "prompt": [None, 3, b"x"],
    "length": [None, "3", -1, 2.5, True, float("nan"), 2**70],
    "temperature": [None, "1", 0, -1.0, float("nan"), float("inf"), 1e300],
    "top_k": ["3", 0, 2.5, True, 2**70],
    "top_p": ["x", 0, 1.5, float("nan")],
    "greedy": [None, "no", 1],
    "seed": ["a", -1, 2.5, 2**70],
}


@pytest.fixture(scope="module")
def writer() -> tg.LanguageModel:
    return language_model()


@pytest.mark.parametrize("name", GENERATE)
def test_generate_names_what_it_cannot_take(writer: tg.LanguageModel, name: str) -> None:
    for value in GENERATE[name]:
        with pytest.raises(InputError, match=rf"^option {name}: expected .+, got .+"):
            writer.generate(**{"prompt": "he", name: value})


def test_generate_takes_numpys_numbers(writer: tg.LanguageModel) -> None:
    given = {"length": np.int64(5), "temperature": np.float32(0.5), "top_k": np.int32(3)}
    assert len("".join(writer.generate("he", **given, seed=np.int64(1)))) == 5


@pytest.mark.parametrize("cells", ["gru", [], ["gru", "gru"], ["x"], [3], None, 5, [["gru"]]])
def test_compare_names_cells_that_are_none(cells: Any) -> None:
    with pytest.raises(InputError, match="^option cells: expected .+, got .+"):
        tg.compare(tg.SequenceClassifier(**TINY), ROWS, LABELS, cells=cells)


@pytest.mark.parametrize("seeds", [0, "2", 1.5, True, None])
def test_compare_names_seeds_that_are_no_count(seeds: Any) -> None:
    with pytest.raises(InputError, match="^option seeds: expected a whole number at least 1, got"):
        tg.compare(tg.SequenceClassifier(**TINY), ROWS, LABELS, seeds=seeds)

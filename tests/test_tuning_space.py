"""What a search of options draws from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest
from searches import classifier, searched

import tidegate as tg
from tidegate.errors import InputError
from tidegate.tasks import TASKS, task_class
from tidegate.training.options import option
from tidegate.training.search_space import Span, search_of
from tidegate.tuning.space import space_of


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_is_searched(task: str) -> None:
    common = {"cell", "units", "layers", "learning_rate", "weight_decay", "batch_size", "dropout"}
    assert common <= set(space_of(task_class(task)()).dimensions)


def test_an_option_that_says_how_it_is_searched_takes_part_without_more() -> None:
    @dataclass(kw_only=True, eq=False, repr=False)
    class Other(tg.SequenceRegressor):
        width: float = option(1.0, "a width", above=0, search=Span(0.5, 2.0))

    assert space_of(Other()).to_json()["width"] == "0.5 to 2"


def test_an_option_that_a_task_lists_again_is_searched_as_before() -> None:
    (own,) = (f for f in fields(tg.TextClassifier) if f.name == "learning_rate")
    assert own.metadata["search"] is None
    assert search_of(tg.TextClassifier, "learning_rate") is not None
    assert str(space_of(tg.TextClassifier()).dimensions["learning_rate"]).startswith("0.0001 to")


def test_the_learning_rate_follows_the_optimizer() -> None:
    rates = space_of(tg.Forecaster(optimizer="sgd")).dimensions["learning_rate"]
    assert (rates.low, rates.high) == (pytest.approx(0.02), pytest.approx(2.0))


def test_what_was_given_is_not_searched() -> None:
    names = set(space_of(classifier(cell="lstm"), ["dropout"]).dimensions)
    assert not {"cell", "dropout"} & names
    assert {"units", "learning_rate"} <= names
    sizes = set(space_of(classifier(hidden_sizes=(8,))).dimensions)
    assert not {"units", "layers"} & sizes


def test_weights_that_are_taken_over_leave_sizes_and_cell_alone() -> None:
    names = set(space_of(classifier(init_from="some.safetensors")).dimensions)
    assert not {"cell", "units", "layers", "embedding_size"} & names
    assert {"dropout", "learning_rate"} <= names


def test_numbers_have_three_digits_so_that_the_command_is_exact() -> None:
    others = [f.name for f in fields(tg.TextClassifier) if f.name != "learning_rate"]
    space = space_of(classifier(), others)
    assert space.options({"learning_rate": 0.00123456}) == {"learning_rate": 0.00123}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"colour": (1, 2)}, "expected one of .*units.*, got 'colour'; correct its name"),
        ({"units": (64, 16)}, "least value of units before the largest, got 64:16; turn them"),
        ({"units": (1.5, 3.5)}, "whole numbers at least 1.*give other values for units"),
        ({"units": (0, 16)}, "at least 1.*, got .*; give other values for units"),
        ({"dropout": (0.1, 1.0)}, "below 1, got 1.0.*; give other values for dropout"),
        ({"cell": ["gru", "tree"]}, "expected a cell.*got 'tree'.*; give other values for cell"),
        ({"cell": []}, "expected values for cell, got none; give one or more"),
        ({"learning_rate": ["fast"]}, "expected numbers for learning_rate, got"),
    ],
)
def test_a_wrong_space_is_told_in_one_line(space: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"^option space: .*{said}"):
        space_of(classifier(), (), space)


def test_an_option_cannot_be_fixed_and_searched() -> None:
    with pytest.raises(InputError, match="expected no cell, since cell is fixed"):
        space_of(classifier(), ["cell"], {"cell": ["gru", "lstm"]})


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"trials": None}, "expected minutes or trials, got neither; say how long"),
        ({"trials": 0}, "option trials: expected .*at least 1, got 0"),
        ({"minutes": -1.0}, "option minutes: expected .*above 0, got -1"),
        ({"seeds": -1}, "option seeds: expected .*at least 0"),
        ({"pruner": "rose"}, "option pruner: expected one of median, hyperband, none, got 'rose'"),
        ({"fix": ["colour"]}, "option fix: expected options of TextClassifier, got 'colour'"),
        ({"resume": True}, "option resume: expected a storage .*got none; name it"),
        ({"storage": "nonsense"}, "option storage: expected the URL .*sqlite:///.*got 'nonsense'"),
        ({"storage": "sqlite:////none/x.db"}, "option storage: .*unable to open database file"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(how: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        searched(**how)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(InputError) as e:
        searched(storage="postgresql+none://me:secret@host/studies")
    assert "secret" not in str(e.value)
    assert "me:***@host" in str(e.value)

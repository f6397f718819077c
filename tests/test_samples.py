"""Small data that are made: the same each time, of the kind that they say, refused in one line."""

from __future__ import annotations

import csv
import doctest
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Tidegate

from tidegate import samples
from tidegate.errors import InputError


def test_the_examples_of_the_docstrings_run() -> None:
    assert doctest.testmod(samples) == (0, 7)


def test_the_same_seed_makes_the_same_and_another_one_other_data() -> None:
    for make in (samples.reviews, samples.tagged_sentences):
        assert make(20, seed=1) == make(20, seed=1) != make(20, seed=2)
    assert np.array_equal(samples.tunes(3, seed=1), samples.tunes(3, seed=1))
    assert not np.array_equal(samples.load(5, seed=1)["load"], samples.load(5, seed=2)["load"])


def test_careless_labels_are_so_many_and_the_texts_stay() -> None:
    texts, labels = samples.reviews(200, seed=1)
    same, noisy = samples.reviews(200, seed=1, careless=0.1)
    assert same == texts
    assert sum(a != b for a, b in zip(labels, noisy, strict=True)) == 20


def test_a_word_of_two_kinds_is_there_as_both() -> None:
    tokens, tags = samples.tagged_sentences(300, seed=1)
    pairs = {p for both in zip(tokens, tags, strict=True) for p in zip(*both, strict=True)}
    assert {("light", "NOUN"), ("light", "VERB"), ("light", "ADJ")} <= pairs


def test_the_load_has_a_day_and_a_weekend_and_rises_when_it_is_cold() -> None:
    made = samples.load(364, seed=1)
    by_day = made["load"].reshape(52, 7, 24)
    assert by_day[:, :5].mean() > by_day[:, 5:].mean() + 3
    hours = by_day.mean(axis=(0, 1))
    assert hours[12:18].mean() > hours[:6].mean() + 3
    assert np.corrcoef(made["load"], made["temperature"])[0, 1] < -0.3


def test_the_reference_is_long_and_without_tables() -> None:
    text = samples.python_reference()
    assert len(text) > 200_000
    assert "|" not in text


@pytest.mark.parametrize("name", ["reviews", "load"])
def test_a_table_is_printed_or_written_as_csv(tidegate: Tidegate, name: str) -> None:
    printed = tidegate(f"sample {name}").out
    rows = list(csv.reader(printed.splitlines()))
    assert len(rows) > 1000
    assert {len(row) for row in rows} == {len(rows[0])}
    assert tidegate(f"sample {name} -o there.csv").code == 0
    assert Path("there.csv").read_text() == printed
    columns = json.loads(tidegate(f"sample {name} --json").out)
    assert list(columns) == rows[0]


def test_a_file_is_replaced_only_by_force(tidegate: Tidegate) -> None:
    Path("mine.txt").write_text("mine")
    assert tidegate("sample python -o mine.txt").code == 2
    assert tidegate("sample python -o mine.txt --force").code == 0
    assert Path("mine.txt").stat().st_size > 200_000


def test_another_name_is_refused_in_one_line(tidegate: Tidegate) -> None:
    outcome = tidegate("sample tides")
    said = "error: expected reviews, load, python, got 'tides'; write one of these\n"
    assert (outcome.code, outcome.err) == (2, said)


@pytest.mark.parametrize("count", [0, -1, 100_001])
def test_a_count_that_cannot_be_made_is_refused(count: int) -> None:
    for make in (samples.reviews, samples.tagged_sentences, samples.load, samples.tunes):
        with pytest.raises(InputError, match="expected 1 to 100000, got"):
            make(count, seed=1)
    with pytest.raises(InputError, match="careless: expected 0 to 1"):
        samples.reviews(2, seed=1, careless=1.5)

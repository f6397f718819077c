"""Entities in labels, by the rules of conlleval."""

from __future__ import annotations

import pytest

from tidegate.data.text.entities import Counts, are_entity_labels, counted, entities


@pytest.mark.parametrize(
    ("labels", "found"),
    {
        "": [],
        "O O": [],
        "B-PER I-PER O B-LOC": [(0, 2, "PER"), (3, 4, "LOC")],
        "B-PER B-PER": [(0, 1, "PER"), (1, 2, "PER")],
        "I-PER I-PER I-LOC": [(0, 2, "PER"), (2, 3, "LOC")],  # IOB1
        "I-PER B-PER": [(0, 1, "PER"), (1, 2, "PER")],
        "B-PER I-LOC I-LOC": [(0, 1, "PER"), (1, 3, "LOC")],
        "O I-PER O I-PER": [(1, 2, "PER"), (3, 4, "PER")],
        "B-PER I-PER E-PER S-LOC": [(0, 3, "PER"), (3, 4, "LOC")],
        "S-PER S-PER": [(0, 1, "PER"), (1, 2, "PER")],
        "B-PER E-PER I-PER": [(0, 2, "PER"), (2, 3, "PER")],
        "B-geo-political I-geo-political": [(0, 2, "geo-political")],
    }.items(),
)
def test_entities_begin_and_end_as_conlleval_has_them(labels, found):
    assert entities(labels.split()) == found


def test_an_entity_counts_only_as_a_whole_and_by_its_kind():
    truth = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG"]]
    guess = [["B-PER", "O", "O", "B-LOC"], ["B-LOC"]]
    assert counted(guess, truth) == {
        "PER": Counts(0, 1, 1),
        "LOC": Counts(1, 2, 1),
        "ORG": Counts(0, 0, 1),
    }
    every = Counts(1, 3, 3)
    assert (every.precision, every.recall, every.f1) == (1 / 3, 1 / 3, 1 / 3)
    assert Counts(0, 0, 0).f1 == 0


def test_a_stretch_that_is_cut_or_too_long_is_wrong():
    truth = [["B-NP", "I-NP", "B-VP", "B-NP", "I-NP", "O"]]
    guess = [["B-NP", "I-NP", "I-NP", "B-NP", "B-NP", "O"]]
    by_kind = counted(guess, truth)
    assert by_kind["NP"] == Counts(0, 3, 2)
    assert by_kind["VP"] == Counts(0, 0, 1)


@pytest.mark.parametrize(
    ("labels", "are"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["O"], False),
        (["NOUN", "VERB"], False),
        (["B-PER", "NOUN"], False),
        ([1, 2], False),
        (["B-"], False),
        (["S-LOC", "O"], True),
    ],
)
def test_labels_name_entities_where_all_have_such_a_form(labels, are):
    assert are_entity_labels(labels) is are

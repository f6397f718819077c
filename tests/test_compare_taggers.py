"""Taggers compared beside the most frequent tag of each word."""

from __future__ import annotations

from typing import Any

import pytest
from test_comparison_losses import losses_agree
from test_tagger import SMALL, chunks, sentences

import tidegate as tg
from tidegate.comparison.experiments.of_tasks import experiment_of
from tidegate.errors import InputError


@pytest.mark.parametrize("crf", [False, True])
def test_losses_of_taggers_are_of_each_sentence(crf: bool) -> None:
    model = tg.SequenceTagger(**SMALL, crf=crf, test_fraction=0.3)
    told = tg.compare(model, *sentences(60), cells=("gru", "rnn"), seeds=1)
    assert losses_agree(told) == told.size == 18
    (base,) = told.baselines
    assert base.name == "most frequent tag"
    assert base.accuracy is not None
    assert 0.3 < base.accuracy < 0.9


def experiment(tokens: Any, labels: Any, **more: Any) -> Any:
    model = tg.SequenceTagger(**SMALL, **more.pop("options", {}))
    given = {"validation": None, "test": None} | more
    return experiment_of(model, (tokens, labels), given["validation"], given["test"])


def test_a_label_that_is_held_out_alone_is_learned_from() -> None:
    tokens, labels = sentences(30)
    for i in range(30):
        changed = [list(of_one) for of_one in labels]
        changed[i][0] = "RARE"
        found = experiment(tokens, changed)
        assert any("RARE" in of_one for of_one in found.train.labels)
        assert not any("RARE" in of_one for of_one in found.validation.labels)


def test_sentences_of_other_files_with_other_labels_are_left_out() -> None:
    tokens, labels = sentences(30)
    other = [["ADV", *of_one[1:]] for of_one in labels[:2]] + labels[2:5]
    found = experiment(tokens, labels, test=(tokens[:5], other))
    assert (found.held_out, found.size) == ("test", 3)
    with pytest.raises(InputError, match="labels of the training part, got others"):
        experiment(tokens, labels, test=(tokens[:1], other[:1]))


def test_entities_are_compared_too_and_the_advice_has_figures() -> None:
    model = tg.SequenceTagger(**SMALL)
    told = tg.compare(model, *chunks(40), cells=("gru",), seeds=1)
    assert told.runs[0].held_out["f1"] >= 0
    assert "most frequent tag" in str(told)

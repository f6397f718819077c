"""The losses on single examples, on which differences of a comparison are tested."""

from __future__ import annotations

import pytest
from test_comparison import QUIET, classifier, forecaster, gestures, series, texts

import tidegate as tg


def losses_agree(result):
    """Of every run and baseline: their mean is the figure, and they are of the same examples."""
    name = result.metric.name
    for run in result.runs:
        for losses, figures in zip(run.losses, (run.validation, run.held_out), strict=True):
            assert losses.mean() == pytest.approx(figures[name], rel=1e-4)  # float32
        for base in result.baselines:
            assert base.losses.shape == run.losses[1].shape
    for base in result.baselines:
        assert base.losses.mean() == pytest.approx(base.held_out, rel=1e-4)
    return len(result.runs[0].losses[1])


def test_losses_of_texts_and_sequences_are_of_each_one():
    told = tg.compare(classifier(), *texts(), cells=("gru",), seeds=2)
    assert losses_agree(told) == told.size
    sized = {"hidden_sizes": (6,), "test_fraction": 0.3}
    sequences, labels = gestures()
    told = tg.compare(tg.SequenceClassifier(**QUIET, **sized), sequences, labels, seeds=1)
    assert losses_agree(told) == told.size
    numbers = [float(s.mean()) for s in sequences]
    told = tg.compare(tg.SequenceRegressor(**QUIET, **sized), sequences, numbers, seeds=1)
    assert losses_agree(told) == told.size


@pytest.mark.parametrize("joint", [False, True])
def test_losses_of_forecasts_are_of_stretches_of_two_horizons(joint):
    told = tg.compare(forecaster(joint=joint), series(), cells=("gru",), seeds=1)
    assert losses_agree(told) == told.size // 12


@pytest.mark.parametrize("level", ["char", "word"])
def test_losses_of_language_models_are_of_stretches_of_200_tokens(level):
    book = "".join(f"the cat number {i * i} sat on the mat\n" for i in range(1200))
    sized = {"embedding_size": 4, "hidden_sizes": (6,), "bptt": 8, "test_fraction": 0.3}
    model = tg.LanguageModel(**QUIET, **sized, level=level)
    told = tg.compare(model, book, cells=("gru",), seeds=1)
    tokens = told.runs[0].held_out["tokens"]
    framed = tokens + (tokens // 8 if level == "word" else 0)  # a sentence's start is not scored
    blocks = losses_agree(told)
    assert framed / 200 - 1 <= blocks <= framed / 200 + 8

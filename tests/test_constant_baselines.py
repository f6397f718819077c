"""Baselines that read nothing: what is no better than they are has learned nothing."""

from __future__ import annotations

import numpy as np
import pytest

import tidegate as tg
from tidegate.baselines.baseline import Answered
from tidegate.baselines.constants import Frequencies, Mean, SetFrequencies
from tidegate.baselines.sequences import NearestNeighbour
from tidegate.tasks.beside import Candidate, best_beside

TINY = {"hidden_sizes": (4,), "max_steps": 2, "verbose": 0}


def test_constants_answer_as_the_training_part_does() -> None:
    train = Answered(["a", "b", "c", "d"], np.array([0, 1, 1, 1]))
    assert np.exp(Frequencies.fit(train).log_probabilities(["x"]))[0] == pytest.approx([0.25, 0.75])
    assert Mean.fit(Answered(["a", "b"], np.array([1.0, 3.0]))).predict(["x"]) == pytest.approx(2)
    sets = SetFrequencies.fit(Answered(["a", "b"], np.array([[1, 0], [1, 0]])))
    assert 1 / (1 + np.exp(-sets.logits(["x"])))[0] == pytest.approx([0.75, 0.25])
    assert sets.figures(train := Answered(["x"], np.array([[1, 0]])))["subset_accuracy"] == 1
    assert sets.losses(train) == pytest.approx([-2 * np.log(0.75)])


def test_a_regressor_of_noise_stands_beside_the_mean() -> None:
    draw = np.random.default_rng(0)
    noise = [draw.normal(size=(12, 3)) for _ in range(60)]
    model = tg.SequenceRegressor(**TINY).fit(noise, draw.normal(size=60))
    assert model.provenance_["baseline"].startswith("mean: ")
    told = [sum(one[:, 0]) for one in noise]
    model = tg.SequenceRegressor(**TINY).fit(noise, told)
    assert not model.provenance_["baseline"].startswith("mean: ")


@pytest.mark.parametrize("count", [120, 600])  # of few texts folds give the figures
def test_a_classifier_of_noise_stands_beside_the_frequencies_of_its_labels(count: int) -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(list("abcdefghij"), 6)) for _ in range(count)]
    chance = draw.choice(["no", "yes"], count, p=[0.8, 0.2]).tolist()
    model = tg.TextClassifier(**TINY).fit(texts, chance)
    assert model.provenance_["baseline"].startswith("label frequencies: ")
    assert model.metrics_["baseline_cross_entropy"] < 0.6
    model = tg.TextClassifier(**TINY).fit(texts, ["yes" if "a" in text else "no" for text in texts])
    assert model.provenance_["baseline"].startswith("TF-IDF")


def test_a_classifier_of_sequences_stands_beside_the_better_of_neighbour_and_frequencies() -> None:
    draw = np.random.default_rng(0)
    train, judged = (
        Answered([*draw.normal(size=(40, 12, 2))], draw.choice(2, 40, p=[0.9, 0.1])) for _ in "ab"
    )
    fits = [lambda _: NearestNeighbour.fit(train), lambda _: Frequencies.fit(train)]
    beside = best_beside([*map(Candidate, fits)], judged, None, 1.0)
    losses = [fit(1.0).figures(judged)["cross_entropy"] for fit in fits]
    assert losses[1] < losses[0]
    assert beside.validation["cross_entropy"] == losses[1]

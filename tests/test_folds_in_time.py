"""Folds of few texts and the minutes: what they take is not taken from the network that is kept."""

from __future__ import annotations

import time
from typing import Any

import pytest

import tidegate as tg
from tidegate.tasks import text_estimator

MINUTES = 0.05


def test_folds_that_took_all_minutes_leave_the_network_as_much_as_a_fold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged = text_estimator.judged_by_folds

    def slow(*arguments: Any) -> Any:
        found = judged(*arguments)
        time.sleep(60 * MINUTES)
        return found

    monkeypatch.setattr(text_estimator, "judged_by_folds", slow)
    texts, labels = ["good film", "bad film"] * 30, ["up", "down"] * 30
    options = {"hidden_sizes": (4,), "max_minutes": MINUTES, "verbose": 0, "baseline": False}
    model = tg.TextClassifier(**options).fit(texts, labels)
    assert model.provenance_["steps"] > 1
    assert model.score(texts, labels) == 1

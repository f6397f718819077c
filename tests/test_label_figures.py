"""Figures of predicted labels, against torchmetrics and scikit-learn."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from tidegate.tasks.label_figures import label_figures


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 40),
    labels=st.integers(2, 5),
    seed=st.integers(0, 10_000),
    digits=st.sampled_from([1, 2, 8]),
)
def test_figures_are_those_of_torchmetrics(count: int, labels: int, seed: int, digits: int) -> None:
    """Few digits make ties, and confidences on the edges of bins."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from torchmetrics.functional import classification as metrics

    rng = np.random.default_rng(seed)
    p = (rng.dirichlet(np.ones(labels), count).round(digits) + 0.1 ** (digits + 2)).astype("f")
    p = np.minimum(p, 1)
    truth = rng.integers(0, labels, count)
    log_p = np.log(p)
    figures = label_figures(log_p, truth)
    given, answers = torch.from_numpy(np.exp(log_p)).clamp(max=1), torch.from_numpy(truth)
    expected = {
        "accuracy": metrics.multiclass_accuracy(given, answers, labels, average="micro"),
        "macro_f1": metrics.multiclass_f1_score(given, answers, labels, average="macro"),
        "calibration_error": metrics.multiclass_calibration_error(given, answers, labels),
    }
    if labels == 2 and 0 < truth.sum() < count:
        expected["auroc"] = metrics.binary_auroc(given[:, 1], answers)
    for name, value in expected.items():
        assert figures[name] == pytest.approx(float(value), abs=2e-6), name
    if len(np.unique(truth)) < 2:
        assert math.isnan(figures["auroc"])


@pytest.mark.parametrize("absent", [None, 2])
def test_the_auroc_of_several_labels_is_the_mean_of_each_against_the_others(absent):
    rng = np.random.default_rng(4)
    truth = rng.choice([label for label in range(4) if label != absent], 200)
    p = rng.dirichlet(np.ones(4), 200) + 0.3 * np.eye(4)[truth]
    log_p = np.log(p / p.sum(1, keepdims=True)).astype(np.float32)
    figures = label_figures(log_p, truth)
    each = [
        sklearn_metrics.roc_auc_score(truth == label, np.exp(log_p[:, label]))
        for label in np.unique(truth)
    ]
    assert figures["auroc"] == pytest.approx(np.mean(each))
    if absent is None:
        given = np.exp(log_p.astype(np.float64))
        given /= given.sum(1, keepdims=True)
        peer = sklearn_metrics.roc_auc_score(truth, given, multi_class="ovr", average="macro")
        assert figures["auroc"] == pytest.approx(peer, abs=1e-6)


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    scores, truth = rng.random(500).round(2), rng.integers(0, 2, 500)
    scores = (scores + truth).clip(0.01, 1.99) / 2
    log_p = np.log(np.stack([1 - scores, scores], 1)).astype(np.float32)
    figures, predicted = label_figures(log_p, truth), log_p.argmax(1)
    assert figures["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, predicted))
    f1 = sklearn_metrics.f1_score(truth, predicted, average="macro")
    assert figures["macro_f1"] == pytest.approx(f1)
    assert figures["auroc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, scores))
    loss = sklearn_metrics.log_loss(truth, scores)
    assert figures["cross_entropy"] == pytest.approx(loss, rel=1e-6)


def test_confidences_that_are_as_often_right_are_calibrated() -> None:
    p = np.array([[0.75, 0.25]] * 4, np.float32)
    good = label_figures(np.log(p), np.array([0, 0, 0, 1]))
    bad = label_figures(np.log(p), np.array([1, 1, 1, 1]))
    assert good["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert bad["calibration_error"] == pytest.approx(0.75)
    assert (good["accuracy"], bad["accuracy"]) == (0.75, 0.0)

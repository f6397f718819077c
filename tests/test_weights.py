"""Weights of labels and of inputs: what they do to the loss and to what is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight

import tidegate as tg
from tidegate.errors import InputError
from tidegate.nn.network import SequenceNetwork
from tidegate.tasks import load
from tidegate.tasks.weights import label_weights, normalised
from tidegate.training.classification import Classification
from tidegate.training.many_to_one import ManyToOne
from tidegate.training.regression import Regression

BLOCK = np.ones((100, 6))
RARE = np.where(np.arange(100) % 10 == 0, "rare", "common")  # nothing tells them apart


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def classifier(**options: Any) -> tg.SequenceClassifier:
    small = {"hidden_sizes": (4,), "verbose": 0, "max_steps": 150, "learning_rate": 0.02}
    return tg.SequenceClassifier(**{**small, "dropout": 0.0, "batch_size": 100, **options})


def texts(**options: Any) -> tg.TextClassifier:
    small = {"hidden_sizes": (4,), "embedding_size": 4, "verbose": 0, "max_steps": 6}
    return tg.TextClassifier(**{**small, **options})


def small_objective(kind: type[ManyToOne], rows: np.ndarray, **more: Any) -> ManyToOne:
    """The objective on some rows of the same data, with the same network."""
    rng = np.random.default_rng(3)
    data = [rng.normal(size=(4, 2)).astype(np.float32) for _ in range(6)]
    answers: Any = np.array([0, 1, 1, 0, 1, 0])
    if kind is Regression:
        answers, more = rng.normal(size=6).astype(np.float32), {"scale": 1.0, **more}
    model = classifier(max_steps=1, dropout=0.0).fit(BLOCK, RARE)
    architecture = model.runtime_.architecture
    torch.manual_seed(5)
    output_size = 1 if kind is Regression else 2
    architecture = type(architecture)(
        **{**vars(architecture), "input_size": 2, "output_size": output_size}
    )
    network = SequenceNetwork(architecture)
    part = [data[i] for i in rows], answers[rows]
    return kind(network, part, part, unit="x", batch_size=len(rows), seed=0, **more)


def gradient(objective: ManyToOne) -> tuple[float, torch.Tensor]:
    (batch,) = objective.batches(0, 0, 0, 1)
    result = objective.loss(objective.network, batch, None)
    result.loss.backward()
    return result.loss.item(), torch.cat([p.grad.flatten() for p in objective.network.parameters()])


@pytest.mark.parametrize("kind", [Classification, Regression])
def test_a_whole_weight_is_so_many_copies(kind: type[ManyToOne]) -> None:
    """Of loss, of all gradients and of the validation loss; a weight of 0 is absence."""
    counts = np.array([1, 3, 0, 2, 1, 4])
    copies = small_objective(kind, np.repeat(np.arange(6), counts))
    weights = normalised(counts.astype(float))
    weighted = small_objective(kind, np.arange(6), weights=(weights, weights))
    (loss, slope), (expected, expected_slope) = gradient(weighted), gradient(copies)
    assert loss == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-5, atol=1e-7)
    judged = [o.evaluate(o.network.eval())["validation_loss"] for o in (weighted, copies)]
    assert judged[0] == pytest.approx(judged[1], rel=1e-5)


def test_processes_share_the_weights_with_the_rows() -> None:
    weights = np.arange(6, dtype=np.float32)
    objective = small_objective(Classification, np.arange(6), weights=(weights, None))
    (whole,) = objective.batches(0, 0, 0, 1)
    for rank in range(2):
        (part,) = objective.batches(0, 0, rank, 2)
        assert torch.equal(part[3], whole[3][rank::2])


def test_a_run_is_told_from_one_with_other_weights() -> None:
    alike = small_objective(Classification, np.arange(6))
    weighted = small_objective(Classification, np.arange(6), weights=(np.ones(6), None))
    assert alike.fingerprint() != weighted.fingerprint()


def test_balanced_labels_weigh_alike() -> None:
    """Where nothing tells them apart, a label is as likely as its share of the weights."""
    plain = classifier().fit(BLOCK, RARE).predict_proba(BLOCK)[:, 1].mean()
    even = classifier(class_weight="balanced").fit(BLOCK, RARE).predict_proba(BLOCK)[:, 1].mean()
    third = classifier(class_weight={"rare": 4.5}).fit(BLOCK, RARE).predict_proba(BLOCK)[:, 1]
    assert plain == pytest.approx(0.1, abs=0.03)
    assert even == pytest.approx(0.5, abs=0.05)
    assert third.mean() == pytest.approx(1 / 3, abs=0.05)


def test_the_best_weights_are_chosen_as_inputs_count() -> None:
    """By accuracy, those of before anything was learned of the rare label would be kept."""
    x, y = [f"a {word}" for word in ("b", "c") * 50], RARE.tolist()
    for weights, chosen in ((None, "accuracy"), ("balanced", "validation_loss")):
        options = {"max_steps": 30, "evaluate_every": 3, "validation_fraction": 0.1}
        model = texts(class_weight=weights, **options).fit(x, y)
        told = model.history_
        best = told["step"].index(model.provenance_["best_step"])
        pick = max if chosen == "accuracy" else min
        assert told[chosen][best] == pick(told[chosen])


def test_balanced_is_scikit_learns() -> None:
    answers = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=answers)
    np.testing.assert_allclose(label_weights("balanced", [0, 1, 2], answers), expected)


def test_an_input_of_no_weight_teaches_nothing() -> None:
    half = np.arange(100) % 2
    y = np.where(half, 5.0, -5.0)  # of like sequences: the mean, unless one half is left out
    small: dict[str, Any] = {"hidden_sizes": (4,), "verbose": 0, "max_steps": 200}
    small |= {"learning_rate": 0.02, "dropout": 0.0, "batch_size": 100}
    told = [
        tg.SequenceRegressor(**small).fit(BLOCK, y, sample_weight=w).predict(BLOCK).mean()
        for w in (None, half, pd.Series(1 - half), (3 * half + 1).tolist())
    ]
    assert told == pytest.approx([0, 5, -5, 3], abs=0.5)


def test_weights_that_are_all_alike_change_no_bit() -> None:
    plain = texts().fit(["a b", "c d"] * 10, ["x", "y"] * 10)
    alike = texts(class_weight={"x": 3, "y": 3.0}).fit(
        ["a b", "c d"] * 10, ["x", "y"] * 10, sample_weight=[0.5] * 20
    )
    for name, tensor in plain.network_.state_dict().items():
        assert torch.equal(alike.network_.state_dict()[name], tensor)


@pytest.mark.parametrize("weights", ["balanced", {1: 2.0}, {np.int64(1): 2, 0: 0.5}, None])
def test_class_weights_are_kept_in_the_file(weights: Any, tmp_path: Path) -> None:
    model = clone(texts(class_weight=weights)).fit(["a b", "c d"] * 10, [0, 1] * 10)
    model.save(tmp_path / "m.safetensors")
    again: Any = load(tmp_path / "m.safetensors")
    assert again.class_weight == weights
    assert again.get_params() == model.get_params()


REFUSED: dict[str, tuple[Any, Any, str]] = {
    "word": (
        "rare",
        None,
        "class_weight: expected 'balanced', or in Python a dict",
    ),
    "list": ([1, 2], None, "class_weight: expected 'balanced', or in Python a dict"),
    "negative": ({"x": -1}, None, "class_weight: label 'x': expected a finite number from 0"),
    "unknown": ({"z": 1}, None, r"labels of the training part \('x', 'y'\), got 'z'"),
    "count": (None, [1, 2], "sample_weight: expected one per input, 20, got 2"),
    "nan": (None, [1.0, np.nan] * 10, "sample_weight: index 1: expected a finite number from 0"),
    "None": (None, [1.0, None] * 10, "sample_weight: index 1: .* got None"),
    "zero": (None, [0] * 20, "expected some above 0 in the training part, got only 0"),
    "all labels": ({"x": 0, "y": 0}, None, "expected some above 0 in the training part"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_weights_of_no_use_are_refused(case: str) -> None:
    of_labels, of_samples, problem = REFUSED[case]
    with pytest.raises(InputError, match=problem):
        texts(class_weight=of_labels).fit(
            ["a b", "c d"] * 10, ["x", "y"] * 10, sample_weight=of_samples
        )


def test_the_command_line_balances_labels(tmp_path: Path) -> None:
    from tidegate.cli import main

    table, path = tmp_path / "t.csv", tmp_path / "m.safetensors"
    table.write_text("text,label\n" + "a b,x\nc d,y\n" * 20)
    told = ["--text", "text", "--label", "label", "--max-steps", "2", "--verbose", "0"]
    told += ["-o", str(path), "--run-folder", str(tmp_path / "run")]
    assert main(["train", "classifier", str(table), *told, "--class-weight", "balanced"]) == 0
    assert load(path).class_weight == "balanced"  # pyright: ignore


def test_score_weighs_inputs_as_scikit_learn_does() -> None:
    model = classifier(max_steps=2).fit(BLOCK, RARE)
    weights = np.arange(100.0)
    right = model.predict(BLOCK) == RARE
    assert model.score(BLOCK, RARE, weights) == pytest.approx(np.average(right, weights=weights))
    with pytest.raises(InputError, match="sample_weight: expected some above 0, got only 0"):
        model.score(BLOCK, RARE, sample_weight=np.zeros(100))
    with pytest.raises(InputError, match="sample_weight: expected one per input, 100, got 1"):
        model.score(BLOCK, RARE, sample_weight=[1])

"""Classifier and regressor of sequences: learning, figures, invariances, manners, the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score
from sklearn.model_selection import cross_val_score

import tidegate as tg
from tidegate.errors import InputError
from tidegate.model.checkpoint import ModelFileError, load_model, save_model
from tidegate.tasks import load


def waves(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Sines and squares of any phase, period, length and loudness, with noise."""
    rng = np.random.default_rng(seed)
    values, labels = [], np.array(["sine", "square"] * (count // 2))
    for label in labels:
        t = np.arange(rng.integers(40, 80))
        wave = np.sin(2 * np.pi * (t / rng.uniform(10, 16) + rng.random()))
        wave = np.sign(wave) if label == "square" else wave * 1.3  # of about the same deviation
        values.append(np.exp(rng.normal()) * (wave + 0.1 * rng.normal(size=len(t))))
    return values, labels


def sums(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences of two channels, and the sum of the first's values."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(rng.normal(), 1, (rng.integers(5, 25), 2)) for _ in range(count)]
    return values, np.array([v[:, 0].sum() for v in values])


def classifier(**options: Any) -> tg.SequenceClassifier:
    return tg.SequenceClassifier(**{"epochs": 1, "verbose": 0, **options})


def regressor(**options: Any) -> tg.SequenceRegressor:
    return tg.SequenceRegressor(**{"epochs": 1, "verbose": 0, **options})


X, Y = waves(60, 0)
SMALL = {"hidden_sizes": (8,), "max_steps": 6, "epochs": None}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> tg.SequenceClassifier:
    return classifier(fewest_steps=400, hidden_sizes=(24,)).fit(X, Y)


def test_the_shape_of_waves_is_learned(model: tg.SequenceClassifier) -> None:
    assert model.score(*waves(60, 1)) > 0.9


def test_a_sum_is_learned() -> None:
    model = regressor(fewest_steps=600, hidden_sizes=(24,), segment=1).fit(*sums(200, 0))
    figures = model.evaluate(*sums(200, 1))
    assert figures["r2"] > 0.8
    assert figures["mse"] < 0.2 * figures["mean_mse"]


def test_figures_of_a_classifier_equal_scikit_learns(model: tg.SequenceClassifier) -> None:
    wrong = Y[::-1]  # figures away from 0 and 1
    figures, predicted = model.evaluate(X, wrong), model.predict(X)
    assert figures["accuracy"] == pytest.approx(accuracy_score(wrong, predicted))
    assert figures["macro_f1"] == pytest.approx(f1_score(wrong, predicted, average="macro"))
    assert figures["n"] == len(X)
    assert model.confusion_matrix(X, wrong).sum() == len(X)


def test_figures_of_a_regressor_equal_scikit_learns() -> None:
    values, truth = sums(40, 0)
    model = regressor(**SMALL, validation_fraction=0.25).fit(values, truth)
    others, truth = sums(30, 1)
    figures, predicted = model.evaluate(others, truth), model.predict(others)
    assert figures["r2"] == pytest.approx(r2_score(truth, predicted)) == model.score(others, truth)
    assert figures["mae"] == pytest.approx(mean_absolute_error(truth, predicted))
    trivial = np.full(30, model.target_.mean[0])
    assert figures["mean_mae"] == pytest.approx(mean_absolute_error(truth, trivial))
    assert figures["mean_r2"] == pytest.approx(r2_score(truth, trivial))
    assert np.isnan(model.evaluate(others[:1], truth[:1])["r2"])


def test_scaling_knows_the_training_part_alone() -> None:
    """What is held out may be as strange as it likes."""
    values, truth = sums(20, 0)
    models = [
        regressor(**SMALL).fit(values, truth, validation=([v * k for v in values], truth * k))
        for k in (1, 1000)
    ]
    assert models[0].inputs_.to_json() == models[1].inputs_.to_json()
    assert models[0].target_.to_json() == models[1].target_.to_json()
    np.testing.assert_allclose(models[0].target_.mean, truth.mean())


def test_a_sequence_is_judged_alike_alone_and_in_any_company(model: tg.SequenceClassifier) -> None:
    """Batch order, batch size and padding change nothing beyond float32's rounding."""
    sequences = [*X[:9], np.ones(1), np.tile(X[0], 20)]
    together = model.predict_proba(sequences)
    np.testing.assert_allclose(together.sum(1), 1, rtol=1e-6)
    for sequence, p in zip(sequences, together, strict=True):
        np.testing.assert_allclose(model.predict_proba([sequence])[0], p, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(sequences[::-1]), together[::-1], atol=1e-6)


def test_every_form_of_the_same_sequences_gives_the_same_model() -> None:
    block = np.random.default_rng(0).normal(size=(12, 9))
    labels = np.arange(12) % 2
    forms = [block, block[:, :, None], list(block), [row.tolist() for row in block]]
    weights = [classifier(**SMALL).fit(form, labels).network_.dense.weight for form in forms]
    for other in weights[1:]:
        assert torch.equal(weights[0], other)


@pytest.mark.parametrize("options", [
    {"cell": "lstm", "hidden_sizes": (6, 4), "batch_norm": True, "readout": "last"},
    {"cell": "rnn", "bidirectional": False, "recurrent_dropout": 0.2},
    {"crop": 0.5, "segment": 7, "optimizer": "rmsprop"},
], ids=str)  # fmt: skip
def test_every_kind_of_network_trains_on_gaps_and_all(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    values = [np.where(rng.random(v.shape) < 0.3, np.nan, v) for v in sums(20, 0)[0]]
    model = classifier(**SMALL | options).fit(values, np.arange(20) % 3)
    assert np.isfinite(model.predict_proba(values)).all()
    assert np.isfinite(
        regressor(**SMALL | options).fit(values, np.arange(20)).predict(values)
    ).all()


def test_a_model_file_gives_the_same_answers(model: tg.SequenceClassifier, tmp_path: Path) -> None:
    values, truth = sums(20, 0)
    number = regressor(**SMALL).fit(values, truth)
    for fitted, data in ((model, X), (number, values)):
        path = tmp_path / "m.safetensors"
        fitted.save(path)
        first = path.read_bytes()
        again: Any = load(path)
        assert type(again) is type(fitted)
        np.testing.assert_array_equal(again.predict(data), fitted.predict(data))
        again.save(path)
        assert path.read_bytes() == first


@pytest.mark.parametrize("change", [
    {}, {"inputs": {}}, {"more": 1}, {"target": {"mean": [0, 0], "scale": [1, 1]}},
    {"target": {"mean": [0], "scale": [0]}},
])  # fmt: skip
def test_a_file_with_other_scaling_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "m.safetensors"
    regressor(**SMALL).fit(*sums(20, 0)).save(path)
    file = load_model(path)
    assert file.scaling is not None
    file.scaling = file.scaling | change if change else {}
    save_model(path, file)
    with pytest.raises(ModelFileError, match=r"scaling|inputs|target|scaler"):
        load(path)


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    weights = [
        classifier(**SMALL, crop=0.3, seed=s).fit(X, Y).network_.recurrent[0].weight_hh_l0
        for s in (4, 4, 5)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_run_stopped_within_an_epoch_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What random parts are cut off does not depend on where the run was stopped."""
    from tidegate.training.classification import Classification

    options = {**SMALL, "crop": 0.4, "checkpoint_seconds": 0, "evaluate_every": 2}
    whole = classifier(**options).fit(X, Y)

    def stop(self: Any, step: int, network: Any) -> None:  # noqa: ARG001
        if step == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Classification, "at_step", stop)
    with pytest.raises(KeyboardInterrupt):
        classifier(**options, run_folder=tmp_path).fit(X, Y)
    monkeypatch.undo()
    resumed = classifier(**options, run_folder=tmp_path, resume=True).fit(X, Y)
    for name, tensor in whole.network_.state_dict().items():
        assert torch.equal(resumed.network_.state_dict()[name], tensor), name


def test_processes_cut_off_together_what_one_would_alone() -> None:
    """Two processes' shares of every batch are the one process's, row by row."""
    from tidegate.nn.network import SequenceNetwork
    from tidegate.training.classification import Classification

    rng = np.random.default_rng(0)
    data = [rng.normal(size=(9, 1)).astype(np.float32) for _ in range(10)], np.arange(10)

    def cut(sequence: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return sequence[: rng.integers(1, 10)]

    model = classifier(**SMALL).fit(X, Y)
    network = SequenceNetwork(model.runtime_.architecture)
    objective = Classification(network, data, data, unit="x", batch_size=4, seed=0, vary=cut)
    alone = objective.batches(3, 5, 0, 1)
    shares = zip(*(objective.batches(3, 5, rank, 2) for rank in range(2)), strict=True)
    for whole, parts in zip(alone, shares, strict=True):
        for rank, part in enumerate(parts):
            inputs, lengths, answers = part
            assert torch.equal(whole[0][: len(inputs), rank::2], inputs)
            assert torch.equal(whole[1][rank::2], lengths)
            assert torch.equal(whole[2][rank::2], answers)


def test_a_validation_set_can_be_given_and_a_test_part_held_out() -> None:
    model = classifier(**SMALL, test_fraction=0.2).fit(X, Y, validation=(X[:10], Y[:10]))
    about = model.provenance_
    assert (about["training_sequences"], about["validation_sequences"]) == (48, 10)
    assert model.metrics_["test_n"] == 12
    number = regressor(**SMALL, test_fraction=0.2).fit(*sums(20, 0))
    assert {"test_r2", "test_mean_mse"} <= set(number.metrics_)


def test_of_few_sequences_more_is_held_out_which_evidence_still_learns_from() -> None:
    """A tenth of them would choose at random how far to trust the network beside its evidence."""
    few = classifier(**SMALL).fit(X, Y)
    assert few.provenance_["validation_sequences"] == 20
    assert set(few.metrics_) == {"accuracy", "cross_entropy"}
    assert classifier(**SMALL).fit(X[:12], Y[:12]).provenance_["validation_sequences"] == 6


def test_of_few_sequences_none_is_held_out_without_evidence() -> None:
    """A tenth of them would choose the weights at random; figures then say that they are known."""
    few = classifier(**SMALL, evidence=False).fit(X, Y)
    assert few.provenance_["validation_sequences"] == 0
    assert set(few.metrics_) == {"training_accuracy", "training_cross_entropy"}
    assert few.metrics_["training_accuracy"] == few.score(X, Y)
    asked = classifier(**SMALL, validation_fraction=0.1).fit(X, Y)
    assert asked.provenance_["validation_sequences"] == 6
    own = {"accuracy", "cross_entropy"}
    assert set(asked.metrics_) == own | {f"baseline_{name}" for name in own}
    many = regressor(**SMALL).fit(*sums(1000, 0))
    assert many.provenance_["validation_sequences"] == 100


def test_scikit_learns_manners() -> None:
    assert is_classifier(classifier())
    assert is_regressor(regressor())
    copy = clone(classifier(cell="lstm"))
    assert repr(copy) == "SequenceClassifier(epochs=1, verbose=0, cell='lstm')"
    block = np.random.default_rng(0).normal(size=(20, 9))
    for estimator, answers in ((classifier, np.arange(20) % 2), (regressor, np.arange(20.0))):
        scores = cross_val_score(estimator(**SMALL), block, answers, cv=2)
        assert np.isfinite(scores).all()
    with pytest.raises(InputError, match="call fit or load first"):
        regressor().predict(block)


WRONG = {
    "one label": (lambda: classifier().fit(X[:2], ["a", "a"]), "at least two different ones"),
    "labels": (lambda: classifier().fit(X, Y[:3]), r"one per sequence, 60, got 3"),
    "readout": (lambda: classifier(readout="first").fit(X, Y), "readout: expected"),
    "segment": (lambda: classifier(segment=0).fit(X, Y), "segment: expected a whole number"),
    "nothing left": (
        lambda: classifier(test_fraction=0.5, validation_fraction=0.5).fit(X[:2], ["a", "b"]),
        "enough to train on beside 1 for validation and 1 for test, got 2",
    ),
    "words": (lambda: regressor().fit(X, Y), "y: expected numbers, got str at index 0"),
    "numbers": (lambda: regressor().fit(X, [1, 2]), r"one number per sequence, 60, got 2"),
    "nan": (lambda: regressor().fit(X[:2], [1, np.nan]), "numbers, got nan at index 1"),
    "none": (lambda: regressor().fit(X[:2], [1, None]), "numbers, got None at index 1"),
    "channels": (lambda: classifier(**SMALL).fit(X, Y).predict([np.ones((4, 2))]),
                 "sequence 0: expected 1 channels"),
    "validation": (lambda: classifier().fit(X, Y, validation=([np.ones((4, 2))], ["sine"])),
                   "sequence 0: expected 1 channels"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_named(case: str) -> None:
    call, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        call()


def test_an_unseen_label_is_named(model: tg.SequenceClassifier) -> None:
    with pytest.raises(InputError, match=r"the training sequences \('sine', 'square'\), got 'saw'"):
        model.evaluate(X[:1], ["saw"])

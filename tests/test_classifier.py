"""Text classifiers: learning, figures, invariances, scikit-learn's manners, the file."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.utils.validation import check_is_fitted

import tidegate as tg
from tidegate.errors import InputError

GOOD, BAD = ["good", "lovely", "quiet", "fine"], ["bad", "dull", "loud", "poor"]
THINGS = ["film", "book", "song", "play", "story"]
TEXTS, LABELS = [], []
for word, thing, negated in itertools.product(GOOD + BAD, THINGS, [False, True]):
    TEXTS.append(f"a {'not at all ' if negated else ''}{word} {thing}, I think")
    LABELS.append("positive" if (word in GOOD) != negated else "negative")

SMALL = {"embedding_size": 8, "hidden_sizes": (12,), "batch_size": 8}


def small(**options):
    return tg.TextClassifier(**{**SMALL, "epochs": 1, "verbose": 0, **options})


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return small(epochs=100, dropout=0.1, embedding_dropout=0.0, learning_rate=1e-2).fit(
        TEXTS, LABELS
    )


def test_negation_is_learned(model):
    """Order matters here: no sum over words tells these apart."""
    assert model.score(TEXTS, LABELS) > 0.95
    assert list(model.classes_) == ["negative", "positive"]


def test_figures_equal_scikit_learns(model):
    labels = LABELS[::-1]  # half wrong: figures away from 0 and 1
    figures = model.evaluate(TEXTS, labels)
    predicted, p = model.predict(TEXTS), model.predict_proba(TEXTS)
    assert figures["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert figures["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    truth = np.array(labels) == "positive"
    assert figures["auroc"] == pytest.approx(roc_auc_score(truth, p[:, 1]))
    assert figures["n"] == len(TEXTS)
    matrix = confusion_matrix(labels, predicted, labels=model.classes_)
    assert (model.confusion_matrix(TEXTS, labels) == matrix).all()
    confidence, right = p.max(1), predicted == labels
    bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    expected = sum(
        abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    )
    assert figures["calibration_error"] == pytest.approx(expected, abs=1e-3)


def test_a_text_is_judged_alike_alone_and_in_any_company(model):
    """Batch order, batch size and padding change nothing beyond float32's rounding."""
    texts = [*TEXTS[:9], "", "good " * 300]
    together = model.predict_proba(texts)
    np.testing.assert_allclose(together.sum(1), 1, rtol=1e-6)
    for text, p in zip(texts, together, strict=True):
        np.testing.assert_allclose(model.predict_proba([text])[0], p, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(texts[::-1]), together[::-1], atol=1e-6)


def test_a_long_text_is_read_at_both_ends():
    model = small(max_length=5, evidence=False).fit(TEXTS, LABELS)
    known = "a good film , I"
    middle = model.predict_proba(["a good film " + "bad " * 50 + ", I"])
    assert np.allclose(middle, model.predict_proba([known]), atol=1e-6)


@pytest.mark.parametrize("options", [
    {"cell": "lstm", "hidden_sizes": (12, 6), "batch_norm": True, "readout": "last"},
    {"cell": "rnn", "bidirectional": False, "recurrent_dropout": 0.2},
    {"cell": "gru_reset_before", "level": "char", "readout": "max"},
], ids=str)  # fmt: skip
def test_every_kind_of_network_trains(options):
    model = small(**options).fit(TEXTS, LABELS)
    assert np.isfinite(model.predict_proba(TEXTS)).all()


def test_a_model_file_gives_the_same_answers(model, tmp_path):
    path = tmp_path / "m.safetensors"
    model.save(path)
    first = path.read_bytes()
    again = tg.TextClassifier.load(path)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), model.predict_proba(TEXTS))
    again.save(path)
    assert path.read_bytes() == first


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, second, other = (small(seed=s).fit(TEXTS, LABELS) for s in (4, 4, 5))
    weights = [m.network_.state_dict() for m in (first, second, other)]
    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    assert not torch.equal(weights[0]["dense.weight"], weights[2]["dense.weight"])


def test_a_validation_set_can_be_given_and_a_test_part_held_out():
    model = small(test_fraction=0.2).fit(TEXTS, LABELS, validation=(TEXTS[:10], LABELS[:10]))
    assert model.provenance_["validation_texts"] == 10
    assert model.provenance_["training_texts"] == 64
    assert model.metrics_["test_n"] == 16


def test_scikit_learns_manners():
    model = small(cell="lstm")
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    assert repr(copy) == (
        "TextClassifier(batch_size=8, epochs=1, verbose=0, cell='lstm', "
        "hidden_sizes=(12,), embedding_size=8)"
    )
    assert model.set_params(cell="gru") is model
    with pytest.raises(InputError, match="expected an option of TextClassifier, got 'cel'"):
        model.set_params(cel="gru")
    with pytest.raises(InputError, match="call fit or load first"):
        model.predict(["a"])
    check_is_fitted(model.fit(TEXTS, LABELS))
    scores = cross_val_score(small(), TEXTS, LABELS, cv=2)
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()


WRONG = {
    "one label": (lambda: small().fit(["a", "b"], ["x", "x"]), "at least two different ones"),
    "lengths": (lambda: small().fit(["a", "b"], ["x"]), r"one per text, 2, got 1"),
    "one str": (lambda: small().fit("ab", ["x", "y"]), "expected a list of texts, got one str"),
    "a number": (lambda: small().fit(["a", 3.0], ["x", "y"]), "got float at index 1"),
    "too few": (lambda: small().fit(["a"], ["x"]), "at least two different ones"),
    "readout": (
        lambda: small(readout="first").fit(TEXTS, LABELS),
        "readout: expected one or several of last, mean, max",
    ),
    "option": (lambda: small(dropout=1.5).fit(TEXTS, LABELS), "dropout: expected a number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_named(case):
    call, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        call()


def test_an_unseen_label_is_named(model):
    with pytest.raises(
        InputError, match=r"those of the training texts \('negative', 'positive'\), got 'x'"
    ):
        model.evaluate(["a good film"], ["x"])

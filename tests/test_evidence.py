"""Evidence of words: counted as naive Bayes counts, and never from the text that is judged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tidegate as tg
from tidegate.data.text.evidence import BUCKETS, Evidence, answers_of_labels, learn_evidence
from tidegate.errors import InputError
from tidegate.tasks import load

TEXTS = [["good", "film"], ["bad", "film"], ["good", "fun"], ["bad", "bore"]] * 10
LABELS = np.array([1, 0, 1, 0] * 10)


def test_log_odds_are_those_of_naive_bayes():
    """Of the 20 texts with the second label 10 hold "fun", of the 20 others none."""
    evidence, _ = learn_evidence(TEXTS, answers_of_labels(LABELS, 2))
    (read,) = evidence.of([["fun", "film", "good"]])
    words = read[:, 0]
    assert words[0] == pytest.approx(np.log((11 / 22) / (1 / 22)), rel=1e-6)
    assert words[1] == pytest.approx(0, abs=1e-6)  # 10 of each
    assert words[2] == pytest.approx(np.log((21 / 22) / (1 / 22)), rel=1e-6)


def test_pairs_tell_what_words_do_not():
    texts = [["not", "good"], ["good", "not"]] * 20
    evidence, _ = learn_evidence(texts, answers_of_labels(np.array([0, 1] * 20), 2))
    (read,) = evidence.of([["not", "good"]])
    assert abs(read[:, 0]).max() < 1e-6
    assert read[1, 1] < -2


def test_letters_tell_of_words_never_seen():
    evidence, _ = learn_evidence(TEXTS, answers_of_labels(LABELS, 2))
    (read,) = evidence.of([["goodness", "xyzzy"]])
    assert read[0, 0] == 0
    assert read[0, 2] > 1
    assert (read[1] == 0).all()


def test_one_number_for_two_labels_and_one_each_for_more():
    for labels, width in ((2, 3), (3, 9), (5, 15)):
        evidence, read = learn_evidence(TEXTS, answers_of_labels(np.arange(40) % labels, labels))
        assert evidence.width == width
        assert {r.shape for r in read} == {(2, width)}


def test_two_labels_and_their_mirror_have_opposite_evidence():
    one, _ = learn_evidence(TEXTS, answers_of_labels(LABELS, 2))
    other, _ = learn_evidence(TEXTS, answers_of_labels(1 - LABELS, 2))
    np.testing.assert_allclose(one.log_odds, -other.log_odds, atol=1e-6)


def test_a_training_text_is_not_judged_by_its_own_label():
    """Change one label: what that text reads stays, what the others read does not."""
    _, before = learn_evidence(TEXTS, answers_of_labels(LABELS, 2))
    for i in range(4):
        changed = LABELS.copy()
        changed[i] = 1 - changed[i]
        _, after = learn_evidence(TEXTS, answers_of_labels(changed, 2))
        np.testing.assert_array_equal(before[i], after[i])
        assert any(not np.array_equal(b, a) for b, a in zip(before, after, strict=True))


def test_words_without_any_regularity_get_no_evidence_to_trust():
    """Labels drawn at random: in its own training texts evidence must not predict them."""
    rng = np.random.default_rng(0)
    texts = [[f"w{k}" for k in rng.integers(0, 3000, 12)] for _ in range(400)]
    labels = rng.integers(0, 2, 400)
    evidence, read = learn_evidence(texts, answers_of_labels(labels, 2))
    right = np.mean([(r.sum() > 0) == label for r, label in zip(read, labels, strict=True)])
    by_heart = np.mean(
        [(r.sum() > 0) == label for r, label in zip(evidence.of(texts), labels, strict=True)]
    )
    assert right < 0.56
    assert by_heart > 0.9


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.lists(st.text(min_size=1, max_size=6), max_size=5), min_size=1))
def test_any_text_is_read_the_same_alone_and_among_others(texts):
    texts = [["word"], *texts]
    evidence, read = learn_evidence(texts, answers_of_labels(np.arange(len(texts)) % 2, 2))
    together = evidence.of(texts)
    for text, one, other in zip(texts, together, read, strict=True):
        assert one.shape == other.shape == (len(text), 3)
        np.testing.assert_array_equal(evidence.of([text])[0], one)


def test_a_damaged_table_is_refused():
    odds = np.zeros((2, 1), np.float32)
    for buckets in ([1, 1], [2, 1], [-1, 3], [0, BUCKETS]):
        with pytest.raises(ValueError, match="evidence: expected"):
            Evidence(np.array(buckets), odds)
    with pytest.raises(ValueError, match="finite"):
        Evidence(np.array([1, 2]), np.full((2, 1), np.nan, np.float32))


def classifier(**options):
    small = {"embedding_size": 8, "hidden_sizes": (8,), "epochs": 1, "verbose": 0}
    return tg.TextClassifier(**small | options)


@pytest.mark.parametrize("labels", [LABELS, np.arange(40) % 3])
def test_a_saved_classifier_reads_the_same_evidence(tmp_path, labels):
    texts = [" ".join(text) for text in TEXTS]
    model = classifier().fit(texts, labels)
    assert model.runtime_.architecture.evidence_size == (3 if labels.max() == 1 else 9)
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    unseen = [*texts, "goodness, a film never met", ""]
    np.testing.assert_array_equal(again.predict_proba(unseen), model.predict_proba(unseen))


def test_a_file_whose_evidence_is_not_its_networks_is_refused(tmp_path):
    from dataclasses import replace

    from tidegate.model.checkpoint import load_model, save_model

    path = tmp_path / "m.safetensors"
    classifier().fit([" ".join(text) for text in TEXTS], LABELS).save(path)
    model = load_model(path)
    for evidence, problem in (
        ({}, "evidence.buckets"),
        (model.evidence | {"log_odds": np.zeros((3, 1), np.float32)}, "evidence.log_odds"),
        (model.evidence | {"more": np.zeros(1, np.float32)}, "evidence.more"),
    ):
        with pytest.raises(ValueError, match=problem):
            save_model(path, replace(model, evidence=evidence))
    with pytest.raises(ValueError, match="evidence_size"):
        save_model(path, replace(model, task="language-model", labels=None))
    save_model(path, replace(model, evidence=model.evidence | {
        "buckets": model.evidence["buckets"][::-1].copy()}))  # fmt: skip
    with pytest.raises(InputError, match="rising"):
        load(path)


def test_evidence_is_for_words_and_few_labels():
    texts = [" ".join(text) for text in TEXTS]
    for options, labels in (
        ({"level": "char"}, LABELS),
        ({"evidence": False}, LABELS),
        ({}, np.arange(40)),
    ):
        held_out = (texts, labels.tolist())
        model = classifier(**options).fit(texts, labels, validation=held_out)
        assert model.evidence_ is None
        assert model.runtime_.architecture.evidence_size == 0

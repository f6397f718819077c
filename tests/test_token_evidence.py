"""Counted evidence of the label of each token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tidegate as tg
from tidegate.data.text.evidence import learn_token_evidence

# "watch" has label 0 after "the" and 1 after "we"; "the" has 2, "we" 3
SENTENCES = [["the", "watch"], ["we", "watch"]] * 20
LABELS = [np.array([2, 0]), np.array([3, 1])] * 20
SMALL: dict[str, Any] = {
    "verbose": 0, "hidden_sizes": (5,), "embedding_size": 4, "letter_hidden_size": 3,
    "max_steps": 3,
}  # fmt: skip


def test_log_odds_are_those_of_a_word_s_tokens_by_label():
    evidence, _ = learn_token_evidence(SENTENCES, LABELS, 4)
    (read,) = evidence.of([["the", "watch"]])
    # of 20 tokens with label 0 all are "watch", of the other 60 twenty
    assert read[1, 0] == pytest.approx(np.log((21 / 22) / (21 / 62)), rel=1e-6)
    assert read[1, 2] == pytest.approx(np.log((1 / 22) / (41 / 62)), rel=1e-6)
    assert read[0, 2] == pytest.approx(np.log((21 / 22) / (1 / 62)), rel=1e-6)


def test_pairs_tell_what_words_do_not():
    evidence, _ = learn_token_evidence(SENTENCES, LABELS, 4)
    after_the, after_we = evidence.of([["the", "watch"], ["we", "watch"]])
    assert after_the[1, 0] == after_we[1, 0]
    assert after_the[1, 4] > 2 > -2 > after_we[1, 4]


def test_a_training_sentence_is_not_judged_by_its_own_labels():
    _, before = learn_token_evidence(SENTENCES, LABELS, 4)
    for i in range(4):
        changed = [of_one.copy() for of_one in LABELS]
        changed[i] = (changed[i] + 1) % 4
        _, after = learn_token_evidence(SENTENCES, changed, 4)
        np.testing.assert_array_equal(before[i], after[i])
        assert any(not np.array_equal(b, a) for b, a in zip(before, after, strict=True))


def test_what_occurs_once_has_no_evidence_and_letters_tell_of_new_words():
    sentences = [[f"{'abcdefgh'[i % 8] * (2 + i)}ing"] for i in range(30)]
    evidence, read = learn_token_evidence(sentences, [np.array([i % 2]) for i in range(30)], 2)
    (of_new,) = evidence.of([["xyzing", sentences[0][0]]])
    assert (of_new[:, 0] == 0).all()
    assert evidence.width == 3
    assert len(read) == 30
    labels = [np.array([1])] * 15 + [np.array([0])] * 15
    others = [[f"{'abcdefgh'[i % 8] * (2 + i)}ness"] for i in range(15)]
    evidence, _ = learn_token_evidence(sentences[:15] + others, labels, 2)
    (of_new,) = evidence.of([["xyzing", "xyzness"]])
    assert of_new[0, 2] > 0.5 > -0.5 > of_new[1, 2]


@pytest.mark.parametrize("letters", [0, 3])
def test_a_file_and_a_stream_read_the_same_evidence(tmp_path, letters):
    tokens = SENTENCES
    labels = [[str(x) for x in of_one] for of_one in LABELS]
    options = SMALL | {"letter_hidden_size": letters, "bidirectional": False}
    model = tg.SequenceTagger(**options).fit(tokens, labels)
    assert model.evidence_ is not None
    assert model.runtime_.architecture.evidence_size == 12
    model.save(tmp_path / "m.safetensors")
    sentence = ["we", "watch", "the", "watchman", "watch"]
    expected = model.predict_proba([sentence])[0]
    again = tg.SequenceTagger.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict_proba([sentence])[0], expected)
    stream = again.stream()
    for token, p in zip(sentence, expected, strict=True):
        np.testing.assert_allclose(stream.feed([token]), p, atol=1e-6)
    without = tg.SequenceTagger(**options, evidence=False).fit(tokens, labels)
    assert without.evidence_ is None


def test_many_labels_have_no_evidence():
    tokens = [[f"w{k}" for k in range(40)]] * 12
    labels = [[f"L{k}" for k in range(40)]] * 12
    assert tg.SequenceTagger(**SMALL).fit(tokens, labels).evidence_ is None

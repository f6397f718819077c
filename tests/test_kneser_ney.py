"""The counting language model against its equations, and against a published figure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.data.text.ngrams import KneserNey
from tidegate.data.text.reading import read_text, train_encoder

texts = st.lists(st.integers(0, 4), min_size=2, max_size=60).map(np.array)


def fitted(train, validation=None, size=5, never_target=None):
    return KneserNey.fit(train, train if validation is None else validation, size, never_target)


def written_out(train, length, size):
    """The paper's recursion over dictionaries: a function of context and token."""
    train = train.tolist()
    counts = []
    for k in range(1, length + 1):
        grams = Counter(tuple(train[i : i + k]) for i in range(len(train) - k + 1))
        if k < length:  # in how many contexts, not how often
            longer = {tuple(train[i : i + k + 1]) for i in range(len(train) - k)}
            grams = {g: sum(long[1:] == g for long in longer) for g in grams}
        counts.append(grams)

    def discounts(grams):
        n = [sum(c == j for c in grams.values()) for j in range(5)]
        if not n[1]:
            return [0, 0.5, 0.5, 0.5]
        y = n[1] / (n[1] + 2 * n[2])
        if n[2] and n[3]:
            modified = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
            if min(modified) > 0:
                return [0, *modified]
        return [0, y, y, y]

    followers = [defaultdict(list) for _ in counts]
    for k, grams in enumerate(counts):
        for gram, count in grams.items():
            followers[k][gram[:-1]].append(count)
    discount = [discounts(grams) for grams in counts]

    kept = {g[0] for g, c in counts[0].items() if c > discount[0][min(c, 3)]}
    unseen = set(range(size)) - kept or set(range(size))

    def probability(context, token, k):
        if k < 0:
            return (token in unseen) / len(unseen)
        lower = probability(context[1:], token, k - 1)
        seen = followers[k].get(context, [])
        if not sum(seen):
            return lower
        count = counts[k].get((*context, token), 0)
        taken = sum(discount[k][min(c, 3)] for c in seen)
        return (count - discount[k][min(count, 3)] + taken * lower) / sum(seen)

    return lambda context, token: probability(context, token, len(context))


@given(texts, texts)
def test_it_is_the_recursion_written_out(train, tokens):
    model = fitted(train, tokens)
    expected = written_out(train, model.length, 5)
    reach = model.length - 1
    tokens = tokens.tolist()
    p = [expected(tuple(tokens[max(0, i - reach) : i]), t) for i, t in enumerate(tokens)]
    np.testing.assert_allclose(model.probabilities(np.array(tokens)), p, rtol=1e-12)


@given(texts, st.lists(st.integers(0, 4), max_size=6), st.sampled_from([None, 2]))
def test_the_probabilities_of_all_tokens_are_one_in_sum(train, context, never_target):
    train = np.append(train, 0)  # something to predict
    model = fitted(train, never_target=never_target)
    tokens = [t for t in range(5) if t != never_target]
    total = sum(model.probabilities(np.array([*context, t]))[-1] for t in tokens)
    assert total == pytest.approx(1)


def test_what_is_never_predicted_is_not_scored():
    train = np.tile([2, 0, 1, 3], 50)
    assert fitted(train, never_target=2).cross_entropy(train) < fitted(train).cross_entropy(train)


def test_n_grams_are_as_long_as_validation_wants_them():
    rng = np.random.default_rng(0)
    assert fitted(rng.integers(0, 5, 5000), rng.integers(0, 5, 5000)).length == 1
    assert fitted(np.tile([0, 1, 0, 2, 0, 3], 100)).length >= 3  # before a 0 is told what follows


def test_penn_treebank_is_as_hard_as_published(shared_data):
    """Mikolov et al. 2011, Extensions of recurrent neural network language model: KN5 141.2."""
    train, validation, test = (
        read_text(shared_data / "ptb" / f"ptb.{part}.txt.gz") for part in ("train", "valid", "test")
    )
    encoder = train_encoder(train, "word", sentences=True)
    tokens = [encoder.encode(text) for text in (train, validation, test)]
    model = KneserNey.fit(tokens[0], tokens[1], encoder.size, encoder.start_id)
    assert math.exp(model.cross_entropy(tokens[2])) == pytest.approx(141, abs=2)

"""Sampling: what may be drawn, how often, and what is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.errors import InputError
from tidegate.sampling import sample

LOGITS = np.log(np.array([0.5, 0.25, 0.15, 0.1], dtype=np.float32))
logits_lists = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=20)


def counts(n=4000, **options):
    rng = np.random.default_rng(0)
    return np.bincount([sample(LOGITS, rng, **options) for _ in range(n)], minlength=4) / n


def test_tokens_are_drawn_as_often_as_softmax_says():
    # standard error of a frequency over 4000 draws is at most 0.008
    assert np.abs(counts() - [0.5, 0.25, 0.15, 0.1]).max() < 0.03


def test_temperature_sharpens_and_flattens():
    powers = np.array([0.5, 0.25, 0.15, 0.1]) ** 2
    assert np.abs(counts(temperature=0.5) - powers / powers.sum()).max() < 0.03
    assert counts(temperature=100).min() > 0.2


def test_top_k_keeps_the_k_likeliest():
    assert np.abs(counts(top_k=2) - [2 / 3, 1 / 3, 0, 0]).max() < 0.03


def test_top_p_keeps_the_fewest_that_reach_p():
    assert np.abs(counts(top_p=0.7) - [2 / 3, 1 / 3, 0, 0]).max() < 0.03
    assert (counts(top_p=0.4) == [1, 0, 0, 0]).all()


@given(logits_lists, st.integers(0, 2**32 - 1), st.data())
def test_forbidden_tokens_are_never_drawn(logits, seed, data):
    forbidden = data.draw(st.sets(st.integers(0, len(logits) - 1), max_size=len(logits) - 1))
    rng = np.random.default_rng(seed)
    choices: list[dict[str, Any]] = [
        {},
        {"greedy": True},
        {"top_k": 1},
        {"top_p": 0.3},
        {"temperature": 5.0},
    ]
    for options in choices:
        assert sample(np.array(logits), rng, forbidden=forbidden, **options) not in forbidden


@given(logits_lists, st.integers(0, 2**32 - 1))
def test_impossible_tokens_are_never_drawn(logits, seed):
    masked = np.array([*logits, -np.inf])
    assert sample(masked, np.random.default_rng(seed)) < len(logits)


@given(logits_lists)
def test_greedy_and_top_1_take_the_likeliest(logits):
    rng = np.random.default_rng(0)
    scores = np.array(logits)
    assert sample(scores, rng, greedy=True) == scores.argmax()
    assert sample(scores, rng, top_k=1) == scores.argmax()


class LastDraw(np.random.Generator):
    """Draws the largest number below 1, which rounding may carry to the very end."""

    def random(self, *_, **__):
        return np.nextafter(1, 0)


@given(logits_lists)
def test_a_draw_at_the_very_end_falls_on_a_possible_token(logits):
    rng = LastDraw(np.random.PCG64(0))
    assert sample(np.array([-np.inf, *logits, -np.inf, 0.0]), rng, forbidden=[len(logits) + 2]) in (
        range(1, len(logits) + 1)
    )


@given(logits_lists, st.floats(1e-320, 1e-5))
def test_a_tiny_temperature_is_greedy_among_equals(logits, temperature):
    scores = np.array(logits)
    drawn = sample(scores, np.random.default_rng(0), temperature=temperature)
    # two logits closer than a few temperatures are both likely
    assert scores[drawn] >= scores.max() - 100 * temperature


@given(logits_lists, st.floats(0.01, 1.0))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits, top_p):
    scores = np.array(logits)
    p = np.exp(scores - scores.max())
    p /= p.sum()
    order = np.argsort(-scores, kind="stable")  # equal p may come from unequal logits
    drawn = sample(scores, LastDraw(np.random.PCG64(0)), top_p=top_p)
    before = p[order[: np.flatnonzero(order == drawn)[0]]].sum()
    assert before < top_p + 1e-12  # a sum of 20 float64 terms


def test_the_same_seed_draws_the_same_tokens():
    first, second = np.random.default_rng(7), np.random.default_rng(7)
    assert [sample(LOGITS, first) for _ in range(50)] == [sample(LOGITS, second) for _ in range(50)]


WRONG = {
    "temperature below 0": ({"temperature": -1.0}, "expected a number above 0, got -1.0"),
    "temperature NaN": ({"temperature": float("nan")}, "expected a number above 0, got nan"),
    "top_p 0": ({"top_p": 0.0}, r"top_p: expected a probability in \(0, 1\]"),
    "forbidden outside": ({"forbidden": [-1]}, r"forbidden: expected tokens in \[0, 4\)"),
    "forbidden above": ({"forbidden": [4]}, r"forbidden: expected tokens in \[0, 4\)"),
    "temperature": ({"temperature": 0}, "use greedy for the likeliest"),
    "top_k": ({"top_k": 0}, "top_k: expected at least 1, got 0"),
    "top_p": ({"top_p": 1.5}, r"top_p: expected a probability in \(0, 1\]"),
    "all forbidden": ({"forbidden": range(4)}, "among the tokens allowed, got none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_are_named(case):
    options, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        sample(LOGITS, np.random.default_rng(0), **options)


def test_nan_is_refused():
    with pytest.raises(InputError, match="without NaN"):
        sample(np.array([0.0, np.nan]), np.random.default_rng(0))

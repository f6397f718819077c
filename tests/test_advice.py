"""What is advised for made-up results, one for each branch of the rule."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tidegate.comparison.advice import Candidate, advise
from tidegate.comparison.experiment import Baseline, Metric

ACCURACY = Metric(name="accuracy", label="accuracy", lower_is_better=False)
ERROR = Metric(name="mse", label="mean squared error", lower_is_better=True)


def candidate(title, validation, held_out=None, parameters=1000, seconds=1.0):
    return Candidate(
        title=title,
        validation=validation,
        held_out=validation if held_out is None else held_out,
        parameters=parameters,
        seconds_per_epoch=seconds,
    )


def baseline(figure, name="ridge", validation=None):
    validation = figure if validation is None else validation
    return Baseline(name=name, about="", validation=validation, held_out=figure)


LSTM = candidate("LSTM", [0.80, 0.81, 0.82], parameters=4000, seconds=1.2)
GRU = candidate("GRU", [0.79, 0.80, 0.815], parameters=3000, seconds=1.0)
RNN = candidate("RNN", [0.60, 0.61, 0.62], parameters=1000, seconds=0.5)


def test_level_cells_are_told_apart_by_their_weights():
    advice = advise([LSTM, GRU, RNN], [], ACCURACY, "test")
    assert advice.cell == "GRU"
    assert advice.sentences[0].startswith(
        "No difference between the LSTM and the GRU beyond the seeds (the GRU is behind the LSTM "
    )
    assert "take the GRU, which has 25 % fewer weights" in advice.sentences[0]
    assert "takes 17 % less time per epoch than the LSTM" in advice.sentences[0]
    assert advice.sentences[1].startswith("The LSTM is better in accuracy than the RNN by 0.2 (")


def test_a_cell_that_is_better_beyond_the_seeds_is_advised_whatever_it_costs():
    advice = advise([RNN, LSTM], [], ACCURACY, "test")
    assert advice.cell == "LSTM"
    assert advice.sentences == (
        "Take the LSTM: on the validation part it is better in accuracy than the RNN by 0.2 "
        "(0.18 to 0.22); 95 % intervals over the seeds.",
    )


def test_less_is_better_where_the_figure_is_an_error():
    assert advise([RNN, LSTM], [], ERROR, "test").cell == "RNN"


def test_equal_weights_leave_it_to_the_time():
    slow = candidate("LSTM", [0.80, 0.81, 0.82], parameters=1000, seconds=2.0)
    fast = candidate("GRU", [0.79, 0.80, 0.82], parameters=1020, seconds=1.0)
    advice = advise([slow, fast], [], ACCURACY, "test")
    assert advice.cell == "GRU"
    assert "which takes 50 % less time per epoch than the LSTM" in str(advice)
    assert "weights" not in str(advice)


def test_what_it_costs_more_is_told_too():
    slow = candidate("GRU", [0.80, 0.81, 0.82], parameters=900, seconds=2.0)
    fast = candidate("LSTM", [0.79, 0.80, 0.82], parameters=1000, seconds=1.0)
    advice = advise([slow, fast], [], ACCURACY, "test")
    assert "which has 10 % fewer weights but takes 100 % more time per epoch" in str(advice)


def test_three_level_cells_are_listed():
    close = candidate("RNN", [0.78, 0.80, 0.81], parameters=500)
    advice = advise([LSTM, GRU, close], [], ACCURACY, "test")
    assert "between the LSTM, the GRU and the RNN beyond" in str(advice)
    assert advice.cell == "RNN"


def test_one_seed_advises_no_more_than_a_repetition():
    advice = advise([candidate("LSTM", [0.9]), candidate("GRU", [0.5])], [], ACCURACY, "test")
    assert advice.cell == "LSTM"
    assert "a single run cannot tell a difference from chance" in str(advice)


def test_a_cell_alone_is_held_against_the_baseline_alone():
    assert advise([GRU], [], ACCURACY, "test").sentences == ()
    advice = advise([GRU], [baseline(0.5)], ACCURACY, "test")
    assert str(advice) == (
        "The baselines are beaten. Accuracy on the test part: ridge 0.5, GRU 0.8017."
    )


def test_a_baseline_that_wins_is_told_first():
    advice = advise([LSTM, GRU, RNN], [baseline(0.9)], ACCURACY, "validation")
    assert advice.sentences[0] == (
        "A baseline wins. Accuracy on the validation part: ridge 0.9, GRU 0.8017."
    )
    assert "take the GRU" in advice.sentences[1]


def test_a_baseline_that_is_as_good_is_told_first():
    advice = advise([candidate("GRU", [0.8, 0.8])], [baseline(0.8)], ACCURACY, "test")
    assert str(advice).startswith("A baseline is as good. Accuracy on the test part: ridge 0.8")


def test_level_figures_differ_by_zero_without_a_sign():
    level = [candidate("LSTM", [1.0, 1.0]), candidate("GRU", [1.0, 1.0], parameters=900)]
    assert "is behind the LSTM by 0 (0 to 0)" in str(advise(level, [], ACCURACY, "test"))


def test_a_baseline_within_the_spread_is_told_to_be():
    advice = advise([LSTM, GRU], [baseline(0.80)], ACCURACY, "test")
    assert advice.sentences[-1].startswith("The baselines are beaten.")
    assert advice.sentences[-1].endswith(", a difference within what the seeds move.")


def test_nothing_is_chosen_by_the_held_out_part():
    """Neither the cell nor the baseline that would do best there."""
    better_there = candidate("RNN", [0.60, 0.61, 0.62], held_out=[0.9, 0.9, 0.9])
    advice = advise(
        [LSTM, better_there],
        [baseline(0.99, "lucky", validation=0.4), baseline(0.7, "chosen", validation=0.5)],
        ACCURACY,
        "test",
    )
    assert advice.cell == "LSTM"
    assert "chosen 0.7, LSTM 0.81" in str(advice)
    assert "lucky" not in str(advice)


@pytest.mark.parametrize("scale", [0.01, 0.02, 0.05, 0.2])
def test_level_means_that_welchs_test_does_not_tell_them_apart(scale):
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.8, scale, 4).tolist(), rng.normal(0.76, 0.02, 3).tolist()
    p = stats.ttest_ind(first, second, equal_var=False).pvalue
    best, other = (("LSTM", first), ("GRU", second))
    advice = advise([candidate(*best), candidate(*other)], [], ACCURACY, "test")
    assert ("No difference" in str(advice)) == (p > 0.05)


def test_runs_that_agree_to_the_last_digit_differ_if_their_figures_do():
    advice = advise(
        [candidate("LSTM", [0.9, 0.9]), candidate("GRU", [0.8, 0.8])], [], ACCURACY, "test"
    )
    assert advice.cell == "LSTM"
    assert "better in accuracy than the GRU by 0.1 (0.1 to 0.1)" in str(advice)
